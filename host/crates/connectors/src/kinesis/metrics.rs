//! What Kinesis clients count.
//!
//! Labels are bounded: connections, sources, views; shards never. Series that move with each batch are looked up once,
//! by [`KinesisMetrics::source`], [`KinesisMetrics::output`] and [`KinesisMetrics::leases`], and go with
//! [`KinesisMetrics::forget_source`] and [`KinesisMetrics::forget_output`].

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::labels::{ChangeLabels, ConnectionLabel, ErrorLabels, HistogramFamily, SourceLabel, ViewLabel};

/// Seconds of a round trip: from one within the machine to one that waits for a throttled shard.
const ROUND_TRIP_SECONDS: [f64; 11] =
    [0.5e-3, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 100e-3, 500e-3, 2.0, 10.0, 60.0];

/// All series of the Kinesis clients of a host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KinesisMetrics {
    read_records: Family<SourceLabel, Counter>,
    read_bytes: Family<SourceLabel, Counter>,
    reads: Family<SourceLabel, Counter>,
    read_throttles: Family<SourceLabel, Counter>,
    expired_iterators: Family<SourceLabel, Counter>,
    broken_aggregates: Family<SourceLabel, Counter>,
    gaps: Family<SourceLabel, Counter>,
    behind: Family<SourceLabel, Gauge<f64, AtomicU64>>,
    shards: Family<SourceLabel, Gauge>,
    finished: Family<SourceLabel, Counter>,
    held: Family<SourceLabel, Gauge>,
    lease_changes: Family<ChangeLabels, Counter>,
    renewal_failures: Family<SourceLabel, Counter>,
    put_records: Family<ViewLabel, Counter>,
    put_bytes: Family<ViewLabel, Counter>,
    puts: Family<ViewLabel, Counter>,
    put_throttles: Family<ViewLabel, Counter>,
    repeated: Family<ViewLabel, Counter>,
    delivery_seconds: HistogramFamily<ViewLabel>,
    outstanding: Family<ViewLabel, Gauge>,
    errors: Family<ErrorLabels, Counter>,
    away: Family<ConnectionLabel, Gauge>,
}

/// The series of one source.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    /// Records that were read, each of those that were packed into one.
    pub records: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Requests for records that were answered.
    pub reads: Counter,
    /// Requests that were too many for a shard.
    pub throttles: Counter,
    /// Iterators that expired and were made anew.
    pub expired_iterators: Counter,
    /// Packed records that could not be read: taken as they are.
    pub broken_aggregates: Counter,
    /// Times that records were gone before they were read.
    pub gaps: Counter,
    /// Seconds that the shard which is furthest behind is behind.
    pub behind: Gauge<f64, AtomicU64>,
    /// Shards that are read here now.
    pub shards: Gauge,
    /// Shards that were read to their end.
    pub finished: Counter,
}

/// The series of one source's leases.
#[derive(Clone, Debug)]
pub struct LeaseMetrics {
    /// Leases that are this host's now.
    pub held: Gauge,
    /// Leases that were taken.
    pub taken: Counter,
    /// Leases that were handed over to another host.
    pub handed_over: Counter,
    /// Leases that ran out or that another host took.
    pub lost: Counter,
    /// Renewals that failed; the next one comes soon.
    pub renewal_failures: Counter,
}

/// The series of one output stream.
#[derive(Clone, Debug)]
pub struct OutputMetrics {
    /// Records that were acknowledged.
    pub records: Counter,
    /// Bytes of their keys and data.
    pub bytes: Counter,
    /// Requests that were answered.
    pub requests: Counter,
    /// Records that were too much for their shard at that moment.
    pub throttles: Counter,
    /// Records that were sent again.
    pub repeated: Counter,
    /// Seconds from taking a batch to its last acknowledgement.
    pub delivery_seconds: Histogram,
    /// Records that are taken and not acknowledged yet.
    pub outstanding: Gauge,
}

impl KinesisMetrics {
    /// Registers everything.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::detached();
        let m = metrics.clone();
        let help = "Records of a source that were read";
        registry.register("millrace_kinesis_read_records", help, m.read_records);
        let help = "Bytes of the records of a source that were read";
        registry.register("millrace_kinesis_read_bytes", help, m.read_bytes);
        let help = "Requests for records of a source that were answered";
        registry.register("millrace_kinesis_reads", help, m.reads);
        let help = "Requests for records of a source that were too many for a shard";
        registry.register("millrace_kinesis_read_throttles", help, m.read_throttles);
        let help = "Iterators of a source that expired and were made anew";
        registry.register("millrace_kinesis_expired_iterators", help, m.expired_iterators);
        let help = "Packed records of a source that could not be read";
        registry.register("millrace_kinesis_broken_aggregates", help, m.broken_aggregates);
        let help = "Times that records of a source were gone before they were read";
        registry.register("millrace_kinesis_gaps", help, m.gaps);
        let help = "Seconds that the shard of a source which is furthest behind is behind";
        registry.register("millrace_kinesis_behind_seconds", help, m.behind);
        let help = "Shards of a source that are read here";
        registry.register("millrace_kinesis_shards", help, m.shards);
        let help = "Shards of a source that were read to their end";
        registry.register("millrace_kinesis_finished_shards", help, m.finished);
        let help = "Leases of a source's shards that are this host's";
        registry.register("millrace_kinesis_leases", help, m.held);
        let help = "Leases of a source's shards that changed hands, by what happened";
        registry.register("millrace_kinesis_lease_changes", help, m.lease_changes);
        let help = "Renewals of a source's leases that failed and are repeated";
        registry.register("millrace_kinesis_lease_renewal_failures", help, m.renewal_failures);
        let help = "Records of a view that Kinesis acknowledged";
        registry.register("millrace_kinesis_put_records", help, m.put_records);
        let help = "Bytes of keys and data of a view that Kinesis acknowledged";
        registry.register("millrace_kinesis_put_bytes", help, m.put_bytes);
        let help = "Requests with records of a view that were answered";
        registry.register("millrace_kinesis_puts", help, m.puts);
        let help = "Records of a view that were too much for their shard at that moment";
        registry.register("millrace_kinesis_put_throttles", help, m.put_throttles);
        let help = "Records of a view that were sent again";
        registry.register("millrace_kinesis_repeated_records", help, m.repeated);
        let help = "Time from taking a batch of a view's records to its last acknowledgement";
        registry.register("millrace_kinesis_delivery_seconds", help, m.delivery_seconds);
        let help = "Records of a view that are taken and not acknowledged yet";
        registry.register("millrace_kinesis_outstanding_records", help, m.outstanding);
        let help = "Errors of a connection, by Kinesis's name";
        registry.register("millrace_kinesis_errors", help, m.errors);
        let help = "1 while Kinesis does not answer through a connection";
        registry.register("millrace_kinesis_connection_away", help, m.away);
        metrics
    }

    /// Series that nobody sees, for tests.
    pub fn detached() -> Self {
        let round_trips: fn() -> Histogram = || Histogram::new(ROUND_TRIP_SECONDS);
        Self {
            read_records: Family::default(),
            read_bytes: Family::default(),
            reads: Family::default(),
            read_throttles: Family::default(),
            expired_iterators: Family::default(),
            broken_aggregates: Family::default(),
            gaps: Family::default(),
            behind: Family::default(),
            shards: Family::default(),
            finished: Family::default(),
            held: Family::default(),
            lease_changes: Family::default(),
            renewal_failures: Family::default(),
            put_records: Family::default(),
            put_bytes: Family::default(),
            puts: Family::default(),
            put_throttles: Family::default(),
            repeated: Family::default(),
            delivery_seconds: Family::new_with_constructor(round_trips),
            outstanding: Family::default(),
            errors: Family::default(),
            away: Family::default(),
        }
    }

    /// The series of a source.
    pub fn source(&self, source: &str) -> SourceMetrics {
        let label = SourceLabel { source: source.to_owned() };
        SourceMetrics {
            records: self.read_records.get_or_create(&label).clone(),
            bytes: self.read_bytes.get_or_create(&label).clone(),
            reads: self.reads.get_or_create(&label).clone(),
            throttles: self.read_throttles.get_or_create(&label).clone(),
            expired_iterators: self.expired_iterators.get_or_create(&label).clone(),
            broken_aggregates: self.broken_aggregates.get_or_create(&label).clone(),
            gaps: self.gaps.get_or_create(&label).clone(),
            behind: self.behind.get_or_create(&label).clone(),
            shards: self.shards.get_or_create(&label).clone(),
            finished: self.finished.get_or_create(&label).clone(),
        }
    }

    /// The series of a source's leases.
    pub fn leases(&self, source: &str) -> LeaseMetrics {
        let label = SourceLabel { source: source.to_owned() };
        let changes = |what| {
            let labels = ChangeLabels { source: source.to_owned(), what };
            self.lease_changes.get_or_create(&labels).clone()
        };
        LeaseMetrics {
            held: self.held.get_or_create(&label).clone(),
            taken: changes("taken"),
            handed_over: changes("handed_over"),
            lost: changes("lost"),
            renewal_failures: self.renewal_failures.get_or_create(&label).clone(),
        }
    }

    /// The series of a view's output stream.
    pub fn output(&self, view: &str) -> OutputMetrics {
        let label = ViewLabel { view: view.to_owned() };
        OutputMetrics {
            records: self.put_records.get_or_create(&label).clone(),
            bytes: self.put_bytes.get_or_create(&label).clone(),
            requests: self.puts.get_or_create(&label).clone(),
            throttles: self.put_throttles.get_or_create(&label).clone(),
            repeated: self.repeated.get_or_create(&label).clone(),
            delivery_seconds: self.delivery_seconds.get_or_create(&label).clone(),
            outstanding: self.outstanding.get_or_create(&label).clone(),
        }
    }

    /// Removes the series of a source that is gone, and of its leases.
    pub fn forget_source(&self, source: &str) {
        let label = SourceLabel { source: source.to_owned() };
        self.read_records.remove(&label);
        self.read_bytes.remove(&label);
        self.reads.remove(&label);
        self.read_throttles.remove(&label);
        self.expired_iterators.remove(&label);
        self.broken_aggregates.remove(&label);
        self.gaps.remove(&label);
        self.behind.remove(&label);
        self.shards.remove(&label);
        self.finished.remove(&label);
        self.held.remove(&label);
        for what in ["taken", "handed_over", "lost"] {
            self.lease_changes.remove(&ChangeLabels { source: source.to_owned(), what });
        }
        self.renewal_failures.remove(&label);
    }

    /// Removes the series of an output stream that is gone.
    pub fn forget_output(&self, view: &str) {
        let label = ViewLabel { view: view.to_owned() };
        self.put_records.remove(&label);
        self.put_bytes.remove(&label);
        self.puts.remove(&label);
        self.put_throttles.remove(&label);
        self.repeated.remove(&label);
        self.delivery_seconds.remove(&label);
        self.outstanding.remove(&label);
    }

    /// Counts an error of a connection, see [`super::Trouble::code`].
    pub fn error(&self, connection: &str, code: &str) {
        let labels = ErrorLabels { connection: connection.to_owned(), code: code.to_owned() };
        self.errors.get_or_create(&labels).inc();
    }

    /// Whether a connection is away.
    pub(super) fn away(&self, connection: &str) -> Gauge {
        self.away.get_or_create(&ConnectionLabel { connection: connection.to_owned() }).clone()
    }
}
