//! How much of a stream this host reads, where several hosts share its partitions.
//!
//! An embedded store holds what its host has read, so answers have to say when that is not everything. A store that hosts
//! share holds what all of them have read. Who reads what
//! is decided elsewhere; the host notes it here.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source whose partitions several hosts share.
#[derive(Debug, Clone)]
pub struct SharedStream {
    /// Who shares them: the consumer group, or where the leases of a Kinesis stream are kept.
    pub group: String,
    /// The topics, or the one stream.
    pub topics: Vec<String>,
    /// How much of it is this host's.
    pub share: Arc<Share>,
}

/// How many partitions a host reads, of how many. Both are 0 until it is known.
#[derive(Default)]
pub struct Share(AtomicU64);

impl Share {
    /// Notes the number of partitions that this host reads, and of all that there are.
    pub fn set(&self, read: usize, all: usize) {
        let (read, all) = (u32::try_from(read).unwrap_or(u32::MAX), u32::try_from(all).unwrap_or(u32::MAX));
        // One number, so that readers see a pair that belongs together.
        self.0.store(u64::from(read) << 32 | u64::from(all), Ordering::Relaxed);
    }

    /// The partitions that this host reads, and all that there are.
    pub fn get(&self) -> (u32, u32) {
        let both = self.0.load(Ordering::Relaxed);
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        (half(both >> 32), half(both))
    }

    /// The same, if this host does not read all of them.
    pub(crate) fn partial(&self) -> Option<(u32, u32)> {
        Some(self.get()).filter(|(read, all)| read < all)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (read, all) = self.get();
        write!(f, "{read}/{all}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_less_than_everything_is_partial() {
        let share = Share::default();
        assert_eq!(share.partial(), None);
        share.set(3, 12);
        assert_eq!((share.get(), share.partial()), ((3, 12), Some((3, 12))));
        share.set(12, 12);
        assert_eq!(share.partial(), None);
        // Known to be assigned before it is known how many there are.
        share.set(4, 0);
        assert_eq!(share.partial(), None);
    }
}
