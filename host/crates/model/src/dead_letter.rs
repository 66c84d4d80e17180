//! Events that could not become features: kept with the reason, so that nothing vanishes.

use crate::error::Failure;
use crate::position::{Partition, Position};
use crate::view::Digest;

/// One event that was put aside.
#[derive(Debug, Clone)]
pub struct DeadLetter<'a> {
    /// The view that could not use it.
    pub view: &'a str,
    /// Its source.
    pub source: &'a str,
    /// Its partition.
    pub partition: &'a Partition,
    /// Its position.
    pub position: Position,
    /// A stable code: `decode`, `rejected`, `trap`, `timeout`, `memory`, `guest_error`, `bad_output`, `event_time`, `null_key`,
    /// `record_too_large`.
    pub code: &'static str,
    /// What was wrong.
    pub reason: &'a str,
    /// When the source recorded it, microseconds since the epoch.
    pub ingest_time: i64,
    /// Digest of the component and parameters that were at work.
    pub digest: Digest,
    /// The payload as it was read.
    pub payload: &'a [u8],
}

/// Keeps dead letters.
pub trait DeadLetters: Send + Sync {
    /// Writes and syncs them; on return they are durable. After a crash some may be there twice.
    fn write(&self, letters: &[DeadLetter<'_>]) -> Result<(), Failure>;
}
