//! One source partition of the view: its batches, encoded in order and done in order.
//!
//! Two locks, taken in this order: `sending` is held while a batch is encoded, so records go into the queue as they came;
//! `order` is held for moments, also by those who hear of acknowledgements.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::batch::FeatureBatch;
use model::output::Emission;
use model::position::{Partition, Position};

use super::encode::Encoder;
use super::ticket::Ticket;
use crate::output::keeper::Keeper;
use crate::output::order::{Admission, Order};
use crate::output::record::Identities;

/// One source partition of the view.
pub(super) struct Lane {
    pub(super) partition: Partition,
    sending: Mutex<Sending>,
    order: Mutex<Order<Ticket>>,
    /// Something waits for room in the queue.
    stuck: AtomicBool,
}

/// What is being encoded.
#[derive(Default)]
pub(super) struct Sending {
    /// Batches that are not encoded to their end; the first one may have begun.
    pub(super) waiting: VecDeque<Batch>,
    pub(super) encoder: Encoder,
}

/// A batch that is being encoded.
pub(super) struct Batch {
    pub(super) emission: Emission,
    pub(super) identities: Identities,
    /// Rows through here are in the stream, or ahead in the queue.
    pub(super) skip: Option<Position>,
    pub(super) next_row: usize,
    /// Rows before `next_row` that made no record.
    pub(super) unused: usize,
    pub(super) ticket: Arc<Ticket>,
}

/// The partitions of one view that were ever emitted.
#[derive(Default)]
pub(super) struct Lanes(Mutex<HashMap<Partition, Arc<Lane>>>);

impl Lanes {
    /// The lane of a partition, made if there is none.
    pub(super) fn of(&self, partition: &Partition) -> Arc<Lane> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(partition) {
            return Arc::clone(lane);
        }
        Arc::clone(lanes.entry(partition.clone()).or_insert_with(|| Arc::new(Lane::new(partition.clone()))))
    }

    /// All of them now.
    pub(super) fn all(&self) -> Vec<Arc<Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Lane {
    fn new(partition: Partition) -> Self {
        Self { partition, sending: Mutex::default(), order: Mutex::default(), stuck: AtomicBool::new(false) }
    }

    pub(super) fn sending(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self) -> MutexGuard<'_, Order<Ticket>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a batch its place. The caller holds `sending`.
    pub(super) fn admit(self: &Arc<Self>, batch: &FeatureBatch, keeper: &dyn Keeper) -> Admission<Ticket> {
        let open = |records| Ticket::open(self, batch.covers, records);
        self.order().admit(&self.partition, batch, keeper, open)
    }

    /// A batch cannot be taken now: it has to come again before those behind it.
    pub(super) fn refuse(&self, batch: &FeatureBatch) {
        self.order().refuse(batch);
    }

    /// Those that now have nothing before them are done. They are returned, in order.
    pub(super) fn advance(&self, keeper: &dyn Keeper) -> Vec<Arc<Ticket>> {
        // Under the lock, so that a position is never told behind a greater one.
        self.order().advance(&self.partition, keeper)
    }

    /// Gives up everything that is not done. Those batches are returned, in order, and have not been told.
    pub(super) fn fail(&self) -> Vec<Arc<Ticket>> {
        let mut sending = self.sending();
        sending.waiting.clear();
        self.fail_held()
    }

    /// The same for who holds `sending`, and has emptied it: nothing can be admitted behind those that fail before this.
    pub(super) fn fail_held(&self) -> Vec<Arc<Ticket>> {
        let failed = self.order().fail();
        failed.iter().for_each(|ticket| ticket.kill());
        self.set_stuck(false);
        failed
    }

    /// The partition begins anew, from wherever its position is: it was rewound, or had been another host's.
    pub(super) fn forget(&self) {
        self.order().forget();
    }

    /// Whether anything is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.order().is_busy()
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Acquire)
    }

    pub(super) fn set_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::Release);
    }
}
