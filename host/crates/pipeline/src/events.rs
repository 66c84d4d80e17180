//! What happens in the flow: each happening is a struct whose `emit` logs and counts.
//!
//! Labels are bounded: views, sources, partitions and the fixed set of dead-letter codes. The series of a view vanish
//! with it. Counters that move with each batch are looked up once, when a unit starts.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use model::error::Failure;
use model::online::Starts;
use model::position::{Partition, Position};
use model::status::ViewState;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds of a call into a guest: from a small batch to the greatest time limit in use.
const CALL_SECONDS: [f64; 9] = [20e-6, 50e-6, 100e-6, 250e-6, 1e-3, 5e-3, 25e-3, 100e-3, 1.0];
/// Rows in a batch: how well single events are gathered.
const BATCH_ROWS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ViewLabel {
    view: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabels {
    view: String,
    partition: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    view: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    view: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabels {
    view: String,
    what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;
type FloatGauge = Gauge<f64, AtomicU64>;
type FloatCounter = Counter<f64, AtomicU64>;

/// The codes that dead letters can have.
pub(crate) const CODES: [&str; 10] = [
    "decode",
    "rejected",
    "trap",
    "timeout",
    "memory",
    "guest_error",
    "bad_output",
    "event_time",
    "null_key",
    "record_too_large",
];
/// What can be retried on behalf of a view.
const RETRIED: [&str; 7] = ["online", "output", "dead_letter", "ledger", "read", "capacity", "start"];
/// The names of view states.
const STATES: [&str; 8] =
    ["starting", "recovering", "catching_up", "running", "paused", "draining", "stopped", "failed"];

/// All series of the flow.
#[derive(Clone)]
pub(crate) struct Metrics {
    rows_in: Family<ViewLabel, Counter>,
    rows_out: Family<ViewLabel, Counter>,
    batches: Family<ViewLabel, Counter>,
    dead_letters: Family<CodeLabels, Counter>,
    call_seconds: HistogramFamily<ViewLabel>,
    batch_rows: HistogramFamily<ViewLabel>,
    swaps: Family<ViewLabel, Counter>,
    swap_pause_seconds: HistogramFamily<ViewLabel>,
    repairs: Family<ViewLabel, Counter>,
    retries: Family<WhatLabels, Counter>,
    state: Family<StateLabels, Gauge>,
    lag: Family<PartitionLabels, Gauge>,
    lag_seconds: Family<PartitionLabels, FloatGauge>,
    delay: Family<PartitionLabels, FloatGauge>,
    source_rows: Family<SourceLabel, Counter>,
    source_bytes: Family<SourceLabel, Counter>,
    source_retries: Family<SourceLabel, Counter>,
    buffer_bytes: Family<SourceLabel, Gauge>,
    held_back_seconds: Family<SourceLabel, FloatCounter>,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            rows_in: Family::default(),
            rows_out: Family::default(),
            batches: Family::default(),
            dead_letters: Family::default(),
            call_seconds: Family::new_with_constructor(|| Histogram::new(CALL_SECONDS)),
            batch_rows: Family::new_with_constructor(|| Histogram::new(BATCH_ROWS)),
            swaps: Family::default(),
            swap_pause_seconds: Family::new_with_constructor(|| Histogram::new(CALL_SECONDS)),
            repairs: Family::default(),
            retries: Family::default(),
            state: Family::default(),
            lag: Family::default(),
            lag_seconds: Family::default(),
            delay: Family::default(),
            source_rows: Family::default(),
            source_bytes: Family::default(),
            source_retries: Family::default(),
            buffer_bytes: Family::default(),
            held_back_seconds: Family::default(),
        };
        let m = metrics.clone();
        registry.register("millrace_view_rows_in", "Events taken by a view", m.rows_in);
        registry.register("millrace_view_rows_out", "Feature rows made by a view", m.rows_out);
        registry.register("millrace_view_batches", "Batches delivered by a view", m.batches);
        registry.register("millrace_view_dead_letters", "Events put aside, by reason", m.dead_letters);
        registry.register("millrace_view_transform_seconds", "Time of a call into the guest", m.call_seconds);
        registry.register("millrace_view_batch_rows", "Events in a call into the guest", m.batch_rows);
        registry.register("millrace_view_swaps", "Transforms that replaced another one", m.swaps);
        let help = "Time that a partition stood still for a swap";
        registry.register("millrace_view_swap_pause_seconds", help, m.swap_pause_seconds);
        let help = "Times that events were taken again because the online store had lost their rows";
        registry.register("millrace_view_repairs", help, m.repairs);
        registry.register("millrace_view_retries", "Attempts that failed and are repeated", m.retries);
        registry.register("millrace_view_state", "1 for the state that the view is in", m.state);
        registry.register("millrace_view_lag_events", "Events that the view has not taken yet", m.lag);
        let help =
            "Age of the last event that the view has applied while there are later ones; 0 = it has all";
        registry.register("millrace_view_lag_seconds", help, m.lag_seconds);
        let help = "Age of the last event that was applied, when it was";
        registry.register("millrace_view_delay_seconds", help, m.delay);
        registry.register("millrace_source_rows", "Events read from a source", m.source_rows);
        registry.register("millrace_source_bytes", "Payload bytes read from a source", m.source_bytes);
        registry.register("millrace_source_retries", "Reads that failed and are repeated", m.source_retries);
        registry.register("millrace_source_buffer_bytes", "Decoded events kept for views", m.buffer_bytes);
        let help = "Time that reading a source stood still because views or sinks were slower";
        registry.register("millrace_source_held_back_seconds", help, m.held_back_seconds);
        metrics
    }

    /// The series of one view.
    pub(crate) fn view(&self, view: &str) -> ViewMetrics {
        let label = ViewLabel { view: view.to_owned() };
        ViewMetrics {
            rows_in: self.rows_in.get_or_create_owned(&label),
            rows_out: self.rows_out.get_or_create_owned(&label),
            batches: self.batches.get_or_create_owned(&label),
            call_seconds: self.call_seconds.get_or_create_owned(&label),
            batch_rows: self.batch_rows.get_or_create_owned(&label),
            swaps: self.swaps.get_or_create_owned(&label),
            swap_pause_seconds: self.swap_pause_seconds.get_or_create_owned(&label),
            dead_letters: Arc::new(CODES.map(|_| Counter::default())),
            all: self.clone(),
            label,
        }
    }

    /// The series of one source.
    pub(crate) fn source(&self, source: &str) -> SourceMetrics {
        let label = SourceLabel { source: source.to_owned() };
        SourceMetrics {
            rows: self.source_rows.get_or_create_owned(&label),
            bytes: self.source_bytes.get_or_create_owned(&label),
            buffer_bytes: self.buffer_bytes.get_or_create_owned(&label),
            held_back_seconds: self.held_back_seconds.get_or_create_owned(&label),
            all: self.clone(),
            label,
        }
    }
}

/// The series of one view.
#[derive(Clone)]
pub(crate) struct ViewMetrics {
    pub(crate) rows_in: Counter,
    pub(crate) rows_out: Counter,
    pub(crate) batches: Counter,
    pub(crate) call_seconds: Histogram,
    pub(crate) batch_rows: Histogram,
    swaps: Counter,
    swap_pause_seconds: Histogram,
    /// The same counts as the labelled series, for the view's status.
    dead_letters: Arc<[Counter; CODES.len()]>,
    all: Metrics,
    label: ViewLabel,
}

impl ViewMetrics {
    /// Events put aside so far.
    pub(crate) fn dead_letter_count(&self) -> u64 {
        self.dead_letters.iter().map(Counter::get).sum()
    }

    /// Counts events put aside for one reason.
    pub(crate) fn count_dead_letter(&self, code: &'static str) {
        if let Some(index) = CODES.iter().position(|known| *known == code) {
            self.dead_letters[index].inc();
            self.all.dead_letters.get_or_create(&CodeLabels { view: self.label.view.clone(), code }).inc();
        }
    }

    /// Shows how far behind a view is, as far as that is known.
    pub(crate) fn lag(&self, partition: &Partition, events: Option<u64>, seconds: Option<f64>) {
        let labels = self.partition(partition);
        if let Some(events) = events {
            self.all.lag.get_or_create(&labels).set(i64::try_from(events).unwrap_or(i64::MAX));
        }
        if let Some(seconds) = seconds {
            self.all.lag_seconds.get_or_create(&labels).set(seconds);
        }
    }

    /// The gauge of the age of events when they were applied.
    pub(crate) fn delay(&self, partition: &Partition) -> FloatGauge {
        self.all.delay.get_or_create_owned(&self.partition(partition))
    }

    /// Shows the state that the view is in.
    pub(crate) fn state(&self, state: &ViewState) {
        for name in STATES {
            let labels = StateLabels { view: self.label.view.clone(), state: name };
            self.all.state.get_or_create(&labels).set(i64::from(name == state.name()));
        }
    }

    /// Takes the view's series away.
    pub(crate) fn remove(&self, partitions: &[Partition]) {
        let view = &self.label.view;
        self.all.rows_in.remove(&self.label);
        self.all.rows_out.remove(&self.label);
        self.all.batches.remove(&self.label);
        self.all.call_seconds.remove(&self.label);
        self.all.batch_rows.remove(&self.label);
        self.all.swaps.remove(&self.label);
        self.all.swap_pause_seconds.remove(&self.label);
        self.all.repairs.remove(&self.label);
        for code in CODES {
            self.all.dead_letters.remove(&CodeLabels { view: view.clone(), code });
        }
        for what in RETRIED {
            self.all.retries.remove(&WhatLabels { view: view.clone(), what });
        }
        for state in STATES {
            self.all.state.remove(&StateLabels { view: view.clone(), state });
        }
        partitions.iter().for_each(|partition| self.remove_partition(partition));
    }

    /// Takes the series of one partition away.
    pub(crate) fn remove_partition(&self, partition: &Partition) {
        let labels = self.partition(partition);
        self.all.lag.remove(&labels);
        self.all.lag_seconds.remove(&labels);
        self.all.delay.remove(&labels);
    }

    fn partition(&self, partition: &Partition) -> PartitionLabels {
        PartitionLabels { view: self.label.view.clone(), partition: partition.as_str().to_owned() }
    }
}

/// The series of one source.
#[derive(Clone)]
pub(crate) struct SourceMetrics {
    pub(crate) rows: Counter,
    pub(crate) bytes: Counter,
    pub(crate) buffer_bytes: Gauge,
    pub(crate) held_back_seconds: FloatCounter,
    all: Metrics,
    label: SourceLabel,
}

impl SourceMetrics {
    /// Takes the source's series away.
    pub(crate) fn remove(&self) {
        self.all.source_rows.remove(&self.label);
        self.all.source_bytes.remove(&self.label);
        self.all.source_retries.remove(&self.label);
        self.all.buffer_bytes.remove(&self.label);
        self.all.held_back_seconds.remove(&self.label);
    }
}

/// The online store has lost rows, and the view takes their events again.
pub(crate) struct ViewRepaired<'a> {
    pub(crate) metrics: &'a ViewMetrics,
    /// Behind which position each partition goes on; `None` = where the view began.
    pub(crate) to: &'a Starts,
}

impl ViewRepaired<'_> {
    pub(crate) fn emit(self) {
        let view = &self.metrics.label.view;
        self.metrics.all.repairs.get_or_create(&self.metrics.label).inc();
        for (partition, to) in self.to {
            let behind = to.map_or_else(|| "the beginning".to_owned(), |to| to.to_string());
            tracing::warn!(
                %view,
                partition = partition.as_str(),
                behind,
                "the online store had lost rows: their events are taken again, and nothing is emitted again"
            );
        }
    }
}

/// Something that a view needs failed and is tried again.
pub(crate) struct ViewRetries<'a> {
    pub(crate) metrics: &'a ViewMetrics,
    pub(crate) partition: &'a Partition,
    /// One of [`RETRIED`].
    pub(crate) what: &'static str,
    pub(crate) failure: &'a dyn std::fmt::Display,
    /// Later failures of the same trouble are counted, not logged.
    pub(crate) first: bool,
}

impl ViewRetries<'_> {
    pub(crate) fn emit(self) {
        let view = &self.metrics.label.view;
        let labels = WhatLabels { view: view.clone(), what: self.what };
        self.metrics.all.retries.get_or_create(&labels).inc();
        if self.first {
            let (partition, what) = (self.partition.as_str(), self.what);
            tracing::warn!(%view, partition, what, failure = %self.failure, "a view waits and tries again");
        }
    }
}

/// What a view needs works again.
pub(crate) struct ViewRecovered<'a> {
    pub(crate) metrics: &'a ViewMetrics,
    pub(crate) partition: &'a Partition,
    pub(crate) what: &'static str,
    pub(crate) attempts: u32,
    pub(crate) after: Duration,
}

impl ViewRecovered<'_> {
    pub(crate) fn emit(self) {
        let (view, partition, what) = (&self.metrics.label.view, self.partition.as_str(), self.what);
        tracing::info!(%view, partition, what, attempts = self.attempts, after = ?self.after, "a view goes on");
    }
}

/// Reading a source failed and is tried again.
pub(crate) struct SourceRetries<'a> {
    pub(crate) metrics: &'a SourceMetrics,
    pub(crate) failure: &'a Failure,
    pub(crate) first: bool,
}

impl SourceRetries<'_> {
    pub(crate) fn emit(self) {
        self.metrics.all.source_retries.get_or_create(&self.metrics.label).inc();
        if self.first {
            let source = &self.metrics.label.source;
            tracing::warn!(%source, failure = %self.failure, "a source cannot be read; trying again");
        }
    }
}

/// A source can be read again.
pub(crate) struct SourceRecovered<'a> {
    pub(crate) metrics: &'a SourceMetrics,
    pub(crate) attempts: u32,
    pub(crate) after: Duration,
}

impl SourceRecovered<'_> {
    pub(crate) fn emit(self) {
        let source = &self.metrics.label.source;
        tracing::info!(%source, attempts = self.attempts, after = ?self.after, "a source can be read again");
    }
}

/// A source cannot be read until somebody mends it.
pub(crate) struct SourceFailed<'a> {
    pub(crate) metrics: &'a SourceMetrics,
    pub(crate) reason: &'a str,
}

impl SourceFailed<'_> {
    pub(crate) fn emit(self) {
        tracing::error!(source = %self.metrics.label.source, reason = self.reason, "a source is not read any more");
    }
}

/// A view was started.
pub(crate) struct ViewStarted<'a> {
    pub(crate) view: &'a str,
    pub(crate) source: &'a str,
    pub(crate) generation: u32,
    pub(crate) partitions: usize,
    pub(crate) recovering: bool,
}

impl ViewStarted<'_> {
    pub(crate) fn emit(self) {
        let Self { view, source, generation, partitions, recovering } = self;
        tracing::info!(view, source, generation, partitions, recovering, "a view starts");
    }
}

/// A view's partition got another transform.
pub(crate) struct ViewSwapped<'a> {
    pub(crate) metrics: &'a ViewMetrics,
    pub(crate) partition: &'a Partition,
    pub(crate) generation: u32,
    pub(crate) after: Option<Position>,
    pub(crate) paused_for: Duration,
}

impl ViewSwapped<'_> {
    pub(crate) fn emit(self) {
        self.metrics.swaps.inc();
        self.metrics.swap_pause_seconds.observe(self.paused_for.as_secs_f64());
        let (view, partition) = (&self.metrics.label.view, self.partition.as_str());
        let after = self.after.map(|after| after.to_string()).unwrap_or_default();
        let (generation, paused_for) = (self.generation, self.paused_for);
        tracing::info!(%view, partition, generation, after, ?paused_for, "a view goes on with another transform");
    }
}

/// A view stopped taking events.
pub(crate) struct ViewPaused<'a> {
    pub(crate) view: &'a str,
    pub(crate) reason: &'a str,
}

impl ViewPaused<'_> {
    pub(crate) fn emit(self) {
        tracing::error!(view = self.view, reason = self.reason, "a view is paused");
    }
}

/// A view was taken down.
pub(crate) struct ViewStopped<'a> {
    pub(crate) view: &'a str,
}

impl ViewStopped<'_> {
    pub(crate) fn emit(self) {
        tracing::info!(view = self.view, "a view has stopped");
    }
}

/// Rows below a swap have to be made again, but the component that made them is gone.
pub(crate) struct OlderComponentMissing<'a> {
    pub(crate) view: &'a str,
    pub(crate) partition: &'a Partition,
    pub(crate) generation: u32,
    pub(crate) digest: String,
}

impl OlderComponentMissing<'_> {
    pub(crate) fn emit(self) {
        let Self { view, partition, generation, digest } = self;
        let partition = partition.as_str();
        tracing::warn!(
            view,
            partition,
            generation,
            digest,
            "the component of an earlier generation is gone; its events are taken by the current one"
        );
    }
}

/// A source could not be told to forget events.
pub(crate) struct ReleaseFailed<'a> {
    pub(crate) source: &'a str,
    pub(crate) partition: &'a Partition,
    pub(crate) failure: &'a Failure,
}

impl ReleaseFailed<'_> {
    pub(crate) fn emit(self) {
        let (source, partition) = (self.source, self.partition.as_str());
        tracing::warn!(source, partition, failure = %self.failure, "a source did not forget what is done");
    }
}

/// A shared source has given partitions to this host.
pub(crate) struct PartitionsAssigned<'a> {
    pub(crate) source: &'a str,
    pub(crate) partitions: &'a [Partition],
}

impl PartitionsAssigned<'_> {
    pub(crate) fn emit(self) {
        let (source, partitions) = (self.source, names(self.partitions));
        tracing::info!(source, partitions, "partitions have come to this host");
    }
}

/// A shared source has taken partitions from this host.
pub(crate) struct PartitionsGone<'a> {
    pub(crate) source: &'a str,
    pub(crate) partitions: &'a [Partition],
    /// They were another's already.
    pub(crate) lost: bool,
    /// Units that were ended without what they had begun.
    pub(crate) given_up: usize,
    pub(crate) took: Duration,
}

impl PartitionsGone<'_> {
    pub(crate) fn emit(self) {
        let Self { source, lost, given_up, took, .. } = self;
        let partitions = names(self.partitions);
        tracing::info!(source, partitions, lost, given_up, ?took, "partitions have left this host");
    }
}

fn names(partitions: &[Partition]) -> String {
    partitions.iter().map(Partition::as_str).collect::<Vec<_>>().join(" ")
}

/// A view takes events again.
pub(crate) struct ViewRewound<'a> {
    pub(crate) view: &'a str,
    pub(crate) epoch: u32,
    pub(crate) partitions: usize,
}

impl ViewRewound<'_> {
    pub(crate) fn emit(self) {
        let Self { view, epoch, partitions } = self;
        tracing::info!(view, epoch, partitions, "a view was rewound");
    }
}
