//! The thread that hears of acknowledgements, and makes a new producer when one has failed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use model::error::{Disposition, Failure};

use super::session::{Deliveries, Session};
use super::stream::{Emitter, Slot};
use crate::output::reply::again;

/// How often to look whether partitions with records under way are still this host's.
const FENCE_EVERY: Duration = Duration::from_millis(500);
/// How long to wait before a producer is made again; and where only an operator can mend it.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long a stream that is dropped waits for what is under way.
const CLOSING: Duration = Duration::from_secs(5);
/// The share of the queue that has to be free before those who wait for room are woken.
const ROOM: usize = 2;

/// Until the stream is dropped.
pub(super) fn run(shared: &Arc<Emitter>) {
    let mut closing: Option<Instant> = None;
    loop {
        let Some(session) = current(shared) else {
            if shared.stopping.load(Ordering::Acquire) {
                return;
            }
            reopen(shared);
            continue;
        };
        let end = serve(shared, &session, &mut closing);
        give_up(shared, session, &end);
        if closing.is_some() {
            return;
        }
    }
}

/// Why a session ends.
enum End {
    /// A record was not delivered, or the producer refuses more.
    Failed(Failure),
    /// A partition with records under way is not this host's any more: who waits has to know at once.
    Lost(Failure),
    /// The stream is dropped.
    Closed(Failure),
}

/// Serves one session until it fails, or the stream is dropped.
fn serve(shared: &Emitter, session: &Arc<Session>, closing: &mut Option<Instant>) -> End {
    let mut fenced = Instant::now();
    let mut starved = 0;
    let mut deliveries = Deliveries::default();
    loop {
        let (began, patience) = (Instant::now(), deliveries.patience());
        let polled = session.producer.poll(patience);
        polled.complete.iter().for_each(|ticket| shared.complete(ticket));
        if let Some(code) = polled.failed.or_else(|| session.failed()) {
            return End::Failed(session.failure(&shared.options, code));
        }
        session.push(&mut deliveries, polled.reported, began.elapsed() >= patience);
        let outstanding = session.producer.outstanding();
        shared.metrics.outstanding.set(i64::try_from(outstanding).unwrap_or(i64::MAX));
        if shared.starving.load(Ordering::SeqCst) {
            starved = starved.max(outstanding);
            if outstanding <= starved / ROOM {
                starved = 0;
                shared.room();
            }
        }
        if fenced.elapsed() >= FENCE_EVERY {
            fenced = Instant::now();
            for lane in shared.lanes.all().iter().filter(|lane| !shared.keeper.holds(&lane.partition)) {
                if lane.is_busy() {
                    return End::Lost(shared.not_ours(&lane.partition));
                }
                // Whoever has it next begins from what the group says.
                lane.forget();
            }
        }
        if shared.stopping.load(Ordering::Acquire) {
            let since = *closing.get_or_insert_with(Instant::now);
            if outstanding == 0 || since.elapsed() >= CLOSING {
                let closed = format!("{}: the stream is closed", shared.options.doing());
                return End::Closed(Failure::retry(closed));
            }
        }
    }
}

/// Ends a session: nothing more is handed over, what is under way is purged, then everybody who waits is told.
fn give_up(shared: &Emitter, session: Arc<Session>, end: &End) {
    let (End::Failed(failure) | End::Lost(failure) | End::Closed(failure)) = end;
    // Waits for those who are handing over.
    set(shared, Slot::Closed(failure.disposition, failure.to_string()));
    debug_assert_eq!(Arc::strong_count(&session), 1, "callers only borrow the session");
    drop(session);
    // No record of the old producer can come any more. Lanes are closed before there is a new one.
    let failed: Vec<_> = shared.lanes.all().iter().flat_map(|lane| lane.fail()).collect();
    shared.metrics.outstanding.set(0);
    if let End::Failed(failure) = end {
        shared.metrics.retries.inc();
        // With a cluster that answers, the first repeat shall find a producer.
        if failure.disposition == Disposition::Retry && shared.watch.trouble().is_none() {
            reopen(shared);
        }
    }
    failed.iter().for_each(|ticket| ticket.answer(Err(again(failure))));
    shared.room();
}

/// Makes a producer. Without success callers hear why, and the next try is a moment later.
fn reopen(shared: &Emitter) {
    match Session::open(&shared.options, &shared.watch, None) {
        Ok(session) => set(shared, Slot::Open(Arc::new(session))),
        Err(failure) => {
            let pause =
                if failure.disposition == Disposition::Stop { LOOK_AGAIN_AFTER } else { REOPEN_AFTER };
            set(shared, Slot::Closed(failure.disposition, failure.to_string()));
            if !shared.stopping.load(Ordering::Acquire) {
                thread::park_timeout(pause);
            }
        }
    }
}

fn set(shared: &Emitter, slot: Slot) {
    *shared.session.write().unwrap_or_else(PoisonError::into_inner) = slot;
}

fn current(shared: &Emitter) -> Option<Arc<Session>> {
    match &*shared.session.read().unwrap_or_else(PoisonError::into_inner) {
        Slot::Open(session) => Some(Arc::clone(session)),
        Slot::Closed(..) => None,
    }
}
