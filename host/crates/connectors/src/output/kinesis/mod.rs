//! An output stream that is a Kinesis stream: a record for each row, keyed by entity.
//!
//! ```text
//! emit ─▶ lane ─▶ encode on the caller's thread ─▶ queue ─▶ sender ─▶ PutRecords, several at once
//!            ▲                                       │  ▲                 │ what was taken, what was not
//!            └── position, answers ◀── ticket ◀──────┘  └── again, later ◀┘
//! ```
//!
//! A *lane* is one source partition of the view: its batches are encoded in order, and done in order. A *ticket* counts a
//! batch's records off. The *queue* holds encoded records until Kinesis has acknowledged them, and is bounded in bytes: when
//! it is full, the rest of a batch waits in its lane, and the caller's future goes on when there is room.
//!
//! *Data* is the record that all output streams carry with one more member, `millrace`: the identity of the row. The
//! *partition key* is the entity, as the key of a Kafka message; an entity that makes no partition key, because it is empty or
//! has more than 256 characters, is replaced by the SHA-256 of its text in hex.
//!
//! *Ordered*, which is the default: PutRecords takes some records of a request and not others, in any order, so at most one
//! record of a partition key is unacknowledged at any time, and the next one of that key waits for it. Different keys go
//! 500 to a request, several requests at once; one hot key alone goes at one record per round trip. *Unordered*, records go as
//! they come.
//!
//! *Never skip.* What a request did not take is sent again, and nothing else of it: what was too much for a shard after a pause
//! that grows, while other shards' records go on; the rest at once or after a pause. While nobody answers, the queue
//! fills up and callers wait. When only an operator can mend it, everything under way fails, and each lane stays closed until
//! the earliest batch that failed is emitted again. A request without an answer may have been taken, so records can be there
//! twice, and the second time late: consumers drop repeats by the identity.
//!
//! Not here: aggregation as producers of Amazon's library do it. It would bind several keys to one shard.

mod encode;
mod options;
mod output;
mod pace;
mod queue;
mod request;
mod sender;
mod stream;
mod summary;

#[cfg(test)]
mod tests;

pub use options::{KinesisOutputOptions, Progress};
pub use output::KinesisOutput;
