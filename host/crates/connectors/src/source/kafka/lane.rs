//! What was read of one partition and not handed on: grows to a batch.
//!
//! Each byte of a record is copied once, and a batch costs a handful of allocations, sized after the last one.

use bytes::Bytes;
use model::batch::{ABSENT, Attributes, Header, RawBatch};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::source::BatchBudget;

use super::fetcher::{Record, TopicId};

/// Bytes in a batch beyond which no further record joins: ranges within it have 32 bits.
const MAX_BATCH_BYTES: usize = 1 << 31;

/// One partition of a reader.
pub(super) struct Lane {
    /// Its name.
    pub(super) partition: Partition,
    /// Its topic.
    pub(super) topic: TopicId,
    /// Its number within the topic.
    pub(super) number: i32,
    /// Whether its place in the ready queue is taken.
    pub(super) is_ready: bool,
    /// Where it went on when a position was gone, the last time.
    pub(super) mended: Option<u64>,
    /// Everything before this offset was handed on.
    handed: u64,
    /// Everything before this offset was read: given on, gathered, or skipped because it is no event.
    seen: u64,
    gathered: Gathered,
    hint: Hint,
}

/// Records of one batch to be.
#[derive(Default)]
struct Gathered {
    data: Vec<u8>,
    payloads: Vec<(u32, u32)>,
    /// Offset of the first record.
    first: u64,
    /// Their offsets, as soon as they do not simply count up from `first`.
    positions: Option<PositionColumn>,
    times: Vec<i64>,
    attributes: Attributes,
}

/// How large the last batch was: the next one is expected to be alike.
#[derive(Default, Clone, Copy)]
struct Hint {
    rows: usize,
    bytes: usize,
}

impl Lane {
    /// A lane whose first record is at `next` or behind it.
    pub(super) fn new(partition: Partition, topic: TopicId, number: i32, next: u64) -> Self {
        Self {
            partition,
            topic,
            number,
            is_ready: false,
            mended: None,
            handed: next,
            seen: next,
            gathered: Gathered::default(),
            hint: Hint::default(),
        }
    }

    /// The offset of the next record that was not read.
    pub(super) fn next_offset(&self) -> u64 {
        self.seen
    }

    /// Whether there is something to hand on.
    pub(super) fn has_news(&self) -> bool {
        self.handed < self.seen
    }

    /// Bytes gathered.
    pub(super) fn bytes(&self) -> usize {
        self.gathered.data.len()
    }

    /// Whether a further record may join the batch.
    pub(super) fn has_room(&self, record: &Record<'_>, budget: BatchBudget) -> bool {
        let (rows, bytes) = (self.gathered.payloads.len(), self.gathered.data.len());
        let more = record.payload().map_or(0, <[u8]>::len);
        rows == 0 || (rows < budget.rows && bytes + more <= budget.bytes.min(MAX_BATCH_BYTES))
    }

    /// Takes a record. Answers whether it is an event: a tombstone is none.
    pub(super) fn push(&mut self, record: &Record<'_>, with_headers: bool) -> bool {
        let offset = record.offset();
        self.seen = self.seen.max(offset + 1);
        let Some(payload) = record.payload() else { return false };
        let gathered = &mut self.gathered;
        let row = gathered.payloads.len();
        if row == 0 {
            gathered.first = offset;
            gathered.data.reserve(self.hint.bytes);
            gathered.payloads.reserve(self.hint.rows);
            gathered.times.reserve(self.hint.rows);
        }
        match &mut gathered.positions {
            Some(positions) => positions.push_u64(offset),
            None if offset == gathered.first + row as u64 => {}
            None => {
                let mut positions = PositionColumn::counting(gathered.first, row);
                positions.push_u64(offset);
                gathered.positions = Some(positions);
            }
        }
        let range = append(&mut gathered.data, payload);
        gathered.payloads.push(range);
        gathered.times.push(record.timestamp().unwrap_or(0).saturating_mul(1000));
        let attributes = &mut gathered.attributes;
        match record.key() {
            Some(key) => {
                if attributes.keys.is_empty() {
                    attributes.keys.reserve(self.hint.rows);
                }
                attributes.keys.resize(row, ABSENT);
                attributes.keys.push(append(&mut gathered.data, key));
            }
            // Nobody before had one either, or everybody has an entry.
            None if attributes.keys.is_empty() => {}
            None => attributes.keys.push(ABSENT),
        }
        if with_headers {
            for (name, value) in record.headers() {
                let name = append(&mut gathered.data, name);
                let value = value.map_or(ABSENT, |value| append(&mut gathered.data, value));
                attributes.headers.push(Header { name, value });
            }
            if !attributes.headers.is_empty() {
                let through = u32::try_from(attributes.headers.len()).unwrap_or(u32::MAX);
                attributes.header_ends.resize(row, 0);
                attributes.header_ends.push(through);
            }
        }
        true
    }

    /// Nothing that is an event lies before this offset any more but what was gathered.
    pub(super) fn skip_to(&mut self, offset: u64) {
        self.seen = self.seen.max(offset);
    }

    /// Everything that was gathered; a batch without events where all was skipped.
    pub(super) fn take(&mut self) -> RawBatch {
        debug_assert!(self.has_news(), "a batch covers something");
        let gathered = std::mem::take(&mut self.gathered);
        let Gathered { mut data, mut payloads, first, positions, mut times, attributes } = gathered;
        self.hint = Hint { rows: payloads.len(), bytes: data.len() };
        // A batch is kept for as long as a view needs it, and counts with its length.
        if data.len() < data.capacity() / 2 {
            data.shrink_to_fit();
            payloads.shrink_to_fit();
            times.shrink_to_fit();
        }
        let covers =
            Covers { first: Position::from_u64(self.handed), through: Position::from_u64(self.seen - 1) };
        self.handed = self.seen;
        RawBatch {
            partition: self.partition.clone(),
            data: Bytes::from(data),
            positions: positions.unwrap_or_else(|| PositionColumn::counting(first, payloads.len())),
            payloads,
            ingest_times: times,
            ingest_time: 0,
            covers,
            attributes,
        }
    }
}

/// Appends bytes; answers where they are.
fn append(data: &mut Vec<u8>, bytes: &[u8]) -> (u32, u32) {
    let start = data.len();
    data.extend_from_slice(bytes);
    // `has_room` ends a batch long before 4 GiB, and librdkafka takes no record of 2 GiB.
    let at = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    (at(start), at(data.len()))
}
