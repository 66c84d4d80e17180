//! The at-least-once stream as the flow sees it: encoding and handing over, on the caller's thread.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use futures_core::future::BoxFuture;
use model::error::{Disposition, Failure};
use model::output::Emission;
use model::position::{Partition, Position};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::delivery;
use super::lane::{Batch, Lane, Lanes, Sending};
use super::native::{IDENTITY, Record};
use super::options::KafkaOutputOptions;
use super::session::Session;
use super::ticket::Ticket;
use crate::kafka::{OutputMetrics, Watch};
use crate::output::keeper::Keeper;
use crate::output::order::Admission;
use crate::output::record::Identities;
use crate::output::reply::Answer;
use crate::output::too_large;

/// The at-least-once stream of one view.
pub(super) struct Stream {
    shared: Arc<Emitter>,
    deliverer: Option<JoinHandle<()>>,
}

/// What callers and the delivery thread share.
pub(super) struct Emitter {
    pub(super) options: KafkaOutputOptions,
    pub(super) watch: Watch,
    pub(super) keeper: Box<dyn Keeper>,
    pub(super) metrics: OutputMetrics,
    /// Read for as long as a batch is handed over: once the delivery thread has taken it out, nobody hands over.
    pub(super) session: RwLock<Slot>,
    pub(super) lanes: Lanes,
    /// Callers that wait for room in the producer's queue.
    room: Mutex<Vec<Waker>>,
    pub(super) starving: AtomicBool,
    pub(super) stopping: AtomicBool,
}

/// The producer, or why there is none.
pub(super) enum Slot {
    Open(Arc<Session>),
    Closed(Disposition, String),
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
            Err(failure) => Slot::Closed(failure.disposition, failure.to_string()),
        };
        let shared = Arc::new(Emitter {
            metrics: options.shared.metrics().output(&options.view),
            options,
            watch,
            keeper,
            session: RwLock::new(slot),
            lanes: Lanes::default(),
            room: Mutex::default(),
            starving: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let deliverer = std::thread::Builder::new()
            .name("kafka-output".to_owned())
            .spawn(move || delivery::run(&theirs))
            .map_err(|error| Failure::stop("start the thread of a Kafka output stream").caused_by(error))?;
        Ok(Self { shared, deliverer: Some(deliverer) })
    }

    pub(super) fn position(&self, partition: &Partition) -> Option<Position> {
        self.shared.keeper.position(partition)
    }

    pub(super) fn rewind(
        &self,
        partition: &Partition,
        to: Option<Position>,
        epoch: u32,
    ) -> Result<(), Failure> {
        self.shared.keeper.rewind(partition, to, epoch)?;
        self.shared.lanes.of(partition).forget();
        Ok(())
    }

    pub(super) fn emit(&self, emission: Emission) -> BoxFuture<'static, Answer> {
        match self.shared.emit(emission) {
            Ok(None) => Box::pin(std::future::ready(Ok(()))),
            Ok(Some(ticket)) => Box::pin(Emitting { shared: Arc::clone(&self.shared), ticket }),
            Err(failure) => Box::pin(std::future::ready(Err(failure))),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        let open = match &*self.shared.session.read().unwrap_or_else(PoisonError::into_inner) {
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

impl Emitter {
    /// Takes a batch and hands over as much of it as there is room for; `None` = there is nothing to wait for.
    fn emit(&self, emission: Emission) -> Result<Option<Arc<Ticket>>, Failure> {
        let lane = self.lanes.of(&emission.batch.partition);
        let slot = self.session.read().unwrap_or_else(PoisonError::into_inner);
        let session = match &*slot {
            Slot::Open(session) => session,
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
        if emission.batch.is_empty() || skip.is_some_and(|skip| ticket.covers.through <= skip) {
            if Ticket::close(&ticket, 0) {
                self.complete(&ticket);
            }
            return Ok(Some(ticket));
        }
        let identities = Identities::new(&emission.batch, emission.epoch);
        let batch = Batch {
            emission,
            identities,
            skip,
            next_row: 0,
            unused: 0,
            bytes: 0,
            ticket: Arc::clone(&ticket),
        };
        sending.waiting.push_back(batch);
        self.hand_over(session, &lane, &mut sending);
        Ok(Some(ticket))
    }

    /// Hands over what waits in a lane, in order, as far as there is room.
    fn hand_over(&self, session: &Session, lane: &Lane, sending: &mut Sending) {
        lane.set_stuck(false);
        while let Some(mut batch) = sending.waiting.pop_front() {
            if session.failed().is_some() {
                // The delivery thread is about to give all of it up.
                sending.waiting.push_front(batch);
                return;
            }
            let before = batch.next_row - batch.unused;
            let outcome = self.records(session, sending, &mut batch);
            session.handed_over(batch.next_row - batch.unused - before);
            match outcome {
                Ok(Handed::All) => {
                    if batch.close() {
                        self.complete(&batch.ticket);
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

    /// Hands over the records of a batch.
    fn records(&self, session: &Session, sending: &mut Sending, batch: &mut Batch) -> Result<Handed, Code> {
        let Emission { batch: rows, applied, options, epoch } = &batch.emission;
        let (encoder, buffer) = sending.encoder(&rows.view, options);
        let (from, skip) = (batch.next_row, batch.skip.filter(|skip| *skip >= rows.covers.first));
        for row in from..rows.len() {
            if skip.is_some_and(|skip| rows.positions.bytes_at(row) <= skip.as_bytes()) {
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
                    batch.bytes += value_end;
                }
                Err(Code::QueueFull) => return Ok(Handed::Stuck),
                Err(code) => return Err(code),
            }
        }
        Ok(Handed::All)
    }

    /// A record that the broker would not take becomes a dead letter, on disk or acknowledged before anything goes on.
    fn put_aside(&self, session: &Session, batch: &Batch, row: usize, value: &[u8]) -> Result<(), Code> {
        let reason = format!(
            "its record has more than the {} bytes that topic `{}` takes; raise the topic's `max.message.bytes`",
            session.max_record, self.options.topic
        );
        too_large::put_aside(&*self.options.dead_letters, &batch.emission, row, value, &reason).map_err(|failure| {
            tracing::warn!(view = self.options.view, error = %failure, "failed to put a record aside that is too large");
            // Everything is emitted again, and the letter is written again.
            Code::Fail
        })
    }

    /// A batch is complete: if none of its records failed, its lane moves on.
    pub(super) fn complete(&self, ticket: &Arc<Ticket>) {
        if ticket.has_failed() {
            return;
        }
        for done in ticket.lane.acknowledged(ticket, &*self.keeper) {
            done.done(&self.metrics);
        }
    }

    /// Callers that wait for room try again.
    pub(super) fn room(&self) {
        self.starving.store(false, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.room.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn not_ours(&self, partition: &Partition) -> Failure {
        Failure::retry(format!(
            "{}: partition `{partition}` is another host's, or the consumer group has not been heard of for too long",
            self.options.doing()
        ))
    }

    /// Hands over what waits in a lane, if there is room by now.
    fn pump(&self, lane: &Lane) {
        let slot = self.session.read().unwrap_or_else(PoisonError::into_inner);
        if let Slot::Open(session) = &*slot {
            let mut sending = lane.sending();
            if self.keeper.holds(&lane.partition) {
                self.hand_over(session, lane, &mut sending);
            }
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

/// A batch until it is acknowledged. Polling it also hands over what its lane could not before.
struct Emitting {
    shared: Arc<Emitter>,
    ticket: Arc<Ticket>,
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
