//! Who waits for room in a stream's queue.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Callers that wait for room. What room is, and when there is some, others know.
#[derive(Default)]
pub(crate) struct Room {
    waiting: Mutex<Vec<Waker>>,
    starving: AtomicBool,
}

impl Room {
    /// The task is woken with the next [`Room::wake`]. Whoever calls this looks for room once more afterwards: what came
    /// before was for others.
    pub(crate) fn wait(&self, waker: &Waker) {
        let mut waiting = self.lock();
        // A task that looks more often than there is room is woken once.
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        self.starving.store(true, Ordering::SeqCst);
    }

    /// Whether anybody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        self.starving.load(Ordering::SeqCst)
    }

    /// Everybody who waits looks again.
    pub(crate) fn wake(&self) {
        let mut waiting = self.lock();
        self.starving.store(false, Ordering::SeqCst);
        let woken = std::mem::take(&mut *waiting);
        drop(waiting);
        woken.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
