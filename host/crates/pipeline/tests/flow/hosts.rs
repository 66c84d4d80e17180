//! Hosts in one process that share a source: what one of them is in the group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::source::Point;
use model::status::{Overview, ViewState};
use pipeline::Flow;
use pipeline::setup::{FlowParts, FlowSettings, SourceSetup, ViewSetup};
use prometheus_client::registry::Registry;
use testkit::fake::clock::FakeClock;
use testkit::fake::component::FakeComponent;
use testkit::fake::dead_letters::MemoryDeadLetters;
use testkit::fake::format::LineFormat;
use testkit::fake::group::{KeptOutput, MemoryGroup, MemoryMember};
use testkit::fake::online::MemoryStore;
use testkit::fake::source::INGEST_TIME;
use testkit::fake::trouble::{Fuse, Trace};
use testkit::fake::wait::LIMIT;

use crate::world::{SOURCE, event, settings, view_setup};

/// How long a clean revoke may take.
pub(crate) const PATIENT: Duration = Duration::from_secs(20);

/// One host.
pub(crate) struct Host {
    pub(crate) member: Arc<MemoryMember>,
    pub(crate) output: Arc<KeptOutput>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) fuse: Arc<Fuse>,
    pub(crate) registry: Registry,
    pub(crate) flow: Arc<Flow>,
}

impl Host {
    /// A host that was never there.
    pub(crate) fn new(group: &Arc<MemoryGroup>, number: usize) -> Self {
        Self::on(group, number, MemoryStore::traced(&Arc::new(Trace::default())), Fuse::never(), settings())
    }

    /// A host on a store that was there before.
    pub(crate) fn on(
        group: &Arc<MemoryGroup>,
        number: usize,
        store: Arc<MemoryStore>,
        fuse: Arc<Fuse>,
        settings: FlowSettings,
    ) -> Self {
        let member = MemoryMember::new(group, number, &fuse);
        let output = KeptOutput::new(&member);
        let mut registry = Registry::default();
        let flow = Flow::start(FlowParts {
            online: store.clone(),
            ledger: store.clone(),
            dead_letters: MemoryDeadLetters::traced(&Arc::new(Trace::default())),
            clock: Arc::new(FakeClock::at(INGEST_TIME)),
            settings,
            metrics: &mut registry,
        });
        let format = Arc::new(LineFormat::default());
        flow.add_source(SourceSetup { name: SOURCE.to_owned(), source: member.clone(), format }).unwrap();
        Self { member, output, store, fuse, registry, flow }
    }

    /// The host that comes after a crash of this one; its partitions are nobody's.
    pub(crate) fn crash(self, group: &Arc<MemoryGroup>, number: usize) -> Self {
        self.fuse.blow();
        let fuse = Fuse::never();
        let store = self.store.after_crash(&fuse, 0);
        Self::on(group, number, store, fuse, settings())
    }

    pub(crate) fn view(&self, name: &str, component: &Arc<FakeComponent>) -> ViewSetup {
        view_setup(name, component, Some(self.output.clone()))
    }

    pub(crate) fn start(&self, name: &str) {
        self.flow.start_view(self.view(name, &FakeComponent::identity(1))).unwrap();
    }

    pub(crate) fn start_at(&self, name: &str, start: Point) {
        let setup = ViewSetup { start, ..self.view(name, &FakeComponent::identity(1)) };
        self.flow.start_view(setup).unwrap();
    }

    /// What the store does every few seconds.
    pub(crate) fn checkpoint(&self) {
        self.store.checkpoint_now();
        self.flow.on_checkpoint();
    }

    /// Through where a view is in each partition: applied, emitted.
    pub(crate) fn marks(&self, view: &str) -> BTreeMap<String, (Option<u64>, Option<u64>)> {
        let status = self.flow.status(view);
        let partitions = status.map(|status| status.partitions).unwrap_or_default();
        let number = |position: Option<model::position::Position>| position.and_then(|at| at.as_u64());
        partitions
            .iter()
            .map(|at| (at.partition.as_str().to_owned(), (number(at.applied), number(at.emitted))))
            .collect()
    }

    #[track_caller]
    pub(crate) fn wait_marks(&self, view: &str, partition: &str, through: u64) {
        let done = || self.marks(view).get(partition) == Some(&(Some(through), Some(through)));
        let deadline = Instant::now() + LIMIT;
        while !done() {
            let status = self.flow.status(view);
            assert!(Instant::now() < deadline, "`{partition}` is not through {through}: {status:?}");
            std::thread::park_timeout(Duration::from_micros(200));
        }
    }

    pub(crate) fn state(&self, view: &str) -> &'static str {
        self.flow.state(view).map_or("unknown", |state| state.name())
    }

    pub(crate) fn reason(&self, view: &str) -> String {
        match self.flow.state(view) {
            Some(ViewState::Paused { reason } | ViewState::Failed { reason }) => reason,
            other => panic!("`{view}` is not paused or failed but {other:?}"),
        }
    }

    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

/// Appends events with these values to a partition.
pub(crate) fn append(group: &MemoryGroup, partition: &str, values: impl IntoIterator<Item = i64>) -> u64 {
    let last = group.topic.append(partition, values.into_iter().map(event));
    last.as_u64().unwrap()
}

/// Positions of all records of a view in a partition, in order.
pub(crate) fn positions(group: &MemoryGroup, view: &str, partition: &str) -> Vec<u64> {
    group.emitted(view, partition).into_iter().map(|(_, position, _)| position).collect()
}
