//! What readers have to know of shards, beside their records.

use model::position::Partition;

use crate::kinesis::lease::{Leases, Shard, Tip};

/// Knows which shards may be read, and what is kept of them.
pub(super) trait Lineage: Send + Sync {
    /// A shard as the stream names it; `None` = unknown so far.
    fn shard(&self, partition: &Partition) -> Option<Shard>;

    /// Whether each parent that the stream still names is done with.
    fn may_read(&self, partition: &Partition) -> bool;

    /// Whether a shard is this host's for sure.
    fn holds(&self, partition: &Partition) -> bool;

    /// A reader has come to a shard's end.
    fn end_reached(&self, partition: &Partition);

    /// A reader was at a shard's tip.
    fn note_seen(&self, partition: &Partition, tip: Tip);

    /// When a reader of any host was last known to be at the tip.
    fn seen(&self, partition: &Partition) -> Option<Tip>;
}

impl Lineage for Leases {
    fn shard(&self, partition: &Partition) -> Option<Shard> {
        self.shard(partition)
    }

    fn may_read(&self, partition: &Partition) -> bool {
        self.may_read(partition)
    }

    fn holds(&self, partition: &Partition) -> bool {
        self.holds(partition)
    }

    fn end_reached(&self, partition: &Partition) {
        self.end_reached(partition);
    }

    fn note_seen(&self, partition: &Partition, tip: Tip) {
        self.note_seen(partition, tip);
    }

    fn seen(&self, partition: &Partition) -> Option<Tip> {
        self.seen(partition)
    }
}
