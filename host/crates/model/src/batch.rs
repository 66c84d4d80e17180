//! Events and feature rows in batches: columns, and the input that they cover.

use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;

use crate::position::{Covers, Partition, PositionColumn};
use crate::view::{Digest, Generation, ViewRef};

/// Undecoded events of one source partition, in order; what a source reads.
#[derive(Debug, Clone)]
pub struct RawBatch {
    /// The partition that they come from.
    pub partition: Partition,
    /// One allocation that holds all payloads.
    pub data: Bytes,
    /// Start and end of each payload within `data`; at most 4 GiB a batch.
    pub payloads: Vec<(u32, u32)>,
    /// Position of each event.
    pub positions: PositionColumn,
    /// When the source recorded each event, microseconds since the epoch; empty = `ingest_time` for all.
    pub ingest_times: Vec<i64>,
    /// When the source recorded the whole batch, where `ingest_times` is empty.
    pub ingest_time: i64,
    /// The input that this batch covers; wider than `positions` where the source skipped something (a blank line).
    pub covers: Covers,
    /// What the source knows of events beside their payloads.
    pub attributes: Attributes,
}

/// Start and end within [`RawBatch::data`] of something that is not there.
pub const ABSENT: (u32, u32) = (u32::MAX, u32::MAX);

/// Keys and headers of events, as ranges within [`RawBatch::data`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Key of each event, or [`ABSENT`]; empty = none has one.
    pub keys: Vec<(u32, u32)>,
    /// Headers of all events, one event after the other.
    pub headers: Vec<Header>,
    /// Number of headers through each event; empty = none has any.
    pub header_ends: Vec<u32>,
    /// Whether the source had nothing behind this batch when it was read. Said, at least once by each reader, by
    /// sources that cannot say where they end ([`crate::source::Source::knows_end`]); if need be by a batch without
    /// events that covers nothing new.
    pub at_end: bool,
}

/// A header of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its name, UTF-8.
    pub name: (u32, u32),
    /// Its value, or [`ABSENT`].
    pub value: (u32, u32),
}

impl RawBatch {
    /// Number of events.
    pub fn len(&self) -> usize {
        self.payloads.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.payloads.is_empty()
    }

    /// The payload of an event. Panics if there is no such event.
    pub fn payload(&self, row: usize) -> &[u8] {
        let (start, end) = self.payloads[row];
        &self.data[start as usize..end as usize]
    }

    /// The key of an event. Panics if there is no such event.
    pub fn key(&self, row: usize) -> Option<&[u8]> {
        if self.attributes.keys.is_empty() { None } else { self.bytes(self.attributes.keys[row]) }
    }

    /// Name and value of each header of an event. Panics if there is no such event.
    pub fn headers(&self, row: usize) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let ends = &self.attributes.header_ends;
        let end = |row: usize| ends.get(row).map_or(0, |end| *end as usize);
        let start = if row == 0 { 0 } else { end(row - 1) };
        self.attributes.headers[start..end(row)]
            .iter()
            .map(|header| (self.bytes(header.name).unwrap_or_default(), self.bytes(header.value)))
    }

    fn bytes(&self, range: (u32, u32)) -> Option<&[u8]> {
        if range == ABSENT { None } else { Some(&self.data[range.0 as usize..range.1 as usize]) }
    }

    /// When the source recorded an event, microseconds since the epoch.
    pub fn ingest_time(&self, row: usize) -> i64 {
        self.ingest_times.get(row).copied().unwrap_or(self.ingest_time)
    }

    /// Bytes that this batch keeps alive, for budgets.
    pub fn weight(&self) -> usize {
        self.data.len()
            + self.payloads.len() * (8 + self.positions.width() + 8)
            + self.attributes.keys.len() * 8
            + self.attributes.headers.len() * 16
            + self.attributes.header_ends.len() * 4
    }
}

/// A row that could not be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Row of the batch that it was found in.
    pub row: u32,
    /// A stable code, such as `decode`, `rejected`, `trap`, `timeout`, `event_time`, `null_key`,
    /// `record_too_large`.
    pub code: &'static str,
    /// What is wrong, for people.
    pub message: String,
}

/// Decoded events of one source partition: what views share.
#[derive(Debug)]
pub struct EventBatch {
    /// The events as they were read; dead letters quote them.
    pub raw: RawBatch,
    /// All columns of the source's schema, in declared order; one row per event that could be decoded.
    pub columns: RecordBatch,
    /// The raw row of each row of `columns`; empty = one to one.
    pub raw_rows: Vec<u32>,
    /// Events that could not be decoded; `row` is a raw row.
    pub rejected: Vec<Rejected>,
}

impl EventBatch {
    /// The raw row behind a row of `columns`.
    pub fn raw_row(&self, row: usize) -> usize {
        self.raw_rows.get(row).map_or(row, |raw| *raw as usize)
    }

    /// Bytes that this batch keeps alive, for budgets.
    pub fn weight(&self) -> usize {
        self.raw.weight() + self.columns.get_array_memory_size()
    }
}

/// Feature rows of one view that come from one stretch of one source partition.
#[derive(Debug)]
pub struct FeatureBatch {
    /// The view that they belong to.
    pub view: ViewRef,
    /// Columns in the order of [`crate::view::ViewShape::columns`]: join keys, then features.
    pub rows: RecordBatch,
    /// Event time of each row, microseconds since the epoch.
    pub event_times: Vec<i64>,
    /// Source partition.
    pub partition: Partition,
    /// Source position of each row.
    pub positions: PositionColumn,
    /// Which of the outputs of its input row each row is, from 0; empty = all 0.
    pub ordinals: Vec<u32>,
    /// The transform that made them.
    pub generation: Generation,
    /// The input that is done once this batch is delivered; a batch without rows still moves positions.
    pub covers: Covers,
}

impl FeatureBatch {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.event_times.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.event_times.is_empty()
    }

    /// Which of the outputs of its input row a row is.
    pub fn ordinal(&self, row: usize) -> u32 {
        self.ordinals.get(row).copied().unwrap_or(0)
    }

    /// Digest of component and parameters.
    pub fn digest(&self) -> Digest {
        self.generation.digest
    }
}

/// A shared decoded batch.
pub type SharedEvents = Arc<EventBatch>;

/// For each row of a [`FeatureBatch`]: whether the online store took it (false: it held something newer).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows that were older than what the store held, ascending.
    pub late: Vec<u32>,
}

impl Applied {
    /// Whether the online store took this row.
    pub fn is_applied(&self, row: usize) -> bool {
        u32::try_from(row).is_ok_and(|row| self.late.binary_search(&row).is_err())
    }
}
