//! From payload bytes to columns.

use crate::batch::{EventBatch, RawBatch};
use crate::schema::Field;

/// How a timestamp column is written in the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampUnit {
    /// RFC 3339 text.
    #[default]
    Text,
    /// A whole number of seconds since the epoch.
    Seconds,
    /// A whole number of milliseconds since the epoch.
    Millis,
    /// A whole number of microseconds since the epoch.
    Micros,
}

/// A column of a source's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// Name, type, nullability.
    pub field: Field,
    /// For timestamps: how they are written.
    pub unit: TimestampUnit,
}

/// Names of columns that the source fills rather than the payload; a guest that declares one gets it.
pub mod metadata {
    /// When the source recorded the event: `timestamp`.
    pub const INGEST_TIME: &str = "_ingest_time";
    /// The event's key in its stream: `bytes`, null where the source has none.
    pub const KEY: &str = "_key";
    /// Source partition: `string`.
    pub const PARTITION: &str = "_partition";
    /// Source position: `bytes`.
    pub const POSITION: &str = "_position";
    /// The source position as a number, where the source counts (a Kafka offset): `int64`, null where it does not.
    pub const OFFSET: &str = "_offset";
    /// The event's headers in order: `list<struct<name: string, value: bytes>>`, empty where it has none.
    pub const HEADERS: &str = "_headers";
}

/// Decodes payloads of one format into the columns of one source.
///
/// A decoder may learn from what it has seen (field order, sizes), but what it answers depends on the batch alone.
pub trait Decoder: Send {
    /// Decodes all events; those that cannot be decoded are in `rejected` with code `decode`.
    fn decode(&mut self, raw: RawBatch) -> EventBatch;
}

/// Makes decoders of one format for one schema: each reading thread has its own.
pub trait Format: Send + Sync {
    /// A new decoder.
    fn decoder(&self) -> Box<dyn Decoder>;

    /// The columns that decoders produce, in this order.
    fn columns(&self) -> &[SourceColumn];
}
