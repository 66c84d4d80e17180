//! What Redis has acknowledged, so that losses are found and repaired; and when positions may be called durable.
//!
//! Redis acknowledges before its replicas and its disk have the write: a failover, or a restart from an older snapshot,
//! takes back the last of what was acknowledged. Replication and snapshots keep the order of writes, so a *mark* that is
//! written behind each batch, a number that rises, proves by its presence that everything before it is there. Whoever finds
//! a lower mark than was acknowledged knows which batches are gone ([`track`]), and their sources are read again.
//!
//! Host and Redis may also crash together, and then nobody knows what was acknowledged behind the last writing of the file
//! (each second, and with checkpoints). So the file also says through where each view and partition had come, and whoever
//! opens it sets the ledger back to there; a view's partition is in the file before its first position is in the ledger.

mod file;
mod track;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use model::batch::FeatureBatch;
use model::error::Failure;
use model::online::{Ledger, Starts};
use model::position::{Partition, Position};
use tokio::sync::oneshot;

use self::file::{Contents, Reached};
use self::track::{Entry, Lane};
use super::options::Loss;
use super::store::LossHook;
use crate::redis::RedisMetrics;

/// How often the file is written while something is acknowledged.
const PAUSE: Duration = Duration::from_secs(1);

/// What one host knows of one Redis. Shared by all writers.
pub(super) struct Notes {
    path: PathBuf,
    connection: String,
    ledger: Arc<dyn Ledger>,
    metrics: RedisMetrics,
    state: Mutex<State>,
    wakes: Condvar,
    /// Held while the file is written.
    writing: Mutex<()>,
}

#[derive(Default)]
struct State {
    contents: Contents,
    /// Views and partitions that stand in the file.
    filed: HashSet<Lane>,
    /// How often rows were found to be lost.
    era: u64,
    /// Whether something was found to be lost that the file does not say yet.
    unfiled: bool,
    /// Losses of which the hook has not heard.
    untold: BTreeMap<Lane, Option<Position>>,
    hook: Option<Arc<LossHook>>,
    /// Why nothing may be written at all.
    replaced: Option<Replaced>,
    /// Whether the file is behind.
    dirty: bool,
    asked: Vec<oneshot::Sender<Result<(), Failure>>>,
    ending: bool,
}

/// This is not the Redis that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replaced {
    Emptied,
    Another,
}

/// A mark as it was found in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundMark {
    /// Its key.
    pub(super) key: String,
    /// What had been acknowledged before anybody looked.
    pub(super) acknowledged: u64,
    /// What was found; 0 = nothing.
    pub(super) found: u64,
}

impl Notes {
    /// Reads the file of an earlier life.
    pub(super) fn open(
        directory: &Path,
        connection: &str,
        ledger: Arc<dyn Ledger>,
        metrics: RedisMetrics,
    ) -> Result<Self, Failure> {
        let path = file::path(directory, connection);
        let contents = file::read(&path)?.unwrap_or_default();
        set_back(&contents, &*ledger)?;
        let filed = contents.reached.keys().cloned().collect();
        let state = State { untold: contents.lost.clone(), contents, filed, ..State::default() };
        Ok(Self {
            path,
            connection: connection.to_owned(),
            ledger,
            metrics,
            state: Mutex::new(state),
            wakes: Condvar::new(),
            writing: Mutex::new(()),
        })
    }

    /// The store's name that was noted.
    pub(super) fn store(&self) -> Option<String> {
        self.lock().contents.store.clone()
    }

    /// All marks, with what was acknowledged of each: to be read *before* Redis is asked for them.
    pub(super) fn marks(&self) -> Vec<(String, u64)> {
        self.lock().contents.tracks.iter().map(|(key, track)| (key.clone(), track.acknowledged)).collect()
    }

    /// Takes in what a look at Redis has shown: the store's name, and all of [`Notes::marks`]. Fails if this is another
    /// store; losses are noted, and count from now on. Blocks on the disk if there are any.
    pub(super) fn examine(&self, store: Option<&str>, marks: &[FoundMark]) -> Result<(), Failure> {
        {
            let mut state = self.lock();
            // Removing the file is how an operator says that what is there is to be taken as it is.
            if state.replaced.is_some() && !self.path.exists() {
                tracing::warn!(connection = self.connection, "taking the store in Redis as it is");
                state.contents = Contents::default();
                state.filed.clear();
                state.untold.clear();
                state.unfiled = false;
                state.replaced = None;
            }
            let replaced = match (&state.contents.store, store) {
                (Some(noted), Some(found)) if noted != found => Some(Replaced::Another),
                (Some(_), None) => Some(Replaced::Emptied),
                _ => None,
            };
            state.replaced = replaced;
            if replaced.is_some() {
                drop(state);
                return self.check_store();
            }
            if state.contents.store.is_none()
                && let Some(found) = store
            {
                state.contents.store = Some(found.to_owned());
                state.dirty = true;
            }
        }
        for mark in marks.iter().filter(|mark| mark.found < mark.acknowledged) {
            self.lose(&mark.key, mark.found);
        }
        // Before anything is written again: a mark that is higher than what was lost would hide it from the next life.
        if self.lock().unfiled { self.flush() } else { Ok(()) }
    }

    /// Redis holds only what is at or below this mark: everything above is lost.
    pub(super) fn lose(&self, key: &str, mark: u64) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(track) = state.contents.tracks.get_mut(key) else { return };
        if mark >= track.acknowledged {
            return;
        }
        let acknowledged = track.acknowledged;
        let lost = track.cut(mark);
        state.era += 1;
        tracing::error!(
            connection = self.connection,
            mark,
            acknowledged,
            partitions = lost.len(),
            "redis has lost rows that it had acknowledged; their sources are read again"
        );
        for (lane, to) in lost {
            self.metrics.view(&lane.view).losses.inc();
            let to = state.contents.lost.get(&lane).map_or(to, |before| (*before).min(to));
            match (to, state.contents.reached.get_mut(&lane)) {
                (Some(to), Some(reached)) => reached.through = to,
                _ => {
                    state.contents.reached.remove(&lane);
                    state.filed.remove(&lane);
                }
            }
            state.contents.lost.insert(lane.clone(), to);
            state.untold.insert(lane, to);
            state.unfiled = true;
        }
        state.dirty = true;
        self.wakes.notify_all();
    }

    /// Fails while this is not the store that it was; only for a moment if an operator has just taken it as it is.
    pub(super) fn check_store(&self) -> Result<(), Failure> {
        let what = match self.lock().replaced {
            None => return Ok(()),
            Some(Replaced::Emptied) => "it was emptied",
            Some(Replaced::Another) => "it was replaced by another",
        };
        if !self.path.exists() {
            return Err(Failure::retry(format!(
                "write rows: Redis at connection `{}` is being taken as it is: {what}",
                self.connection
            )));
        }
        Err(Failure::stop(format!(
            "write rows: Redis at connection `{}` is not the one that holds this host's rows: {what}; bring the right one back, or remove `{}` to take it as it is, after which `host rewind VIEW --to earliest` fills it again",
            self.connection,
            self.path.display()
        )))
    }

    /// Fails if rows of this view and partition were lost and are not read again yet. Returns the era in which they were
    /// not, for [`Notes::acknowledge`].
    pub(super) fn check(&self, view: &str, partition: &Partition) -> Result<u64, Failure> {
        let state = self.lock();
        if state.contents.lost.is_empty() {
            return Ok(state.era);
        }
        let lane = Lane { view: view.to_owned(), partition: partition.clone() };
        if state.contents.lost.contains_key(&lane) { Err(self.refusal(&lane)) } else { Ok(state.era) }
    }

    fn refusal(&self, lane: &Lane) -> Failure {
        Failure::retry(format!(
            "write rows of view `{}` to Redis at connection `{}`: rows of partition `{}` were lost there, and are read again from the source first",
            lane.view, self.connection, lane.partition
        ))
    }

    /// Registers who hears of losses.
    pub(super) fn set_hook(&self, hook: LossHook) {
        self.lock().hook = Some(Arc::new(hook));
        self.wakes.notify_all();
    }

    /// These sources are read again from where they were lost.
    pub(super) fn accept(&self, losses: &[Loss]) {
        let mut state = self.lock();
        for loss in losses {
            let lane = Lane { view: loss.view.clone(), partition: loss.partition.clone() };
            // What was lost further back meanwhile stays lost, and is told of.
            if state.contents.lost.get(&lane).is_some_and(|to| *to >= loss.to) {
                state.contents.lost.remove(&lane);
                state.untold.remove(&lane);
                state.dirty = true;
            }
        }
        self.wakes.notify_all();
    }

    /// Redis has acknowledged a batch: all of `marks`, each the key of a mark and its number, stand behind its rows. Blocks
    /// on the disk when a view's partition is seen for the first time.
    ///
    /// Fails if rows of anything were lost since `era`, in which the batch was taken: it may be from before its source went
    /// back, and then says nothing of the rows in front of it. Does nothing if the batch `is_abandoned` for the same reason:
    /// whoever goes back, or rewinds, first gives up what is on its way.
    pub(super) fn acknowledge(
        &self,
        batch: &FeatureBatch,
        marks: &[(String, u64)],
        era: u64,
        is_abandoned: impl Fn() -> bool,
    ) -> Result<(), Failure> {
        let lane = Lane { view: batch.view.name.clone(), partition: batch.partition.clone() };
        let first = batch.covers.first;
        let is_filed;
        {
            let mut guard = self.lock();
            let state = &mut *guard;
            if state.era != era {
                return Err(self.refusal(&lane));
            }
            if is_abandoned() {
                return Ok(());
            }
            // After a rewind the last position is no place to go back to.
            let last =
                state.contents.reached.get(&lane).map(|last| last.through).filter(|last| *last < first);
            let before = last.or_else(|| {
                self.ledger.durable(&lane.view, &lane.partition).filter(|durable| *durable < first)
            });
            for (key, number) in marks {
                if !state.contents.tracks.contains_key(key) {
                    state.contents.tracks.insert(key.clone(), track::Track::default());
                }
                if let Some(track) = state.contents.tracks.get_mut(key) {
                    track.note(&lane, Entry { number: *number, before });
                }
            }
            let through = batch.covers.through;
            match state.contents.reached.get_mut(&lane) {
                Some(reached) => reached.through = reached.through.max(through),
                None => {
                    let epoch = self.ledger.view(&lane.view)?.epoch;
                    state.contents.reached.insert(lane.clone(), Reached { through, epoch });
                }
            }
            state.dirty = true;
            is_filed = state.filed.contains(&lane);
        }
        if !is_filed {
            self.flush()?;
        }
        // Under the lock: what is found to be lost meanwhile is set back by others, who must have the last word.
        let state = self.lock();
        if state.era != era {
            return Err(self.refusal(&lane));
        }
        if !is_abandoned() {
            self.ledger.advance(&lane.view, &lane.partition, &batch.covers.through);
        }
        Ok(())
    }

    /// Writes the file soon; the future ends when that is done.
    pub(super) fn request_flush(&self) -> BoxFuture<'static, Result<(), Failure>> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.lock();
            if state.ending {
                return Box::pin(std::future::ready(Err(Failure::retry(
                    "make a checkpoint: the store is closed",
                ))));
            }
            state.asked.push(sender);
        }
        self.wakes.notify_all();
        Box::pin(async move {
            receiver.await.unwrap_or_else(|_| Err(Failure::retry("make a checkpoint: the store is closed")))
        })
    }

    /// The thread that writes the file and tells of losses; ends after [`Notes::end`], with the file written.
    pub(super) fn run(&self) {
        let mut next = Instant::now() + PAUSE;
        let mut was_failing = false;
        loop {
            let (asked, told, ending);
            {
                let mut state = self.lock();
                loop {
                    let now = Instant::now();
                    let due = state.dirty && next <= now;
                    let tells = !state.untold.is_empty() && state.hook.is_some();
                    if due || tells || state.ending || !state.asked.is_empty() {
                        break;
                    }
                    let wait = if state.dirty { next.saturating_duration_since(now) } else { PAUSE };
                    state = self.wakes.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
                }
                asked = std::mem::take(&mut state.asked);
                ending = state.ending;
                told = match &state.hook {
                    Some(hook) if !state.untold.is_empty() => {
                        let hook = Arc::clone(hook);
                        Some((hook, std::mem::take(&mut state.untold)))
                    }
                    _ => None,
                };
            }
            let flushed = self.flush();
            next = Instant::now() + PAUSE;
            if let Err(failure) = &flushed
                && !was_failing
            {
                tracing::warn!(connection = self.connection, "failed to {failure}; trying until it works");
            }
            was_failing = flushed.is_err();
            for sender in asked {
                let result = match &flushed {
                    Ok(()) => Ok(()),
                    Err(failure) => Err(Failure {
                        disposition: failure.disposition,
                        message: failure.to_string(),
                        source: None,
                    }),
                };
                // Whoever asked may have gone.
                drop(sender.send(result));
            }
            if let Some((hook, losses)) = told {
                let losses = losses
                    .into_iter()
                    .map(|(lane, to)| Loss { view: lane.view, partition: lane.partition, to })
                    .collect();
                hook(losses);
            }
            if ending {
                return;
            }
        }
    }

    /// Ends [`Notes::run`].
    pub(super) fn end(&self) {
        self.lock().ending = true;
        self.wakes.notify_all();
    }

    /// After [`Notes::run`] has ended: whether the file says everything.
    pub(super) fn ended(&self) -> Result<(), Failure> {
        self.flush()
    }

    /// Writes the file.
    fn flush(&self) -> Result<(), Failure> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let unfiled;
        let contents = {
            let mut state = self.lock();
            if !state.dirty || state.replaced.is_some() {
                return Ok(());
            }
            follow_rewinds(&mut state.contents, &*self.ledger)?;
            state.dirty = false;
            unfiled = std::mem::take(&mut state.unfiled);
            state.contents.condensed()
        };
        let written = file::write(&self.path, &contents);
        let mut state = self.lock();
        match &written {
            Ok(()) => state.filed = contents.reached.into_keys().collect(),
            Err(_) => {
                state.dirty = true;
                state.unfiled |= unfiled;
            }
        }
        written
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes back from the ledger what may have been acknowledged behind the last writing of the file.
fn set_back(contents: &Contents, ledger: &dyn Ledger) -> Result<(), Failure> {
    let mut views: BTreeMap<&str, Starts> = BTreeMap::new();
    for (lane, reached) in &contents.reached {
        let view = ledger.view(&lane.view)?;
        let is_ahead = view.online.get(&lane.partition).is_some_and(|online| *online > reached.through);
        // A view that was rewound to later has not been through what it skipped.
        if is_ahead && view.epoch == reached.epoch {
            views.entry(&lane.view).or_default().insert(lane.partition.clone(), Some(reached.through));
        }
    }
    views.into_iter().try_for_each(|(view, to)| ledger.set_back(view, &to))
}

/// After a view was rewound, it is where the ledger says.
fn follow_rewinds(contents: &mut Contents, ledger: &dyn Ledger) -> Result<(), Failure> {
    let mut views = BTreeMap::new();
    for lane in contents.reached.keys() {
        if !views.contains_key(&lane.view) {
            views.insert(lane.view.clone(), ledger.view(&lane.view)?);
        }
    }
    contents.reached.retain(|lane, reached| {
        let Some(view) = views.get(&lane.view).filter(|view| view.epoch != reached.epoch) else {
            return true;
        };
        let Some(online) = view.online.get(&lane.partition) else { return false };
        *reached = Reached { through: *online, epoch: view.epoch };
        true
    });
    Ok(())
}

#[cfg(test)]
mod tests;
