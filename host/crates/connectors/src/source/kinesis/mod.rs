//! The Kinesis source: records of a stream, whose shards several hosts share.
//!
//! A partition is a shard and has its name. A position is a sequence number and the place within a record that the
//! Kinesis Producer Library packed, see [`crate::kinesis::position`].
//!
//! - **Two halves**, as for Kafka. [`crate::kinesis::lease::Leases`] says which shards are this host's and keeps progress.
//!   Readers know of positions only: one for all views that keep up, one for each that catches up.
//! - **Fetching** is a task for each shard of a reader, a little ahead of the flow: two answers of a shard, and a bound
//!   on the bytes of all. A shard is asked five times a second, whoever reads it, and rests after large answers.
//! - **Batches** are cut from one answer each. Each event is copied once; partition keys go along, and the time of
//!   arrival is the ingest time. Records that were packed are unpacked, each event with a position of its own.
//! - **Lineage**: a child of a split or merge gives nothing until its parents were read, delivered and released to their
//!   end. The end of a closed shard is a batch without events that covers through [`crate::kinesis::position::end`].
//! - **The tip.** Kinesis does not say where a shard ends. The first time that a reader has read everything that there
//!   was when it was opened, it says so by a batch without events.
//! - **Kinesis that is away**, throttles or wants other credentials leaves a reader idle; it goes on by itself. Iterators
//!   that expire are made anew from the last record.
//! - **Records that are gone** stop the source, or are passed over and counted, as it chooses. A position that is none of
//!   the stream's means that this was made anew, and its views have to be rewound.
//!
//! Not done: enhanced fan-out. All consumers of a shard share its five questions a second.

mod calls;
mod fetcher;
mod gap;
mod inbox;
mod kpl;
mod lineage;
mod reader;
mod setback;
mod source;
mod standing;
mod stretch;
#[cfg(test)]
mod tests;
mod turns;

pub use source::{KinesisSource, KinesisSourceOptions};
