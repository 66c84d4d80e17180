//! What the flow is told: its parts, its limits, the sources and views it has to run.
//!
//! Everything here is checked and resolved by the caller; names of columns are looked up again when a view starts.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use model::codec::Format;
use model::dead_letter::DeadLetters;
use model::online::{Ledger, OnlineStore};
use model::output::{OutputOptions, OutputStream};
use model::source::{Point, Source};
use model::time::Clock;
use model::transform::{Component, TransformOptions};
use model::view::{Digest, ViewRef};
use prometheus_client::registry::Registry;

/// What a flow is made of.
pub struct FlowParts<'a> {
    /// Takes the rows of views that are kept online.
    pub online: Arc<dyn OnlineStore>,
    /// Remembers positions and generations; usually the same object as `online`.
    pub ledger: Arc<dyn Ledger>,
    /// Takes events that cannot be used.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// For the delay shown in metrics; nothing is decided by it.
    pub clock: Arc<dyn Clock>,
    /// Bounds and durations.
    pub settings: FlowSettings,
    /// Where the flow's metrics are registered.
    pub metrics: &'a mut Registry,
}

/// Bounds and durations of a flow.
#[derive(Debug, Clone)]
pub struct FlowSettings {
    /// Threads that transform at most; too few and one slow guest delays other views, too many cost memory for stacks.
    pub threads_max: usize,
    /// Events in one batch at most; small batches cost calls, large ones latency and a longer wait for a swap.
    pub batch_rows: usize,
    /// Payload bytes in one batch at most, except for a single larger event.
    pub batch_bytes: usize,
    /// Bytes of decoded batches kept for each source, for views that are not the fastest; a view that falls further
    /// behind reads the source again on its own.
    pub buffer_bytes: usize,
    /// Bytes of decoded batches for each source that no view has taken yet: the reader waits beyond. With fewer, threads
    /// that transform find nothing to do; with more, batches leave the processor's cache before they are used.
    pub ahead_bytes: usize,
    /// Decoded batches kept for each source partition at most.
    pub buffer_batches: usize,
    /// Batches of one view and partition that may wait for their emission at a time.
    pub in_flight: usize,
    /// After how long without events a work unit lets go of its live guest instance.
    pub idle_rest: Duration,
    /// First pause after a failure that is expected to go away; doubled each time.
    pub retry_first: Duration,
    /// Longest such pause.
    pub retry_max: Duration,
    /// How long a reader waits for events before it looks whether it should stop.
    pub read_wait: Duration,
    /// How often a source is asked for new partitions while nothing comes.
    pub partition_poll: Duration,
    /// After how long a view that waits for its source, its output stream or its store says so.
    pub waits_long: Duration,
    /// How long the search for bad rows in one batch may go on without one good row before the view is paused.
    pub bisect_patience: Duration,
}

impl Default for FlowSettings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        Self {
            threads_max: (2 * cores).max(4),
            batch_rows: 8192,
            batch_bytes: 1 << 20,
            buffer_bytes: 64 << 20,
            ahead_bytes: 4 << 20,
            buffer_batches: 1024,
            in_flight: 4,
            idle_rest: Duration::from_secs(10),
            retry_first: Duration::from_millis(50),
            retry_max: Duration::from_secs(10),
            read_wait: Duration::from_millis(500),
            partition_poll: Duration::from_secs(5),
            waits_long: Duration::from_secs(5),
            bisect_patience: Duration::from_secs(10),
        }
    }
}

/// A stream source to read.
#[derive(Clone)]
pub struct SourceSetup {
    /// The source's name.
    pub name: String,
    /// The opened source.
    pub source: Arc<dyn Source>,
    /// How its payloads are decoded.
    pub format: Arc<dyn Format>,
}

/// Finds an older component of a view by the digest of component and parameters, made ready with its own parameters.
pub type OlderComponents = Arc<dyn Fn(&Digest) -> Option<OlderComponent> + Send + Sync>;

/// A component that made earlier rows, kept for replays.
#[derive(Clone)]
pub struct OlderComponent {
    /// The component.
    pub component: Arc<dyn Component>,
    /// The parameters and limits that it ran with.
    pub options: TransformOptions,
}

/// A view to run.
#[derive(Clone)]
pub struct ViewSetup {
    /// Names and columns.
    pub shape: ViewRef,
    /// The admitted component.
    pub component: Arc<dyn Component>,
    /// Digest of component and parameters: what makes a generation.
    pub digest: Digest,
    /// Parameters and limits.
    pub options: TransformOptions,
    /// The output column that holds the event time.
    pub event_time_column: String,
    /// Event times before this go to the dead letter; microseconds since the epoch.
    pub earliest: i64,
    /// Event times more than this after the source recorded the event go to the dead letter; microseconds.
    pub max_future: i64,
    /// Where to begin if the view was never seen.
    pub start: Point,
    /// Where records go, and how they look.
    pub output: Option<(Arc<dyn OutputStream>, Arc<OutputOptions>)>,
    /// Whether records may be emitted before the online store has acknowledged the rows.
    pub parallel_emit: bool,
    /// Whether the view's rows are in a store that the hosts of its source share: what one has written is there for
    /// all, and survives it.
    pub rows_are_shared: bool,
    /// After how many failed events in a row the view is paused; 0 = never.
    pub failures_to_pause: u32,
    /// Finds the components of earlier generations.
    pub older: OlderComponents,
}

/// What may change in a view without a new transform.
#[derive(Clone)]
pub struct Adjustment {
    /// Names and columns; only `ttl_micros` may differ.
    pub shape: ViewRef,
    /// The same parameters, other limits.
    pub options: TransformOptions,
    /// See [`ViewSetup::earliest`].
    pub earliest: i64,
    /// See [`ViewSetup::max_future`].
    pub max_future: i64,
    /// See [`ViewSetup::failures_to_pause`].
    pub failures_to_pause: u32,
}
