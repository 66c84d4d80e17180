//! One batch on its way: how many of its records are not acknowledged, and who waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use model::position::Covers;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::lane::Lane;
use super::order::UnderWay;
use super::reply::{Answer, Reply};

/// One batch on its way.
pub(crate) struct Ticket {
    /// Its records that are not accounted for, those that are still to be handed over among them; plus one until it is
    /// handed over to its end.
    pub(crate) remaining: Remaining,
    /// Given up, or one of its records was not taken.
    failed: AtomicBool,
    /// All its records are in the stream.
    acknowledged: AtomicBool,
    /// Where its batch stands in order.
    pub(crate) lane: Arc<Lane>,
    pub(crate) covers: Covers,
    /// Since when, how many records and how many bytes, for metrics.
    since: Instant,
    records: AtomicUsize,
    bytes: AtomicUsize,
    reply: Reply,
}

/// Counts down to the end of a batch.
pub(crate) struct Remaining(AtomicUsize);

/// Where batches that are done are counted.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    /// Seconds from taking a batch to its last acknowledgement.
    pub(crate) seconds: Histogram,
    /// Records that were acknowledged.
    pub(crate) records: Counter,
    /// Their bytes.
    pub(crate) bytes: Counter,
}

impl Remaining {
    /// Records are accounted for, or never will be there. Whether they were the last.
    pub(crate) fn count_off(&self, records: usize) -> bool {
        let before = self.0.fetch_sub(records, Ordering::AcqRel);
        debug_assert!(before >= records, "no record is accounted for twice");
        before == records
    }
}

impl Ticket {
    /// For a batch that may have this many records.
    pub(crate) fn open(lane: &Arc<Lane>, covers: Covers, records: usize) -> Arc<Self> {
        Arc::new(Self {
            remaining: Remaining(AtomicUsize::new(records + 1)),
            failed: AtomicBool::new(false),
            acknowledged: AtomicBool::new(false),
            lane: Arc::clone(lane),
            covers,
            since: Instant::now(),
            records: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            reply: Reply::default(),
        })
    }

    /// Notes what was handed over.
    pub(crate) fn count(&self, records: usize, bytes: usize) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Tells that it is done, and counts it.
    pub(crate) fn done(&self, delivered: &Delivered) {
        delivered.seconds.observe(self.since.elapsed().as_secs_f64());
        delivered.records.inc_by(self.records.load(Ordering::Relaxed) as u64);
        delivered.bytes.inc_by(self.bytes.load(Ordering::Relaxed) as u64);
        self.answer(Ok(()));
    }

    /// One of its records was not taken, or it is given up.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// All its records are in the stream.
    pub(super) fn acknowledge(&self) {
        self.acknowledged.store(true, Ordering::Release);
    }

    /// Says what became of the batch; the first answer counts.
    pub(crate) fn answer(&self, answer: Answer) {
        self.reply.set(answer);
    }

    /// The answer; later the caller is woken.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Answer> {
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
