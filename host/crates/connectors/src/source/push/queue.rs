//! Pushes that wait for the log thread: bounded by bytes and count, taken in groups.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use model::source::PushError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Bytes that may wait; more pushes wait on their own tasks. Bounds memory; less makes groups smaller.
const QUEUE_BYTES: usize = 16 << 20;
/// What a push counts for beside its bytes; bounds the number of pushes that wait.
const PUSH_BYTES: usize = 1 << 10;
/// Bytes that are written in one group at most, unless a single push is larger. Bounds what a push waits for others.
const GROUP_BYTES: usize = 4 << 20;

/// What became of a push in the log.
#[derive(Debug)]
pub(super) struct Taken {
    /// Number of its rows in the log.
    pub(super) accepted: u32,
    /// Sequence of the last one.
    pub(super) through: u64,
    /// For a repeat: when it was taken the first time.
    pub(super) repeat_of: Option<i64>,
}

/// Good rows that wait to be logged.
#[derive(Debug)]
pub(super) struct Append {
    /// What holds the rows.
    pub(super) body: Bytes,
    /// Start and end of each row.
    pub(super) rows: Vec<(u32, u32)>,
    /// When they came, microseconds since the epoch.
    pub(super) ingest_time: i64,
    /// Who sent them, and that client's count.
    pub(super) producer: Option<(String, u64)>,
    /// Where the outcome goes.
    pub(super) answer: oneshot::Sender<Result<Taken, PushError>>,
    /// Gives its place in the queue back when the push is answered.
    pub(super) room: OwnedSemaphorePermit,
}

impl Append {
    /// Tells the client; one that went away does not mind.
    pub(super) fn answer(self, outcome: Result<Taken, PushError>) {
        drop(self.room);
        let _gone = self.answer.send(outcome);
    }
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    /// One permit for each `PUSH_BYTES`.
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    appends: VecDeque<Append>,
    closed: bool,
}

impl Queue {
    /// An empty queue.
    pub(super) fn new() -> Self {
        let room = Arc::new(Semaphore::new(QUEUE_BYTES / PUSH_BYTES));
        Self { state: Mutex::default(), filled: Condvar::new(), room }
    }

    /// Waits until so many bytes may be put. A push larger than the queue has it for itself.
    pub(super) async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, PushError> {
        let permits = (bytes / PUSH_BYTES + 1).min(QUEUE_BYTES / PUSH_BYTES);
        let permits = u32::try_from(permits).expect("the queue has far fewer than 2^32 permits");
        Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| PushError::Stopping)
    }

    /// Puts a push, unless the queue is closed.
    pub(super) fn put(&self, append: Append) -> Result<(), PushError> {
        let mut state = self.lock();
        if state.closed {
            return Err(PushError::Stopping);
        }
        state.appends.push_back(append);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for pushes and takes all that make a group; none once the queue is closed and empty.
    pub(super) fn take(&self) -> Vec<Append> {
        let mut state = self.lock();
        while state.appends.is_empty() && !state.closed {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        let within_group = |append: &&Append| {
            let wanted = bytes < GROUP_BYTES;
            bytes += append.body.len();
            wanted
        };
        let count = state.appends.iter().take_while(within_group).count();
        state.appends.drain(..count).collect()
    }

    /// Refuses further pushes; those that wait are still taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.filled.notify_all();
    }

    /// Whether pushes are refused.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Drops what waits: its clients learn that there is no answer.
    pub(super) fn abandon(&self) {
        self.close();
        let abandoned = std::mem::take(&mut self.lock().appends);
        drop(abandoned);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
