//! One source partition of the view: the order of its batches, and how far the stream has it.
//!
//! Two locks, taken in this order: `sending` is held while a batch is encoded and handed over, so batches go out as they
//! came; `order` is held for moments, also by the thread that hears of acknowledgements.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::batch::FeatureBatch;
use model::output::{Emission, OutputOptions};
use model::position::{Partition, Position};
use model::view::ViewRef;

use super::ticket::Ticket;
use crate::output::keeper::Keeper;
use crate::output::order::{Admission, Order};
use crate::output::record::{Identities, RecordEncoder};

/// One source partition of the view.
pub(super) struct Lane {
    pub(super) partition: Partition,
    sending: Mutex<Sending>,
    order: Mutex<Order<Ticket>>,
    /// Something waits for room in the producer's queue.
    stuck: AtomicBool,
}

/// The partitions of one view that were ever emitted.
#[derive(Default)]
pub(super) struct Lanes(Mutex<HashMap<Partition, Arc<Lane>>>);

impl Lanes {
    /// The lane of a partition, made if there is none.
    pub(super) fn of(&self, partition: &Partition) -> Arc<Lane> {
        let mut lanes = self.lock();
        match lanes.get(partition) {
            Some(lane) => Arc::clone(lane),
            None => {
                Arc::clone(lanes.entry(partition.clone()).or_insert_with(|| Lane::new(partition.clone())))
            }
        }
    }

    /// All of them now.
    pub(super) fn all(&self) -> Vec<Arc<Lane>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Partition, Arc<Lane>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is being handed over.
#[derive(Default)]
pub(super) struct Sending {
    /// Batches that are not handed over to their end; the first one may have begun.
    pub(super) waiting: VecDeque<Batch>,
    /// Of the last batch; the next one mostly has the same view and options.
    encoder: Option<(ViewRef, Arc<OutputOptions>, RecordEncoder)>,
    /// Key, value and identity of the record at hand.
    pub(super) buffer: Vec<u8>,
}

/// A batch that is being handed over.
pub(super) struct Batch {
    pub(super) emission: Emission,
    pub(super) identities: Identities,
    /// Rows through here are in the stream, or ahead in the queue.
    pub(super) skip: Option<Position>,
    pub(super) next_row: usize,
    /// Rows before `next_row` that made no record.
    pub(super) unused: usize,
    /// Bytes of keys and values that were handed over.
    pub(super) bytes: usize,
    pub(super) ticket: Arc<Ticket>,
}

impl Lane {
    pub(super) fn new(partition: Partition) -> Arc<Self> {
        Arc::new(Self {
            partition,
            sending: Mutex::default(),
            order: Mutex::default(),
            stuck: AtomicBool::new(false),
        })
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

    /// A batch is acknowledged to its end: those that now have nothing before them are done. They are returned, in order.
    pub(super) fn acknowledged(&self, ticket: &Ticket, keeper: &dyn Keeper) -> Vec<Arc<Ticket>> {
        ticket.acknowledge();
        // Under the lock, so that a position is never told behind a greater one.
        self.order().advance(&self.partition, keeper)
    }

    /// Everything that is not done fails; nothing goes out until the earliest of it comes again. They are returned, in
    /// order, and have not been told.
    pub(super) fn fail(&self) -> Vec<Arc<Ticket>> {
        let waiting = std::mem::take(&mut self.sending().waiting);
        self.stuck.store(false, Ordering::Release);
        let failed = self.order().fail();
        for batch in waiting {
            batch.close();
        }
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

impl Sending {
    /// An encoder for a batch, and the buffer to write to.
    pub(super) fn encoder(
        &mut self,
        view: &ViewRef,
        options: &Arc<OutputOptions>,
    ) -> (&mut RecordEncoder, &mut Vec<u8>) {
        let fits = |known: &(ViewRef, Arc<OutputOptions>, RecordEncoder)| {
            Arc::ptr_eq(&known.0, view) && Arc::ptr_eq(&known.1, options)
        };
        if !self.encoder.as_ref().is_some_and(fits) {
            let encoder = RecordEncoder::new(view, options);
            self.encoder = Some((Arc::clone(view), Arc::clone(options), encoder));
        }
        let (_, _, encoder) = self.encoder.as_mut().expect("it was made above");
        (encoder, &mut self.buffer)
    }
}

impl Batch {
    /// Nothing more of it is handed over. Whether it is complete with that.
    pub(super) fn close(&self) -> bool {
        self.ticket.count(self.next_row - self.unused, self.bytes);
        Ticket::close(&self.ticket, self.unused + self.emission.batch.len() - self.next_row)
    }
}
