//! Output streams: each feature row becomes a record that others consume.
//!
//! Contract of [`OutputStream::emit`]: records go out in the order of the batches handed over; rows at or below the
//! stream's position for that view and partition are skipped, the rest is emitted whatever the online store made of
//! them. The future resolves once the records and the position are durable. After a failure nothing further is
//! emitted until the caller repeats the failed batch.

use std::sync::Arc;

use futures_core::future::BoxFuture;

use crate::batch::{Applied, FeatureBatch};
use crate::error::Failure;
use crate::position::{Partition, Position};

/// The schema of output records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordVersion {
    /// All strings; what consumers of Tecton's output stream read.
    #[default]
    V1,
    /// A typed superset.
    V2,
}

/// What a view asks of its output stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputOptions {
    /// Record schema.
    pub version: RecordVersion,
    /// Whether feature values are in the record.
    pub include_features: bool,
    /// The record's `producer`: `millrace`, or `tecton` for drop-in compatibility.
    pub producer: String,
}

/// Rows on their way out.
#[derive(Debug, Clone)]
pub struct Emission {
    /// The rows.
    pub batch: Arc<FeatureBatch>,
    /// What the online store made of them.
    pub applied: Applied,
    /// How records look.
    pub options: Arc<OutputOptions>,
    /// Raised by a deliberate rewind, so that consumers accept positions again.
    pub epoch: u32,
}

/// Takes output records.
pub trait OutputStream: Send + Sync {
    /// Through which position a view's partition is durably in the stream.
    fn position(&self, view: &str, partition: &Partition) -> Option<Position>;

    /// Emits the rows of a batch.
    fn emit(&self, emission: Emission) -> BoxFuture<'static, Result<(), Failure>>;

    /// Sets a view's partition back: what lies behind `to` will be emitted again, in this epoch. Durable on return;
    /// may block. Nothing of the view and partition may be under way.
    fn rewind(
        &self,
        view: &str,
        partition: &Partition,
        to: Option<Position>,
        epoch: u32,
    ) -> Result<(), Failure>;
}
