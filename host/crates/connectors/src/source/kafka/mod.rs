//! The Kafka source: records of topics, whose partitions several hosts share.
//!
//! A partition is called `<topic>-<number>`. A position is the offset of a record, 8 bytes, big-endian; through a position
//! means that the record itself is done, where Kafka's own commits name the next one.
//!
//! - **Two halves.** [`crate::kafka::Group`] takes part in the consumer group: it says which partitions are this host's
//!   and commits. Readers take records out of partitions at explicit offsets and know of no group, so that neither
//!   ever waits for the other. Each reader is a client of its own: one for all views that keep up, one for each that
//!   catches up.
//! - **Batches** are whatever is waiting, one partition each, in the order of the topic. Each record is copied once;
//!   keys go along, headers if the source is set up so, and the record's own timestamp is the ingest time.
//! - **No events**: tombstones (records without a value; counted), records of aborted transactions, transaction
//!   markers, compacted ones. Batches cover them; where nothing follows, a batch without events does.
//! - **Back-pressure**: a reader that is not asked takes nothing, and its client holds a bounded number of bytes.
//! - **Brokers that are away** leave a reader idle. It goes on by itself when they are back.
//! - **Offsets that are gone** stop the source, or are passed over and counted, as it chooses. A topic that ends before
//!   the position was made anew: offsets that were done once cannot be told from those that come again, so that its
//!   views have to be rewound.

mod fetcher;
mod gap;
mod lane;
mod reader;
mod source;
#[cfg(test)]
mod tests;
mod topic_set;

pub use source::{KafkaSource, KafkaSourceOptions};
pub use topic_set::{TopicSet, TopicSetOptions};
