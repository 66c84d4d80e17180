//! What callers and the sender share; and the callers' side: encoding, on their threads.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};

use model::error::{Disposition, Failure};
use model::output::Emission;
use model::position::Partition;
use tokio::sync::Notify;

use super::encode::{Entries, TooLarge};
use super::lane::{Batch, Lane, Lanes, Sending};
use super::options::KinesisOutputOptions;
use super::queue::Queue;
use super::request;
use super::ticket::Ticket;
use crate::kinesis::OutputMetrics;
use crate::output::keeper::Keeper;
use crate::output::order::Admission;
use crate::output::record::Identities;
use crate::output::reply::{Answer, again};
use crate::output::too_large;

/// Bytes of entries that wait or are under way: when there are more, the view waits. A record that is larger alone is taken
/// when nothing else is there. Less, and requests under way do not fill up; more would not be faster.
const QUEUE_BYTES: usize = 8 << 20;
/// Bytes of entries that are encoded before they are given to the sender, which can begin meanwhile.
const CHUNK_BYTES: usize = 256 << 10;

/// What callers and the sender share.
pub(super) struct Emitter {
    pub(super) options: KinesisOutputOptions,
    pub(super) keeper: Box<dyn Keeper>,
    pub(super) metrics: OutputMetrics,
    /// Read for as long as a batch is encoded: once the sender has closed it, nothing comes in.
    pub(super) slot: RwLock<Slot>,
    pub(super) lanes: Lanes,
    queue: Mutex<Queue>,
    /// Wakes the sender.
    pub(super) news: Notify,
    /// Callers that wait for room in the queue.
    room: Mutex<Vec<Waker>>,
    starving: AtomicBool,
    pub(super) stopping: AtomicBool,
}

/// Whether records are taken.
pub(super) enum Slot {
    Open {
        /// Bytes of key and data that a record may have.
        max_record: usize,
    },
    Closed(Disposition, String),
}

impl Emitter {
    pub(super) fn new(options: KinesisOutputOptions, keeper: Box<dyn Keeper>, slot: Slot) -> Arc<Self> {
        Arc::new(Self {
            metrics: options.shared.metrics().output(&options.view),
            queue: Mutex::new(new_queue(&options)),
            options,
            keeper,
            slot: RwLock::new(slot),
            lanes: Lanes::default(),
            news: Notify::new(),
            room: Mutex::default(),
            starving: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        })
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all records, also those under way, whose end nobody will hear.
    pub(super) fn forget_records(&self) {
        *self.queue() = new_queue(&self.options);
    }

    /// Takes a batch and encodes as much of it as there is room for; `None` = there is nothing to wait for.
    pub(super) fn emit(&self, emission: Emission) -> Result<Option<Arc<Ticket>>, Failure> {
        let lane = self.lanes.of(&emission.batch.partition);
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        let max_record = match &*slot {
            Slot::Open { max_record } => *max_record,
            Slot::Closed(disposition, why) => {
                lane.refuse(&emission.batch);
                return Err(Failure { disposition: *disposition, message: why.clone(), source: None });
            }
        };
        if !self.keeper.holds(&lane.partition) {
            lane.refuse(&emission.batch);
            return Err(self.not_ours(&lane.partition));
        }
        let mut sending = lane.sending();
        let (ticket, skip) = match lane.admit(&emission.batch, &*self.keeper) {
            Admission::Done => return Ok(None),
            Admission::Refused(failure) => return Err(failure),
            Admission::Taken(ticket, skip) => (ticket, skip),
        };
        if emission.batch.is_empty() || skip.is_some_and(|skip| emission.batch.covers.through <= skip) {
            if ticket.close(0) {
                self.advance(&lane);
            }
            return Ok(Some(ticket));
        }
        let identities = Identities::new(&emission.batch, emission.epoch).escaped();
        let batch = Batch { emission, identities, skip, next_row: 0, unused: 0, ticket: Arc::clone(&ticket) };
        sending.waiting.push_back(batch);
        self.encode(&lane, &mut sending, max_record);
        Ok(Some(ticket))
    }

    /// Encodes what waits in a lane, in order, as far as there is room.
    fn encode(&self, lane: &Lane, sending: &mut Sending, max_record: usize) {
        lane.set_stuck(false);
        let Sending { waiting, encoder } = sending;
        while let Some(mut batch) = waiting.pop_front() {
            while batch.next_row < batch.emission.batch.len() {
                if self.queue().bytes() >= QUEUE_BYTES {
                    waiting.push_front(batch);
                    lane.set_stuck(true);
                    return;
                }
                let mut entries = Entries::default();
                let outcome = self.chunk(encoder, &mut batch, max_record, &mut entries);
                batch.ticket.count(entries.marks.len(), entries.size);
                if !entries.marks.is_empty() {
                    self.queue().add(entries, &batch.ticket);
                    self.news.notify_one();
                }
                if let Err(failure) = outcome {
                    tracing::warn!(
                        view = self.options.view,
                        error = %failure,
                        "failed to put a record aside that is too large"
                    );
                    // Everything behind it is emitted again, and the letter is written again.
                    waiting.clear();
                    let failed = lane.fail_held();
                    self.queue().purge();
                    failed.iter().for_each(|ticket| ticket.answer(Err(again(&failure))));
                    return;
                }
            }
            if batch.ticket.close(batch.unused) {
                self.advance(lane);
            }
        }
    }

    /// Encodes some of a batch's rows.
    fn chunk(
        &self,
        encoder: &mut super::encode::Encoder,
        batch: &mut Batch,
        max_record: usize,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        let rows = Arc::clone(&batch.emission.batch);
        let skip = batch.skip.filter(|skip| *skip >= rows.covers.first);
        while batch.next_row < rows.len() && entries.bytes.len() < CHUNK_BYTES {
            let row = batch.next_row;
            let is_known = skip.is_some_and(|skip| rows.positions.bytes_at(row) <= skip.as_bytes());
            if is_known {
                batch.unused += 1;
            } else if let Err(TooLarge(data)) = encoder.row(batch, row, max_record, entries) {
                let reason = format!(
                    "its record has more than the {max_record} bytes that stream `{}` takes; raise the stream's maximum \
                     record size",
                    self.options.stream
                );
                too_large::put_aside(&*self.options.dead_letters, &batch.emission, row, data, &reason)?;
                batch.unused += 1;
            }
            batch.next_row += 1;
        }
        Ok(())
    }

    /// A batch of this lane is complete: those that now have nothing before them are done.
    pub(super) fn advance(&self, lane: &Lane) {
        for done in lane.advance(&*self.keeper) {
            done.done(&self.metrics);
        }
    }

    /// Callers that wait for room try again, if there is some.
    pub(super) fn room(&self) {
        if self.starving.load(Ordering::SeqCst) && self.queue().bytes() <= QUEUE_BYTES / 2 {
            self.wake();
        }
    }

    /// Everybody who waits for room looks again.
    pub(super) fn wake(&self) {
        self.starving.store(false, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.room.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn not_ours(&self, partition: &Partition) -> Failure {
        Failure::retry(format!(
            "{}: partition `{partition}` is another host's, or this host cannot be sure that it is its own",
            self.options.doing()
        ))
    }

    /// Encodes what waits in a lane, if there is room by now.
    fn pump(&self, lane: &Lane) {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        if let Slot::Open { max_record } = &*slot {
            let mut sending = lane.sending();
            if self.keeper.holds(&lane.partition) {
                self.encode(lane, &mut sending, *max_record);
            }
        }
    }
}

fn new_queue(options: &KinesisOutputOptions) -> Queue {
    Queue::new(options.ordered, request::prefix(&options.stream))
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A batch until it is acknowledged. Polling it also encodes what its lane could not before.
pub(super) struct Emitting {
    pub(super) shared: Arc<Emitter>,
    pub(super) ticket: Arc<Ticket>,
}

impl Future for Emitting {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let (shared, lane) = (&self.shared, &self.ticket.lane);
        if lane.is_stuck() {
            shared.pump(lane);
            if lane.is_stuck() {
                shared.room.lock().unwrap_or_else(PoisonError::into_inner).push(cx.waker().clone());
                shared.starving.store(true, Ordering::SeqCst);
                // Room that came before this was noted.
                shared.pump(lane);
            }
        }
        self.ticket.poll(cx)
    }
}
