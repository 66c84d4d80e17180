//! The thread that hears of acknowledgements, and makes a new producer when one has failed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use model::error::{Disposition, Failure};

use super::held;
use super::session::{Deliveries, Session};
use super::stream::Producing;
use crate::output::emitter::{CLOSING, Carrier as _, Emitter, FENCE_EVERY, REOPEN_AFTER, Slot};
use crate::output::lane::Lane;
use crate::output::reply::again;
use crate::output::ticket::Ticket;

/// How long to wait before a producer is made again, where only an operator can mend it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// The share of the queue that has to be free before those who wait for room are woken.
const ROOM: usize = 2;

/// Until the stream is dropped.
pub(super) fn run(emitter: &Arc<Emitter<Producing>>) {
    let mut closing: Option<Instant> = None;
    loop {
        let Some(session) = current(emitter) else {
            if emitter.stopping.load(Ordering::Acquire) {
                return;
            }
            reopen(emitter);
            continue;
        };
        let end = serve(emitter, &session, &mut closing);
        give_up(emitter, session, &end);
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
fn serve(emitter: &Emitter<Producing>, session: &Arc<Session>, closing: &mut Option<Instant>) -> End {
    let mut fenced = Instant::now();
    let mut starved = 0;
    let mut deliveries = Deliveries::default();
    loop {
        let (began, patience) = (Instant::now(), deliveries.patience());
        let polled = session.producer.poll(patience);
        polled.complete.iter().for_each(|ticket| emitter.complete(ticket));
        if let Some(code) = polled.failed.or_else(|| session.failed()) {
            return End::Failed(session.failure(&emitter.carrier.options, code));
        }
        session.push(&mut deliveries, polled.reported, began.elapsed() >= patience);
        let outstanding = session.producer.outstanding();
        emitter.carrier.metrics.outstanding.set(i64::try_from(outstanding).unwrap_or(i64::MAX));
        if emitter.room.is_awaited() {
            starved = starved.max(outstanding);
            if outstanding <= starved / ROOM {
                starved = 0;
                emitter.room.wake();
            }
        }
        if fenced.elapsed() >= FENCE_EVERY {
            fenced = Instant::now();
            for lane in emitter.lanes.lost(&*emitter.keeper) {
                if lane.is_busy() {
                    return End::Lost(emitter.carrier.not_ours(&lane.partition));
                }
                // Whoever has it next begins from what the group says.
                lane.forget();
            }
        }
        if emitter.stopping.load(Ordering::Acquire) {
            let since = *closing.get_or_insert_with(Instant::now);
            if outstanding == 0 || since.elapsed() >= CLOSING {
                let closed = format!("{}: the stream is closed", emitter.carrier.options.doing());
                return End::Closed(Failure::retry(closed));
            }
        }
    }
}

/// Ends a session: nothing more is handed over, what is under way is purged, then everybody who waits is told.
fn give_up(emitter: &Emitter<Producing>, session: Arc<Session>, end: &End) {
    let (End::Failed(failure) | End::Lost(failure) | End::Closed(failure)) = end;
    // Waits for those who are handing over.
    emitter.set(Slot::closed(failure));
    debug_assert_eq!(Arc::strong_count(&session), 1, "callers only borrow the session");
    drop(session);
    // No record of the old producer can come any more. Lanes are closed before there is a new one.
    let failed: Vec<_> = emitter.lanes.all().iter().flat_map(|lane| fail(lane)).collect();
    emitter.carrier.metrics.outstanding.set(0);
    if let End::Failed(failure) = end {
        emitter.carrier.metrics.retries.inc();
        // With a cluster that answers, the first repeat shall find a producer.
        if failure.disposition == Disposition::Retry && emitter.carrier.watch.trouble().is_none() {
            reopen(emitter);
        }
    }
    failed.iter().for_each(|ticket| ticket.answer(Err(again(failure))));
    emitter.room.wake();
}

/// Makes a producer. Without success callers hear why, and the next try is a moment later.
fn reopen(emitter: &Emitter<Producing>) {
    match Session::open(&emitter.carrier.options, &emitter.carrier.watch, None) {
        Ok(session) => emitter.set(Slot::Open(Arc::new(session))),
        Err(failure) => {
            let pause =
                if failure.disposition == Disposition::Stop { LOOK_AGAIN_AFTER } else { REOPEN_AFTER };
            emitter.set(Slot::closed(&failure));
            if !emitter.stopping.load(Ordering::Acquire) {
                thread::park_timeout(pause);
            }
        }
    }
}

/// Gives up what a lane has under way, and what waits in it.
fn fail(lane: &Lane) -> Vec<Arc<Ticket>> {
    let waiting = std::mem::take(&mut lane.sending().waiting);
    for batch in waiting {
        let never = batch.emission.batch.len() - batch.next_row;
        held::close(&batch.ticket, batch.unused + never);
    }
    lane.fail()
}

fn current(emitter: &Emitter<Producing>) -> Option<Arc<Session>> {
    match &*emitter.slot() {
        Slot::Open(session) => Some(Arc::clone(session)),
        Slot::Closed(..) => None,
    }
}
