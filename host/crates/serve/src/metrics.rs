//! The server's own metrics. Labels are bounded: endpoints and status classes, never names from requests.

use std::sync::OnceLock;
use std::time::Duration;

use hyper::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::lookup::RowStatus;
use crate::router::Endpoint;

/// Upper ends of the latency buckets in seconds: 50 µs, where a read lies, to 5 s, where a push gives up waiting.
const BUCKETS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// 2xx to 5xx; informational answers are hyper's.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// Handles to all metrics; the registry holds the other half.
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    /// The same histograms by number, so that a request hashes nothing. A series appears with its first request.
    by_number: [[OnceLock<Histogram>; CLASSES.len()]; Endpoint::ALL.len()],
    reads: [Counter; 3],
    accepted: Counter,
    rejected: Counter,
    pub(crate) connections: Gauge,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let new_histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let requests = Family::new_with_constructor(new_histogram);
        registry.register(
            "millrace_http_request_duration_seconds",
            "Time from the head of a request to its answer",
            requests.clone(),
        );
        let reads = Family::<ResultLabels, Counter>::default();
        registry.register(
            "millrace_http_read_rows",
            "Rows looked up for reads, by what became of them",
            reads.clone(),
        );
        let pushes = Family::<ResultLabels, Counter>::default();
        registry.register("millrace_http_push_rows", "Events pushed, by what became of them", pushes.clone());
        let connections = Gauge::default();
        registry.register("millrace_http_connections", "Open connections", connections.clone());
        let read = |result| reads.get_or_create(&ResultLabels { result }).clone();
        let push = |result| pushes.get_or_create(&ResultLabels { result }).clone();
        Self {
            requests,
            by_number: std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new())),
            reads: [read("present"), read("not_found"), read("outside_max_age")],
            accepted: push("accepted"),
            rejected: push("rejected"),
            connections,
        }
    }

    /// Notes one answered request.
    pub(crate) fn observe(&self, endpoint: Endpoint, status: StatusCode, elapsed: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(2).min(CLASSES.len() - 1);
        self.by_number[endpoint as usize][class]
            .get_or_init(|| {
                let labels = RequestLabels { endpoint: endpoint.name(), status: CLASSES[class] };
                self.requests.get_or_create(&labels).clone()
            })
            .observe(elapsed.as_secs_f64());
    }

    /// Notes rows that were looked up.
    pub(crate) fn count_reads(&self, rows: impl Iterator<Item = RowStatus>) {
        let mut counts = [0_u64; 3];
        for status in rows {
            counts[status as usize] += 1;
        }
        for (counter, count) in self.reads.iter().zip(counts) {
            if count > 0 {
                counter.inc_by(count);
            }
        }
    }

    /// Notes pushed events.
    pub(crate) fn count_pushed(&self, accepted: u32, rejected: usize) {
        self.accepted.inc_by(u64::from(accepted));
        self.rejected.inc_by(u64::try_from(rejected).unwrap_or(u64::MAX));
    }
}
