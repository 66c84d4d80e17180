//! One producer from its birth to the first failure: nothing is emitted with a producer that has lost a record.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::error::Failure;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::native::Producer;
use super::options::KafkaOutputOptions;
use super::topic::{self, Limit};
use crate::kafka::{Watch, error};

/// Bytes that a record takes in a request beside key, value and header value, generously.
pub(super) const RECORD_OVERHEAD: usize = 200;

/// How long the client is given to begin to send: long enough for a thread to wake on a busy machine.
const PUSH: Duration = Duration::from_millis(1);
/// How long to wait for the first report after a push before the next; doubled each time that brings nothing.
const MIN_PATIENCE: Duration = Duration::from_millis(4);
/// How long to wait for reports in any case, before looking around.
const MAX_PATIENCE: Duration = Duration::from_millis(100);
/// With so few records in the client, none waits for those before it to be back: there is nothing to gather.
const FEW: usize = 32;

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
    /// Records that were handed over.
    handed: AtomicU64,
    /// See [`Session::push`].
    pushes: bool,
}

/// How far a session's deliveries are; the delivery thread's.
pub(super) struct Deliveries {
    reported: u64,
    /// Records that had been handed over when the client was told to send the last time.
    pushed: u64,
    /// How long to wait for a report before the client is told again.
    patience: Duration,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self { reported: 0, pushed: 0, patience: MAX_PATIENCE }
    }
}

impl Deliveries {
    /// How long to wait for reports before [`Session::push`] is called again.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }
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
        let pushes = options.pushes() && transactional.is_none();
        Ok(Self { producer, max_record, limit, failed: Mutex::new(None), handed: AtomicU64::new(0), pushes })
    }

    /// Records were handed over.
    pub(super) fn handed_over(&self, records: usize) {
        self.handed.fetch_add(records as u64, Ordering::AcqRel);
        if self.pushes {
            self.producer.wake();
        }
    }

    /// Records were reported, or none within [`Deliveries::patience`] (`waited`). Has the client send what waits, once
    /// everything is back that it was told to send before.
    ///
    /// An idempotent producer has one request under way for each partition. With a linger of 0 librdkafka spends that
    /// time in a busy loop as soon as further records wait, which costs a quarter of all that it does with them. With a
    /// long one and a push when the last one is done, records that come meanwhile gather into one request, and a single
    /// record on an idle stream goes at once.
    pub(super) fn push(&self, deliveries: &mut Deliveries, reported: u64, waited: bool) {
        deliveries.reported += reported;
        let handed = self.handed.load(Ordering::Acquire);
        // Batches that are being handed over are not counted yet, though some of their records may be back.
        let waiting = handed.saturating_sub(deliveries.reported);
        if !self.pushes || waiting == 0 {
            deliveries.patience = MAX_PATIENCE;
            return;
        }
        let all_back = deliveries.reported >= deliveries.pushed;
        let news = reported > 0 || handed > deliveries.pushed;
        if all_back || news && self.producer.outstanding() <= FEW {
            deliveries.patience = MIN_PATIENCE;
        } else if reported == 0 && waited {
            // More partitions than requests that may be under way, or a busy machine has let the client miss a push.
            deliveries.patience = (deliveries.patience * 2).min(MAX_PATIENCE);
        } else {
            return;
        }
        deliveries.pushed = handed;
        self.producer.push(PUSH);
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
