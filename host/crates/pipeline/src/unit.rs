//! The unit of work: one view on one source partition, from its cursor to its sinks.
//!
//! A turn takes orders, moves deliveries on, and makes at most one call into the guest. Between two turns the unit is
//! plain data. It moves its position only when a batch goes on to its sinks; whatever happens before that, the batch
//! comes again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Instant;

use model::batch::SharedEvents;
use model::error::{Disposition, Failure};
use model::online::GenerationEntry;
use model::position::Position;
use model::source::Positions;
use model::transform::{CallContext, Fault};
use model::view::Generation;
use prometheus_client::metrics::gauge::Gauge;

use crate::assemble::{Assembled, Bounds, Letter, assemble};
use crate::at_work::AtWork;
use crate::breaker::Breaker;
use crate::cursor::{Cursor, Next};
use crate::deliver::{Deliver, Job};
use crate::events::{OlderComponentMissing, ViewRecovered, ViewRetries, ViewSwapped};
use crate::generations::{self, Stretch};
use crate::intake::Intake;
use crate::orders::{Change, Orders, Stop};
use crate::pool::{Task, Turn, Work};
use crate::progress::Progress;
use crate::retry::{Pauses, Retry};
use crate::setup::ViewSetup;
use crate::shared::Shared;
use crate::start::Recover;
use crate::transform::{Attempt, Made, Patience, Slice, Step};
use crate::view::View;

/// What a unit is made with.
pub(crate) struct UnitParts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) view: Arc<View>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) setup: Arc<ViewSetup>,
    pub(crate) generation: Generation,
    pub(crate) orders: Arc<Orders>,
    pub(crate) progress: Arc<Progress>,
    /// The last position that any sink has.
    pub(crate) known: Option<Position>,
    /// How long reads may be older than what was emitted.
    pub(crate) recover: Option<Recover>,
    pub(crate) waker: Waker,
}

/// One view on one source partition.
pub(crate) struct Unit {
    shared: Arc<Shared>,
    view: Arc<View>,
    orders: Arc<Orders>,
    progress: Arc<Progress>,
    delay: Gauge<f64, AtomicU64>,
    /// For messages of the guest.
    partition: Arc<str>,
    cursor: Cursor,
    setup: Arc<ViewSetup>,
    /// The newest generation that has begun here.
    generation: u32,
    /// Who makes what from the position on; the last goes on for ever.
    stretches: VecDeque<Stretch>,
    at_work: Option<AtWork>,
    /// Through where events went on to the sinks.
    position: Option<Position>,
    known: Option<Position>,
    recover: Option<Recover>,
    /// A batch of which the position is not past the end.
    events: Option<SharedEvents>,
    attempt: Option<Attempt>,
    breaker: Breaker,
    deliver: Deliver,
    mode: Mode,
    change: Option<Change>,
    /// Trouble with reading, with room for instances, or with the ledger.
    retry: Retry,
    retry_what: &'static str,
    is_catching_up: bool,
    last_active: Instant,
    /// When the timer wakes the unit to see whether it can let go of its instance.
    rest_alarm: Option<Instant>,
    /// The last field: the view has stopped only when all of the above is gone, the cursor and the output foremost.
    _alive: Alive,
}

/// Tells the view that a unit has ended, when it is dropped.
struct Alive(Arc<View>, Arc<Progress>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.1.end();
        self.0.unit_finished(&self.1);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Running,
    /// Takes nothing; what has begun is finished, or with `rewind` made again.
    Paused {
        rewind: bool,
    },
    Draining,
}

impl Work for Unit {
    fn turn(&mut self, task: &Arc<Task>) -> Turn {
        let waker = Waker::from(Arc::clone(task));
        let mut cx = Context::from_waker(&waker);
        let now = Instant::now();
        if self.orders.pending.load(Ordering::Acquire) && self.obey() == Turn::Done {
            return self.finish();
        }
        self.poll_deliveries(&mut cx, now);
        let turn = match self.mode {
            Mode::Draining if self.deliver.is_done() => return self.finish(),
            Mode::Draining => return Turn::Wait,
            Mode::Paused { .. } if self.change.is_none() => return Turn::Wait,
            Mode::Paused { rewind: true } if !self.deliver.is_done() => return Turn::Wait,
            Mode::Paused { .. } | Mode::Running => self.advance(&mut cx, now),
        };
        match turn {
            // Orders go first: a call may have taken long, and the partition may be another host's by now.
            Ok(Turn::Again) if self.orders.pending.load(Ordering::Acquire) => Turn::Again,
            Ok(Turn::Again) => {
                self.poll_deliveries(&mut cx, now);
                Turn::Again
            }
            Ok(turn) => turn,
            Err(failure) if failure.disposition == Disposition::Retry => {
                self.try_again(self.retry_what, &failure, &mut cx, now);
                Turn::Wait
            }
            Err(failure) => {
                self.halt(&failure);
                Turn::Again
            }
        }
    }

    fn panicked(&mut self, message: &str) -> Turn {
        if let Some(setup) = self.view.setup() {
            // A change that was being made is lost: the view has to say that it is paused all the same.
            self.setup = setup;
        }
        self.halt(&Failure::stop(format!(
            "work on partition `{}`: a panic: {message}",
            self.progress.partition
        )));
        Turn::Again
    }
}

impl Unit {
    /// A unit that stands behind `progress.began`. Its cursor joins at once, so that readers know where to begin.
    pub(crate) fn new(parts: UnitParts) -> Self {
        let UnitParts { shared, view, intake, setup, generation, orders, progress, .. } = parts;
        let alive = Alive(Arc::clone(&view), Arc::clone(&progress));
        let partition = progress.partition.clone();
        let position = progress.began;
        let pauses = Pauses { first: shared.settings.retry_first, max: shared.settings.retry_max };
        let stretches = generations::stretches(&view.generations(), &partition, position).into();
        Self {
            cursor: Cursor::join(intake, partition.clone(), position, parts.waker),
            deliver: Deliver::new(Arc::clone(&shared), Arc::clone(&view), Arc::clone(&progress)),
            delay: view.metrics().delay(&partition),
            partition: partition.as_str().into(),
            shared,
            view,
            orders,
            progress,
            setup,
            generation: generation.number,
            stretches,
            at_work: None,
            position,
            known: parts.known,
            recover: parts.recover,
            events: None,
            attempt: None,
            breaker: Breaker::default(),
            mode: Mode::Running,
            change: None,
            retry: Retry::new(pauses),
            retry_what: "read",
            is_catching_up: false,
            last_active: Instant::now(),
            rest_alarm: None,
            _alive: alive,
        }
    }

    /// Takes orders. `Done` = end at once.
    fn obey(&mut self) -> Turn {
        let orders = self.orders.take();
        if let Some(change) = orders.change {
            self.change = Some(change);
        }
        if orders.pause && self.mode == Mode::Running {
            self.pause(false);
        }
        match orders.stop {
            Some(Stop::Now) => return Turn::Done,
            Some(Stop::Drain) => {
                self.stand_aside();
                self.mode = Mode::Draining;
            }
            None => {}
        }
        Turn::Again
    }

    fn finish(&mut self) -> Turn {
        self.recovered();
        self.show_catching_up(false);
        Turn::Done
    }

    /// Takes nothing more from the source, and lets go of what was not given to the sinks.
    fn stand_aside(&mut self) {
        self.events = None;
        self.attempt = None;
        self.at_work = None;
        self.cursor.stand_aside();
        self.show_catching_up(false);
    }

    fn pause(&mut self, rewind: bool) {
        self.stand_aside();
        if self.mode != Mode::Draining {
            self.mode = Mode::Paused { rewind };
        }
    }

    /// Only an operator can mend this: the view pauses, what was not acknowledged will be made again.
    fn halt(&mut self, failure: &Failure) {
        self.deliver.abandon();
        self.pause(true);
        let reason =
            format!("failed to {failure}; mend it and save the view: it goes on from the same event");
        self.view.pause(&self.setup, reason);
    }

    /// The transform cannot go on: the view pauses in front of this batch.
    fn trip(&mut self, reason: String) {
        self.pause(false);
        self.view.pause(&self.setup, reason);
    }

    fn try_again(&mut self, what: &'static str, failure: &Failure, cx: &mut Context<'_>, now: Instant) {
        let (again, first) = self.retry.failed(now);
        let (metrics, partition) = (self.view.metrics(), &self.progress.partition);
        self.retry_what = what;
        self.progress.set_trouble(what, failure.to_string());
        ViewRetries { metrics, partition, what, failure, first }.emit();
        self.shared.timer.wake_at(again, cx.waker().clone());
    }

    fn worked(&mut self, now: Instant) {
        if let Some((attempts, after)) = self.retry.worked(now) {
            self.progress.clear_trouble(self.retry_what);
            let (metrics, partition) = (self.view.metrics(), &self.progress.partition);
            ViewRecovered { metrics, partition, what: self.retry_what, attempts, after }.emit();
        }
    }

    /// Moves deliveries on as far as the sinks allow.
    fn poll_deliveries(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Err(failure) = self.deliver.poll(cx, now) {
            self.halt(&failure);
        }
        if let Some(Recover::Until(until)) = self.recover
            && Some(until) <= self.progress.marks().applied
        {
            self.recovered();
        }
    }

    /// Reads are as new as what was emitted.
    fn recovered(&mut self) {
        if self.recover.take().is_some() {
            self.view.count_recovering(false);
        }
    }

    /// The reader has come to the end of the source.
    fn note_end(&mut self, end: Position) {
        if self.recover == Some(Recover::UntilEnd) {
            self.recover = Some(Recover::Until(end));
        }
    }

    fn show_catching_up(&mut self, is_catching_up: bool) {
        if self.is_catching_up != is_catching_up {
            self.is_catching_up = is_catching_up;
            self.view.count_catching_up(is_catching_up);
        }
    }

    /// Goes on by one call at most.
    fn advance(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Turn, Failure> {
        if self.retry.pausing(now).is_some() {
            return Ok(Turn::Wait);
        }
        if let Some(change) = self.change.take() {
            self.retry_what = "ledger";
            match self.apply(&change, now) {
                Ok(()) => self.worked(now),
                Err(failure) if failure.disposition == Disposition::Retry => {
                    self.change = Some(change);
                    return Err(failure);
                }
                Err(failure) => {
                    // It is this change that cannot be made: the pause is for its setup.
                    self.setup = change.setup;
                    return Err(failure);
                }
            }
        }
        if !self.deliver.has_room() {
            return Ok(Turn::Wait);
        }
        if self.attempt.is_none() {
            self.retry_what = "read";
            match self.next_slice()? {
                NextSlice::Attempt => self.worked(now),
                NextSlice::Skipped => return Ok(Turn::Again),
                NextSlice::Wait => {
                    self.plan_rest(cx, now);
                    return Ok(Turn::Wait);
                }
                NextSlice::WaitUntil(again) => {
                    self.shared.timer.wake_at(again, cx.waker().clone());
                    return Ok(Turn::Wait);
                }
            }
        }
        self.last_active = now;
        Ok(self.step(cx, now))
    }

    /// Finds what to do next, and readies the transform for it.
    fn next_slice(&mut self) -> Result<NextSlice, Failure> {
        let events = match self.events.take() {
            Some(events) => events,
            None => {
                let next = self.cursor.next(self.position);
                self.show_catching_up(self.cursor.is_own());
                match next? {
                    Next::Events(events) => {
                        if events.raw.attributes.at_end {
                            self.note_end(events.raw.covers.through);
                        }
                        events
                    }
                    Next::Wait => return Ok(NextSlice::Wait),
                    Next::WaitUntil(again) => return Ok(NextSlice::WaitUntil(again)),
                }
            }
        };
        while let Some(Stretch { through: Some(through), .. }) = self.stretches.front() {
            if Some(*through) > self.position {
                break;
            }
            self.stretches.pop_front();
            self.at_work = None;
        }
        let through = self.stretches.front().and_then(|stretch| stretch.through);
        // A batch is behind what was emitted before, or is not: never both.
        let emitted = self.progress.emitted_before.filter(|emitted| Some(*emitted) > self.position);
        let through = match (through, emitted) {
            (Some(through), Some(emitted)) => Some(through.min(emitted)),
            (through, emitted) => through.or(emitted),
        };
        let Some(slice) = Slice::of(&events, self.position, through) else { return Ok(NextSlice::Skipped) };
        if slice.covers.through < events.raw.covers.through {
            self.events = Some(events);
        }
        let run = self.breaker.run();
        let partition = Arc::clone(&self.partition);
        let at_work = self.ready()?;
        let context = CallContext {
            view: Arc::clone(&at_work.view),
            generation: at_work.generation.number,
            partition,
            first_position: slice.covers.first.to_string(),
            attempt: 1,
        };
        self.attempt = Some(Attempt::new(slice, &at_work.input, context, run));
        Ok(NextSlice::Attempt)
    }

    /// The transform of the current stretch.
    fn ready(&mut self) -> Result<&mut AtWork, Failure> {
        if self.at_work.is_none() {
            let stretch = self.stretches.front().expect("a view with units has a generation without an end");
            let older = &stretch.generation;
            let mut made = None;
            if older.number != self.generation {
                made = AtWork::older(&self.setup, older, self.cursor.columns());
                if made.is_none() {
                    let (view, digest) = (&*self.view.name, older.digest.short());
                    let (partition, generation) = (&self.progress.partition, older.number);
                    OlderComponentMissing { view, partition, generation, digest }.emit();
                }
            }
            self.at_work = Some(match made {
                Some(older) => older,
                None => AtWork::newest(&self.setup, self.generation, self.cursor.columns())?,
            });
        }
        Ok(self.at_work.as_mut().expect("it was made above"))
    }

    /// Makes one call into the guest.
    fn step(&mut self, cx: &mut Context<'_>, now: Instant) -> Turn {
        let patience =
            Patience { failures: self.setup.failures_to_pause, time: self.shared.settings.bisect_patience };
        let attempt = self.attempt.as_mut().expect("the caller has made sure that there is one");
        let at_work = self.at_work.as_mut().expect("an attempt is made when its transform is ready");
        let rows = attempt.next_rows();
        let step = attempt.step(at_work.transform.as_mut(), patience);
        let metrics = self.view.metrics();
        if rows > 0 {
            metrics.call_seconds.observe(now.elapsed().as_secs_f64());
            metrics.batch_rows.observe(rows as f64);
        }
        match step {
            Step::More => Turn::Again,
            Step::NoRoom(fault) => {
                self.try_again("capacity", &Failure::retry(fault.message), cx, now);
                Turn::Wait
            }
            Step::GiveUp { fault, failures } => {
                let reason = self.give_up_reason(&fault, failures);
                self.trip(reason);
                Turn::Again
            }
            Step::Done => {
                self.worked(now);
                let attempt = self.attempt.take().expect("it was there a moment ago");
                let (slice, made) = attempt.finish();
                self.send_on(&slice, made);
                Turn::Again
            }
        }
    }

    /// A batch is transformed: it goes on to the sinks, unless with it too many events in a row have failed.
    fn send_on(&mut self, slice: &Slice, made: Made) {
        let at_work = self.at_work.as_ref().expect("an attempt ends with the transform that it began with");
        let bounds = Bounds { earliest: self.setup.earliest, max_future: self.setup.max_future };
        let (shape, generation) = (&self.setup.shape, &at_work.generation);
        let Assembled { batch, letters, failed } =
            assemble(shape, &at_work.output, bounds, generation, slice, made);
        let limit = self.setup.failures_to_pause;
        let rows = row_number(slice.raw.start)..row_number(slice.raw.end);
        if let Some(row) = self.breaker.count(rows, &failed, limit) {
            let letter = letters.iter().find(|letter| letter.raw_row == row);
            let reason = self.trip_reason(slice, row, letter);
            return self.trip(reason);
        }
        self.view.metrics().rows_in.inc_by(slice.raw.len() as u64);
        let last = slice.raw.clone().next_back();
        let recorded = last.map_or(slice.events.raw.ingest_time, |last| slice.events.raw.ingest_time(last));
        if last.is_some() {
            self.delay.set(self.shared.clock.now().0.saturating_sub(recorded) as f64 / 1e6);
        }
        self.position = Some(slice.covers.through);
        self.deliver.begin(Job {
            batch: Arc::new(batch),
            letters,
            events: Arc::clone(&slice.events),
            output: self.setup.output.clone(),
            parallel: self.setup.parallel_emit,
            recorded,
        });
    }

    fn trip_reason(&self, slice: &Slice, row: u32, letter: Option<&Letter>) -> String {
        let position = slice.events.raw.positions.at(row as usize);
        let (code, reason) = letter.map_or(("", ""), |letter| (letter.code, letter.reason.as_str()));
        let what = format!("{} events in a row failed, the last", self.setup.failures_to_pause);
        self.reason(&what, position, code, reason)
    }

    fn give_up_reason(&self, fault: &Fault, failures: Option<u32>) -> String {
        let position = self.attempt.as_ref().and_then(|attempt| {
            let row = attempt.slice.rows.len().checked_sub(1 + attempt.rows_left())?;
            Some(attempt.slice.events.raw.positions.at(attempt.slice.raw_row(row)))
        });
        let position = position.or(self.position).unwrap_or_else(generations::beginning);
        let what = match failures {
            Some(failures) => format!("{failures} events in a row failed, the last"),
            None => {
                format!(
                    "no event of a batch worked within {:?}, the last",
                    self.shared.settings.bisect_patience
                )
            }
        };
        self.reason(&what, position, fault.kind.code(), &fault.message)
    }

    fn reason(&self, what: &str, position: Position, code: &str, reason: &str) -> String {
        let partition = &self.progress.partition;
        format!(
            "{what} at position {position} of partition `{partition}`: {code}: {reason}; \
             fix the transform and save it: the view goes on from the same event"
        )
    }

    /// Goes on with another setup, behind what was transformed so far.
    fn apply(&mut self, change: &Change, now: Instant) -> Result<(), Failure> {
        let paused = match self.mode {
            Mode::Paused { rewind } => {
                if rewind {
                    self.rewind();
                }
                true
            }
            Mode::Running | Mode::Draining => false,
        };
        let number = change.generation.number;
        let after = if paused { self.position } else { self.position.max(self.known) };
        let is_new = number != self.generation;
        if is_new {
            let partition = self.progress.partition.clone();
            let after = Positions::from([(partition, generations::begins_after(after))]);
            let entry = GenerationEntry { generation: change.generation.clone(), after };
            self.shared.ledger.begin_generation(&self.view.name, &entry)?;
            self.view.add_generation(&entry);
        }
        self.generation = number;
        self.setup = Arc::clone(&change.setup);
        self.stretches =
            generations::stretches(&self.view.generations(), &self.progress.partition, self.position).into();
        if let Some(attempt) = self.attempt.take() {
            // A batch in which the old transform was looking for bad rows: the new one gets it whole.
            self.events = Some(attempt.slice.events);
        }
        self.at_work = None;
        self.breaker.reset();
        if paused {
            self.mode = Mode::Running;
            self.cursor.rejoin(self.position);
        }
        if is_new {
            let (metrics, partition) = (self.view.metrics(), &self.progress.partition);
            let paused_for = now.elapsed();
            ViewSwapped { metrics, partition, generation: number, after, paused_for }.emit();
        }
        Ok(())
    }

    /// Goes back to where all sinks have everything.
    fn rewind(&mut self) {
        self.deliver.renew();
        let marks = self.progress.marks();
        let has_output = self.setup.output.is_some();
        let position = if has_output { marks.applied.min(marks.emitted) } else { marks.applied };
        self.position = position.max(self.progress.began);
    }

    /// Has the timer wake the unit when it has been idle for long, so that it lets go of its instance.
    fn plan_rest(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Some(at_work) = self.at_work.as_mut() else { return };
        let rest = self.last_active + self.shared.settings.idle_rest;
        if rest <= now {
            at_work.transform.rest();
        } else if self.rest_alarm.is_none_or(|alarm| alarm <= now) {
            // One alarm at a time, however often the unit becomes idle.
            self.rest_alarm = Some(rest);
            self.shared.timer.wake_at(rest, cx.waker().clone());
        }
    }
}

enum NextSlice {
    /// There is an attempt.
    Attempt,
    /// What came is known already.
    Skipped,
    Wait,
    WaitUntil(Instant),
}

fn row_number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}
