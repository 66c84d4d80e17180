//! What fetchers have got and the reader has not handed on yet: a bounded queue for each shard, and one bound on the
//! memory of all.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::error::{Disposition, Failure};
use model::position::Partition;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::stretch::Stretch;

/// Kilobytes of records that wait in one reader. Less, and shards that are behind wait for each other; more, and a flow
/// that is slower than its source costs that memory for each reader.
const ROOM: u32 = 32 * 1024;

/// Kilobytes that an answer is expected to have at most: ten megabytes, and what ten thousand records cost beside.
const MOST: u32 = 13 * 1024;

/// Kilobytes that an answer is expected to have at least: what comes in between two turns.
const LEAST: u32 = 256;

/// Answers of one shard that wait. With one, fetching would stand still while it is decoded; more only need memory.
const DEPTH: usize = 2;

/// After which time a lease is looked at again that was not there.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a fetcher has got.
pub(super) enum Item {
    /// Events, and the room that they take.
    Stretch(Box<Stretch>, Room),
    /// The tip was reached for the first time.
    Tip,
    /// The shard ends here.
    End,
}

/// Memory that is taken, until this is dropped.
pub(super) struct Room(OwnedSemaphorePermit);

/// Between the fetchers of a reader, one for each lane, and the reader.
pub(super) struct Inbox {
    state: Mutex<State>,
    /// Notified when something has come.
    filled: Condvar,
    /// Notified, lane by lane, when something was taken.
    taken: Vec<Notify>,
    room: Arc<Semaphore>,
    places: HashMap<Partition, usize>,
}

struct State {
    queues: Vec<VecDeque<Item>>,
    /// Lanes that have something and whose turn will come.
    ready: VecDeque<usize>,
    /// The lane that is being handed on: its turn comes again afterwards.
    held: Option<usize>,
    /// Whether a lane was handed on to its end.
    ended: Vec<bool>,
    /// Said once, when nothing else waits.
    failed: Option<Failure>,
    /// Said each time, when nothing else waits.
    stopped: Option<String>,
}

impl Inbox {
    /// With a lane for each of these.
    pub(super) fn new(partitions: &[Partition]) -> Self {
        let state = State {
            queues: partitions.iter().map(|_| VecDeque::new()).collect(),
            ready: VecDeque::new(),
            held: None,
            ended: vec![false; partitions.len()],
            failed: None,
            stopped: None,
        };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
            taken: partitions.iter().map(|_| Notify::new()).collect(),
            room: Arc::new(Semaphore::new(ROOM as usize)),
            places: partitions.iter().cloned().zip(0..).collect(),
        }
    }

    /// Waits until a lane takes more.
    pub(super) async fn wants_more(&self, lane: usize) {
        while DEPTH <= self.lock().queues[lane].len() {
            // Remembers a notification that came meanwhile.
            self.taken[lane].notified().await;
        }
    }

    /// Waits until there is room for an answer of about `expected` bytes; `None` = nobody knows how many.
    pub(super) async fn room(&self, expected: Option<usize>) -> Room {
        let kilobytes = expected.map_or(MOST, |bytes| u32::try_from(bytes / 1024).unwrap_or(MOST));
        let room = Arc::clone(&self.room).acquire_many_owned(kilobytes.clamp(LEAST, MOST)).await;
        Room(room.expect("nobody closes the semaphore"))
    }

    /// Something has come for a lane.
    pub(super) fn put(&self, lane: usize, item: Item) {
        let mut state = self.lock();
        state.queues[lane].push_back(item);
        if state.queues[lane].len() == 1 && state.held != Some(lane) {
            state.ready.push_back(lane);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Something is wrong: told once, or until the reader is gone if only an operator can mend it.
    pub(super) fn fail(&self, failure: Failure) {
        let mut state = self.lock();
        match failure.disposition {
            Disposition::Retry => {
                state.failed.get_or_insert(failure);
            }
            Disposition::Stop => {
                state.stopped.get_or_insert_with(|| failure.to_string());
            }
        }
        drop(state);
        self.filled.notify_one();
    }

    /// The next of any lane that may be handed on, waiting until `deadline`. The lane has to be given back
    /// with [`Inbox::done`].
    pub(super) fn next(
        &self,
        deadline: Instant,
        may_hand_on: impl Fn(usize) -> bool,
    ) -> Result<Option<(usize, Item)>, Failure> {
        let mut state = self.lock();
        loop {
            if let Some(place) = state.ready.iter().position(|lane| may_hand_on(*lane)) {
                let lane = state.ready.remove(place).expect("the place was found");
                let item = state.queues[lane].pop_front().expect("a lane that is ready has something");
                state.held = Some(lane);
                return Ok(Some((lane, item)));
            }
            if let Some(message) = &state.stopped {
                return Err(Failure::stop(message.clone()));
            }
            if let Some(failure) = state.failed.take() {
                return Err(failure);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let wait = if state.ready.is_empty() { left } else { left.min(LOOK_AGAIN) };
            state = self.filled.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What [`Inbox::next`] gave was handed on, but for this.
    pub(super) fn done(&self, lane: usize, rest: Option<Item>) {
        let mut state = self.lock();
        let all = rest.is_none();
        state.held = None;
        if let Some(rest) = rest {
            state.queues[lane].push_front(rest);
        }
        if !state.queues[lane].is_empty() {
            // Behind all others.
            state.ready.push_back(lane);
        }
        drop(state);
        if all {
            self.taken[lane].notify_one();
        }
    }

    /// A lane was handed on to its end.
    pub(super) fn end(&self, lane: usize) {
        self.lock().ended[lane] = true;
    }

    /// Whether a partition was handed on to its end; one that has no lane here does not matter.
    pub(super) fn is_past(&self, partition: &str) -> bool {
        let place = self.places.get(&Partition::new(partition));
        place.is_none_or(|lane| self.lock().ended[*lane])
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Gives back what an answer of that many bytes does not need.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let kilobytes = (bytes / 1024 + 1).min(self.0.num_permits());
        let rest = self.0.num_permits() - kilobytes;
        drop(self.0.split(rest));
    }
}
