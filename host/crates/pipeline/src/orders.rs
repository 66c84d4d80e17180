//! What units are told: to go on with another setup, to pause, to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use model::view::Generation;

use crate::pool::lock;
use crate::setup::ViewSetup;

/// What a unit is told from outside; looked at before each call into the guest.
#[derive(Default)]
pub(crate) struct Orders {
    /// Whether there are any: spares the lock.
    pub(crate) pending: AtomicBool,
    list: Mutex<OrderList>,
}

/// The latest of each kind; an older one that was not seen yet does not matter any more.
#[derive(Default)]
pub(crate) struct OrderList {
    pub(crate) change: Option<Change>,
    pub(crate) pause: bool,
    pub(crate) stop: Option<Stop>,
}

impl OrderList {
    /// Who was told to end at once is not told to take its time.
    pub(crate) fn stop(&mut self, how: Stop) {
        if self.stop != Some(Stop::Now) {
            self.stop = Some(how);
        }
    }
}

/// Go on with this setup, also if paused.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) setup: Arc<ViewSetup>,
    pub(crate) generation: Generation,
}

/// How to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Finish what has begun.
    Drain,
    /// At once; what was not acknowledged will be made again.
    Now,
}

impl Orders {
    pub(crate) fn give(&self, order: impl FnOnce(&mut OrderList)) {
        order(&mut lock(&self.list));
        self.pending.store(true, Ordering::Release);
    }

    /// Takes what there is.
    pub(crate) fn take(&self) -> OrderList {
        self.pending.store(false, Ordering::Release);
        std::mem::take(&mut *lock(&self.list))
    }
}
