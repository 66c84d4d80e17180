//! The parts that are opened once: store, dead letters, sandbox, flow. Opening locks and reads; the flow runs nothing yet.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use anyhow::Context;
use arc_swap::ArcSwap;
use connectors::dead_letter::file::FileDeadLetters;
use connectors::dead_letter::kafka::{KafkaDeadLetters, KafkaDeadLettersOptions};
use connectors::online::embedded::{EmbeddedOptions, EmbeddedStore};
use model::dead_letter::DeadLetters;
use model::error::Failure;
use model::online::OnlineStore;
use model::time::Clock;
use pipeline::Flow;
use pipeline::setup::{FlowParts, FlowSettings};
use prometheus_client::registry::Registry;
use serve::{Directory, Health};
use spec::plan::{DeadLetterPlan, HostPlan};
use tokio::runtime::Handle;

use super::instance::instance;
use super::kafka::Kafka;
use super::kinesis::Kinesis;
use super::outputs::create;
use super::redis::Redis;
use super::repair::{self, Losses};
use super::shares::Shares;
use super::stores::Stores;
use crate::clock::SystemClock;
use crate::components::{Kept, Library};
use crate::report::Stopped;

/// Where rows go that are not in Redis, given the embedded store, which keeps the positions in any case.
pub(crate) type Online = fn(&Arc<EmbeddedStore>) -> Arc<dyn OnlineStore>;

/// What every view of the host shares.
pub(crate) struct Parts {
    pub(crate) settings: HostPlan,
    pub(crate) clock: Arc<dyn Clock>,
    /// The embedded store: positions of all views, rows of some.
    pub(crate) store: Arc<EmbeddedStore>,
    /// All stores.
    pub(crate) stores: Arc<Stores>,
    pub(crate) flow: Arc<Flow>,
    pub(crate) library: Arc<Library>,
    pub(super) dead_letters: Arc<dyn DeadLetters>,
    /// This host's name among hosts.
    pub(super) instance: String,
    pub(crate) kafka: Kafka,
    pub(super) kinesis: Kinesis,
    pub(super) redis: Arc<Redis>,
    pub(crate) shares: Shares,
    losses: Arc<Losses>,
    /// Has lost rows made again; `None` once it has ended.
    repairing: Mutex<Option<JoinHandle<()>>>,
    pub(crate) health: Arc<Health>,
    pub(crate) directory: Arc<ArcSwap<Directory>>,
    pub(crate) registry: Arc<RwLock<Registry>>,
}

impl Parts {
    /// Opens everything under the data directory of the settings. `runtime`: where work for Kinesis and Redis runs; it has
    /// to last longer than the parts.
    pub(crate) fn open(settings: HostPlan, online: Online, runtime: &Handle) -> Result<Self, Stopped> {
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
        let health = Arc::new(Health::new());
        let mut registry = Registry::default();
        let (connections, instance) = (&settings.connections, instance(data)?);
        let kafka = Kafka::new(connections, instance.clone(), &mut registry, &health);
        let kinesis = Kinesis::new(connections, runtime.clone(), &mut registry, &health);
        let redis = Arc::new(Redis::new(connections, runtime.clone(), &mut registry, &health));
        let losses = Arc::new(Losses::default());
        let stores = Stores::new(&settings, &store, online(&store), &redis, &instance, &clock, &losses);
        let dead_letters = dead_letters(&settings, &kafka).map_err(unavailable)?;
        let library = Library::new(wasm::EngineOptions::default(), Some(Kept::new(data)))?;
        let mut flow_settings = FlowSettings::default();
        if let Some(threads) = settings.threads {
            flow_settings.threads_max = threads;
        }
        let flow = Flow::start(FlowParts {
            online: stores.online(),
            ledger: Arc::clone(&store) as _,
            dead_letters: Arc::clone(&dead_letters),
            clock: Arc::clone(&clock),
            settings: flow_settings,
            metrics: &mut registry,
        });
        let repairing = repair::spawn(Arc::clone(&losses), Arc::downgrade(&flow))?;
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
            stores,
            flow,
            library: Arc::new(library),
            dead_letters,
            instance,
            kafka,
            kinesis,
            redis,
            shares: Shares::default(),
            losses,
            repairing: Mutex::new(Some(repairing)),
            health,
            directory: Arc::new(ArcSwap::from_pointee(Directory::default())),
            registry: Arc::new(RwLock::new(registry)),
        })
    }

    /// Finishes what has begun and makes it durable. Says whether all of it was finished in time.
    pub(crate) fn close(&self) -> anyhow::Result<bool> {
        self.losses.stop();
        let drained = self.flow.drain(self.settings.shutdown_grace);
        let repairing = self.repairing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if repairing.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that repairs views panicked");
        }
        self.stores.close().context("cannot make the last rows durable; they will be replayed")?;
        Ok(drained)
    }
}

/// Where events go that cannot be used.
fn dead_letters(settings: &HostPlan, kafka: &Kafka) -> Result<Arc<dyn DeadLetters>, Failure> {
    let file = |path: &Path| FileDeadLetters::open(path).map(|letters| letters as Arc<dyn DeadLetters>);
    match &settings.dead_letter {
        DeadLetterPlan::Default => file(&settings.data_dir.join("dead_letter.ndjson")),
        DeadLetterPlan::File(path) => file(path),
        DeadLetterPlan::Kafka { connection, topic, create: how } => {
            let letters = KafkaDeadLetters::open(KafkaDeadLettersOptions {
                connection: kafka.connection(connection)?,
                topic: topic.clone(),
                create: how.map(create),
                max_message_bytes: None,
                shared: kafka.shared.clone(),
            })?;
            Ok(letters)
        }
    }
}

/// A part that could not be opened.
#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
pub(crate) fn unavailable(failure: Failure) -> Stopped {
    Stopped::Unavailable(format!("failed to {failure}"))
}
