//! One source partition of a view in a stream: its batches go out in order and are done in order.
//!
//! Two locks, taken in this order: `sending` is held while a batch is encoded and handed over, so batches go out as they
//! came; `order` is held for moments, also by those who hear of acknowledgements.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::batch::FeatureBatch;
use model::error::Failure;
use model::output::Emission;
use model::position::{Partition, Position};

use super::keeper::Keeper;
use super::order::{Admission, Order};
use super::record::{Identities, LastEncoder};
use super::ticket::Ticket;

/// One source partition of the view.
pub(crate) struct Lane {
    pub(crate) partition: Partition,
    sending: Mutex<Sending>,
    order: Mutex<Order<Ticket>>,
    /// Something waits for room.
    stuck: AtomicBool,
}

/// What is being encoded and handed over.
#[derive(Default)]
pub(crate) struct Sending {
    /// Batches that are not handed over to their end; the first one may have begun.
    pub(crate) waiting: VecDeque<Batch>,
    pub(crate) encoder: LastEncoder,
    /// The record at hand.
    pub(crate) buffer: Vec<u8>,
}

/// A batch that is being handed over.
pub(crate) struct Batch {
    pub(crate) emission: Emission,
    pub(crate) identities: Identities,
    /// Rows through here are in the stream, or ahead of this batch; `None` = none of its rows is.
    pub(crate) skip: Option<Position>,
    pub(crate) next_row: usize,
    /// Rows before `next_row` that made no record.
    pub(crate) unused: usize,
    pub(crate) ticket: Arc<Ticket>,
}

/// The partitions of one view that were ever emitted.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<Partition, Arc<Lane>>>);

impl Lanes {
    /// The lane of a partition, made if there is none.
    pub(crate) fn of(&self, partition: &Partition) -> Arc<Lane> {
        let mut lanes = self.lock();
        match lanes.get(partition) {
            Some(lane) => Arc::clone(lane),
            None => {
                let lane = Arc::new(Lane::new(partition.clone()));
                lanes.insert(partition.clone(), Arc::clone(&lane));
                lane
            }
        }
    }

    /// All of them now.
    pub(crate) fn all(&self) -> Vec<Arc<Lane>> {
        self.lock().values().cloned().collect()
    }

    /// Those of partitions that are not this host's.
    pub(crate) fn lost(&self, keeper: &dyn Keeper) -> Vec<Arc<Lane>> {
        let mut lanes = self.all();
        lanes.retain(|lane| !keeper.holds(&lane.partition));
        lanes
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Partition, Arc<Lane>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn new(partition: Partition) -> Self {
        Self { partition, sending: Mutex::default(), order: Mutex::default(), stuck: AtomicBool::new(false) }
    }

    pub(crate) fn sending(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self) -> MutexGuard<'_, Order<Ticket>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a batch its place. The caller holds `sending`.
    pub(crate) fn admit(self: &Arc<Self>, batch: &FeatureBatch, keeper: &dyn Keeper) -> Admission<Ticket> {
        let open = |records| Ticket::open(self, batch.covers, records);
        self.order().admit(&self.partition, batch, keeper, open)
    }

    /// A batch cannot be taken now: it has to come again before those behind it.
    pub(crate) fn refuse(&self, batch: &FeatureBatch) {
        self.order().refuse(batch);
    }

    /// The batch that was admitted last cannot go out: it has to come again before those behind it, while those before it
    /// go on. `before`: what was said of it when it was admitted; the caller has held `sending` since.
    pub(crate) fn withdraw(&self, before: Option<Position>) {
        self.order().withdraw(before);
    }

    /// A batch is in the stream to its end: those that now have nothing before them are done. They are returned, in order.
    pub(crate) fn acknowledged(&self, ticket: &Ticket, keeper: &dyn Keeper) -> Vec<Arc<Ticket>> {
        ticket.acknowledge();
        // Under the lock, so that a position is never told behind a greater one.
        self.order().advance(&self.partition, keeper)
    }

    /// Gives up everything that is not done; nothing goes out until the earliest of it comes again. Those batches are
    /// returned, in order, and have not been told.
    pub(crate) fn fail(&self) -> Vec<Arc<Ticket>> {
        let mut sending = self.sending();
        sending.waiting.clear();
        self.fail_held()
    }

    /// The same for who holds `sending`, and has emptied it: nothing can be admitted behind those that fail before this.
    pub(crate) fn fail_held(&self) -> Vec<Arc<Ticket>> {
        let failed = self.order().fail();
        failed.iter().for_each(|ticket| ticket.fail());
        self.set_stuck(false);
        failed
    }

    /// The partition begins anew, from wherever its position is: it was rewound, or had been another host's.
    pub(crate) fn forget(&self) {
        self.order().forget();
    }

    /// Refuses to set the partition back while something is under way: its acknowledgement would undo that.
    pub(crate) fn check_idle(&self, view: &str) -> Result<(), Failure> {
        if self.is_busy() {
            let partition = &self.partition;
            return Err(Failure::retry(format!(
                "rewind view `{view}`, partition `{partition}`: records of it are still on their way to the output stream"
            )));
        }
        Ok(())
    }

    /// Whether anything is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.order().is_busy()
    }

    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Acquire)
    }

    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::Release);
    }
}
