//! What the parts of the store share, and how it is opened and closed.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::error::{Disposition, Failure};
use model::time::Clock;

use super::control::Control;
use super::disk::{Disk, META};
use super::ledger::Ledgers;
use super::lock::{DirectoryLock, ENGINE_DIRECTORY};
use super::meta::Fact;
use super::options::EmbeddedOptions;
use super::statistics::{Counters, Statistics};
use super::sweep::Walk;
use super::table::{Limits, Table};
use super::version::PartitionNames;
use super::views::Views;
use super::writer::Scratch;

/// Called after each checkpoint.
type Callback = Box<dyn Fn() + Send + Sync>;

/// Called before positions become durable.
pub(super) type Preparation = Box<dyn Fn() -> Result<(), Failure> + Send + Sync>;

/// The parts, in the order of a row's way.
pub(super) struct Core {
    pub(super) views: Views,
    pub(super) scratches: Mutex<Vec<Scratch>>,
    pub(super) names: PartitionNames,
    pub(super) table: Table,
    pub(super) control: Control,
    pub(super) checkpoint_interval: Duration,
    /// Held by the checkpoint that is being made; there may be one of the thread's and one of `close` or `sweep`.
    pub(super) checkpointing: Mutex<()>,
    pub(super) walk: Mutex<Walk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ledger: Ledgers,
    pub(super) callbacks: Mutex<Vec<Callback>>,
    pub(super) preparations: Mutex<Vec<Preparation>>,
    pub(super) counters: Counters,
    pub(super) disk: Disk,
    /// What a test wants to happen, once, between a look-up on disk and its use.
    #[cfg(test)]
    pub(super) meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Dropped last, when the engine has let go of its files.
    _directory: DirectoryLock,
}

impl Core {
    pub(super) fn open(options: EmbeddedOptions) -> Result<Self, Failure> {
        let directory = DirectoryLock::take(&options.directory)?;
        let disk = Disk::open(&options.directory.join(ENGINE_DIRECTORY))?;
        let (mut views, mut ledger) = (Views::default(), Ledgers::default());
        let facts = read_facts(&disk, &options.directory)?;
        facts.iter().for_each(|fact| views.learn(fact));
        ledger.learn(&facts);
        for row_set in views.row_sets() {
            let prefix = row_set.number.to_be_bytes();
            disk.scan(&prefix, |key, _| {
                if key.starts_with(&prefix) {
                    views.note_forgotten(key);
                }
                false
            })?;
        }
        Ok(Self {
            views,
            scratches: Mutex::default(),
            names: PartitionNames::default(),
            table: Table::new(Limits::new(options.memory_bytes, options.checkpoint_bytes)),
            control: Control::new(),
            checkpoint_interval: options.checkpoint_interval,
            checkpointing: Mutex::default(),
            walk: Mutex::default(),
            clock: options.clock,
            ledger,
            callbacks: Mutex::default(),
            preparations: Mutex::default(),
            counters: Counters::default(),
            disk,
            #[cfg(test)]
            meanwhile: Mutex::default(),
            _directory: directory,
        })
    }

    /// A row's value on disk.
    pub(super) fn look_up(&self, key: &[u8]) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        self.counters.looked_up();
        let value = self.disk.get(key);
        #[cfg(test)]
        {
            // Taken out first: what happens meanwhile may look up something, too.
            let meanwhile = self.meanwhile.lock().expect("a test's errand").take();
            meanwhile.into_iter().for_each(|errand| errand());
        }
        value
    }

    pub(super) fn statistics(&self) -> Statistics {
        let failing = self.control.outcome().borrow().failure.as_ref().map(|(_, message)| message.clone());
        self.counters.report(&self.table.load(), &self.disk.statistics(), failing)
    }

    /// Waits while there is too much that is not on disk; fails if that will not change by itself.
    pub(super) async fn wait_for_room(&self) -> Result<(), Failure> {
        let mut outcome = self.control.outcome();
        loop {
            {
                let now = outcome.borrow_and_update();
                if now.closed {
                    return Err(closed());
                }
                let halted = self.table.is_halted();
                if let Some(failure) = now.to_failure()
                    && (halted || failure.disposition == Disposition::Stop)
                {
                    return Err(failure);
                }
                if !halted {
                    return Ok(());
                }
            }
            self.control.hurry();
            outcome.changed().await.map_err(|_| closed())?;
        }
    }

    /// Waits for a checkpoint that begins after this call.
    pub(super) fn request_checkpoint(self: &Arc<Self>) -> impl Future<Output = Result<(), Failure>> + use<> {
        let mut outcome = self.control.outcome();
        let ticket = self.control.request();
        // The core stays alive as long as somebody waits for it.
        let core = Arc::clone(self);
        async move {
            let ended = outcome
                .wait_for(|now| {
                    now.succeeded >= ticket
                        || now.closed
                        || (now.attempted >= ticket && now.failure.is_some())
                })
                .await
                .map_err(|_| closed())?
                .clone();
            drop(core);
            match ended.to_failure() {
                _ if ended.succeeded >= ticket => Ok(()),
                Some(failure) => Err(failure),
                None => Err(closed()),
            }
        }
    }
}

fn read_facts(disk: &Disk, directory: &Path) -> Result<Vec<Fact>, Failure> {
    let (mut facts, mut damaged) = (Vec::new(), false);
    disk.scan(&META, |key, value| {
        if !key.starts_with(&META) {
            return false;
        }
        match Fact::parse(key, value) {
            Some(fact) => facts.push(fact),
            None => damaged = true,
        }
        true
    })?;
    if damaged {
        return Err(Failure::stop(format!(
            "open the data directory `{}`: what it says of views is damaged; restore it from a copy, or remove it and replay",
            directory.display()
        )));
    }
    Ok(facts)
}

fn closed() -> Failure {
    Failure::stop("use the online store: it is closed")
}
