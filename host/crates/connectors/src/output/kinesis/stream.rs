//! What callers and the sender share beside lanes: the queue; and the callers' side: encoding, on their threads.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::error::Failure;
use model::output::Emission;
use model::position::Partition;
use tokio::sync::Notify;

use super::encode::{Encoder, Entries, TooLarge};
use super::options::KinesisOutputOptions;
use super::queue::Queue;
use super::request;
use super::summary::Summary;
use crate::kinesis::OutputMetrics;
use crate::output::emitter::{Carrier, Emitter, Slot};
use crate::output::keeper::Keeper;
use crate::output::lane::{Batch, Lane, Sending};
use crate::output::record::Identities;
use crate::output::reply::again;
use crate::output::ticket::{Delivered, Ticket};
use crate::output::too_large;

/// Bytes of entries that wait or are under way: when there are more, the view waits. A record that is larger alone is taken
/// when nothing else is there. Less, and requests under way do not fill up; more would not be faster.
const QUEUE_BYTES: usize = 8 << 20;
/// Bytes of entries that are encoded before they are given to the sender, which can begin meanwhile.
const CHUNK_BYTES: usize = 256 << 10;

/// Encodes records into a queue.
pub(super) struct Queueing {
    pub(super) options: KinesisOutputOptions,
    pub(super) metrics: OutputMetrics,
    queue: Mutex<Queue>,
    /// Wakes the sender.
    pub(super) news: Notify,
}

/// Starts the callers' side; whether it is open, the first look at the stream has said.
pub(super) fn emitter(
    options: KinesisOutputOptions,
    keeper: Box<dyn Keeper>,
    slot: Slot<Summary>,
) -> Arc<Emitter<Queueing>> {
    let metrics = options.shared.metrics().output(&options.view);
    let delivered = Delivered {
        seconds: metrics.delivery_seconds.clone(),
        records: metrics.records.clone(),
        bytes: metrics.bytes.clone(),
    };
    let queue = Mutex::new(new_queue(&options));
    Emitter::new(Queueing { options, metrics, queue, news: Notify::new() }, keeper, delivered, slot)
}

impl Queueing {
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all records, also those under way, whose end nobody will hear.
    pub(super) fn forget_records(&self) {
        *self.queue() = new_queue(&self.options);
    }

    /// Whether there is so much room that those who wait for it are to look again.
    pub(super) fn has_room(&self) -> bool {
        self.queue().bytes() <= QUEUE_BYTES / 2
    }

    /// Encodes some of a batch's rows.
    fn chunk(
        &self,
        encoder: &mut Encoder<'_>,
        batch: &mut Batch,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        let Batch { emission, identities, skip, next_row, unused, .. } = batch;
        let (rows, max_record) = (&emission.batch, encoder.max_record);
        while *next_row < rows.len() && entries.bytes.len() < CHUNK_BYTES {
            let row = *next_row;
            if skip.is_some_and(|skip| rows.positions.bytes_at(row) <= skip.as_bytes()) {
                *unused += 1;
            } else if let Err(TooLarge(data)) = encoder.row(emission, identities, row, entries) {
                let reason = format!(
                    "its record has more than the {max_record} bytes that stream `{}` takes; raise the stream's maximum \
                     record size",
                    self.options.stream
                );
                too_large::put_aside(&*self.options.dead_letters, emission, row, data, &reason)?;
                *unused += 1;
            }
            *next_row += 1;
        }
        Ok(())
    }
}

impl Carrier for Queueing {
    type Open = Summary;

    fn view(&self) -> &str {
        &self.options.view
    }

    fn begin(&self, emission: &Emission, _ticket: &Arc<Ticket>) -> Identities {
        Identities::new(&emission.batch, emission.epoch).escaped()
    }

    fn hand_over(emitter: &Emitter<Self>, summary: &Summary, lane: &Lane, sending: &mut Sending) {
        let queueing = &emitter.carrier;
        lane.set_stuck(false);
        let Sending { waiting, encoder, buffer } = sending;
        while let Some(mut batch) = waiting.pop_front() {
            let record = encoder.of(&batch.emission.batch.view, &batch.emission.options);
            let mut encoder = Encoder { record, buffer, max_record: summary.max_record };
            while batch.next_row < batch.emission.batch.len() {
                if queueing.queue().bytes() >= QUEUE_BYTES {
                    waiting.push_front(batch);
                    lane.set_stuck(true);
                    return;
                }
                let mut entries = Entries::default();
                let outcome = queueing.chunk(&mut encoder, &mut batch, &mut entries);
                batch.ticket.count(entries.marks.len(), entries.size);
                if !entries.marks.is_empty() {
                    queueing.queue().add(entries, &batch.ticket);
                    queueing.news.notify_one();
                }
                if let Err(failure) = outcome {
                    tracing::warn!(
                        view = queueing.options.view,
                        error = %failure,
                        "failed to put a record aside that is too large"
                    );
                    // Everything behind it is emitted again, and the letter is written again.
                    waiting.clear();
                    let failed = lane.fail_held();
                    queueing.queue().purge();
                    failed.iter().for_each(|ticket| ticket.answer(Err(again(&failure))));
                    // Of what is not there any more the sender hears nothing, so it would wake nobody.
                    emitter.room.wake();
                    return;
                }
            }
            if batch.ticket.remaining.count_off(batch.unused + 1) {
                emitter.complete(&batch.ticket);
            }
        }
    }

    fn not_ours(&self, partition: &Partition) -> Failure {
        Failure::retry(format!(
            "{}: partition `{partition}` is another host's, or this host cannot be sure that it is its own",
            self.options.doing()
        ))
    }
}

fn new_queue(options: &KinesisOutputOptions) -> Queue {
    Queue::new(options.ordered, request::prefix(&options.stream))
}

impl fmt::Debug for Queueing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queueing").field("options", &self.options).finish_non_exhaustive()
    }
}
