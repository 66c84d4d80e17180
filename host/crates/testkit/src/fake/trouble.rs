//! What can go wrong with a fake: failures, a closed gate, the end of the world.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use model::error::{Disposition, Failure};

/// Locks, also after a panic in another test thread.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Failures that come next.
#[derive(Debug, Default)]
pub struct Failures {
    left: AtomicUsize,
    is_stop: AtomicUsize,
    seen: AtomicUsize,
}

impl Failures {
    /// Lets the next `count` operations fail.
    pub fn fail_next(&self, count: usize, disposition: Disposition) {
        self.is_stop.store(usize::from(disposition == Disposition::Stop), Ordering::SeqCst);
        self.left.store(count, Ordering::SeqCst);
    }

    /// How many operations have failed.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Called by a fake before an operation.
    pub fn check(&self, what: &str) -> Result<(), Failure> {
        let failing = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_err() {
            return Ok(());
        }
        self.seen.fetch_add(1, Ordering::SeqCst);
        let disposition =
            if self.is_stop.load(Ordering::SeqCst) == 1 { Disposition::Stop } else { Disposition::Retry };
        Err(Failure { disposition, message: format!("{what}: a fake failure"), source: None })
    }
}

/// A door that operations wait in front of.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<(bool, Vec<Waker>)>,
}

impl Gate {
    /// Lets operations wait from now on.
    pub fn close(&self) {
        lock(&self.state).0 = true;
    }

    /// Lets all go on.
    pub fn open(&self) {
        let mut state = lock(&self.state);
        state.0 = false;
        let wakers = std::mem::take(&mut state.1);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        lock(&self.state).1.len()
    }

    /// Resolves when the gate is open.
    pub fn pass(self: &Arc<Self>) -> Pass {
        Pass(Arc::clone(self))
    }
}

/// Resolves when its gate is open.
pub struct Pass(Arc<Gate>);

impl Future for Pass {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0.state);
        if state.0 {
            state.1.push(cx.waker().clone());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

/// Operations until the host is gone: what comes after that has no effect and no answer.
#[derive(Debug)]
pub struct Fuse(AtomicI64);

impl Fuse {
    /// A host that lives for so many operations.
    pub fn after(operations: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(operations)))
    }

    /// A host that lives.
    pub fn never() -> Arc<Self> {
        Self::after(i64::MAX)
    }

    /// Counts an operation. Returns whether it has any effect.
    pub fn spend(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) > 0
    }

    /// Whether the host is gone.
    pub fn is_blown(&self) -> bool {
        self.0.load(Ordering::SeqCst) <= 0
    }

    /// Lets the host live for so many further operations.
    pub fn burn(&self, operations: i64) {
        self.0.store(operations, Ordering::SeqCst);
    }

    /// Ends the host now.
    pub fn blow(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

/// What happened, in order, across all fakes of a test.
#[derive(Debug, Default)]
pub struct Trace(Mutex<Vec<String>>);

impl Trace {
    /// Adds a line.
    pub fn add(&self, line: impl Into<String>) {
        lock(&self.0).push(line.into());
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.0).clone()
    }
}
