//! One batch on its way: how many of its records are not acknowledged, and who waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use model::position::Covers;

use super::lane::Lane;
use crate::kafka::OutputMetrics;
use crate::output::order::UnderWay;
use crate::output::reply::{Answer, Reply};

/// One batch on its way. Records carry its pointer: it holds itself while any of them is not accounted for.
pub(super) struct Ticket {
    /// Records that are not accounted for; those that are still to be handed over count from the beginning.
    remaining: AtomicUsize,
    failed: AtomicBool,
    /// All records are accounted for and none failed.
    acknowledged: AtomicBool,
    /// Where its batch stands in order.
    pub(super) lane: Arc<Lane>,
    pub(super) covers: Covers,
    /// Since when, how many records and how many bytes of keys and values, for metrics.
    since: Instant,
    records: AtomicUsize,
    bytes: AtomicUsize,
    reply: Reply,
}

impl Ticket {
    /// For a batch that may hand over this many records, plus one: the hold of whoever hands over, which ends with
    /// [`Ticket::close`]. So it cannot be complete before.
    pub(super) fn open(lane: &Arc<Lane>, covers: Covers, records: usize) -> Arc<Self> {
        let ticket = Arc::new(Self {
            remaining: AtomicUsize::new(records + 1),
            failed: AtomicBool::new(false),
            acknowledged: AtomicBool::new(false),
            lane: Arc::clone(lane),
            covers,
            since: Instant::now(),
            records: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            reply: Reply::default(),
        });
        // Given back by whoever counts off the last.
        let _ = Arc::into_raw(Arc::clone(&ticket));
        ticket
    }

    /// Nothing more is handed over; `unused` records never were. Whether the batch is complete with that.
    pub(super) fn close(ticket: &Arc<Self>, unused: usize) -> bool {
        // SAFETY: the hold and the unused records are counted off once, here.
        unsafe { Self::count_off(Arc::as_ptr(ticket), unused + 1) }.is_some()
    }

    /// Counts records off; the ticket, if it is complete with that.
    ///
    /// # Safety
    ///
    /// `ticket` comes from [`Ticket::open`], and with this call no more are counted off than were opened.
    pub(super) unsafe fn count_off(ticket: *const Self, records: usize) -> Option<Arc<Self>> {
        // SAFETY: it holds itself until the last is counted off, and these are among them.
        let before = unsafe { (*ticket).remaining.fetch_sub(records, Ordering::AcqRel) };
        debug_assert!(before >= records, "no record is accounted for twice");
        // SAFETY: the reference that `open` set aside; nobody counts after the last.
        (before == records).then(|| unsafe { Arc::from_raw(ticket) })
    }

    /// Notes what was handed over.
    pub(super) fn count(&self, records: usize, bytes: usize) {
        self.records.store(records, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Tells that it is done, and counts it.
    pub(super) fn done(&self, metrics: &OutputMetrics) {
        metrics.delivery_seconds.observe(self.since.elapsed().as_secs_f64());
        metrics.records.inc_by(self.records.load(Ordering::Relaxed) as u64);
        metrics.bytes.inc_by(self.bytes.load(Ordering::Relaxed) as u64);
        self.answer(Ok(()));
    }

    /// One of its records failed.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// All its records are in the stream.
    pub(super) fn acknowledge(&self) {
        self.acknowledged.store(true, Ordering::Release);
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
        self.acknowledged.load(Ordering::Acquire)
    }
}
