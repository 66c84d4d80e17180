//! The at-least-once stream as the flow sees it: encoding and handing over, on the caller's thread.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use futures_core::future::BoxFuture;
use model::error::Failure;
use model::output::Emission;
use model::position::{Partition, Position};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::native::{IDENTITY, Record};
use super::options::KafkaOutputOptions;
use super::session::Session;
use super::{delivered, delivery, held, too_large};
use crate::kafka::{OutputMetrics, Watch};
use crate::output::emitter::{Carrier, Emitter, Slot};
use crate::output::keeper::Keeper;
use crate::output::lane::{Batch, Lane, Sending};
use crate::output::record::Identities;
use crate::output::reply::Answer;
use crate::output::ticket::Ticket;

/// The at-least-once stream of one view.
pub(super) struct Stream {
    emitter: Arc<Emitter<Producing>>,
    deliverer: Option<JoinHandle<()>>,
}

/// Hands records over to a producer.
pub(super) struct Producing {
    pub(super) options: KafkaOutputOptions,
    pub(super) watch: Watch,
    pub(super) metrics: OutputMetrics,
}

/// What handing over came to.
enum Handed {
    /// All of it is with the producer.
    All,
    /// The producer has no room for more.
    Stuck,
}

impl Stream {
    /// Starts with this session, or opens one as soon as the cluster answers.
    pub(super) fn start(
        options: KafkaOutputOptions,
        watch: Watch,
        keeper: Box<dyn Keeper>,
        session: Result<Session, Failure>,
    ) -> Result<Self, Failure> {
        let slot = match session {
            Ok(session) => Slot::Open(Arc::new(session)),
            Err(failure) => Slot::closed(&failure),
        };
        let metrics = options.shared.metrics().output(&options.view);
        let delivered = delivered(&metrics);
        let emitter = Emitter::new(Producing { options, watch, metrics }, keeper, delivered, slot);
        let theirs = Arc::clone(&emitter);
        let deliverer = std::thread::Builder::new()
            .name("kafka-output".to_owned())
            .spawn(move || delivery::run(&theirs))
            .map_err(|error| Failure::stop("start the thread of a Kafka output stream").caused_by(error))?;
        Ok(Self { emitter, deliverer: Some(deliverer) })
    }

    pub(super) fn position(&self, partition: &Partition) -> Option<Position> {
        self.emitter.keeper.position(partition)
    }

    pub(super) fn rewind(&self, partition: &Partition, to: Option<Position>, epoch: u32) -> Answer {
        self.emitter.rewind(partition, to, epoch)
    }

    pub(super) fn emit(&self, emission: Emission) -> BoxFuture<'static, Answer> {
        self.emitter.emit(emission)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.emitter.stopping.store(true, Ordering::Release);
        let open = match &*self.emitter.slot() {
            Slot::Open(session) => {
                session.producer.wake();
                true
            }
            Slot::Closed(..) => false,
        };
        if let Some(deliverer) = self.deliverer.take() {
            deliverer.thread().unpark();
            // Without a producer nothing is under way, and the thread may be waiting for a broker: it ends by itself.
            if open {
                // One that panicked has nobody left to tell.
                let _ = deliverer.join();
            }
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("emitter", &self.emitter).finish_non_exhaustive()
    }
}

impl Carrier for Producing {
    type Open = Arc<Session>;

    fn view(&self) -> &str {
        &self.options.view
    }

    fn begin(&self, emission: &Emission, ticket: &Arc<Ticket>) -> Identities {
        held::hold(ticket);
        Identities::new(&emission.batch, emission.epoch)
    }

    fn hand_over(emitter: &Emitter<Self>, session: &Arc<Session>, lane: &Lane, sending: &mut Sending) {
        lane.set_stuck(false);
        while let Some(mut batch) = sending.waiting.pop_front() {
            if session.failed().is_some() {
                // The delivery thread is about to give all of it up.
                sending.waiting.push_front(batch);
                return;
            }
            match emitter.carrier.records(session, sending, &mut batch) {
                Ok(Handed::All) => {
                    if held::close(&batch.ticket, batch.unused) {
                        emitter.complete(&batch.ticket);
                    }
                }
                Ok(Handed::Stuck) => {
                    sending.waiting.push_front(batch);
                    lane.set_stuck(true);
                    return;
                }
                Err(code) => {
                    sending.waiting.push_front(batch);
                    session.fail(code);
                    return;
                }
            }
        }
    }

    fn not_ours(&self, partition: &Partition) -> Failure {
        self.options.not_ours(partition)
    }
}

impl Producing {
    /// Hands over the records of a batch, and counts them.
    fn records(&self, session: &Session, sending: &mut Sending, batch: &mut Batch) -> Result<Handed, Code> {
        let before = batch.next_row - batch.unused;
        let mut bytes = 0;
        let outcome = self.rows(session, sending, batch, &mut bytes);
        let records = batch.next_row - batch.unused - before;
        session.handed_over(records);
        batch.ticket.count(records, bytes);
        outcome
    }

    fn rows(
        &self,
        session: &Session,
        sending: &mut Sending,
        batch: &mut Batch,
        bytes: &mut usize,
    ) -> Result<Handed, Code> {
        let Emission { batch: rows, applied, options, epoch } = &batch.emission;
        let Sending { encoder, buffer, .. } = sending;
        let encoder = encoder.of(&rows.view, options);
        for row in batch.next_row..rows.len() {
            if batch.skip.is_some_and(|skip| rows.positions.bytes_at(row) <= skip.as_bytes()) {
                batch.next_row += 1;
                batch.unused += 1;
                continue;
            }
            let applied = applied.late.is_empty() || applied.is_applied(row);
            buffer.clear();
            encoder.key(rows, row, buffer);
            let key_end = buffer.len();
            encoder.encode(rows, row, applied, *epoch, buffer);
            let value_end = buffer.len();
            batch.identities.write(rows, row, applied, buffer);
            if buffer.len() > session.max_record {
                self.put_aside(session, batch, row, &buffer[key_end..value_end])?;
                batch.next_row += 1;
                batch.unused += 1;
                continue;
            }
            let record = Record {
                key: &buffer[..key_end],
                value: &buffer[key_end..value_end],
                header: (IDENTITY, &buffer[value_end..]),
            };
            match session.producer.produce(&record, &batch.ticket) {
                Ok(()) => {
                    batch.next_row += 1;
                    *bytes += value_end;
                }
                Err(Code::QueueFull) => return Ok(Handed::Stuck),
                Err(code) => return Err(code),
            }
        }
        Ok(Handed::All)
    }

    /// A record that the broker would not take becomes a dead letter, on disk or acknowledged before anything goes on.
    fn put_aside(&self, session: &Session, batch: &Batch, row: usize, value: &[u8]) -> Result<(), Code> {
        too_large(&self.options, session.max_record, &batch.emission, row, value).map_err(|failure| {
            tracing::warn!(view = self.options.view, error = %failure, "failed to put a record aside that is too large");
            // Everything is emitted again, and the letter is written again.
            Code::Fail
        })
    }
}

impl fmt::Debug for Producing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producing").field("options", &self.options).finish_non_exhaustive()
    }
}
