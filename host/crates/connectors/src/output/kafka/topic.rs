//! Whether the topics that a stream writes are there, and how large a record they take.

use model::error::{Disposition, Failure};

use super::options::KafkaOutputOptions;
use super::progress_topic::PROGRESS_TOPIC;
use crate::kafka::{CreateTopic, DEFAULT_MAX_MESSAGE_BYTES, Topics, Watch};

/// How large a batch the topic takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) bytes: usize,
    /// Whether the broker has said so just now.
    pub(super) is_known: bool,
}

/// How large a batch the topic takes. Makes the topic if the options say so. Blocks.
pub(super) fn limit(options: &KafkaOutputOptions, watch: &Watch) -> Result<Limit, Failure> {
    let topics = Topics::open(&options.connection, watch)?;
    topics.ensure(&options.topic, options.create, &[])?;
    if let Some(bytes) = options.max_message_bytes {
        return Ok(Limit { bytes, is_known: false });
    }
    match topics.settings(&options.topic) {
        Ok(Some(settings)) => Ok(Limit { bytes: settings.max_message_bytes, is_known: true }),
        Ok(None) => Ok(Limit { bytes: DEFAULT_MAX_MESSAGE_BYTES, is_known: false }),
        Err(failure) if failure.disposition == Disposition::Retry => Err(failure),
        Err(failure) => {
            // What brokers do unless told otherwise; a smaller limit would show as a failed delivery.
            tracing::debug!(topic = options.topic, error = %failure, "failed to ask how large a record the topic takes");
            Ok(Limit { bytes: DEFAULT_MAX_MESSAGE_BYTES, is_known: false })
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
