//! The parts that are opened once: store, dead letters, sandbox, flow. Opening locks and reads; the flow runs nothing yet.

use std::fs;
use std::sync::{Arc, RwLock};

use anyhow::Context;
use arc_swap::ArcSwap;
use connectors::dead_letter::file::FileDeadLetters;
use connectors::online::embedded::{EmbeddedOptions, EmbeddedStore};
use model::error::Failure;
use model::time::Clock;
use pipeline::Flow;
use pipeline::setup::{FlowParts, FlowSettings};
use prometheus_client::registry::Registry;
use serve::{Directory, Health};
use spec::plan::{DeadLetterPlan, HostPlan};

use crate::clock::SystemClock;
use crate::components::{Kept, Library};
use crate::report::Stopped;

/// What every view of the host shares.
pub(crate) struct Parts {
    pub(crate) settings: HostPlan,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) flow: Arc<Flow>,
    pub(crate) library: Arc<Library>,
    pub(crate) health: Arc<Health>,
    pub(crate) directory: Arc<ArcSwap<Directory>>,
    pub(crate) registry: Arc<RwLock<Registry>>,
}

impl Parts {
    /// Opens everything under the data directory of the settings.
    pub(crate) fn open(settings: HostPlan) -> Result<Self, Stopped> {
        let data = &settings.data_dir;
        fs::create_dir_all(data).map_err(|error| {
            Stopped::Unavailable(format!(
                "cannot make the data directory {}: {error}; name another with --data-dir, or mend the path",
                data.display()
            ))
        })?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = EmbeddedStore::open(EmbeddedOptions {
            directory: data.join("online"),
            memory_bytes: settings.online_store.memory,
            checkpoint_interval: settings.online_store.checkpoint_interval,
            checkpoint_bytes: settings.online_store.checkpoint_bytes,
            clock: Arc::clone(&clock),
        })
        .map_err(unavailable)?;
        let letters = match &settings.dead_letter {
            DeadLetterPlan::File(path) => path.clone(),
            DeadLetterPlan::Default | DeadLetterPlan::Kafka { .. } => data.join("dead_letter.ndjson"),
        };
        let dead_letters = FileDeadLetters::open(&letters).map_err(unavailable)?;
        let library = Library::new(wasm::EngineOptions::default(), Some(Kept::new(data)))?;
        let mut registry = Registry::default();
        let mut flow_settings = FlowSettings::default();
        if let Some(threads) = settings.threads {
            flow_settings.threads_max = threads;
        }
        let flow = Flow::start(FlowParts {
            online: Arc::clone(&store) as _,
            ledger: Arc::clone(&store) as _,
            dead_letters,
            clock: Arc::clone(&clock),
            settings: flow_settings,
            metrics: &mut registry,
        });
        let releasing = Arc::downgrade(&flow);
        store.on_checkpoint(Box::new(move || {
            if let Some(flow) = releasing.upgrade() {
                flow.on_checkpoint();
            }
        }));
        Ok(Self {
            settings,
            clock,
            store,
            flow,
            library: Arc::new(library),
            health: Arc::new(Health::new()),
            directory: Arc::new(ArcSwap::from_pointee(Directory::default())),
            registry: Arc::new(RwLock::new(registry)),
        })
    }

    /// Finishes what has begun and makes it durable. Says whether all of it was finished in time.
    pub(crate) fn close(&self) -> anyhow::Result<bool> {
        let drained = self.flow.drain(self.settings.shutdown_grace);
        self.store.close().context("cannot make the last rows durable; they will be replayed")?;
        Ok(drained)
    }
}

/// A part that could not be opened.
#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
pub(crate) fn unavailable(failure: Failure) -> Stopped {
    Stopped::Unavailable(format!("failed to {failure}"))
}
