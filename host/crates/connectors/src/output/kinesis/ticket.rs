//! One batch on its way: how many of its records are not acknowledged, and who waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use model::position::Covers;

use super::lane::Lane;
use crate::kinesis::OutputMetrics;
use crate::output::order::UnderWay;
use crate::output::reply::{Answer, Reply};

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
    reply: Reply,
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
            reply: Reply::default(),
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
        self.reply.set(answer);
    }

    /// The answer; later the caller is woken.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Answer> {
        self.reply.poll(cx)
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
