//! Progress inside a transaction, instead of a commit.

use model::position::Partition;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;

use super::Group;
use super::handle::{Taken, list_of};
use super::state::Commit;

/// What goes into a transaction so that output and progress are one: made under the group's lock, which lasts until
/// this is dropped.
///
/// Dropped without [`TransactionOffsets::committed`] or [`TransactionOffsets::aborted`], the end counts as unknown: the
/// positions stay as they were, and the partitions are not committed until [`Group::refresh`] has read the truth.
pub struct TransactionOffsets<'a> {
    /// For the broker to check that the partitions are still this host's.
    pub metadata: ConsumerGroupMetadata,
    /// Offsets with the progress of all views in their metadata.
    pub offsets: TopicPartitionList,
    group: &'a Group,
    view: String,
    next: Vec<(Partition, u64)>,
    numbers: Vec<u64>,
    settled: bool,
    _taken: Taken<'a>,
}

impl<'a> TransactionOffsets<'a> {
    pub(super) fn new(
        group: &'a Group,
        taken: Taken<'a>,
        metadata: ConsumerGroupMetadata,
        view: &str,
        next: Vec<(Partition, u64)>,
        commits: &[Commit],
    ) -> Self {
        Self {
            metadata,
            offsets: list_of(commits),
            group,
            view: view.to_owned(),
            next,
            numbers: commits.iter().map(|commit| commit.offset).collect(),
            settled: false,
            _taken: taken,
        }
    }

    /// The transaction was committed.
    pub fn committed(mut self) {
        self.settled = true;
        self.group.inner.lock().transacted(&self.view, &self.next, &self.numbers);
    }

    /// The transaction was aborted, and the broker has confirmed that: nothing of it counts.
    pub fn aborted(mut self) {
        self.settled = true;
    }
}

impl Drop for TransactionOffsets<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.group.inner.lock().doubt(self.next.iter().map(|(partition, _)| partition));
        }
    }
}
