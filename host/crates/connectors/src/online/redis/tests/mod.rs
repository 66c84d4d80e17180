//! The store as a whole, against real servers: the contract, claims, several hosts, losses, and what may go wrong.

mod claims;
mod cluster;
mod decisions;
mod failing;
mod hosts;
mod losses;

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_core::future::BoxFuture;
use model::batch::{Applied, FeatureBatch};
use model::error::Failure;
use model::online::{Ledger, OnlineReader, OnlineStore};
use model::position::{Partition, Position};
use model::time::{Clock, EventTime};
use model::value::Value;
use model::view::ViewRef;
use tempfile::TempDir;
use testkit::contract::online::{self, Place, Subject, TestRow, batch, block_on};
use tokio::runtime::Runtime;

use super::{Loss, RedisStore, RedisStoreOptions};
use crate::online::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::redis::testing::{Server, until};
use crate::redis::{Connection, Shared};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// No row was late.
const NONE: [u32; 0] = [];

/// A clock that stands until it is set; in 2100, so that deadlines lie ahead for Redis too.
struct TestClock(AtomicI64);

impl Default for TestClock {
    fn default() -> Self {
        Self(AtomicI64::new(4_102_444_800_000_000))
    }
}

impl Clock for TestClock {
    fn now(&self) -> EventTime {
        EventTime(self.0.load(Ordering::Relaxed))
    }
}

/// A host: its directory, its positions and its store.
struct Host {
    store: Arc<RedisStore>,
    ledger: Arc<EmbeddedStore>,
    clock: Arc<TestClock>,
    losses: Arc<Mutex<Vec<Loss>>>,
}

impl Host {
    fn open(directory: &Path, connection: &Connection, instance: &str) -> Self {
        Self::try_open(directory, connection, instance, |_| {}).unwrap()
    }

    fn try_open(
        directory: &Path,
        connection: &Connection,
        instance: &str,
        change: impl Fn(&mut RedisStoreOptions),
    ) -> Result<Self, Failure> {
        let clock = Arc::new(TestClock::default());
        let ledger = EmbeddedStore::open(EmbeddedOptions {
            checkpoint_interval: Duration::from_secs(3600),
            memory_bytes: 16 << 20,
            ..EmbeddedOptions::new(directory.join("embedded"), Arc::clone(&clock) as _)
        })?;
        let mut options = RedisStoreOptions {
            project: "default".into(),
            connection: connection.clone(),
            ledger: Arc::clone(&ledger) as _,
            directory: directory.to_owned(),
            instance: instance.into(),
            memory_bytes: 16 << 20,
            writers: 2,
            clock: Arc::clone(&clock) as _,
            shared: Shared::for_tests(RUNTIME.handle().clone()),
        };
        change(&mut options);
        let store = RedisStore::open(options)?;
        let losses = Arc::new(Mutex::new(Vec::new()));
        let hearing = Arc::clone(&losses);
        store.on_loss(Box::new(move |lost| hearing.lock().unwrap().extend(lost)));
        Ok(Self { store, ledger, clock, losses })
    }

    fn write(&self, batch: Arc<FeatureBatch>) -> Result<Vec<u32>, Failure> {
        block_on(self.store.write(batch)).map(|applied| applied.late)
    }

    /// Repeats what a flow would repeat.
    fn write_at_last(&self, batch: &Arc<FeatureBatch>) -> Vec<u32> {
        let mut late = None;
        until("the batch is written", || {
            late = self.write(Arc::clone(batch)).ok();
            late.is_some()
        });
        late.unwrap()
    }

    fn checkpoint(&self) {
        block_on(self.store.checkpoint()).unwrap();
        block_on(self.ledger.checkpoint()).unwrap();
    }

    fn durable(&self, view: &str, partition: &str) -> Option<u64> {
        self.ledger.durable(view, &Partition::new(partition)).and_then(|position| position.as_u64())
    }

    /// Position and value of an entity.
    fn get(&self, view: &ViewRef, entity: u32) -> Option<(u64, i64)> {
        let row =
            block_on(self.store.get(view, vec![vec![Value::String(format!("u{entity}"))]], vec![0])).unwrap();
        row.into_iter().next().unwrap().map(|row| match row.values[0] {
            Value::Int(value) => (row.version.position.as_u64().unwrap(), value),
            _ => panic!("{row:?}"),
        })
    }

    /// Rows that went each way: without looking, compared, late.
    fn ways(&self, options: &Shared, view: &str) -> (u64, u64, u64) {
        let metrics = options.metrics.view(view);
        (metrics.claimed.get(), metrics.compared.get(), metrics.late.get())
    }

    fn take_losses(&self) -> Vec<Loss> {
        std::mem::take(&mut self.losses.lock().unwrap())
    }
}

/// Rows in Redis, positions in the embedded store: as a host puts them together.
struct Pair(Arc<RedisStore>, Arc<EmbeddedStore>);

impl OnlineStore for Pair {
    fn write(&self, batch: Arc<FeatureBatch>) -> BoxFuture<'static, Result<Applied, Failure>> {
        self.0.write(batch)
    }

    fn checkpoint(&self) -> BoxFuture<'static, Result<(), Failure>> {
        let (first, second) = (self.0.checkpoint(), self.1.checkpoint());
        Box::pin(async move {
            first.await?;
            second.await
        })
    }
}

struct OneServer(Server, TempDir);

impl Place for OneServer {
    fn open(&self) -> Subject {
        subject(Host::open(self.1.path(), &self.0.connection("cache"), "host"))
    }
}

fn subject(host: Host) -> Subject {
    let Host { store, ledger, .. } = host;
    let deleting = Arc::clone(&store);
    Subject {
        reader: Arc::clone(&store) as _,
        store: Arc::new(Pair(store, Arc::clone(&ledger))),
        ledger: Some(ledger as _),
        delete: Some(Box::new(move |view, keys, version| block_on(deleting.delete(view, keys, version)))),
    }
}

macro_rules! contract {
    ($($check:ident),* $(,)?) => {$(
        #[test]
        fn $check() {
            let Some(server) = Server::start(stringify!($check), &[]) else { return };
            online::$check(&OneServer(server, tempfile::tempdir().unwrap()));
        }
    )*};
}

contract!(
    newer_wins,
    replay,
    late_rows,
    tombstones,
    all_types,
    nulls,
    many_keys,
    schema_evolution,
    other_join_keys,
    reopen,
    empty_batch,
    generations,
    rewind,
    set_back,
);
