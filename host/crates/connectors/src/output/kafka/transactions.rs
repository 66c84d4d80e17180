//! The exactly-once stream: callers encode and queue; one thread commits whatever waits, of all partitions, in one
//! transaction after the other.
//!
//! Nothing is known of a transaction that did not commit as it should: whatever the reason, the producer is given up, the
//! next one fences and ends what it left behind, what was committed is read again, and only then callers are told to
//! repeat.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use model::error::{Disposition, Failure};
use model::output::Emission;
use model::position::{Partition, Position};

use super::encoded::Encoded;
use super::options::KafkaOutputOptions;
use super::progress_topic::Mark;
use super::transaction::{self, Committer};
use super::truth::{Transacted, Truth};
use super::{delivered, too_large};
use crate::kafka::{OutputMetrics, Watch};
use crate::output::emitter::{FENCE_EVERY, REOPEN_AFTER};
use crate::output::keeper::Keeper;
use crate::output::lane::Lanes;
use crate::output::order::Admission;
use crate::output::reply::{Answer, again};
use crate::output::ticket::{Delivered, Ticket};

/// Bytes of records after which a transaction takes no further batch: what a failure makes the callers repeat.
const MAX_BYTES: usize = 16 << 20;
/// How long progress without records may wait for some to be committed with.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// How long a rewind waits for its transaction.
const REWIND_LIMIT: Duration = Duration::from_secs(60);

/// The exactly-once stream of one view.
pub(super) struct Transactions {
    pub(super) shared: Arc<Queue>,
    committer: Option<JoinHandle<()>>,
}

/// What callers and the committing thread share.
pub(super) struct Queue {
    pub(super) options: KafkaOutputOptions,
    pub(super) watch: Watch,
    pub(super) kept: Transacted,
    pub(super) metrics: OutputMetrics,
    delivered: Delivered,
    pub(super) lanes: Lanes,
    state: Mutex<State>,
    /// Something waits, or the stream is being dropped.
    wake: Condvar,
    stopping: AtomicBool,
}

struct State {
    /// Why there is no producer.
    closed: Option<Failure>,
    /// Bytes of key, value and identity that the broker takes at most.
    max_record: usize,
    waiting: Vec<Waiting>,
    rewinds: Vec<Rewind>,
}

/// A batch that waits for its transaction.
pub(super) struct Waiting {
    pub(super) encoded: Encoded,
    pub(super) partition: Partition,
    pub(super) epoch: u32,
    ticket: Arc<Ticket>,
}

/// A partition that is to be set back.
struct Rewind {
    partition: Partition,
    mark: Mark,
    answer: std::sync::mpsc::SyncSender<Answer>,
}

impl Transactions {
    /// Reads what was committed, and starts. Blocks.
    pub(super) fn start(options: KafkaOutputOptions, watch: Watch) -> Result<Self, Failure> {
        let kept = Transacted::new(&options, &watch)?;
        let state = State { closed: None, max_record: 0, waiting: Vec::new(), rewinds: Vec::new() };
        let metrics = options.shared.metrics().output(&options.view);
        let shared = Arc::new(Queue {
            delivered: delivered(&metrics),
            metrics,
            options,
            watch,
            kept,
            lanes: Lanes::default(),
            state: Mutex::new(state),
            wake: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let closed = match open(&shared, &[]) {
            Ok(committer) => {
                shared.lock().max_record = committer.max_record();
                Some(committer)
            }
            Err(failure) if failure.disposition == Disposition::Stop => return Err(failure),
            Err(failure) => {
                // Positions are known all the same, or the stream cannot be opened.
                shared.kept.refresh(&[], Duration::ZERO)?;
                shared.lock().closed = Some(failure);
                None
            }
        };
        let theirs = Arc::clone(&shared);
        let committer = std::thread::Builder::new()
            .name("kafka-exactly".to_owned())
            .spawn(move || run(&theirs, closed))
            .map_err(|error| Failure::stop("start the thread of a Kafka output stream").caused_by(error))?;
        Ok(Self { shared, committer: Some(committer) })
    }

    pub(super) fn position(&self, partition: &Partition) -> Option<Position> {
        let kept = &self.shared.kept;
        if !kept.is_current(partition) {
            // Rows that another host has committed are skipped whatever is answered here: nothing goes out before the
            // topic was read.
            if let Err(failure) = kept.refresh(&[], Duration::ZERO) {
                tracing::warn!(view = self.shared.options.view, error = %failure, "failed to read progress");
            }
        }
        kept.position(partition)
    }

    pub(super) fn rewind(
        &self,
        partition: &Partition,
        to: Option<Position>,
        epoch: u32,
    ) -> Result<(), Failure> {
        let lane = self.shared.lanes.of(partition);
        lane.check_idle(&self.shared.options.view)?;
        self.shared.kept.forget_idle(partition);
        if let Truth::Group { .. } = self.shared.kept.truth {
            self.shared.kept.rewind(partition, to, epoch)?;
        } else {
            let (answer, answered) = std::sync::mpsc::sync_channel(1);
            let mark = Mark { through: to, epoch };
            self.shared.lock().rewinds.push(Rewind { partition: partition.clone(), mark, answer });
            self.shared.wake.notify_one();
            answered.recv_timeout(REWIND_LIMIT).unwrap_or_else(|_| {
                let view = &self.shared.options.view;
                Err(Failure::retry(format!("rewind view `{view}`: the transaction takes too long")))
            })?;
        }
        lane.forget();
        Ok(())
    }

    pub(super) fn emit(&self, emission: &Emission) -> BoxFuture<'static, Answer> {
        match self.shared.emit(emission) {
            Ok(None) => Box::pin(std::future::ready(Ok(()))),
            Ok(Some(ticket)) => Box::pin(std::future::poll_fn(move |cx| ticket.poll(cx))),
            Err(failure) => Box::pin(std::future::ready(Err(failure))),
        }
    }
}

impl Drop for Transactions {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        let open = self.shared.lock().closed.is_none();
        self.shared.wake.notify_one();
        // Without a producer nothing is under way, and the thread may be waiting for a broker: it ends by itself.
        if let Some(committer) = self.committer.take().filter(|_| open) {
            // One that panicked has nobody left to tell.
            let _ = committer.join();
        }
    }
}

impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactions").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Queue {
    fn emit(&self, emission: &Emission) -> Result<Option<Arc<Ticket>>, Failure> {
        let batch = &emission.batch;
        let lane = self.lanes.of(&batch.partition);
        let refused = |failure: Failure| {
            lane.refuse(batch);
            Err(failure)
        };
        if !self.kept.holds(&batch.partition) {
            return refused(self.options.not_ours(&batch.partition));
        }
        let mut sending = lane.sending();
        let max_record = {
            let state = self.lock();
            if let Some(failure) = &state.closed {
                return refused(again(failure));
            }
            state.max_record
        };
        if !self.kept.is_current(&batch.partition) {
            return refused(Failure::retry(format!(
                "{}: progress is still being read",
                self.options.doing()
            )));
        }
        let (ticket, skip) = match lane.admit(batch, &self.kept) {
            Admission::Done => {
                self.wake.notify_one();
                return Ok(None);
            }
            Admission::Refused(failure) => return Err(failure),
            Admission::Taken(ticket, skip) => (ticket, skip),
        };
        let put_aside = |row: usize, value: &[u8]| too_large(&self.options, max_record, emission, row, value);
        let encoded = match Encoded::new(emission, skip, &mut sending, max_record, put_aside) {
            Ok(encoded) => encoded,
            Err(failure) => {
                lane.withdraw(skip);
                return Err(failure);
            }
        };
        let partition = batch.partition.clone();
        let waiting = Waiting { encoded, partition, epoch: emission.epoch, ticket: Arc::clone(&ticket) };
        let mut state = self.lock();
        // The producer may have gone while the batch was encoded: whoever closes waits for this lane.
        if let Some(failure) = state.closed.as_ref().map(again) {
            drop(state);
            lane.withdraw(skip);
            return Err(failure);
        }
        state.waiting.push(waiting);
        drop(state);
        self.wake.notify_one();
        Ok(Some(ticket))
    }

    /// Waits for something to commit; `None` once the stream is dropped and nothing is left.
    fn next(&self) -> Option<Next> {
        let mut idle_since: Option<Instant> = None;
        let mut state = self.lock();
        loop {
            if !state.rewinds.is_empty() || !state.waiting.is_empty() {
                return Some(Next { waiting: state.take(), rewinds: std::mem::take(&mut state.rewinds) });
            }
            let stopping = self.stopping.load(Ordering::Acquire);
            let idle = self.kept.has_idle();
            if idle {
                let since = *idle_since.get_or_insert_with(Instant::now);
                if stopping || since.elapsed() >= IDLE_WAIT {
                    return Some(Next::default());
                }
            } else if stopping {
                return None;
            }
            let (back, waited) =
                self.wake.wait_timeout(state, FENCE_EVERY).unwrap_or_else(PoisonError::into_inner);
            state = back;
            if waited.timed_out() {
                self.lanes
                    .all()
                    .iter()
                    .filter(|lane| !self.kept.holds(&lane.partition))
                    .for_each(|lane| lane.forget());
                if self.kept.is_behind() {
                    return Some(Next::default());
                }
            }
        }
    }

    /// Callers hear of this until there is a producer again, and all that is under way has failed. It is returned, and has
    /// not been told.
    fn close(&self, failure: &Failure, taken: Next) -> Vec<Arc<Ticket>> {
        let mut state = self.lock();
        state.closed = Some(again(failure));
        state.waiting.clear();
        let rewinds = std::mem::take(&mut state.rewinds);
        drop(state);
        for rewind in taken.rewinds.into_iter().chain(rewinds) {
            // Whoever asked may have gone.
            let _ = rewind.answer.send(Err(again(failure)));
        }
        self.lanes.all().iter().flat_map(|lane| lane.fail()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the committing thread does next.
#[derive(Default)]
struct Next {
    waiting: Vec<Waiting>,
    rewinds: Vec<Rewind>,
}

impl State {
    /// The batches of one transaction, in order.
    fn take(&mut self) -> Vec<Waiting> {
        let mut bytes = 0;
        let fits = self.waiting.iter().take_while(|waiting| {
            let fits = bytes < MAX_BYTES;
            bytes += waiting.encoded.size();
            fits
        });
        let count = fits.count();
        self.waiting.drain(..count).collect()
    }
}

/// Until the stream is dropped.
fn run(queue: &Arc<Queue>, mut committer: Option<Committer>) {
    // Partitions of which is not known what was committed.
    let mut doubtful: Vec<Partition> = Vec::new();
    loop {
        let Some(current) = &committer else {
            if queue.stopping.load(Ordering::Acquire) {
                return;
            }
            committer = reopen(queue, &doubtful);
            continue;
        };
        doubtful.clear();
        let Some(next) = queue.next() else { return };
        let idle = queue.kept.take_idle();
        let marks = marks(queue, &next, &idle);
        match transact(queue, current, &next, &marks) {
            Ok(()) => committed(queue, next, &marks),
            Err(failure) => {
                queue.metrics.aborted.inc();
                drop(committer.take());
                let failed = queue.close(&failure, next);
                queue.kept.put_back(idle);
                doubtful = marks.into_iter().map(|(partition, _)| partition).collect();
                committer = recover(queue, &doubtful, &failure, failed);
            }
        }
    }
}

fn transact(
    queue: &Queue,
    committer: &Committer,
    next: &Next,
    marks: &[(Partition, Mark)],
) -> Result<(), Failure> {
    if queue.kept.is_behind() {
        queue.kept.refresh(&[], Duration::ZERO)?;
    }
    if marks.is_empty() { Ok(()) } else { committer.commit(queue, &next.waiting, marks) }
}

/// How far each partition is with this transaction.
fn marks(queue: &Queue, next: &Next, idle: &BTreeMap<Partition, Position>) -> Vec<(Partition, Mark)> {
    let mut marks: BTreeMap<Partition, Mark> = BTreeMap::new();
    for (partition, through) in idle {
        marks.insert(partition.clone(), Mark { through: Some(*through), epoch: queue.kept.epoch(partition) });
    }
    for waiting in &next.waiting {
        let through = Some(waiting.ticket.covers.through);
        let mark = marks.entry(waiting.partition.clone()).or_insert(Mark { through, epoch: waiting.epoch });
        *mark = Mark { through: mark.through.max(through), epoch: waiting.epoch };
    }
    for rewind in &next.rewinds {
        marks.insert(rewind.partition.clone(), rewind.mark);
    }
    marks.into_iter().collect()
}

/// Everybody whose batch was committed is told.
fn committed(queue: &Queue, next: Next, marks: &[(Partition, Mark)]) {
    queue.kept.committed(marks);
    if !marks.is_empty() {
        queue.metrics.transactions.inc();
    }
    for waiting in next.waiting {
        waiting.ticket.count(waiting.encoded.len(), waiting.encoded.size());
        for done in waiting.ticket.lane.acknowledged(&waiting.ticket, &queue.kept) {
            done.done(&queue.delivered);
        }
    }
    for rewind in next.rewinds {
        // Whoever asked may have gone.
        let _ = rewind.answer.send(Ok(()));
    }
}

/// Makes a producer, which ends what the last one left behind, and reads what was committed. Until then callers are
/// refused. Where that may take long those who wait are told before, so that a partition can be given up in time.
fn recover(
    queue: &Arc<Queue>,
    partitions: &[Partition],
    failure: &Failure,
    failed: Vec<Arc<Ticket>>,
) -> Option<Committer> {
    let tell = |failed: Vec<Arc<Ticket>>| failed.iter().for_each(|ticket| ticket.answer(Err(again(failure))));
    let lost = queue.stopping.load(Ordering::Acquire)
        || partitions.iter().any(|partition| !queue.kept.holds(partition));
    if failure.disposition == Disposition::Stop || lost || queue.watch.trouble().is_some() {
        tell(failed);
        // The thread tries again by itself.
        return None;
    }
    let committer = reopen(queue, partitions);
    tell(failed);
    committer
}

/// Makes a producer, which shuts earlier ones out, and then reads what was committed: what one of them was about to
/// commit counts by now, or never will.
fn open(queue: &Queue, partitions: &[Partition]) -> Result<Committer, Failure> {
    let committer = Committer::open(queue)?;
    queue.kept.refresh(partitions, transaction::LIMIT)?;
    Ok(committer)
}

/// Tries once, and pauses if that fails.
fn reopen(queue: &Arc<Queue>, partitions: &[Partition]) -> Option<Committer> {
    match open(queue, partitions) {
        Ok(committer) => {
            let mut state = queue.lock();
            state.max_record = committer.max_record();
            state.closed = None;
            Some(committer)
        }
        Err(failure) => {
            queue.lock().closed = Some(failure);
            pause(queue);
            None
        }
    }
}

fn pause(queue: &Queue) {
    let state = queue.lock();
    let stopping = |_: &mut State| !queue.stopping.load(Ordering::Acquire);
    drop(queue.wake.wait_timeout_while(state, REOPEN_AFTER, stopping));
}
