//! Stream sources: who reads events, from where, and when they may forget them.
//!
//! A [`Source`] is opened once per host. [`Source::read`] gives a [`Reader`] that starts behind given positions; the
//! flow reads a source once for all views that keep up, and opens further readers for those that have to catch up.
//! Readers block, on a thread of their own, for at most the time they are given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::future::BoxFuture;

use crate::batch::RawBatch;
use crate::error::Failure;
use crate::position::{Partition, Position};

/// Through which position each partition was read; a partition that is absent is read from its beginning.
pub type Positions = BTreeMap<Partition, Position>;

/// How much a reader may put into one batch.
#[derive(Debug, Clone, Copy)]
pub struct BatchBudget {
    /// Events at most.
    pub rows: usize,
    /// Payload bytes at most; a batch of a single larger event is allowed.
    pub bytes: usize,
}

/// What a reader has to say.
#[expect(
    clippy::large_enum_variant,
    reason = "returned once for each batch and taken apart at once; a box would be dearer"
)]
#[derive(Debug)]
pub enum ReadEvent {
    /// Events that were waiting.
    Batch(RawBatch),
    /// Nothing came within the time given.
    Idle,
    /// Nothing will come any more: a file without `follow` was read to its end.
    End,
}

/// A place in a source, as people name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Point {
    /// Behind the last event that exists now.
    #[default]
    Latest,
    /// At the first event that the source still has.
    Earliest,
    /// Where the source's consumer group is.
    Committed,
    /// At the first event that the source recorded at or after this time, microseconds since the epoch.
    Time(i64),
    /// At the event with this number, partition by partition.
    Numbers(BTreeMap<Partition, u64>),
}

/// What a source that several hosts share keeps of a view's progress in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Through where every view of the group had everything at the last commit; `None` = the group has committed
    /// nothing here.
    pub group: Option<Position>,
    /// Through where this view's output stream has records; `None` = the group does not know the view.
    pub view: Option<Position>,
    /// The view's epoch: how often it was rewound.
    pub epoch: u32,
    /// The group has read other partitions, and this one came into being since: all of it counts.
    pub is_new: bool,
}

/// How far a view's output stream is, for a source that keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewProgress {
    /// Through where the output stream, or without one the online store, has the view's rows.
    pub through: Option<Position>,
    /// How often the view was rewound.
    pub epoch: u32,
}

/// Who has to know when partitions of a shared source come and go: the flow. Called by the source's own thread, one
/// call at a time.
pub trait Assignee: Send + Sync {
    /// These are this host's from now on; [`Source::partitions`] names them already.
    fn assigned(&self, partitions: &[Partition]);

    /// These go to another host: finishes what has begun and makes it durable until the deadline, and gives up the
    /// rest. On return nothing of them is under way, and [`Source::release`] has been told how far they are.
    fn revoked(&self, partitions: &[Partition], deadline: Instant);

    /// These belong to another host already: drops what has begun. On return nothing new is emitted for them.
    fn lost(&self, partitions: &[Partition]);
}

/// An opened stream source.
pub trait Source: Send + Sync {
    /// The partitions that this host reads now: all that exist, or those that a group has given it.
    fn partitions(&self) -> Result<Vec<Partition>, Failure>;

    /// Takes part in the group that shares this source, if there is one; from now on partitions come and go. To be
    /// called once.
    fn join(&self, _assignee: Arc<dyn Assignee>) {}

    /// Leaves the group: partitions are revoked first. Blocks until that is done.
    fn leave(&self) {}

    /// What the source keeps of a view's progress; `None` for a source that keeps nothing of the kind.
    fn kept(&self, _view: &str, _partition: &Partition) -> Result<Option<Kept>, Failure> {
        Ok(None)
    }

    /// The position right before a point: a view that begins there has everything through it; `None` = nothing lies
    /// before. Fails with [`crate::error::Disposition::Stop`] where the source has no such point.
    fn find(&self, partition: &Partition, point: &Point) -> Result<Option<Position>, Failure> {
        match point {
            Point::Latest => self.end(partition),
            Point::Earliest => Ok(None),
            Point::Committed | Point::Time(_) | Point::Numbers(_) => Err(Failure::stop(format!(
                "find that place in partition `{partition}`: this source knows `earliest` and `latest` only"
            ))),
        }
    }

    /// Whether [`Source::end`] can be answered. A source that cannot tells by [`crate::batch::Attributes::at_end`]
    /// when a reader has reached what is its end then, and fails [`Source::end`].
    fn knows_end(&self) -> bool {
        true
    }

    /// Position of the last event that exists now in a partition; `None` if it is empty.
    fn end(&self, partition: &Partition) -> Result<Option<Position>, Failure>;

    /// Whether a view that has everything through a position can go on in this partition. Fails with
    /// [`crate::error::Disposition::Stop`] where the position means events of an earlier stream of the same name.
    fn check_position(&self, _partition: &Partition, _position: &Position) -> Result<(), Failure> {
        Ok(())
    }

    /// A reader of these partitions that starts behind the given positions.
    fn read(&self, partitions: &[Partition], after: &Positions) -> Result<Box<dyn Reader>, Failure>;

    /// Every sink of every view is durably past `through`: what lies before may be forgotten; nothing may if it is
    /// `None`. `views`: how far each is, for sources that keep it.
    fn release(
        &self,
        partition: &Partition,
        through: Option<&Position>,
        views: &BTreeMap<String, ViewProgress>,
    ) -> Result<(), Failure>;
}

/// Reads a source onward. Owned by one thread.
pub trait Reader: Send {
    /// The next events of one partition, waiting at most `wait` for the first of them.
    fn next(&mut self, budget: BatchBudget, wait: Duration) -> Result<ReadEvent, Failure>;
}

/// Events that a client hands over, one JSON object (or raw payload) per entry.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// The body.
    pub body: Bytes,
    /// Start and end of each event within the body.
    pub rows: Vec<(u32, u32)>,
    /// A client's own name and count, so that a repeat is recognized.
    pub producer: Option<(String, u64)>,
}

/// An event that was refused when it was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow {
    /// Index within the request.
    pub row: u32,
    /// A stable code.
    pub code: &'static str,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// What became of a push, said after the log was synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushAck {
    /// Events that are logged.
    pub accepted: u32,
    /// Events that are not.
    pub rejected: Vec<RefusedRow>,
    /// Position of the last accepted event; `None` if none was.
    pub through: Option<Position>,
    /// Whether this producer and sequence was seen before: nothing was logged again.
    pub repeated: bool,
}

/// Why nothing of a push was taken.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The log is at its size limit: sinks have to catch up first.
    #[error("the log of source `{0}` is full: its views have to catch up first")]
    Full(String),
    /// A sequence number below the last one of this producer, which is not a repeat of it.
    #[error("producer `{producer}` sent sequence {sequence} after {last}")]
    OutOfSequence {
        /// The producer's name.
        producer: String,
        /// What it sent.
        sequence: u64,
        /// The last that was accepted.
        last: u64,
    },
    /// The host is stopping.
    #[error("the host is stopping")]
    Stopping,
    /// The log could not be written.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// A source that takes events by push.
pub trait Push: Send + Sync {
    /// Validates, logs and syncs events. Answers once they are durable.
    fn push(&self, request: PushRequest) -> BoxFuture<'static, Result<PushAck, PushError>>;

    /// The partition that pushed events go to.
    fn partition(&self) -> Partition;
}
