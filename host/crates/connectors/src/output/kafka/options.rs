//! What an output stream is opened with, and the settings of its producers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::dead_letter::DeadLetters;
use model::error::Failure;
use model::online::Ledger;
use model::position::Partition;
use rdkafka::ClientConfig;

use crate::kafka::{Connection, CreateTopic, Group, Shared};
use crate::kinesis::lease::Leases;
use crate::output::keeper::{GroupKeeper, Keeper, LeaseKeeper, LedgerKeeper};

/// What an output stream is opened with.
#[derive(Clone)]
pub struct KafkaOutputOptions {
    /// The host's project; part of the transactional id.
    pub project: String,
    /// The view. Each has a producer of its own.
    pub view: String,
    /// The view's source, for dead letters and the progress topic.
    pub source: String,
    /// The cluster.
    pub connection: Connection,
    /// The topic.
    pub topic: String,
    /// How to make the topic if it is missing; `None` = a missing topic is an error.
    pub create: Option<CreateTopic>,
    /// Bytes of the greatest batch that the topic takes (`max.message.bytes`); `None` = the broker is asked.
    pub max_message_bytes: Option<usize>,
    /// Whether records and progress are written in transactions.
    pub exactly_once: bool,
    /// Further producer settings, by librdkafka's names. They are applied before what a promise rests on.
    pub options: BTreeMap<String, String>,
    /// Names this host, also after a restart; part of the transactional id.
    pub instance: String,
    /// Who keeps through where the stream has the view's partitions.
    pub progress: Progress,
    /// Where records go that the broker would not take.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// Metrics, and what is known of the cluster.
    pub shared: Shared,
}

/// Who keeps through where the stream has a view's partitions.
#[derive(Clone)]
pub enum Progress {
    /// The consumer group of the view's source, which is Kafka. Exactly-once: on the same connection, so that the
    /// transaction can hold it.
    Group(Arc<Group>),
    /// The leases of the view's source, which is Kinesis. Exactly-once: they say who may emit, and the progress topic
    /// keeps positions, as with [`Progress::Topic`].
    Leases(Arc<Leases>),
    /// This host's ledger, for sources that only it reads. At-least-once only.
    Ledger(Arc<dyn Ledger>),
    /// The topic `millrace-progress` beside the output. Exactly-once only, where the group cannot be in the transaction.
    Topic {
        /// The group of a source on another connection: who may emit.
        group: Option<Arc<Group>>,
    },
}

impl KafkaOutputOptions {
    /// What an operation on the topic is called in messages.
    pub(super) fn doing(&self) -> String {
        format!("emit records of view `{}` to topic `{}`", self.view, self.topic)
    }

    /// What callers hear whose partition is another host's.
    pub(super) fn not_ours(&self, partition: &Partition) -> Failure {
        Failure::retry(format!(
            "{}: partition `{partition}` is another host's, or the consumer group has not been heard of for too long",
            self.doing()
        ))
    }

    /// Whether records go when the delivery thread says so, and not by the client's own clock, see
    /// [`super::session::Session::push`]. Whoever sets a linger wants that one.
    pub(super) fn pushes(&self) -> bool {
        let lingers = |options: &BTreeMap<String, String>| {
            options.contains_key("linger.ms")
                || aliases("linger.ms").iter().any(|alias| options.contains_key(*alias))
        };
        !self.exactly_once && !lingers(&self.options) && !lingers(&self.connection.options)
    }

    /// Settings of a producer of records up to `max_record` bytes.
    pub(super) fn producer(&self, max_record: usize) -> ClientConfig {
        let mut config = self.connection.config();
        for (key, value) in &self.options {
            config.set(key, value);
        }
        let queue_kib = (2 * max_record / 1024).max(QUEUE_KIB);
        let batch = max_record.min(BATCH_BYTES);
        let defaults = [
            ("linger.ms", if self.pushes() { PUSHED_LINGER } else { "0" }.to_owned()),
            ("compression.type", "none".to_owned()),
            ("queue.buffering.max.kbytes", queue_kib.to_string()),
            ("queue.buffering.max.messages", QUEUE_RECORDS.to_string()),
            ("message.max.bytes", max_record.to_string()),
            ("batch.size", batch.to_string()),
            ("max.in.flight", if self.pushes() { PUSHED_IN_FLIGHT } else { IN_FLIGHT }.to_string()),
            ("socket.nagle.disable", "true".to_owned()),
            ("socket.keepalive.enable", "true".to_owned()),
        ];
        let given = |key: &str| {
            config.get(key).is_some() || aliases(key).iter().any(|alias| config.get(alias).is_some())
        };
        let missing: Vec<_> = defaults.into_iter().filter(|(key, _)| !given(key)).collect();
        for (key, value) in missing {
            config.set(key, value);
        }
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            .set("partitioner", "murmur2")
            .set("delivery.report.only.error", "false");
        // Transactions are aborted as a whole; without them a gap must end the producer.
        config.set("enable.gapless.guarantee", if self.exactly_once { "false" } else { "true" });
        config
    }

    /// Who keeps positions, unless transactions do.
    pub(super) fn keeper(&self) -> Result<Box<dyn Keeper>, Failure> {
        match &self.progress {
            Progress::Group(group) => {
                Ok(Box::new(GroupKeeper { group: Arc::clone(group), view: self.view.clone() }))
            }
            Progress::Leases(leases) => {
                Ok(Box::new(LeaseKeeper { leases: Arc::clone(leases), view: self.view.clone() }))
            }
            Progress::Ledger(ledger) => Ok(Box::new(LedgerKeeper::open(Arc::clone(ledger), &self.view)?)),
            Progress::Topic { .. } => Err(Failure::stop(format!(
                "{}: the progress topic is for `exactly_once: true` only",
                self.doing()
            ))),
        }
    }
}

impl fmt::Debug for KafkaOutputOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Options may hold secrets.
        f.debug_struct("KafkaOutputOptions")
            .field("view", &self.view)
            .field("connection", &self.connection)
            .field("topic", &self.topic)
            .field("exactly_once", &self.exactly_once)
            .finish_non_exhaustive()
    }
}

/// Records that wait in a producer: when more are waiting, the view waits.
const QUEUE_RECORDS: usize = 200_000;
/// The same in KiB of keys, values and headers; at least two of the largest records fit. More would not be faster:
/// records leave the processor's cache before they are sent, and cost three times as much memory.
const QUEUE_KIB: usize = 4 << 10;
/// Requests that a broker has not answered. While these are under way records gather for the next ones, and a stream that
/// is idle waits for nothing, which no linger can do: with five, the most that order allows, requests are so small that a
/// record costs nearly twice as much. With one, the partitions of a broker would wait for each other at each round trip.
const IN_FLIGHT: usize = 2;
/// The client's linger where records are pushed, milliseconds: far longer than records wait in a full queue.
const PUSHED_LINGER: &str = "1000";
/// Unanswered requests where records are pushed, the most that order allows: they are large by themselves.
const PUSHED_IN_FLIGHT: usize = 5;
/// Bytes of one request to one partition, unless a single record is larger.
const BATCH_BYTES: usize = 1_000_000;

/// Other names of a setting.
fn aliases(key: &str) -> &'static [&'static str] {
    match key {
        "linger.ms" => &["queue.buffering.max.ms"],
        "max.in.flight" => &["max.in.flight.requests.per.connection"],
        "compression.type" => &["compression.codec"],
        _ => &[],
    }
}
