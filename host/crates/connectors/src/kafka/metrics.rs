//! What Kafka clients count.
//!
//! Labels are bounded: connections, sources, views, topics' partitions never. Counters that move with each batch are
//! looked up once, by [`KafkaMetrics::source`] and [`KafkaMetrics::output`], and the series go with
//! [`KafkaMetrics::forget_source`] and [`KafkaMetrics::forget_output`]. Nothing here needs librdkafka's statistics.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::labels::{ChangeLabels, ConnectionLabel, ErrorLabels, HistogramFamily, SourceLabel, ViewLabel};

/// Seconds of a round trip to a broker: from one within the machine to one that waits for a new leader.
const ROUND_TRIP_SECONDS: [f64; 11] =
    [0.5e-3, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 100e-3, 500e-3, 2.0, 10.0, 60.0];

/// All series of the Kafka clients of a host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KafkaMetrics {
    rebalances: Family<ChangeLabels, Counter>,
    assigned: Family<SourceLabel, Gauge>,
    commit_seconds: HistogramFamily<SourceLabel>,
    commit_failures: Family<SourceLabel, Counter>,
    gap_records: Family<SourceLabel, Counter>,
    tombstones: Family<SourceLabel, Counter>,
    delivery_seconds: HistogramFamily<ViewLabel>,
    retries: Family<ViewLabel, Counter>,
    produced_records: Family<ViewLabel, Counter>,
    produced_bytes: Family<ViewLabel, Counter>,
    outstanding: Family<ViewLabel, Gauge>,
    transactions: Family<ViewLabel, Counter>,
    aborted: Family<ViewLabel, Counter>,
    broker_errors: Family<ErrorLabels, Counter>,
    away: Family<ConnectionLabel, Gauge>,
}

/// The series of one source.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    /// Times that partitions were assigned to this host.
    pub assigned: Counter,
    /// Times that partitions were given up.
    pub revoked: Counter,
    /// Times that partitions were found to be another host's already.
    pub lost: Counter,
    /// Partitions that are this host's now.
    pub partitions: Gauge,
    /// Seconds from asking for a commit to the broker's answer.
    pub commit_seconds: Histogram,
    /// Commits that failed; the next one says the same and more.
    pub commit_failures: Counter,
    /// Records that were gone before they were read.
    pub gap_records: Counter,
    /// Records without a value, which were passed over.
    pub tombstones: Counter,
}

/// The series of one output stream.
#[derive(Clone, Debug)]
pub struct OutputMetrics {
    /// Seconds from handing a batch over to its last acknowledgement.
    pub delivery_seconds: Histogram,
    /// Times that a producer was made anew because a delivery failed.
    pub retries: Counter,
    /// Records that were acknowledged.
    pub records: Counter,
    /// Bytes of keys and values that were acknowledged.
    pub bytes: Counter,
    /// Records that are handed over and not acknowledged yet.
    pub outstanding: Gauge,
    /// Transactions that were committed.
    pub transactions: Counter,
    /// Transactions that were aborted or given up.
    pub aborted: Counter,
}

impl KafkaMetrics {
    /// Registers everything.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::detached();
        let m = metrics.clone();
        let help =
            "Rebalances of a source's consumer group that changed this host's partitions, by what happened";
        registry.register("millrace_kafka_rebalances", help, m.rebalances);
        let help = "Partitions of a source that are this host's";
        registry.register("millrace_kafka_assigned_partitions", help, m.assigned);
        let help = "Time of a commit of a source's offsets";
        registry.register("millrace_kafka_commit_seconds", help, m.commit_seconds);
        let help = "Commits of a source's offsets that failed and are repeated";
        registry.register("millrace_kafka_commit_failures", help, m.commit_failures);
        let help = "Records of a source that were gone before they were read";
        registry.register("millrace_kafka_gap_records", help, m.gap_records);
        let help = "Records of a source without a value, which were passed over";
        registry.register("millrace_kafka_tombstones", help, m.tombstones);
        let help = "Time from handing a batch of a view's records over to its last acknowledgement";
        registry.register("millrace_kafka_delivery_seconds", help, m.delivery_seconds);
        let help = "Producers of a view that were made anew because a delivery failed";
        registry.register("millrace_kafka_delivery_retries", help, m.retries);
        let help = "Records of a view that a broker acknowledged";
        registry.register("millrace_kafka_produced_records", help, m.produced_records);
        let help = "Bytes of keys and values of a view that a broker acknowledged";
        registry.register("millrace_kafka_produced_bytes", help, m.produced_bytes);
        let help = "Records of a view that are handed over and not acknowledged yet";
        registry.register("millrace_kafka_outstanding_records", help, m.outstanding);
        let help = "Transactions of a view that were committed";
        registry.register("millrace_kafka_transactions", help, m.transactions);
        let help = "Transactions of a view that were aborted or given up";
        registry.register("millrace_kafka_transactions_aborted", help, m.aborted);
        let help = "Errors that clients of a connection reported, by librdkafka's name";
        registry.register("millrace_kafka_broker_errors", help, m.broker_errors);
        let help = "1 while no broker of a connection answers";
        registry.register("millrace_kafka_connection_away", help, m.away);
        metrics
    }

    /// Series that nobody sees, for tests.
    pub(crate) fn detached() -> Self {
        let round_trips: fn() -> Histogram = || Histogram::new(ROUND_TRIP_SECONDS);
        Self {
            rebalances: Family::default(),
            assigned: Family::default(),
            commit_seconds: Family::new_with_constructor(round_trips),
            commit_failures: Family::default(),
            gap_records: Family::default(),
            tombstones: Family::default(),
            delivery_seconds: Family::new_with_constructor(round_trips),
            retries: Family::default(),
            produced_records: Family::default(),
            produced_bytes: Family::default(),
            outstanding: Family::default(),
            transactions: Family::default(),
            aborted: Family::default(),
            broker_errors: Family::default(),
            away: Family::default(),
        }
    }

    /// The series of a source.
    pub fn source(&self, source: &str) -> SourceMetrics {
        let label = SourceLabel { source: source.to_owned() };
        let rebalances = |what| {
            let labels = ChangeLabels { source: source.to_owned(), what };
            self.rebalances.get_or_create(&labels).clone()
        };
        SourceMetrics {
            assigned: rebalances("assigned"),
            revoked: rebalances("revoked"),
            lost: rebalances("lost"),
            partitions: self.assigned.get_or_create(&label).clone(),
            commit_seconds: self.commit_seconds.get_or_create(&label).clone(),
            commit_failures: self.commit_failures.get_or_create(&label).clone(),
            gap_records: self.gap_records.get_or_create(&label).clone(),
            tombstones: self.tombstones.get_or_create(&label).clone(),
        }
    }

    /// The series of a view's output stream.
    pub fn output(&self, view: &str) -> OutputMetrics {
        let label = ViewLabel { view: view.to_owned() };
        OutputMetrics {
            delivery_seconds: self.delivery_seconds.get_or_create(&label).clone(),
            retries: self.retries.get_or_create(&label).clone(),
            records: self.produced_records.get_or_create(&label).clone(),
            bytes: self.produced_bytes.get_or_create(&label).clone(),
            outstanding: self.outstanding.get_or_create(&label).clone(),
            transactions: self.transactions.get_or_create(&label).clone(),
            aborted: self.aborted.get_or_create(&label).clone(),
        }
    }

    /// Removes the series of a source that is gone.
    pub fn forget_source(&self, source: &str) {
        let label = SourceLabel { source: source.to_owned() };
        for what in ["assigned", "revoked", "lost"] {
            self.rebalances.remove(&ChangeLabels { source: source.to_owned(), what });
        }
        self.assigned.remove(&label);
        self.commit_seconds.remove(&label);
        self.commit_failures.remove(&label);
        self.gap_records.remove(&label);
        self.tombstones.remove(&label);
    }

    /// Removes the series of an output stream that is gone.
    pub fn forget_output(&self, view: &str) {
        let label = ViewLabel { view: view.to_owned() };
        self.delivery_seconds.remove(&label);
        self.retries.remove(&label);
        self.produced_records.remove(&label);
        self.produced_bytes.remove(&label);
        self.outstanding.remove(&label);
        self.transactions.remove(&label);
        self.aborted.remove(&label);
    }

    /// Counts what a client of a connection reported.
    pub(super) fn broker_error(&self, connection: &str, code: &str) {
        let labels = ErrorLabels { connection: connection.to_owned(), code: code.to_owned() };
        self.broker_errors.get_or_create(&labels).inc();
    }

    /// Whether a connection is away.
    pub(super) fn away(&self, connection: &str) -> Gauge {
        self.away.get_or_create(&ConnectionLabel { connection: connection.to_owned() }).clone()
    }
}
