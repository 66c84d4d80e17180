//! The writer thread: takes what is ready, writes it, records it, answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::error::Failure;
use model::output::Emission;
use model::position::Position;

use super::files::Files;
use super::positions::{Entry, Key};
use super::queue::{Content, Encoded, Group, Queue, Work};
use crate::output::record::RecordEncoder;

/// Capacity of the group buffer that is kept from one group to the next.
const KEPT_CAPACITY: usize = 1 << 20;

/// Writes until the stream is dropped.
pub(super) fn run(queue: &Arc<Queue>, mut files: Files) {
    let _end = End(queue);
    let mut lines = Vec::new();
    while let Some(work) = queue.next() {
        let mut group = match work {
            Work::Group(group) => group,
            Work::Rewind(rewind) => {
                let entry = Entry {
                    key: rewind.key.clone(),
                    through: rewind.to,
                    rows: 0,
                    identities: (String::new(), String::new()),
                };
                queue.rewound(rewind, files.write(&[], &[entry]));
                continue;
            }
        };
        match collect(&mut group, &mut lines).and_then(|entries| files.write(&lines, &entries)) {
            Ok(()) => queue.succeeded(group),
            Err(failure) => {
                // Whoever emits is told, and says so once; here it would be said at every attempt.
                tracing::debug!(error = %failure, batches = group.slots.len(), "failed to write output records");
                queue.failed(group, &failure);
            }
        }
        lines.clear();
        lines.shrink_to(KEPT_CAPACITY);
    }
}

/// Encodes the rows of an emission behind a position, one record a line.
pub(super) fn encode(emission: &Emission, skip: Option<Position>) -> Encoded {
    let batch = &*emission.batch;
    let mut encoder = RecordEncoder::new(&batch.view, &emission.options);
    let mut encoded = Encoded::default();
    let skips = skip.filter(|skip| batch.covers.first <= *skip);
    let wanted = |row: &usize| skips.is_none_or(|skip| batch.positions.bytes_at(*row) > skip.as_bytes());
    let mut ends: Option<(usize, usize)> = None;
    for row in (0..batch.len()).filter(wanted) {
        let start = encoded.lines.len();
        encoder.encode(batch, row, emission.applied.is_applied(row), emission.epoch, &mut encoded.lines);
        encoded.lines.push(b'\n');
        if encoded.rows == 0 {
            // Records of a batch are about equally long.
            encoded.lines.reserve((encoded.lines.len() - start) * (batch.len() - row) * 9 / 8);
        }
        encoded.rows += 1;
        ends = Some((ends.map_or(row, |(first, _)| first), row));
    }
    if let Some((first, last)) = ends {
        let identity = |row| encoder.identity(batch, row, emission.applied.is_applied(row), emission.epoch);
        encoded.identities = (identity(first), identity(last));
    }
    encoded
}

/// Puts the lines of a group one behind the other; returns what is to be recorded.
fn collect(group: &mut Group, lines: &mut Vec<u8>) -> Result<Vec<Entry>, Failure> {
    let mut entries: BTreeMap<Key, Entry> = BTreeMap::new();
    for (key, through) in &group.idle {
        merge(&mut entries, key, *through, Encoded::default());
    }
    for slot in &mut group.slots {
        let encoded = match std::mem::replace(&mut slot.content, Content::Abandoned) {
            Content::Ready(encoded) => encoded,
            Content::Left(emission, skip) => encode(&emission, skip),
            Content::Awaited | Content::Abandoned => {
                return Err(Failure::stop(format!("encode output records of view `{}`", slot.key.view)));
            }
        };
        lines.extend_from_slice(&encoded.lines);
        merge(&mut entries, &slot.key, slot.through, encoded);
    }
    Ok(entries.into_values().collect())
}

fn merge(entries: &mut BTreeMap<Key, Entry>, key: &Key, through: Position, encoded: Encoded) {
    let entry = entries.entry(key.clone()).or_insert_with(|| Entry {
        key: key.clone(),
        through: Some(through),
        rows: 0,
        identities: (String::new(), String::new()),
    });
    entry.through = entry.through.max(Some(through));
    if encoded.rows > 0 {
        if entry.rows == 0 {
            entry.identities.0 = encoded.identities.0;
        }
        entry.identities.1 = encoded.identities.1;
        entry.rows += encoded.rows;
    }
}

/// Fails whoever waits if the writer panics.
struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.ended(&Failure::stop("write output records: the writer ended by a defect"));
        }
    }
}
