//! What Redis clients count.
//!
//! Labels are bounded: connections, views, kinds of trouble; keys and nodes never. Counters that move with each batch are
//! looked up once, by [`RedisMetrics::connection`] and [`RedisMetrics::view`]. A view's series go with
//! [`RedisMetrics::forget_view`]; connections stay as long as the host runs.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::error::Trouble;
use crate::labels::{ConnectionLabel, HistogramFamily, ViewLabel};

/// Seconds of a round trip to a server: from one within the machine to one that waits for a new master.
const ROUND_TRIP_SECONDS: [f64; 12] =
    [0.1e-3, 0.25e-3, 0.5e-3, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 100e-3, 500e-3, 2.0, 10.0];

/// In which way rows were written, as metrics name it.
const WAYS: [&str; 3] = ["claimed", "compared", "late"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    connection: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayLabels {
    view: String,
    way: &'static str,
}

/// All series of the Redis clients of a host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RedisMetrics {
    away: Family<ConnectionLabel, Gauge>,
    reconnects: Family<ConnectionLabel, Counter>,
    redirects: Family<CodeLabels, Counter>,
    retries: Family<CodeLabels, Counter>,
    writes: Family<ConnectionLabel, Counter>,
    write_seconds: HistogramFamily<ConnectionLabel>,
    reads: Family<ConnectionLabel, Counter>,
    read_seconds: HistogramFamily<ConnectionLabel>,
    rows: Family<WayLabels, Counter>,
    losses: Family<ViewLabel, Counter>,
}

/// The series of one connection.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    /// Times that a connection to a node was made anew.
    pub reconnects: Counter,
    /// Batches of writes that were acknowledged.
    pub writes: Counter,
    /// Seconds from sending a batch of writes to its last answer.
    pub write_seconds: Histogram,
    /// Reads that were answered.
    pub reads: Counter,
    /// Seconds from sending a read to its last answer.
    pub read_seconds: Histogram,
    connection: String,
    redirects: Family<CodeLabels, Counter>,
    retries: Family<CodeLabels, Counter>,
}

/// The series of one view's rows.
#[derive(Clone, Debug)]
pub struct ViewMetrics {
    /// Rows that were written without looking: this host wrote the entity last.
    pub claimed: Counter,
    /// Rows that were written after a comparison inside Redis.
    pub compared: Counter,
    /// Rows that were not written: a newer one was there.
    pub late: Counter,
    /// Partitions whose rows were lost after Redis had acknowledged them.
    pub losses: Counter,
}

impl RedisMetrics {
    /// Registers everything.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::detached();
        let m = metrics.clone();
        let help = "1 while a node of a connection that is needed does not answer";
        registry.register("millrace_redis_connection_away", help, m.away);
        let help = "Connections to nodes that were made anew";
        registry.register("millrace_redis_reconnects", help, m.reconnects);
        let help = "Commands that another node of the cluster was to answer";
        registry.register("millrace_redis_redirects", help, m.redirects);
        let help = "Commands that were sent again, by why";
        registry.register("millrace_redis_retries", help, m.retries);
        let help = "Batches of writes that were acknowledged";
        registry.register("millrace_redis_writes", help, m.writes);
        let help = "Time from sending a batch of writes to its last answer";
        registry.register("millrace_redis_write_seconds", help, m.write_seconds);
        let help = "Reads that were answered";
        registry.register("millrace_redis_reads", help, m.reads);
        let help = "Time from sending a read to its last answer";
        registry.register("millrace_redis_read_seconds", help, m.read_seconds);
        let help = "Rows of a view by what became of them: written without looking, written after a comparison, late";
        registry.register("millrace_redis_rows", help, m.rows);
        let help = "Partitions of a view whose acknowledged rows were lost and are written again";
        registry.register("millrace_redis_losses", help, m.losses);
        metrics
    }

    /// Series that nobody sees, for tests.
    pub fn detached() -> Self {
        let round_trips: fn() -> Histogram = || Histogram::new(ROUND_TRIP_SECONDS);
        Self {
            away: Family::default(),
            reconnects: Family::default(),
            redirects: Family::default(),
            retries: Family::default(),
            writes: Family::default(),
            write_seconds: Family::new_with_constructor(round_trips),
            reads: Family::default(),
            read_seconds: Family::new_with_constructor(round_trips),
            rows: Family::default(),
            losses: Family::default(),
        }
    }

    /// The series of a connection.
    pub fn connection(&self, connection: &str) -> ConnectionMetrics {
        let label = ConnectionLabel { connection: connection.to_owned() };
        ConnectionMetrics {
            reconnects: self.reconnects.get_or_create(&label).clone(),
            writes: self.writes.get_or_create(&label).clone(),
            write_seconds: self.write_seconds.get_or_create(&label).clone(),
            reads: self.reads.get_or_create(&label).clone(),
            read_seconds: self.read_seconds.get_or_create(&label).clone(),
            connection: connection.to_owned(),
            redirects: self.redirects.clone(),
            retries: self.retries.clone(),
        }
    }

    /// The series of a view's rows.
    pub fn view(&self, view: &str) -> ViewMetrics {
        let rows = |way| self.rows.get_or_create(&WayLabels { view: view.to_owned(), way }).clone();
        let [claimed, compared, late] = WAYS.map(rows);
        let losses = self.losses.get_or_create(&ViewLabel { view: view.to_owned() }).clone();
        ViewMetrics { claimed, compared, late, losses }
    }

    /// Removes the series of a view that is gone.
    pub fn forget_view(&self, view: &str) {
        for way in WAYS {
            self.rows.remove(&WayLabels { view: view.to_owned(), way });
        }
        self.losses.remove(&ViewLabel { view: view.to_owned() });
    }

    /// Whether a connection is away.
    pub(super) fn away(&self, connection: &str) -> Gauge {
        self.away.get_or_create(&ConnectionLabel { connection: connection.to_owned() }).clone()
    }
}

impl ConnectionMetrics {
    /// Counts commands that are sent again, here or elsewhere.
    pub fn again(&self, trouble: Trouble, commands: u64) {
        let labels = CodeLabels { connection: self.connection.clone(), code: trouble.name() };
        let family = if trouble.is_redirect() { &self.redirects } else { &self.retries };
        family.get_or_create(&labels).inc_by(commands);
    }

    /// How many commands were sent to another node.
    #[cfg(test)]
    pub(super) fn redirected(&self, trouble: Trouble) -> u64 {
        let labels = CodeLabels { connection: self.connection.clone(), code: trouble.name() };
        self.redirects.get_or_create(&labels).get()
    }

    /// How many commands were sent again.
    #[cfg(test)]
    pub(super) fn retried(&self, trouble: Trouble) -> u64 {
        let labels = CodeLabels { connection: self.connection.clone(), code: trouble.name() };
        self.retries.get_or_create(&labels).get()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn series_of_a_view_go_with_it() {
        let mut registry = Registry::default();
        let metrics = RedisMetrics::register(&mut registry);
        let lines = |registry: &Registry| {
            let mut text = String::new();
            encode(&mut text, registry).unwrap();
            text.lines().filter(|line| !line.starts_with('#')).count()
        };
        let connection = metrics.connection("cache");
        connection.again(Trouble::Moved, 2);
        connection.again(Trouble::Loading, 1);
        metrics.away("cache").set(1);
        let without = lines(&registry);
        metrics.view("rides").claimed.inc_by(3);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for expected in [
            "millrace_redis_connection_away{connection=\"cache\"} 1",
            "millrace_redis_redirects_total{connection=\"cache\",code=\"moved\"} 2",
            "millrace_redis_retries_total{connection=\"cache\",code=\"loading\"} 1",
            "millrace_redis_rows_total{view=\"rides\",way=\"claimed\"} 3",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        metrics.forget_view("rides");
        assert_eq!(lines(&registry), without);
    }
}
