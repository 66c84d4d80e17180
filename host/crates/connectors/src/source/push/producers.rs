//! What is remembered of clients that count their pushes, so that a repeat is recognized.
//!
//! The table is bounded: the producers that pushed longest ago are forgotten first. It holds no rows and touches no
//! file; the writer carries it from segment to segment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Producers that are remembered at most: with names of 30 bytes, about 2 MiB of memory and 0.6 MiB a segment.
/// More makes retries safe for larger fleets, fewer makes segments cheaper to begin.
pub(super) const MAX_PRODUCERS: usize = 10_000;

/// The last push of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remembered {
    /// The client's count.
    pub(super) sequence: u64,
    /// Sequence of the last row that was taken.
    pub(super) through: u64,
    /// When it was taken: what was refused is found again by checking as of then.
    pub(super) ingest_time: i64,
    /// Number of rows that were taken.
    pub(super) accepted: u32,
}

/// The last push of each of the newest producers.
#[derive(Debug, Default)]
pub(super) struct Producers {
    last: HashMap<Arc<str>, Remembered>,
    /// Producers by their last row: each push moves its producer to the end.
    by_age: BTreeMap<u64, Arc<str>>,
}

impl Producers {
    /// The last push of a producer.
    pub(super) fn get(&self, name: &str) -> Option<Remembered> {
        self.last.get(name).copied()
    }

    /// Remembers a push, and forgets the oldest producer if there are too many.
    pub(super) fn remember(&mut self, name: &str, push: Remembered) {
        let name = match self.last.get_key_value(name) {
            Some((known, before)) => {
                self.by_age.remove(&before.through);
                Arc::clone(known)
            }
            None => Arc::from(name),
        };
        self.by_age.insert(push.through, Arc::clone(&name));
        self.last.insert(name, push);
        while self.last.len() > MAX_PRODUCERS {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            self.last.remove(&oldest);
        }
    }

    /// All producers, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Remembered)> {
        self.by_age.values().filter_map(|name| Some((&**name, *self.last.get(name)?)))
    }

    /// Whether nobody is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }
}
