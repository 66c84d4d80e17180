//! Wakes things up at a given time.
//!
//! One thread for the whole flow; what it wakes does the work elsewhere. Used for pauses and deadlines only, never on
//! the way of an event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Instant;

use crate::pool::lock;

/// A clock with alarms. The thread ends when the last handle is dropped.
pub(crate) struct Timer {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    alarms: BinaryHeap<Reverse<Alarm>>,
    sequence: u64,
    running: bool,
    closed: bool,
}

struct Alarm {
    at: Instant,
    /// Makes the order total.
    sequence: u64,
    waker: Waker,
}

impl Timer {
    /// A timer; its thread starts with the first alarm.
    pub(crate) fn new() -> Self {
        let state = State { alarms: BinaryHeap::new(), sequence: 0, running: false, closed: false };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }) }
    }

    /// Calls the waker at that time or soon after.
    pub(crate) fn wake_at(&self, at: Instant, waker: Waker) {
        let mut state = lock(&self.shared.state);
        if state.closed {
            return;
        }
        state.sequence += 1;
        let alarm = Alarm { at, sequence: state.sequence, waker };
        let is_next = state.alarms.peek().is_none_or(|next| at < next.0.at);
        state.alarms.push(Reverse(alarm));
        if !state.running {
            state.running = true;
            let shared = Arc::clone(&self.shared);
            let spawned = thread::Builder::new().name("flow-timer".to_owned()).spawn(move || shared.run());
            if let Err(error) = spawned {
                state.running = false;
                tracing::error!(%error, "failed to start the timer thread");
            }
        } else if is_next {
            self.shared.changed.notify_one();
        }
    }
}

impl Timer {
    /// Drops all alarms and takes no more: what they would have woken may refer back to the timer.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        let alarms = std::mem::take(&mut state.alarms);
        drop(state);
        drop(alarms);
        self.shared.changed.notify_one();
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn run(&self) {
        let mut state = lock(&self.state);
        while !state.closed {
            let now = Instant::now();
            state = match state.alarms.peek().map(|next| next.0.at) {
                Some(at) if at <= now => {
                    let due = state.alarms.pop();
                    drop(state);
                    if let Some(Reverse(alarm)) = due {
                        alarm.waker.wake();
                    }
                    lock(&self.state)
                }
                Some(at) => {
                    let waited = self.changed.wait_timeout(state, at - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}
