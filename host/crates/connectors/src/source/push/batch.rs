//! Turns logged chunks into one batch within a budget.
//!
//! Rows of one chunk are handed on without a copy; those of several are copied once, chunk by chunk.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use model::batch::RawBatch;
use model::position::{Covers, Partition, Position, PositionColumn};
use model::source::BatchBudget;

use super::frame::Chunk;

/// Some rows of a chunk.
struct Part<'a> {
    chunk: &'a Chunk,
    rows: Range<usize>,
    /// Where their bytes begin, counted from the chunk's first row, and how many there are.
    start: usize,
    bytes: usize,
}

impl<'a> Part<'a> {
    /// As many rows from `from` on as fit; at least one if `at_least_one`.
    fn fitting(chunk: &'a Chunk, from: usize, budget: BatchBudget, at_least_one: bool) -> Self {
        let start = chunk.lengths(0..from).map(|length| length as usize).sum::<usize>();
        let bytes = chunk.payload_bytes() - start;
        if chunk.rows - from <= budget.rows && bytes <= budget.bytes {
            return Self { chunk, rows: from..chunk.rows, start, bytes };
        }
        let (mut end, mut taken) = (from, 0);
        for length in chunk.lengths(from..chunk.rows) {
            let fits = end - from < budget.rows && taken + length as usize <= budget.bytes;
            let is_wanted = fits || (at_least_one && end == from);
            if !is_wanted {
                break;
            }
            end += 1;
            taken += length as usize;
        }
        Self { chunk, rows: from..end, start, bytes: taken }
    }
}

/// The rows from the sequence `from` on, which the first chunk holds, as far as the budget goes.
pub(super) fn assemble(
    partition: &Partition,
    chunks: &[Arc<Chunk>],
    from: u64,
    budget: BatchBudget,
) -> RawBatch {
    // Places in a batch are 32-bit numbers.
    let mut left = BatchBudget { rows: budget.rows.max(1), bytes: budget.bytes.min(u32::MAX as usize) };
    let mut parts: Vec<Part<'_>> = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let skipped = usize::try_from(from.saturating_sub(chunk.first)).unwrap_or(usize::MAX);
        let part = Part::fitting(chunk, skipped, left, parts.is_empty());
        let (rows, bytes, is_whole) = (part.rows.len(), part.bytes, part.rows.end == chunk.rows);
        if rows > 0 {
            parts.push(part);
        }
        left = BatchBudget { rows: left.rows - rows.min(left.rows), bytes: left.bytes.saturating_sub(bytes) };
        if !is_whole || left.rows == 0 {
            break;
        }
    }
    let rows = parts.iter().map(|part| part.rows.len()).sum::<usize>();
    let (ingest_time, ingest_times) = ingest_times(&parts, rows);
    RawBatch {
        partition: partition.clone(),
        data: data(&parts),
        payloads: payloads(&parts, rows),
        positions: PositionColumn::counting(from, rows),
        ingest_times,
        ingest_time,
        covers: Covers {
            first: Position::from_u64(from),
            through: Position::from_u64(from + (rows as u64).saturating_sub(1)),
        },
        attributes: model::batch::Attributes::default(),
    }
}

fn data(parts: &[Part<'_>]) -> Bytes {
    if let [part] = parts {
        return part.chunk.payload(part.start, part.bytes);
    }
    let mut data = Vec::with_capacity(parts.iter().map(|part| part.bytes).sum());
    for part in parts {
        data.extend_from_slice(&part.chunk.payload(part.start, part.bytes));
    }
    data.into()
}

fn payloads(parts: &[Part<'_>], rows: usize) -> Vec<(u32, u32)> {
    let mut payloads = Vec::with_capacity(rows);
    let mut start = 0;
    for part in parts {
        payloads.extend(part.chunk.lengths(part.rows.clone()).map(|length| {
            let payload = (start, start + length);
            start += length;
            payload
        }));
    }
    payloads
}

/// One time for all rows, or else one for each.
fn ingest_times(parts: &[Part<'_>], rows: usize) -> (i64, Vec<i64>) {
    let mut pushes = parts.iter().flat_map(|part| {
        let mut begin = 0;
        part.chunk.ingest_times().filter_map(move |(count, time)| {
            let push = begin..begin + count;
            begin += count;
            let taken = push.end.min(part.rows.end).saturating_sub(push.start.max(part.rows.start));
            (taken > 0).then_some((taken, time))
        })
    });
    let Some((taken, first)) = pushes.next() else { return (0, Vec::new()) };
    let mut times = Vec::new();
    let mut seen = taken;
    for (taken, time) in pushes {
        if times.is_empty() && time == first {
            seen += taken;
            continue;
        }
        if times.is_empty() {
            times.reserve(rows);
            times.resize(seen, first);
        }
        times.resize(times.len() + taken, time);
    }
    (first, times)
}
