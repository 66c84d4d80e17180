//! Dead letters in a Kafka topic: the payload as it was read, what is known of it in headers.
//!
//! Headers: `view`, `source`, `partition`, `position`, `code`, `reason`, `digest`, and `time`, which is when the source
//! recorded the event. They mean what the fields of the same names mean in a dead-letter file. Of a payload that is larger
//! than the topic takes only the beginning is kept, and `payload_bytes` says how long it was. Records have no key. The
//! topic is never read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, mem};

use model::dead_letter::{DeadLetter, DeadLetters};
use model::error::{Disposition, Failure};
use model::time::EventTime;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, ProducerContext};

use crate::kafka::{Connection, CreateTopic, DEFAULT_MAX_MESSAGE_BYTES, Shared, Topics, Watch, Watched};

#[cfg(test)]
mod tests;

/// How long all letters of one call may take; then the caller tries again.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// How long to wait for an acknowledgement before looking at the clock.
const POLL: Duration = Duration::from_millis(100);
/// Bytes that a record takes beside payload and headers, generously.
const OVERHEAD: usize = 500;
/// Bytes of a reason that are kept.
const MAX_REASON_BYTES: usize = 4_096;

/// Where dead letters go.
#[derive(Debug, Clone)]
pub struct KafkaDeadLettersOptions {
    /// The cluster.
    pub connection: Connection,
    /// The topic.
    pub topic: String,
    /// How to make the topic if it is missing; `None` = a missing topic is an error.
    pub create: Option<CreateTopic>,
    /// Bytes of the greatest batch that the topic takes (`max.message.bytes`); `None` = the broker is asked.
    pub max_message_bytes: Option<usize>,
    /// Metrics, and what is known of the cluster.
    pub shared: Shared,
}

/// Dead letters in a Kafka topic. Any number of views and hosts may share it.
pub struct KafkaDeadLetters {
    options: KafkaDeadLettersOptions,
    watch: Watch,
    /// `None` until the cluster has answered, and after a failure.
    writer: Mutex<Option<Writer>>,
}

struct Writer {
    producer: BaseProducer<Context>,
    max_message: usize,
}

/// What is known of the letters of one call.
#[derive(Default)]
struct Outcome {
    waiting: AtomicUsize,
    failed: OnceLock<Code>,
}

impl KafkaDeadLetters {
    /// Looks at the topic and makes it if the options say so. While no broker answers this works all the same, and writing
    /// fails until one does. Blocks.
    ///
    /// Stops with words if the topic is missing or may not be written.
    pub fn open(options: KafkaDeadLettersOptions) -> Result<Arc<Self>, Failure> {
        let watch = options.shared.watch(&options.connection);
        let writer = match Writer::open(&options, &watch) {
            Ok(writer) => Some(writer),
            Err(failure) if failure.disposition == Disposition::Stop => return Err(failure),
            Err(_) => None,
        };
        Ok(Arc::new(Self { options, watch, writer: Mutex::new(writer) }))
    }

    fn doing(&self) -> String {
        format!("write dead letters to topic `{}`", self.options.topic)
    }

    fn write_with(&self, writer: &Writer, letters: &[DeadLetter<'_>]) -> Result<(), Failure> {
        let failed = |error: &KafkaError| self.watch.failure(&self.doing(), error);
        let deadline = Instant::now() + WRITE_LIMIT;
        let late = || {
            let late =
                || Failure::retry(format!("{}: the broker does not acknowledge in time", self.doing()));
            self.watch.trouble().unwrap_or_else(late)
        };
        let outcome = Arc::new(Outcome::default());
        for letter in letters {
            let (headers, payload) = record(letter, writer.max_message);
            outcome.waiting.fetch_add(1, Ordering::AcqRel);
            let mut record =
                BaseRecord::<(), [u8], _>::with_opaque_to(&self.options.topic, Arc::clone(&outcome))
                    .payload(payload)
                    .headers(headers);
            loop {
                match writer.producer.send(record) {
                    Ok(()) => break,
                    Err((error, back)) if error.rdkafka_error_code() == Some(Code::QueueFull) => {
                        record = back;
                        writer.producer.poll(POLL);
                        if deadline <= Instant::now() {
                            return Err(late());
                        }
                    }
                    Err((error, _)) => return Err(failed(&error)),
                }
            }
        }
        while outcome.waiting.load(Ordering::Acquire) > 0 {
            // Returns as soon as there is something, and then waits for no more.
            writer.producer.poll(POLL.min(Duration::from_millis(1)));
            if deadline <= Instant::now() {
                return Err(late());
            }
        }
        match outcome.failed.get() {
            Some(code) => Err(failed(&KafkaError::MessageProduction(*code))),
            None => Ok(()),
        }
    }
}

impl DeadLetters for KafkaDeadLetters {
    fn write(&self, letters: &[DeadLetter<'_>]) -> Result<(), Failure> {
        if letters.is_empty() {
            return Ok(());
        }
        let mut guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = match &mut *guard {
            Some(writer) => writer,
            none => none.insert(Writer::open(&self.options, &self.watch)?),
        };
        let written = self.write_with(writer, letters);
        if written.is_err() {
            // What is still under way is given up, and so is a producer that may have a fatal error.
            drop(mem::take(&mut *guard));
        }
        written
    }
}

impl Writer {
    fn open(options: &KafkaDeadLettersOptions, watch: &Watch) -> Result<Self, Failure> {
        let topics = Topics::open(&options.connection, watch)?;
        topics.ensure(&options.topic, options.create, &[])?;
        let max_message = match options.max_message_bytes {
            Some(known) => known,
            None => match topics.settings(&options.topic) {
                Ok(settings) => {
                    settings.map_or(DEFAULT_MAX_MESSAGE_BYTES, |settings| settings.max_message_bytes)
                }
                Err(failure) if failure.disposition == Disposition::Retry => return Err(failure),
                Err(_) => DEFAULT_MAX_MESSAGE_BYTES,
            },
        };
        let mut config = options.connection.config();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("message.timeout.ms", WRITE_LIMIT.as_millis().to_string())
            .set("message.max.bytes", max_message.to_string())
            .set("delivery.report.only.error", "false");
        let producer = BaseProducer::from_config_and_context(
            &config,
            Watched { watch: watch.clone(), beside: Deliveries },
        )
        .map_err(|error| {
            watch.failure(&format!("write dead letters to topic `{}`", options.topic), &error)
        })?;
        Ok(Self { producer, max_message })
    }
}

/// Headers of a letter, and as much of its payload as the topic takes.
fn record<'a>(letter: &DeadLetter<'a>, max_message: usize) -> (OwnedHeaders, &'a [u8]) {
    let reason = &letter.reason[..letter.reason.floor_char_boundary(MAX_REASON_BYTES)];
    let (position, digest) = (letter.position.to_string(), letter.digest.short());
    let (time, length) = (EventTime(letter.ingest_time).to_string(), letter.payload.len().to_string());
    let mut fields = vec![
        ("view", letter.view),
        ("source", letter.source),
        ("partition", letter.partition.as_str()),
        ("position", &position),
        ("code", letter.code),
        ("reason", reason),
        ("digest", &digest),
        ("time", &time),
    ];
    let taken: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    let room = max_message.saturating_sub(taken + OVERHEAD);
    let payload = &letter.payload[..letter.payload.len().min(room)];
    if payload.len() < letter.payload.len() {
        fields.push(("payload_bytes", &length));
    }
    let headers =
        fields.iter().fold(OwnedHeaders::new_with_capacity(fields.len()), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(*value) })
        });
    (headers, payload)
}

impl fmt::Debug for KafkaDeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaDeadLetters").field("options", &self.options).finish_non_exhaustive()
    }
}

type Context = Watched<Deliveries>;

/// Hears of deliveries.
struct Deliveries;

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Outcome>;

    fn delivery(&self, result: &DeliveryResult<'_>, outcome: Arc<Outcome>) {
        if let Err((error, _)) = result {
            // The first one counts; what follows is mostly its consequence.
            let _ = outcome.failed.set(error.rdkafka_error_code().unwrap_or(Code::Fail));
        }
        outcome.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
