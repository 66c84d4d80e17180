//! Whether the topics that a stream writes are there, and how large a record they take.

use model::error::{Disposition, Failure};

use super::options::KafkaOutputOptions;
use super::progress_topic::PROGRESS_TOPIC;
use crate::kafka::{CreateTopic, DEFAULT_MAX_MESSAGE_BYTES, Topics, Watch};

/// Bytes of the greatest batch that the topic takes. Makes the topic if the options say so. Blocks.
pub(super) fn max_message_bytes(options: &KafkaOutputOptions, watch: &Watch) -> Result<usize, Failure> {
    let topics = Topics::open(&options.connection, watch)?;
    topics.ensure(&options.topic, options.create, &[])?;
    if let Some(known) = options.max_message_bytes {
        return Ok(known);
    }
    match topics.settings(&options.topic) {
        Ok(Some(settings)) => Ok(settings.max_message_bytes),
        Ok(None) => Ok(DEFAULT_MAX_MESSAGE_BYTES),
        Err(failure) if failure.disposition == Disposition::Retry => Err(failure),
        Err(failure) => {
            // What brokers do unless told otherwise; a smaller limit would show as a failed delivery.
            tracing::debug!(topic = options.topic, error = %failure, "failed to ask how large a record the topic takes");
            Ok(DEFAULT_MAX_MESSAGE_BYTES)
        }
    }
}

/// Makes the progress topic if it is missing. Blocks.
pub(super) fn ensure_progress(options: &KafkaOutputOptions, watch: &Watch) -> Result<(), Failure> {
    let topics = Topics::open(&options.connection, watch)?;
    let how = CreateTopic { partitions: 1, replication: None };
    match topics.ensure(PROGRESS_TOPIC, Some(how), &[("cleanup.policy", "compact")])? {
        1 => Ok(()),
        partitions => Err(Failure::stop(format!(
            "keep progress in topic `{PROGRESS_TOPIC}`: it has {partitions} partitions; delete it, and it is made anew \
             with one"
        ))),
    }
}
