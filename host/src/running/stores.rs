//! The stores that views' rows are in: the embedded one, and those in Redis, each opened when the first view needs it.
//!
//! Which view goes where is kept by the router; where a view's rows are is decided in `place.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use connectors::online::embedded::EmbeddedStore;
use connectors::online::redis::{RedisStore, RedisStoreOptions};
use model::error::Failure;
use model::online::{OnlineReader, OnlineStore};
use model::time::Clock;
use spec::plan::{HostPlan, RedisStoresPlan, StorePlan};

use super::redis::Redis;
use super::repair::Losses;
use super::router::{Closed, Router, Rows};

/// All stores of a host.
pub(crate) struct Stores {
    router: Arc<Router>,
    embedded: Arc<EmbeddedStore>,
    redis: Arc<Redis>,
    losses: Arc<Losses>,
    project: String,
    instance: String,
    settings: RedisStoresPlan,
    /// Notes of each store in Redis go into a folder of its own below.
    directory: PathBuf,
    clock: Arc<dyn Clock>,
    /// By connection. Never held while a store is opened, closed or asked: a checkpoint looks at it, and an opening waits for
    /// checkpoints.
    opened: Mutex<BTreeMap<String, Arc<RedisStore>>>,
    /// Held while a store is opened: two of one connection would not know of each other's writes.
    opening: Mutex<()>,
}

impl Stores {
    /// All rows go to the embedded store, whose part when it comes to writing is taken by `local`.
    pub(super) fn new(
        settings: &HostPlan,
        embedded: &Arc<EmbeddedStore>,
        local: Arc<dyn OnlineStore>,
        redis: &Arc<Redis>,
        instance: &str,
        clock: &Arc<dyn Clock>,
        losses: &Arc<Losses>,
    ) -> Arc<Self> {
        let stores = Arc::new(Self {
            router: Arc::new(Router::new(local, Arc::clone(embedded) as _)),
            embedded: Arc::clone(embedded),
            redis: Arc::clone(redis),
            losses: Arc::clone(losses),
            project: settings.project.clone(),
            instance: instance.to_owned(),
            settings: settings.redis_stores.clone(),
            directory: settings.data_dir.join("redis"),
            clock: Arc::clone(clock),
            opened: Mutex::default(),
            opening: Mutex::default(),
        });
        let noting = Arc::downgrade(&stores);
        embedded.before_checkpoint(Box::new(move || noting.upgrade().map_or(Ok(()), |stores| stores.note())));
        stores
    }

    /// Where the flow writes.
    pub(super) fn online(&self) -> Arc<dyn OnlineStore> {
        Arc::clone(&self.router) as _
    }

    /// Where requests read.
    pub(crate) fn reader(&self) -> Arc<dyn OnlineReader> {
        Arc::clone(&self.router) as _
    }

    /// Sends the rows of a view to a store from now on, which is opened if need be. Waits for no answer of it. Where it cannot
    /// be opened, reads fail as well.
    pub(super) fn send(&self, view: &str, to: &StorePlan) -> Result<(), Failure> {
        match to {
            StorePlan::Embedded => self.router.set(view, None),
            StorePlan::Redis { connection } => {
                let (store, opened): (Arc<dyn Rows>, _) = match self.open(connection) {
                    Ok(store) => (store, Ok(())),
                    Err(failure) => (Arc::new(Closed::new(&failure)), Err(failure)),
                };
                self.router.set(view, Some((connection, &store)));
                return opened;
            }
        }
        Ok(())
    }

    /// The connections to Redis whose stores are open.
    pub(super) fn connections(&self) -> Vec<String> {
        self.opened().keys().cloned().collect()
    }

    fn open(&self, connection: &str) -> Result<Arc<RedisStore>, Failure> {
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.opened().get(connection) {
            return Ok(Arc::clone(known));
        }
        let directory = self.directory.join(connection);
        fs::create_dir_all(&directory).map_err(|error| {
            Failure::retry(format!("make the folder {}", directory.display())).caused_by(error)
        })?;
        let store = RedisStore::open(RedisStoreOptions {
            project: self.project.clone(),
            connection: self.redis.connection(connection)?,
            ledger: Arc::clone(&self.embedded) as _,
            directory,
            instance: self.instance.clone(),
            memory_bytes: self.settings.memory,
            writers: self.settings.writers,
            clock: Arc::clone(&self.clock),
            shared: self.redis.shared.clone(),
        })?;
        let (losses, name) = (Arc::clone(&self.losses), connection.to_owned());
        let lost_by: Weak<RedisStore> = Arc::downgrade(&store);
        store.on_loss(Box::new(move |lost| losses.add(&name, &lost_by, lost)));
        self.opened().insert(connection.to_owned(), Arc::clone(&store));
        Ok(store)
    }

    /// Has all stores in Redis note what the positions rest on that are about to become durable.
    fn note(&self) -> Result<(), Failure> {
        let stores: Vec<_> = self.opened().values().cloned().collect();
        stores.iter().try_for_each(|store| self.redis.shared.runtime.block_on(store.checkpoint()))
    }

    /// Waits for writes under way and ends the stores in Redis, then the embedded one: the last to know positions.
    pub(super) fn close(&self) -> Result<(), Failure> {
        // What is closed has noted everything; the last checkpoint asks it no more.
        let stores = std::mem::take(&mut *self.opened());
        let closed: Vec<_> = stores.values().map(|store| store.close()).collect();
        self.embedded.close()?;
        closed.into_iter().collect()
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<String, Arc<RedisStore>>> {
        // A store is inserted whole or not at all.
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
