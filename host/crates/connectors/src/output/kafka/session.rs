//! One producer from its birth to the first failure: nothing is emitted with a producer that has lost a record.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use model::error::Failure;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::native::Producer;
use super::options::KafkaOutputOptions;
use super::topic::{self, Limit};
use crate::kafka::{Watch, error};

/// Bytes that a record takes in a request beside key, value and header value, generously.
pub(super) const RECORD_OVERHEAD: usize = 200;

/// What a producer of transactions has beside.
pub(super) struct Transactional {
    pub(super) id: String,
    /// After which the broker aborts by itself.
    pub(super) timeout: Duration,
    /// The second topic of its producers.
    pub(super) progress_topic: Option<&'static str>,
}

/// One producer.
pub(super) struct Session {
    pub(super) producer: Producer,
    /// Bytes of key, value and identity that the broker takes at most.
    pub(super) max_record: usize,
    limit: Limit,
    failed: Mutex<Option<Code>>,
}

impl Session {
    /// Looks at the topic and makes a producer for it. Blocks.
    pub(super) fn open(
        options: &KafkaOutputOptions,
        watch: &Watch,
        transactional: Option<&Transactional>,
    ) -> Result<Self, Failure> {
        let limit = topic::limit(options, watch)?;
        let max_message = limit.bytes;
        let mut config = options.producer(max_message);
        let mut topics = vec![options.topic.as_str()];
        if let Some(transactional) = transactional {
            config.set("transactional.id", &transactional.id);
            config.set("transaction.timeout.ms", transactional.timeout.as_millis().to_string());
            topics.extend(transactional.progress_topic);
        }
        let configured =
            config.get("message.max.bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(max_message);
        let producer = Producer::open(&config, &topics, watch.clone())
            .map_err(|error| watch.failure(&options.doing(), &error))?;
        let max_record = max_message.min(configured).saturating_sub(RECORD_OVERHEAD);
        Ok(Self { producer, max_record, limit, failed: Mutex::new(None) })
    }

    /// The producer refused a record, not for want of room.
    pub(super) fn fail(&self, code: Code) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(code);
        self.producer.wake();
    }

    pub(super) fn failed(&self) -> Option<Code> {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it means that a record was not delivered.
    pub(super) fn failure(&self, options: &KafkaOutputOptions, code: Code) -> Failure {
        if code == Code::MessageSizeTooLarge && self.limit.is_known {
            return Failure::retry(format!(
                "{}: the broker takes less than the {} bytes that it has said; its limit is looked at again",
                options.doing(),
                self.limit.bytes
            ));
        }
        error::code_failure(&options.connection.name, &options.doing(), code, None)
    }
}
