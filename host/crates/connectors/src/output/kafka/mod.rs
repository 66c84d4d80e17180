//! An output stream that is a Kafka topic: a record for each row, keyed by entity.
//!
//! At least once, with a producer of its own for each view:
//!
//! ```text
//! emit ─▶ lane ─▶ encode, hand over on the caller's thread ─▶ librdkafka ─▶ broker
//!            ▲                                                   │ acknowledgements, by request
//!            └── position, answers ◀── ticket of the batch ◀── delivery thread
//! ```
//!
//! A *lane* is one source partition of the view: its batches are handed over in order, and done in order. A *ticket*
//! counts a batch's records off; its pointer travels with each of them. When the producer's queue is full, the rest of a
//! batch waits in its lane, and the caller's future goes on when there is room.
//!
//! *Stop, never skip.* With the first record that fails the session ends: callers are kept out, the producer is purged and
//! dropped, everything under way fails, and each lane stays closed until the earliest batch that failed is emitted again.
//! Within a producer `enable.gapless.guarantee` sees to it that nothing goes out behind a failed record; that callers are
//! kept out before the purge does so for records that the purge takes.
//!
//! *Whose partition it is.* Where the source's consumer group keeps positions, nothing is handed over for a partition that
//! the group does not hold, and what waits in the queue is purged as soon as it no longer does.
//!
//! Exactly once, callers encode only; one thread commits what waits, of all lanes, in one transaction after the other, with
//! the group's offsets or a record of the progress topic inside. Any end but a clean commit ends the producer. The next one
//! has the same transactional id, so that nothing of the old one can follow; then what was committed is read again.
//!
//! A record that is larger than the topic takes is put aside as a dead letter, and its partition goes on.

mod delivery;
mod encoded;
mod held;
mod native;
mod options;
mod output;
mod progress_topic;
mod session;
mod stream;
mod topic;
mod transaction;
mod transactions;
mod truth;
mod watchdog;

#[cfg(test)]
mod tests;

use model::error::Failure;
use model::output::Emission;

pub use options::{KafkaOutputOptions, Progress};
pub use output::KafkaOutput;

use super::ticket::Delivered;
use crate::kafka::OutputMetrics;

/// Where batches are counted.
fn delivered(metrics: &OutputMetrics) -> Delivered {
    Delivered {
        seconds: metrics.delivery_seconds.clone(),
        records: metrics.records.clone(),
        bytes: metrics.bytes.clone(),
    }
}

/// Puts aside a record that the topic would not take: on disk or acknowledged on return.
fn too_large(
    options: &KafkaOutputOptions,
    max_record: usize,
    emission: &Emission,
    row: usize,
    value: &[u8],
) -> Result<(), Failure> {
    let reason = format!(
        "its record has more than the {max_record} bytes that topic `{}` takes; raise the topic's `max.message.bytes`",
        options.topic
    );
    super::too_large::put_aside(&*options.dead_letters, emission, row, value, &reason)
}
