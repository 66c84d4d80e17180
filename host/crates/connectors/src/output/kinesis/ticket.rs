//! One batch on its way: how many of its records are not acknowledged, and who waits for them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use model::error::Failure;
use model::position::Covers;

use super::lane::Lane;
use crate::kinesis::OutputMetrics;
use crate::output::order::UnderWay;

/// An answer to one emission.
pub(super) type Answer = Result<(), Failure>;

/// One batch on its way.
pub(super) struct Ticket {
    /// Records that are not acknowledged, those that are still to be encoded among them; plus one until the batch is
    /// encoded to its end.
    remaining: AtomicUsize,
    /// Given up: its records that have not gone are to be dropped.
    is_dead: AtomicBool,
    is_acknowledged: AtomicBool,
    /// Where its batch stands in order.
    pub(super) lane: Arc<Lane>,
    covers: Covers,
    /// Since when, how many records and how many bytes of keys and data, for metrics.
    since: Instant,
    records: AtomicUsize,
    bytes: AtomicUsize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

impl Ticket {
    /// For a batch that may have this many records.
    pub(super) fn open(lane: &Arc<Lane>, covers: Covers, records: usize) -> Arc<Self> {
        Arc::new(Self {
            remaining: AtomicUsize::new(records + 1),
            is_dead: AtomicBool::new(false),
            is_acknowledged: AtomicBool::new(false),
            lane: Arc::clone(lane),
            covers,
            since: Instant::now(),
            records: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            waiting: Mutex::default(),
        })
    }

    /// Records are acknowledged, or never were. Whether the batch is complete with that.
    pub(super) fn count_off(&self, records: usize) -> bool {
        let before = self.remaining.fetch_sub(records, Ordering::AcqRel);
        debug_assert!(before >= records, "no record is accounted for twice");
        let complete = before == records;
        if complete {
            self.is_acknowledged.store(true, Ordering::Release);
        }
        complete
    }

    /// The batch is encoded to its end; `unused` rows made no record. Whether it is complete with that.
    pub(super) fn close(&self, unused: usize) -> bool {
        self.count_off(unused + 1)
    }

    /// Notes what was encoded.
    pub(super) fn count(&self, records: usize, bytes: usize) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Tells that it is done, and counts it.
    pub(super) fn done(&self, metrics: &OutputMetrics) {
        metrics.delivery_seconds.observe(self.since.elapsed().as_secs_f64());
        metrics.records.inc_by(self.records.load(Ordering::Relaxed) as u64);
        metrics.bytes.inc_by(self.bytes.load(Ordering::Relaxed) as u64);
        self.answer(Ok(()));
    }

    /// Gives the batch up.
    pub(super) fn kill(&self) {
        self.is_dead.store(true, Ordering::Release);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Acquire)
    }

    /// Says what became of the batch; the first answer counts.
    pub(super) fn answer(&self, answer: Answer) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.answer.get_or_insert(answer);
        if let Some(waker) = waiting.waker.take() {
            drop(waiting);
            waker.wake();
        }
    }

    /// The answer; later the caller is woken.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Answer> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match &waiting.answer {
            Some(Ok(())) => Poll::Ready(Ok(())),
            Some(Err(failure)) => Poll::Ready(Err(again(failure))),
            None => {
                if !waiting.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    waiting.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl UnderWay for Ticket {
    fn covers(&self) -> Covers {
        self.covers
    }

    fn is_acknowledged(&self) -> bool {
        self.is_acknowledged.load(Ordering::Acquire)
    }
}

/// The same failure for one more of those who wait.
pub(super) fn again(failure: &Failure) -> Failure {
    Failure { disposition: failure.disposition, message: failure.to_string(), source: None }
}
