//! A source's part in its consumer group: which partitions are this host's, and how far its views are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::error::Failure;
use model::position::{Partition, Position};
use model::source::{Assignee, Kept, ViewProgress};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;

use super::Connection;

/// How a group agrees on who reads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// Members agree among themselves, cooperatively.
    Classic,
    /// The broker assigns (KIP-848).
    Consumer,
}

/// What a group is joined with.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// The cluster.
    pub connection: Connection,
    /// The source's name, for messages.
    pub source: String,
    /// `group.id`.
    pub group: String,
    /// Topics to read.
    pub topics: Vec<String>,
    /// How the group agrees.
    pub protocol: GroupProtocol,
    /// Names this host within the group, also after a restart.
    pub instance: String,
    /// Further consumer settings.
    pub options: BTreeMap<String, String>,
    /// How often progress is committed.
    pub commit_interval: Duration,
}

/// A source's part in its consumer group.
pub struct Group {}

/// What goes into a transaction so that output and progress are one: made under the group's lock, which lasts until
/// this is dropped. Dropped without [`TransactionOffsets::committed`] the positions stay as they were.
pub struct TransactionOffsets<'a> {
    /// For the broker to check that the partitions are still this host's.
    pub metadata: ConsumerGroupMetadata,
    /// Offsets with the progress of all views in their metadata.
    pub offsets: TopicPartitionList,
    _group: &'a Group,
}

impl TransactionOffsets<'_> {
    /// The transaction was committed.
    pub fn committed(self) {
        todo!()
    }
}

impl Group {
    /// Makes the client; joins nothing yet.
    pub fn open(_options: GroupOptions) -> Result<Arc<Self>, Failure> {
        todo!()
    }

    /// Joins, on a thread of its own.
    pub fn join(&self, _assignee: Arc<dyn Assignee>) {
        todo!()
    }

    /// Leaves: partitions are revoked and committed first.
    pub fn leave(&self) {
        todo!()
    }

    /// The partitions that are this host's.
    pub fn partitions(&self) -> Vec<Partition> {
        todo!()
    }

    /// Whether this host may still emit for a partition: it is its own, and the last heartbeat is younger than the
    /// session. A host that was suspended finds out here.
    pub fn holds(&self, _partition: &Partition) -> bool {
        todo!()
    }

    /// What the group knows of a view.
    pub fn kept(&self, _view: &str, _partition: &Partition) -> Kept {
        todo!()
    }

    /// The output stream has a view's rows through this position; committed with the next commit.
    pub fn emitted(&self, _view: &str, _partition: &Partition, _through: Position) {
        todo!()
    }

    /// Notes what [`model::source::Source::release`] says; committed with the next commit.
    pub fn release(&self, _partition: &Partition, _through: &Position, _views: &BTreeMap<String, ViewProgress>) {
        todo!()
    }

    /// Sets a view's output position back; committed on return.
    pub fn rewind(
        &self,
        _view: &str,
        _partition: &Partition,
        _to: Option<Position>,
        _epoch: u32,
    ) -> Result<(), Failure> {
        todo!()
    }

    /// What a transaction has to send so that `view` is through these positions once it is committed. Waits for other
    /// commits of the group; none begins while the answer lives.
    pub fn transaction(
        &self,
        _view: &str,
        _through: &[(Partition, Position)],
    ) -> Result<TransactionOffsets<'_>, Failure> {
        todo!()
    }

    /// Reads the committed offsets again, waiting for open transactions: after a transaction whose end is unknown.
    pub fn refresh(&self, _partitions: &[Partition], _timeout: Duration) -> Result<(), Failure> {
        todo!()
    }
}
