//! A stream whose records are acknowledged one by one, as its callers see it: whether it is open and the partition this
//! host's, the batch's place in order, its records as far as there is room, and the future that hands over the rest.
//!
//! How records are handed over, and to what, is the [`Carrier`]'s; who hears of acknowledgements calls
//! [`Emitter::complete`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::future::BoxFuture;
use model::error::{Disposition, Failure};
use model::output::Emission;
use model::position::{Partition, Position};

use super::keeper::Keeper;
use super::lane::{Batch, Lane, Lanes, Sending};
use super::order::Admission;
use super::record::Identities;
use super::reply::Answer;
use super::room::Room;
use super::ticket::{Delivered, Ticket};

/// How often to look whether partitions with records under way are still this host's.
pub(crate) const FENCE_EVERY: Duration = Duration::from_millis(500);
/// How long to wait before a stream that could not be used is tried again.
pub(crate) const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// How long a stream that is dropped waits for what is under way.
pub(crate) const CLOSING: Duration = Duration::from_secs(5);

/// What records are handed to.
pub(crate) trait Carrier: fmt::Debug + Sized + Send + Sync + 'static {
    /// What handing over needs, and is there only while the stream is open.
    type Open: Send + Sync;

    /// The view whose records these are.
    fn view(&self) -> &str;

    /// A batch with records has its place, and none of them was handed over: what says the identities of its rows.
    fn begin(&self, emission: &Emission, ticket: &Arc<Ticket>) -> Identities;

    /// Hands over what waits in a lane, in order, as far as there is room. Without room the rest stays and the lane is
    /// stuck; otherwise it is not.
    fn hand_over(emitter: &Emitter<Self>, open: &Self::Open, lane: &Lane, sending: &mut Sending);

    /// What callers hear whose partition is another host's.
    fn not_ours(&self, partition: &Partition) -> Failure;
}

/// What callers share with whoever sends and hears of acknowledgements.
pub(crate) struct Emitter<C: Carrier> {
    pub(crate) carrier: C,
    pub(crate) keeper: Box<dyn Keeper>,
    delivered: Delivered,
    /// Read for as long as a batch is handed over: once somebody has closed it, nobody hands over.
    slot: RwLock<Slot<C::Open>>,
    pub(crate) lanes: Lanes,
    pub(crate) room: Room,
    /// The stream is being dropped.
    pub(crate) stopping: AtomicBool,
}

/// Whether records are taken, or why not.
pub(crate) enum Slot<O> {
    Open(O),
    Closed(Disposition, String),
}

impl<O> Slot<O> {
    /// Closed for this reason.
    pub(crate) fn closed(failure: &Failure) -> Self {
        Self::Closed(failure.disposition, failure.to_string())
    }
}

impl<C: Carrier> Emitter<C> {
    pub(crate) fn new(
        carrier: C,
        keeper: Box<dyn Keeper>,
        delivered: Delivered,
        slot: Slot<C::Open>,
    ) -> Arc<Self> {
        Arc::new(Self {
            carrier,
            keeper,
            delivered,
            slot: RwLock::new(slot),
            lanes: Lanes::default(),
            room: Room::default(),
            stopping: AtomicBool::new(false),
        })
    }

    /// Whether records are taken. Not to be held for long: closing waits for it.
    pub(crate) fn slot(&self) -> RwLockReadGuard<'_, Slot<C::Open>> {
        self.slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens or closes the stream. Waits for those who are handing over.
    pub(crate) fn set(&self, slot: Slot<C::Open>) {
        *self.slot.write().unwrap_or_else(PoisonError::into_inner) = slot;
    }

    /// Takes a batch and hands over as much of it as there is room for; the future waits for the rest, and for all to be
    /// acknowledged.
    pub(crate) fn emit(self: &Arc<Self>, emission: Emission) -> BoxFuture<'static, Answer> {
        match self.take(emission) {
            Ok(None) => Box::pin(std::future::ready(Ok(()))),
            Ok(Some(ticket)) => Box::pin(Emitting { emitter: Arc::clone(self), ticket }),
            Err(failure) => Box::pin(std::future::ready(Err(failure))),
        }
    }

    /// Sets a partition of which nothing is under way back, durably.
    pub(crate) fn rewind(&self, partition: &Partition, to: Option<Position>, epoch: u32) -> Answer {
        let lane = self.lanes.of(partition);
        lane.check_idle(self.carrier.view())?;
        self.keeper.rewind(partition, to, epoch)?;
        lane.forget();
        Ok(())
    }

    /// All records of a batch are accounted for: unless one failed, it is in the stream, and those that now have nothing
    /// before them are done.
    pub(crate) fn complete(&self, ticket: &Ticket) {
        if !ticket.has_failed() {
            let done = ticket.lane.acknowledged(ticket, &*self.keeper);
            done.iter().for_each(|ticket| ticket.done(&self.delivered));
        }
    }

    /// `None` = there is nothing to wait for.
    fn take(&self, emission: Emission) -> Result<Option<Arc<Ticket>>, Failure> {
        let lane = self.lanes.of(&emission.batch.partition);
        let slot = self.slot();
        let open = match &*slot {
            Slot::Open(open) => open,
            Slot::Closed(disposition, why) => {
                lane.refuse(&emission.batch);
                return Err(Failure { disposition: *disposition, message: why.clone(), source: None });
            }
        };
        if !self.keeper.holds(&lane.partition) {
            lane.refuse(&emission.batch);
            return Err(self.carrier.not_ours(&lane.partition));
        }
        let mut sending = lane.sending();
        let (ticket, skip) = match lane.admit(&emission.batch, &*self.keeper) {
            Admission::Done => return Ok(None),
            Admission::Refused(failure) => return Err(failure),
            Admission::Taken(ticket, skip) => (ticket, skip),
        };
        if emission.batch.is_empty() || skip.is_some_and(|skip| ticket.covers.through <= skip) {
            if ticket.remaining.count_off(1) {
                self.complete(&ticket);
            }
            return Ok(Some(ticket));
        }
        let identities = self.carrier.begin(&emission, &ticket);
        let skip = skip.filter(|skip| *skip >= emission.batch.covers.first);
        let batch = Batch { emission, identities, skip, next_row: 0, unused: 0, ticket: Arc::clone(&ticket) };
        sending.waiting.push_back(batch);
        C::hand_over(self, open, &lane, &mut sending);
        Ok(Some(ticket))
    }

    /// Hands over what waits in a lane, if there is room by now.
    fn pump(&self, lane: &Lane) {
        if let Slot::Open(open) = &*self.slot() {
            let mut sending = lane.sending();
            if self.keeper.holds(&lane.partition) {
                C::hand_over(self, open, lane, &mut sending);
            }
        }
    }
}

impl<C: Carrier> fmt::Debug for Emitter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").field("carrier", &self.carrier).finish_non_exhaustive()
    }
}

/// A batch until it is acknowledged. Polling it also hands over what its lane could not before.
struct Emitting<C: Carrier> {
    emitter: Arc<Emitter<C>>,
    ticket: Arc<Ticket>,
}

impl<C: Carrier> Future for Emitting<C> {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let (emitter, lane) = (&self.emitter, &self.ticket.lane);
        if lane.is_stuck() {
            emitter.pump(lane);
            if lane.is_stuck() {
                emitter.room.wait(cx.waker());
                // Room that came before this was noted.
                emitter.pump(lane);
            }
        }
        self.ticket.poll(cx)
    }
}
