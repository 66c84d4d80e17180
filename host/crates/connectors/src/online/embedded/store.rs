//! The store as others see it: the contracts of `model::online`, and what only the host needs.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use futures_core::future::BoxFuture;
use model::batch::{Applied, FeatureBatch};
use model::error::Failure;
use model::online::{GenerationEntry, Ledger, OnlineReader, OnlineStore, Starts, StoredRow, ViewLedger};
use model::position::{Partition, Position, RowVersion};
use model::value::Value;
use model::view::{ViewRef, ViewShape};

use super::control;
use super::core::Core;
use super::options::EmbeddedOptions;
use super::rows::{EntityRow, Walked};
use super::statistics::Statistics;

/// The embedded online store. Dropping it without [`EmbeddedStore::close`] is what a crash does: what no checkpoint has
/// is replayed.
pub struct EmbeddedStore {
    pub(super) core: Arc<Core>,
    /// Makes checkpoints; `None` once closed.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedStore {
    /// Opens or makes the store of a directory and starts its checkpoint thread.
    ///
    /// Fails with `Stop` if another host has the directory, if its format is another, or if it cannot be read.
    pub fn open(options: EmbeddedOptions) -> Result<Arc<Self>, Failure> {
        let core = Arc::new(Core::open(options)?);
        let worker = Arc::clone(&core);
        let thread = std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || control::run(&worker))
            .map_err(|error| Failure::stop("start the checkpoint thread").caused_by(error))?;
        Ok(Arc::new(Self { core, thread: Mutex::new(Some(thread)) }))
    }

    /// Registers something to call after each checkpoint, when positions have become durable; also after one for which
    /// there was nothing to write. It is called on the checkpoint thread and must neither wait for a checkpoint nor
    /// register another.
    pub fn on_checkpoint(&self, callback: Box<dyn Fn() + Send + Sync>) {
        self.core.callbacks.lock().expect("a list of callbacks").push(callback);
    }

    /// Registers something to call in each checkpoint, when it is known which positions become durable with it, and before
    /// they do: for those who note elsewhere what these positions rest on. If it fails, so does the checkpoint, which is
    /// tried again. It is called on the checkpoint thread and must not wait for a checkpoint.
    pub fn before_checkpoint(&self, prepare: Box<dyn Fn() -> Result<(), Failure> + Send + Sync>) {
        self.core.preparations.lock().expect("a list of preparations").push(prepare);
    }

    /// How the store is doing.
    pub fn statistics(&self) -> Statistics {
        self.core.statistics()
    }

    /// Notes a view's TTL, by which its rows are swept; to be called whenever its file was loaded.
    pub fn set_view(&self, view: ViewRef) {
        self.core.views.declare(view, &self.core.ledger);
    }

    /// Deletes entities as of a version. What is older than it stays away, what is newer stays. Says of each key whether
    /// the deletion was the newest. The deletion is remembered for a day after its event time.
    ///
    /// `keys`: join-key values in the view's declared order, one entry per entity.
    pub fn delete(
        &self,
        view: &ViewRef,
        keys: &[Vec<Value>],
        version: &RowVersion,
    ) -> Result<Vec<bool>, Failure> {
        self.core.delete(view, keys, version)
    }

    /// Removes every row that is past its time now, instead of little by little. Returns how many were removed.
    pub fn sweep(&self) -> Result<usize, Failure> {
        // What is only in memory is not found, so it goes to disk first.
        let mut removed = self.core.checkpoint()?;
        self.core.walk.lock().expect("a walk does not panic").restart();
        while !self.core.walk.lock().expect("a walk does not panic").is_resting() {
            removed += self.core.checkpoint()?;
        }
        Ok(removed)
    }

    /// Shows all rows of a view that were written before this call, tombstones included, in the order of their keys; until
    /// `visit` answers `false`. Makes a checkpoint first.
    pub fn rows(
        &self,
        view: &ViewRef,
        visit: &mut dyn FnMut(EntityRow) -> Result<bool, Failure>,
    ) -> Result<Walked, Failure> {
        // What is only in memory is not found, so it goes to disk first.
        self.core.checkpoint()?;
        self.core.walk_rows(view, visit)
    }

    /// Whether a view has any row here. Makes a checkpoint first.
    pub fn has_rows(&self, view: &ViewRef) -> Result<bool, Failure> {
        let walked = self.rows(view, &mut |_| Ok(false))?;
        Ok(walked != Walked::default())
    }

    /// Makes a last checkpoint. Later writes fail, reads go on. Closing twice does nothing.
    pub fn close(&self) -> Result<(), Failure> {
        if self.stop_thread() { self.core.checkpoint().map(|_| ()) } else { Ok(()) }
    }

    /// Whether this call has stopped it.
    fn stop_thread(&self) -> bool {
        let Some(thread) = self.thread.lock().expect("nothing panics while it stops the thread").take()
        else {
            return false;
        };
        self.core.control.stop();
        // A callback may hold the last reference to the store; a thread cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the checkpoint thread had panicked");
        }
        self.core.control.close();
        true
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.stop_thread();
    }
}

impl OnlineStore for EmbeddedStore {
    fn write(&self, batch: Arc<FeatureBatch>) -> BoxFuture<'static, Result<Applied, Failure>> {
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            core.wait_for_room().await?;
            core.apply(&batch)
        })
    }

    fn checkpoint(&self) -> BoxFuture<'static, Result<(), Failure>> {
        Box::pin(self.core.request_checkpoint())
    }
}

impl OnlineReader for EmbeddedStore {
    fn get(
        &self,
        view: &Arc<ViewShape>,
        keys: Vec<Vec<Value>>,
        features: Vec<usize>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredRow>>, Failure>> {
        Box::pin(std::future::ready(self.core.read(view, &keys, &features)))
    }
}

impl Ledger for EmbeddedStore {
    fn view(&self, view: &str) -> Result<ViewLedger, Failure> {
        Ok(self.core.ledger.view(view))
    }

    fn start(&self, view: &str, partition: &Partition, after: Option<Position>) -> Result<(), Failure> {
        self.core.ledger.start(view, partition, after, &self.core.disk)
    }

    fn begin_generation(&self, view: &str, entry: &GenerationEntry) -> Result<(), Failure> {
        self.core.ledger.begin_generation(view, entry, &self.core.disk)
    }

    fn forget_generations_before(&self, view: &str, number: u32) -> Result<(), Failure> {
        self.core.ledger.forget_generations_before(view, number, &self.core.disk)
    }

    fn durable(&self, view: &str, partition: &Partition) -> Option<Position> {
        self.core.ledger.durable(view, partition)
    }

    fn advance(&self, view: &str, partition: &Partition, through: &Position) {
        self.core.ledger.advance(view, partition, through);
    }

    fn set_back(&self, view: &str, to: &Starts) -> Result<(), Failure> {
        self.core.set_back(view, to)
    }

    fn rewind(
        &self,
        view: &str,
        to: &Starts,
        generation: &GenerationEntry,
        epoch: u32,
    ) -> Result<(), Failure> {
        self.core.rewind(view, to, generation, epoch)
    }
}
