//! The store as others see it.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use futures_core::future::BoxFuture;
use model::batch::{Applied, FeatureBatch};
use model::error::Failure;
use model::online::{Lookup, OnlineReader, OnlineStore, StoredRow};
use model::position::RowVersion;
use model::value::Value;
use model::view::{ViewRef, ViewShape};

use super::notes::Notes;
use super::options::{Loss, RedisStoreOptions};
use super::reader::Reader;
use super::writer::{Common, Writers};
use crate::redis::Nodes;

/// Called when rows were lost; see [`RedisStore::on_loss`].
pub type LossHook = Box<dyn Fn(Vec<Loss>) + Send + Sync>;

/// The shared online store. Its protocol stands in [`super`].
pub struct RedisStore {
    reader: Reader,
    writers: Arc<Writers>,
    notes: Arc<Notes>,
    /// Writes what was acknowledged to the file; `None` once closed.
    noting: Mutex<Option<JoinHandle<()>>>,
}

impl RedisStore {
    /// Opens it. Waits for no answer: while Redis is away, writes fail and are to be repeated. Stops with words if
    /// something is wrong that stays wrong.
    ///
    /// The ledger goes back by what may have been acknowledged since this host last wrote its file, a second at most; so
    /// this comes before anybody reads positions.
    pub fn open(options: RedisStoreOptions) -> Result<Arc<Self>, Failure> {
        let nodes = Nodes::open(&options.connection, &options.shared)?;
        let (connection, ledger) = (options.connection.name.as_str(), Arc::clone(&options.ledger));
        let notes = Notes::open(&options.directory, connection, ledger, options.shared.metrics.clone())?;
        let notes = Arc::new(notes);
        let noting = Arc::clone(&notes);
        let thread =
            std::thread::Builder::new().name("redis-notes".to_owned()).spawn(move || noting.run()).map_err(
                |error| Failure::stop("start the thread that notes what Redis has").caused_by(error),
            )?;
        let common = Common {
            options,
            nodes: Arc::clone(&nodes),
            notes: Arc::clone(&notes),
            warned: AtomicBool::new(false),
        };
        let writers = Arc::new(Writers::start(&Arc::new(common))?);
        Ok(Arc::new(Self { reader: Reader::new(nodes), writers, notes, noting: Mutex::new(Some(thread)) }))
    }

    /// Registers who hears of lost rows, before the first write. From then on writes of these views and partitions
    /// fail, until [`RedisStore::accept`]. Called on a thread of the store, which must not be blocked for long.
    ///
    /// What was lost before a restart and not accepted is told again.
    pub fn on_loss(&self, hook: LossHook) {
        self.notes.set_hook(hook);
    }

    /// The source is read again from where the rows were lost: writes are taken again.
    pub fn accept(&self, losses: &[Loss]) {
        self.notes.accept(losses);
    }

    /// Deletes entities as of a version, as [`crate::online::embedded::EmbeddedStore::delete`] does.
    pub fn delete(
        &self,
        view: &ViewRef,
        keys: &[Vec<Value>],
        version: &RowVersion,
    ) -> BoxFuture<'static, Result<Vec<bool>, Failure>> {
        Box::pin(Arc::clone(&self.writers).delete(Arc::clone(view), keys.to_vec(), version.clone()))
    }

    /// Ends its threads; writes under way are waited for. Closing twice does nothing.
    pub fn close(&self) -> Result<(), Failure> {
        self.writers.close();
        let thread = self.noting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        self.notes.end();
        // The hook may hold the last reference to the store; a thread cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the thread that notes what redis has had panicked");
        }
        self.notes.ended()
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        if let Err(failure) = self.close() {
            tracing::warn!("failed to {failure}");
        }
    }
}

impl OnlineStore for RedisStore {
    fn write(&self, batch: Arc<FeatureBatch>) -> BoxFuture<'static, Result<Applied, Failure>> {
        Box::pin(Arc::clone(&self.writers).write(batch))
    }

    fn checkpoint(&self) -> BoxFuture<'static, Result<(), Failure>> {
        self.notes.request_flush()
    }
}

impl OnlineReader for RedisStore {
    fn get(
        &self,
        view: &Arc<ViewShape>,
        keys: Vec<Vec<Value>>,
        features: Vec<usize>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredRow>>, Failure>> {
        let all = self.get_all(vec![Lookup { view: Arc::clone(view), keys, features }]);
        Box::pin(async move { Ok(all.await?.pop().unwrap_or_default()) })
    }

    fn get_all(
        &self,
        lookups: Vec<Lookup>,
    ) -> BoxFuture<'static, Result<Vec<Vec<Option<StoredRow>>>, Failure>> {
        self.reader.get_all(lookups)
    }
}
