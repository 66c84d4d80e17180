//! What waits to be written, and how far each view's partition is. Shared between callers and the writer.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::error::Failure;
use model::output::Emission;
use model::position::Position;
use tokio::sync::oneshot;

use super::positions::Key;

/// Encoded bytes that may wait. Beyond, the writer encodes for itself when a batch's turn comes, and nothing is copied
/// until then: less makes callers idle, more only costs memory.
const MAX_ENCODED_BYTES: usize = 64 << 20;
/// Batches that may wait; callers that await what they emit never come near it.
const MAX_WAITING: usize = 16_384;
/// Encoded bytes after which a group is closed: what a failed sync makes the callers repeat.
const MAX_GROUP_BYTES: usize = 16 << 20;
/// How long progress without records may wait for records to be recorded with.
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// How long to wait after a failure before progress without records is tried alone; records are tried as they come.
const IDLE_RETRY: Duration = Duration::from_secs(1);

/// An answer to one emission.
pub(super) type Answer = Result<(), Failure>;

/// A batch in the queue.
#[derive(Debug)]
pub(super) struct Slot {
    number: u64,
    pub(super) key: Key,
    first: Position,
    pub(super) through: Position,
    pub(super) content: Content,
    answer: oneshot::Sender<Answer>,
}

/// What is known of a batch's records.
#[derive(Debug)]
pub(super) enum Content {
    /// The caller is still encoding them.
    Awaited,
    /// Encoded.
    Ready(Encoded),
    /// To be encoded by the writer, without the rows through a position.
    Left(Box<Emission>, Option<Position>),
    /// The caller's encoder panicked.
    Abandoned,
}

/// Records of a batch.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    /// One a line.
    pub(super) lines: Vec<u8>,
    /// How many.
    pub(super) rows: usize,
    /// Identities of the first and the last.
    pub(super) identities: (String, String),
}

/// What became of a call.
pub(super) enum Admission {
    /// Nothing to write; its position will be recorded by and by.
    Done,
    /// Refused.
    Refused(Failure),
    /// In the queue; the writer will encode it.
    Queued(oneshot::Receiver<Answer>),
    /// In the queue; the caller encodes it, without the rows through a position, and fills the slot of this number.
    Encode(Emission, Option<Position>, u64, oneshot::Receiver<Answer>),
}

/// What is written with one sync.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Batches, in order.
    pub(super) slots: Vec<Slot>,
    /// Progress without records.
    pub(super) idle: Vec<(Key, Position)>,
}

/// A partition of a view to set back.
#[derive(Debug)]
pub(super) struct Rewind {
    pub(super) key: Key,
    /// Through which position it counts as recorded.
    pub(super) to: Option<Position>,
    answer: SyncSender<Answer>,
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Work {
    /// Writes and records batches.
    Group(Group),
    /// Records that a partition is set back.
    Rewind(Rewind),
}

/// Shared between callers and the writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something became ready, or the stream is being dropped.
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Slot>,
    next_number: u64,
    encoded_bytes: usize,
    progress: HashMap<Key, Progress>,
    /// Progress of keys without batches under way, not yet recorded.
    idle: BTreeMap<Key, Position>,
    /// Since when the oldest of `idle` waits; in the future after a failure.
    idle_since: Option<Instant>,
    /// Partitions to set back; each caller waits for its own.
    rewinds: VecDeque<Rewind>,
    stopping: bool,
    /// Why nothing can be written any more.
    broken: Option<String>,
}

/// How far a view's partition is.
#[derive(Debug, Default)]
struct Progress {
    /// In the side file.
    recorded: Option<Position>,
    /// In the queue, or recorded.
    queued: Option<Position>,
    /// Batches under way.
    under_way: usize,
    /// Begin of the earliest batch that failed: nothing behind it may be written before it.
    failed_from: Option<Position>,
}

impl Queue {
    /// An empty queue of a stream that has these positions.
    pub(super) fn new(positions: BTreeMap<Key, Position>) -> Self {
        let progress = positions.into_iter().map(|(key, through)| {
            (key, Progress { recorded: Some(through), queued: Some(through), ..Progress::default() })
        });
        Self {
            state: Mutex::new(State { progress: progress.collect(), ..State::default() }),
            wake: Condvar::new(),
        }
    }

    /// Through which position a key is recorded.
    pub(super) fn recorded(&self, key: &Key) -> Option<Position> {
        self.lock().progress.get(key)?.recorded
    }

    /// Takes a place for a batch.
    pub(super) fn admit(&self, emission: Emission) -> Admission {
        let batch = &emission.batch;
        let key = Key { view: batch.view.name.clone(), partition: batch.partition.clone() };
        let covers = batch.covers;
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(reason) = &state.broken {
            return Admission::Refused(Failure::stop(reason.clone()));
        }
        let progress = state.progress.entry(key.clone()).or_default();
        if progress.failed_from.is_some_and(|failed| covers.first > failed) {
            return Admission::Refused(Failure::retry(format!(
                "emit records of view `{}`, partition `{}`: an earlier batch failed and has to be emitted again first",
                key.view, key.partition
            )));
        }
        if state.waiting.len() >= MAX_WAITING {
            progress.failed_from = Some(covers.first);
            return Admission::Refused(Failure::retry(format!(
                "emit records of view `{}`: {MAX_WAITING} batches wait",
                key.view
            )));
        }
        progress.failed_from = None;
        let skip = progress.queued;
        let nothing_new = batch.is_empty() || skip.is_some_and(|skip| covers.through <= skip);
        progress.queued = progress.queued.max(Some(covers.through));
        if nothing_new && progress.under_way == 0 {
            if progress.queued > progress.recorded {
                state.idle.insert(key, covers.through);
                if state.idle_since.is_none() {
                    state.idle_since = Some(Instant::now());
                    self.wake.notify_one();
                }
            }
            return Admission::Done;
        }
        progress.under_way += 1;
        let (answer, receiver) = oneshot::channel();
        let number = state.next_number;
        state.next_number += 1;
        let mut slot = Slot {
            number,
            key,
            first: covers.first,
            through: covers.through,
            content: Content::Awaited,
            answer,
        };
        if nothing_new {
            slot.content = Content::Ready(Encoded::default());
        } else if state.encoded_bytes < MAX_ENCODED_BYTES {
            state.waiting.push_back(slot);
            return Admission::Encode(emission, skip, number, receiver);
        } else {
            slot.content = Content::Left(Box::new(emission), skip);
        }
        state.waiting.push_back(slot);
        self.wake.notify_one();
        Admission::Queued(receiver)
    }

    /// Asks the writer to set a partition back. The answer comes when that is durable.
    pub(super) fn rewind(&self, key: Key, to: Option<Position>) -> Result<Receiver<Answer>, Failure> {
        let mut state = self.lock();
        if let Some(reason) = &state.broken {
            return Err(Failure::stop(reason.clone()));
        }
        if state.progress.get(&key).is_some_and(|progress| progress.under_way > 0) {
            return Err(Failure::retry(format!(
                "set back the output of view `{}`, partition `{}`: records of it are under way",
                key.view, key.partition
            )));
        }
        let (answer, receiver) = sync_channel(1);
        state.rewinds.push_back(Rewind { key, to, answer });
        drop(state);
        self.wake.notify_one();
        Ok(receiver)
    }

    /// A partition was set back, or could not be.
    pub(super) fn rewound(&self, rewind: Rewind, outcome: Answer) {
        let Rewind { key, to, answer } = rewind;
        if outcome.is_ok() {
            let mut guard = self.lock();
            let state = &mut *guard;
            // What waits to be recorded is behind the point.
            state.idle.remove(&key);
            if state.idle.is_empty() {
                state.idle_since = None;
            }
            let progress = Progress { recorded: to, queued: to, ..Progress::default() };
            state.progress.insert(key, progress);
        }
        // A caller that no longer waits does not mind.
        let _ = answer.send(outcome);
    }

    /// Hands over what a caller encoded. Its slot may have failed in the meantime.
    pub(super) fn fill(&self, number: u64, content: Content) {
        let mut state = self.lock();
        let Some(first) = state.waiting.front().map(|slot| slot.number) else { return };
        let index = number.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        let bytes = content.bytes();
        if let Some(slot) = index.and_then(|index| state.waiting.get_mut(index)) {
            slot.content = content;
            state.encoded_bytes += bytes;
            self.wake.notify_one();
        }
    }

    /// Waits for something to write; `None` once the stream is dropped and nothing is left.
    pub(super) fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if let Some(rewind) = state.rewinds.pop_front() {
                return Some(Work::Rewind(rewind));
            }
            let ready = state.waiting.front().is_some_and(|slot| !matches!(slot.content, Content::Awaited));
            let idle_for = state.idle_since.map(|since| since.elapsed());
            if ready || idle_for.is_some_and(|waited| waited >= IDLE_WAIT || state.stopping) {
                return Some(Work::Group(state.take_group()));
            }
            if state.stopping && state.waiting.is_empty() {
                return None;
            }
            state = match idle_for {
                Some(waited) => {
                    let waited = self.wake.wait_timeout(state, IDLE_WAIT.saturating_sub(waited));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// A group was written and recorded.
    pub(super) fn succeeded(&self, group: Group) {
        let mut state = self.lock();
        let done = group.slots.iter().map(|slot| (&slot.key, slot.through, 1));
        let idle = group.idle.iter().map(|(key, through)| (key, *through, 0));
        for (key, through, batches) in done.chain(idle) {
            if let Some(progress) = state.progress.get_mut(key) {
                progress.recorded = progress.recorded.max(Some(through));
                progress.under_way -= batches;
            }
        }
        drop(state);
        for slot in group.slots {
            // A caller that no longer waits does not mind.
            let _ = slot.answer.send(Ok(()));
        }
    }

    /// The writer is gone: all that waits fails, and all that comes.
    pub(super) fn ended(&self, failure: &Failure) {
        {
            let mut state = self.lock();
            state.broken = Some(failure.to_string());
            // Their callers are told that nobody answers any more.
            state.rewinds.clear();
        }
        self.failed(Group::default(), failure);
    }

    /// A group was not written: it and all that waits fails. What only an operator can mend may be mended by the next
    /// time.
    pub(super) fn failed(&self, group: Group, failure: &Failure) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let slots: Vec<Slot> = group.slots.into_iter().chain(state.waiting.drain(..)).collect();
        state.encoded_bytes = 0;
        for (key, through) in group.idle {
            let waiting = state.idle.entry(key).or_insert(through);
            *waiting = (*waiting).max(through);
        }
        state.idle_since = (!state.idle.is_empty()).then(|| Instant::now() + IDLE_RETRY);
        for slot in &slots {
            if let Some(progress) = state.progress.get_mut(&slot.key) {
                progress.under_way = 0;
                progress.queued = progress.recorded.max(state.idle.get(&slot.key).copied());
                progress.failed_from =
                    Some(progress.failed_from.map_or(slot.first, |failed| failed.min(slot.first)));
            }
        }
        drop(guard);
        for slot in slots {
            let again =
                Failure { disposition: failure.disposition, message: failure.to_string(), source: None };
            let _ = slot.answer.send(Err(again));
        }
    }

    /// The stream is being dropped: the writer finishes what waits.
    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_group(&mut self) -> Group {
        let mut group = Group::default();
        let mut bytes = 0;
        while bytes < MAX_GROUP_BYTES {
            let Some(slot) = self.waiting.pop_front_if(|slot| !matches!(slot.content, Content::Awaited))
            else {
                break;
            };
            // What is left to the writer counts as a whole group.
            bytes +=
                if let Content::Left(..) = slot.content { MAX_GROUP_BYTES } else { slot.content.bytes() };
            self.encoded_bytes -= slot.content.bytes();
            group.slots.push(slot);
        }
        group.idle = std::mem::take(&mut self.idle).into_iter().collect();
        self.idle_since = None;
        group
    }
}

impl Content {
    fn bytes(&self) -> usize {
        if let Self::Ready(encoded) = self { encoded.lines.len() } else { 0 }
    }
}
