//! One source partition of the view: the order of its batches, and how far the stream has it.
//!
//! Two locks, taken in this order: `sending` is held while a batch is encoded and handed over, so batches go out as they
//! came; `progress` is held for moments, also by the thread that hears of acknowledgements.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::batch::FeatureBatch;
use model::error::Failure;
use model::output::{Emission, OutputOptions};
use model::position::{Covers, Partition, Position};
use model::view::ViewRef;

use super::ticket::Ticket;
use crate::output::keeper::Keeper;
use crate::output::record::{Identities, RecordEncoder};

/// One source partition of the view.
pub(super) struct Lane {
    pub(super) partition: Partition,
    sending: Mutex<Sending>,
    progress: Mutex<Progress>,
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

#[derive(Default)]
struct Progress {
    /// Batches that wait for acknowledgement, in order.
    in_flight: VecDeque<Arc<Ticket>>,
    /// Through the last of them.
    queued: Option<Position>,
    /// Where the earliest batch that failed begins: nothing behind it goes out before it.
    failed_from: Option<Position>,
}

/// What became of a batch that came.
pub(super) enum Admission {
    /// There is nothing to do for it.
    Done,
    /// It has its place in the order; rows through this position are to be skipped.
    Taken(Arc<Ticket>, Option<Position>),
    /// It has to wait until the batch that failed is repeated.
    Refused(Failure),
}

impl Lane {
    pub(super) fn new(partition: Partition) -> Arc<Self> {
        Arc::new(Self {
            partition,
            sending: Mutex::default(),
            progress: Mutex::default(),
            stuck: AtomicBool::new(false),
        })
    }

    pub(super) fn sending(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a batch its place. The caller holds `sending`.
    pub(super) fn admit(self: &Arc<Self>, batch: &FeatureBatch, keeper: &dyn Keeper) -> Admission {
        let Covers { first, through } = batch.covers;
        let mut progress = self.progress();
        let skip = match progress.in_flight.is_empty() {
            true => keeper.position(&self.partition),
            false => progress.queued,
        };
        // What failed here may have been emitted by another host since.
        if progress.failed_from.is_some_and(|failed| first > failed && skip < Some(failed)) {
            return Admission::Refused(Failure::retry(format!(
                "emit records of view `{}`, partition `{}`: an earlier batch failed and has to be emitted again first",
                batch.view.name, self.partition
            )));
        }
        progress.failed_from = None;
        let nothing_new = batch.is_empty() || skip.is_some_and(|skip| through <= skip);
        if nothing_new && progress.in_flight.is_empty() {
            if skip < Some(through) {
                keeper.emitted(&self.partition, through);
            }
            return Admission::Done;
        }
        let rows = if nothing_new { 0 } else { batch.len() };
        let ticket = Ticket::open(self, batch.covers, rows);
        progress.queued = skip.max(Some(through));
        progress.in_flight.push_back(Arc::clone(&ticket));
        Admission::Taken(ticket, skip)
    }

    /// A batch cannot be taken now: it has to come again before those behind it.
    pub(super) fn refuse(&self, batch: &FeatureBatch) {
        let mut progress = self.progress();
        progress.failed_from = Some(earlier(progress.failed_from, batch.covers.first));
    }

    /// A batch is acknowledged to its end: those that now have nothing before them are done. They are returned, in order.
    pub(super) fn acknowledged(&self, ticket: &Ticket, keeper: &dyn Keeper) -> Vec<Arc<Ticket>> {
        ticket.acknowledge();
        let mut done = Vec::new();
        let mut progress = self.progress();
        while let Some(front) = progress.in_flight.pop_front_if(|front| front.is_acknowledged()) {
            done.push(front);
        }
        if let Some(last) = done.last() {
            // Under the lock, so that a position is never told behind a greater one. One that was skipped is no news.
            if keeper.position(&self.partition) < Some(last.through) {
                keeper.emitted(&self.partition, last.through);
            }
        }
        done
    }

    /// Everything that is not done fails; nothing goes out until the earliest of it comes again. They are returned, in
    /// order, and have not been told.
    pub(super) fn fail(&self) -> Vec<Arc<Ticket>> {
        let waiting = std::mem::take(&mut self.sending().waiting);
        self.stuck.store(false, Ordering::Release);
        let mut progress = self.progress();
        let failed: Vec<Arc<Ticket>> = progress.in_flight.drain(..).collect();
        if let Some(first) = failed.first() {
            progress.failed_from = Some(earlier(progress.failed_from, first.first));
        }
        drop(progress);
        for batch in waiting {
            batch.close();
        }
        failed
    }

    /// The partition begins anew, from wherever its position is: it was rewound, or had been another host's.
    pub(super) fn forget(&self) {
        let mut progress = self.progress();
        if progress.in_flight.is_empty() {
            progress.failed_from = None;
        }
    }

    /// Whether anything is under way.
    pub(super) fn is_busy(&self) -> bool {
        !self.progress().in_flight.is_empty()
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

fn earlier(known: Option<Position>, position: Position) -> Position {
    known.map_or(position, |known| known.min(position))
}
