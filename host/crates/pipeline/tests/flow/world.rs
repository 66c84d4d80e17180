//! A host made of fakes.

use std::sync::Arc;
use std::time::Duration;

use model::output::{OutputOptions, OutputStream, RecordVersion};
use model::status::{Overview, ViewState};
use model::transform::Component;
use model::view::ViewShape;
use pipeline::Flow;
use pipeline::setup::{FlowParts, FlowSettings, OlderComponent, SourceSetup, ViewSetup};
use prometheus_client::registry::Registry;
use testkit::fake::clock::FakeClock;
use testkit::fake::component::{FakeComponent, options, shape};
use testkit::fake::dead_letters::MemoryDeadLetters;
use testkit::fake::format::LineFormat;
use testkit::fake::online::MemoryStore;
use testkit::fake::output::MemoryOutput;
use testkit::fake::source::{INGEST_TIME, MemorySource};
use testkit::fake::trouble::Trace;
use testkit::fake::wait::wait_until;

/// The source of most tests.
pub(crate) const SOURCE: &str = "clicks";
/// Its only partition.
pub(crate) const PARTITION: &str = "0";

/// A host made of fakes.
pub(crate) struct World {
    pub(crate) source: Arc<MemorySource>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) output: Arc<MemoryOutput>,
    pub(crate) dead: Arc<MemoryDeadLetters>,
    pub(crate) trace: Arc<Trace>,
    pub(crate) registry: Registry,
    pub(crate) flow: Arc<Flow>,
}

/// Small batches and short pauses.
pub(crate) fn settings() -> FlowSettings {
    FlowSettings {
        threads_max: 4,
        batch_rows: 10,
        retry_first: Duration::from_millis(1),
        retry_max: Duration::from_millis(5),
        read_wait: Duration::from_millis(20),
        partition_poll: Duration::from_millis(20),
        ..FlowSettings::default()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: FlowSettings) -> Self {
        let trace = Arc::new(Trace::default());
        let (store, output) = (MemoryStore::traced(&trace), MemoryOutput::traced(&trace));
        Self::on(settings, MemorySource::new(&[PARTITION]), store, output, trace)
    }

    /// A host on parts that were there before.
    pub(crate) fn on(
        settings: FlowSettings,
        source: Arc<MemorySource>,
        store: Arc<MemoryStore>,
        output: Arc<MemoryOutput>,
        trace: Arc<Trace>,
    ) -> Self {
        let dead = MemoryDeadLetters::traced(&trace);
        let mut registry = Registry::default();
        let flow = Flow::start(FlowParts {
            online: store.clone(),
            ledger: store.clone(),
            dead_letters: dead.clone(),
            clock: Arc::new(FakeClock::at(INGEST_TIME)),
            settings,
            metrics: &mut registry,
        });
        flow.add_source(SourceSetup {
            name: SOURCE.to_owned(),
            source: source.clone(),
            format: Arc::new(LineFormat::default()),
        })
        .unwrap();
        Self { source, store, output, dead, trace, registry, flow }
    }

    /// The host that comes after a crash of this one.
    pub(crate) fn crash(self) -> Self {
        let fuse = testkit::fake::trouble::Fuse::never();
        let (store, output) = (self.store.after_crash(&fuse, 0), self.output.after_crash(&fuse));
        let source = self.source.clone();
        drop(self.flow);
        Self::on(settings(), source, store, output, Arc::default())
    }

    /// A view that begins at the first event and has an output stream.
    pub(crate) fn view(&self, name: &str, component: &Arc<FakeComponent>) -> ViewSetup {
        view_setup(name, component, Some(self.output.clone()))
    }

    pub(crate) fn start(&self, name: &str, component: &Arc<FakeComponent>) {
        self.flow.start_view(self.view(name, component)).unwrap();
    }

    /// Appends events with these values; the key is the value modulo 3, the event time grows.
    pub(crate) fn append(&self, values: impl IntoIterator<Item = i64>) -> model::position::Position {
        self.source.append(PARTITION, values.into_iter().map(event))
    }

    #[track_caller]
    pub(crate) fn wait_emitted(&self, view: &str, count: usize) {
        wait_until(&format!("{count} records of `{view}` are there"), || {
            self.output.positions_of(view).len() >= count
        });
    }

    #[track_caller]
    pub(crate) fn wait_state(&self, view: &str, expected: &str) {
        wait_until(&format!("`{view}` is {expected}"), || self.state_name(view) == expected);
    }

    pub(crate) fn state_name(&self, view: &str) -> &'static str {
        self.flow.state(view).map_or("unknown", |state| state.name())
    }

    pub(crate) fn reason(&self, view: &str) -> String {
        match self.flow.state(view) {
            Some(ViewState::Paused { reason } | ViewState::Failed { reason }) => reason,
            other => panic!("`{view}` is not paused or failed but {other:?}"),
        }
    }

    /// Checks that the output has exactly the events 1 to `count` of a view, in order.
    #[track_caller]
    pub(crate) fn check_complete(&self, view: &str, count: u64) {
        let expected: Vec<u64> = (1..=count).collect();
        assert_eq!(self.output.positions_of(view), expected, "records of `{view}`");
        assert_eq!(self.output.disorder(), Vec::<String>::new());
    }
}

/// An event as the fakes understand it.
pub(crate) fn event(value: i64) -> String {
    format!("k{},{value},{}", value % 3, INGEST_TIME + value)
}

pub(crate) fn view_setup(
    name: &str,
    component: &Arc<FakeComponent>,
    output: Option<Arc<dyn OutputStream>>,
) -> ViewSetup {
    let record = Arc::new(OutputOptions {
        version: RecordVersion::V1,
        include_features: true,
        producer: "millrace".to_owned(),
    });
    ViewSetup {
        shape: shape(name, SOURCE),
        component: component.clone(),
        digest: component.digest(),
        options: options(name),
        event_time_column: "at".to_owned(),
        earliest: model::time::EventTime::DEFAULT_EARLIEST.0,
        max_future: 600_000_000,
        start: model::source::Point::Earliest,
        output: output.map(|output| (output, record)),
        parallel_emit: false,
        rows_are_shared: false,
        failures_to_pause: 0,
        older: Arc::new(|_| None),
    }
}

/// Finds these components by their digest.
pub(crate) fn keeping(setup: ViewSetup, components: &[&Arc<FakeComponent>]) -> ViewSetup {
    let kept: Vec<Arc<FakeComponent>> = components.iter().map(|component| Arc::clone(component)).collect();
    let options = setup.options.clone();
    let older = move |digest: &model::view::Digest| {
        let component = kept.iter().find(|component| component.digest() == *digest)?;
        Some(OlderComponent { component: component.clone(), options: options.clone() })
    };
    ViewSetup { older: Arc::new(older), ..setup }
}

/// The same view without online rows.
pub(crate) fn offline(setup: ViewSetup) -> ViewSetup {
    let shape = ViewShape { online: false, ..(*setup.shape).clone() };
    ViewSetup { shape: Arc::new(shape), ..setup }
}
