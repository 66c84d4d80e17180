//! From an assembled batch to its sinks, in one order: dead letters synced, rows visible online, records emitted.
//!
//! One batch is written at a time, one more may wait for that, so that its successor is transformed while a store
//! elsewhere works; several may wait for their emission, and the next is written meanwhile. Emission
//! follows the position alone: what the online store made of a row travels along and decides nothing. After a failed
//! emission all that follow are given up as well, and the same batches are handed over again in the same order; the
//! output stream skips what it has. Nothing blocks here except the dead letters, which are rare.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use model::batch::{Applied, FeatureBatch, SharedEvents};
use model::dead_letter::DeadLetter;
use model::error::{Disposition, Failure};
use model::output::{Emission, OutputOptions, OutputStream};

use crate::assemble::Letter;
use crate::events::{ViewMetrics, ViewRecovered, ViewRetries};
use crate::progress::Progress;
use crate::retry::{Pauses, Retry};
use crate::shared::Shared;
use crate::view::View;

/// Where records go, and how they look.
pub(crate) type Output = (Arc<dyn OutputStream>, Arc<OutputOptions>);

/// A batch on its way to the sinks.
pub(crate) struct Job {
    pub(crate) batch: Arc<FeatureBatch>,
    pub(crate) letters: Vec<Letter>,
    /// What letters quote.
    pub(crate) events: SharedEvents,
    pub(crate) output: Option<Output>,
    /// Whether records may go out before the rows are visible.
    pub(crate) parallel: bool,
    /// When the source recorded the last of its events, microseconds since the epoch.
    pub(crate) recorded: i64,
}

/// The way of one unit's batches to their sinks.
pub(crate) struct Deliver {
    shared: Arc<Shared>,
    view: Arc<View>,
    progress: Arc<Progress>,
    writing: Option<Writing>,
    /// Is written next.
    next: Option<Job>,
    emitting: VecDeque<Emitting>,
    /// Trouble with dead letters or the online store.
    store: Retry,
    /// With which of the two.
    store_trouble: &'static str,
    /// Trouble with the output stream.
    output: Retry,
    /// The emission that failed; those that were handed over behind it are waited for, whatever they say.
    broken: Option<Failure>,
    /// Nothing new is begun; what failed is not tried again.
    abandoned: bool,
}

struct Writing {
    job: Job,
    step: Step,
}

enum Step {
    Letters,
    Rows,
    Waiting(BoxFuture<'static, Result<Applied, Failure>>),
}

struct Emitting {
    output: Output,
    batch: Arc<FeatureBatch>,
    applied: Applied,
    /// When it was there to be emitted.
    since: Instant,
    /// `None` = not handed over, or failed.
    future: Option<BoxFuture<'static, Result<(), Failure>>>,
}

impl Deliver {
    pub(crate) fn new(shared: Arc<Shared>, view: Arc<View>, progress: Arc<Progress>) -> Self {
        let pauses = Pauses { first: shared.settings.retry_first, max: shared.settings.retry_max };
        Self {
            shared,
            view,
            progress,
            writing: None,
            next: None,
            emitting: VecDeque::new(),
            store: Retry::new(pauses),
            store_trouble: "online",
            output: Retry::new(pauses),
            broken: None,
            abandoned: false,
        }
    }

    /// Whether another batch may begin.
    pub(crate) fn has_room(&self) -> bool {
        self.next.is_none() && self.emitting.len() < self.shared.settings.in_flight.max(1)
    }

    /// Whether everything that was begun is done.
    pub(crate) fn is_done(&self) -> bool {
        self.writing.is_none() && self.next.is_none() && self.emitting.is_empty()
    }

    /// Begins a batch; [`Deliver::poll`] takes it on.
    pub(crate) fn begin(&mut self, job: Job) {
        debug_assert!(self.has_room(), "batches begin one after the other, and not too many");
        if self.writing.is_none() {
            self.writing = Some(Writing { job, step: Step::Letters });
        } else {
            self.next = Some(job);
        }
    }

    /// Gives up what has not been emitted: it will be made again from the marks on. What the output stream holds is
    /// still waited for, so that nothing of it can come behind what is made again.
    pub(crate) fn abandon(&mut self) {
        self.writing = None;
        self.next = None;
        self.abandoned = true;
        self.sweep();
    }

    /// Ends [`Deliver::abandon`].
    pub(crate) fn renew(&mut self) {
        debug_assert!(self.is_done(), "what was given up has been waited for");
        self.abandoned = false;
        self.broken = None;
    }

    /// Goes as far as the sinks allow. The failure is one that only an operator can mend.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Failure> {
        loop {
            let emitted = self.poll_emitting(cx, now)?;
            let written = self.poll_writing(cx, now)?;
            if !emitted && !written {
                return Ok(());
            }
            self.progress.handed_over(self.emitting.front().map(|front| front.since));
        }
    }

    /// Returns whether a write came to its end, or an emission may begin.
    fn poll_writing(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Failure> {
        let Some(mut writing) = self.writing.take() else { return Ok(false) };
        let emitting = self.emitting.len();
        let outcome =
            if self.store.pausing(now).is_some() { Poll::Pending } else { self.write(&mut writing, cx, now) };
        match outcome {
            Poll::Pending => {
                self.writing = Some(writing);
                Ok(self.emitting.len() > emitting)
            }
            Poll::Ready(Ok(applied)) => {
                if let Some((attempts, after)) = self.store.worked(now) {
                    self.recovered(self.store_trouble, attempts, after);
                }
                self.written(&writing.job, applied, now);
                self.writing = self.next.take().map(|job| Writing { job, step: Step::Letters });
                Ok(true)
            }
            Poll::Ready(Err(failure)) if failure.disposition == Disposition::Retry => {
                let what = if matches!(writing.step, Step::Letters) { "dead_letter" } else { "online" };
                if matches!(writing.step, Step::Waiting(_)) {
                    writing.step = Step::Rows;
                }
                self.writing = Some(writing);
                self.store_trouble = what;
                let (again, first) = self.store.failed(now);
                self.retried(what, &failure, first);
                self.shared.timer.wake_at(again, cx.waker().clone());
                Ok(self.emitting.len() > emitting)
            }
            Poll::Ready(Err(failure)) => Err(failure),
        }
    }

    fn write(
        &mut self,
        writing: &mut Writing,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<Result<Applied, Failure>> {
        loop {
            let job = &writing.job;
            match &mut writing.step {
                Step::Letters => {
                    write_letters(&self.shared, self.view.metrics(), job)?;
                    if job.parallel {
                        self.emit(&writing.job, Applied::default(), now);
                    }
                    writing.step = Step::Rows;
                }
                Step::Rows if job.batch.view.online => {
                    writing.step = Step::Waiting(self.shared.online.write(Arc::clone(&job.batch)));
                }
                Step::Rows => {
                    let (batch, ledger) = (&job.batch, &self.shared.ledger);
                    ledger.advance(&batch.view.name, &batch.partition, &batch.covers.through);
                    return Poll::Ready(Ok(Applied::default()));
                }
                Step::Waiting(write) => return write.as_mut().poll(cx),
            }
        }
    }

    /// Rows are visible: say so, then emit.
    fn written(&mut self, job: &Job, applied: Applied, now: Instant) {
        self.view.metrics().batches.inc();
        self.view.metrics().rows_out.inc_by(job.batch.len() as u64);
        self.progress.applied(job.batch.covers.through, job.recorded);
        self.view.waiters.moved(Some(&job.batch.partition));
        if !job.parallel {
            self.emit(job, applied, now);
        }
    }

    fn emit(&mut self, job: &Job, applied: Applied, now: Instant) {
        let Some(output) = &job.output else { return };
        // What another host has emitted is in the stream, whether or not this stream knows of it.
        if self.progress.emitted_before < Some(job.batch.covers.through) {
            let (output, batch) = (output.clone(), Arc::clone(&job.batch));
            self.emitting.push_back(Emitting { output, batch, applied, since: now, future: None });
        }
    }

    /// Returns whether a batch was handed over or came to its end.
    fn poll_emitting(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Failure> {
        let mut moved = false;
        if self.broken.is_none() && !self.abandoned && self.output.pausing(now).is_none() {
            moved |= self.hand_over(cx);
        }
        while self.broken.is_none() {
            let Some(front) = self.emitting.front_mut() else { return Ok(moved) };
            let Some(future) = front.future.as_mut() else { return Ok(moved) };
            match future.as_mut().poll(cx) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(())) => {
                    moved = true;
                    self.progress.emitted(front.batch.covers.through);
                    self.emitting.pop_front();
                    if let Some((attempts, after)) = self.output.worked(now) {
                        self.recovered("output", attempts, after);
                    }
                }
                Poll::Ready(Err(failure)) => {
                    front.future = None;
                    self.broken = Some(failure);
                }
            }
        }
        self.settle(cx, now)?;
        Ok(moved)
    }

    /// Hands batches over, in order; each is polled at once, so that the stream knows of it before the next.
    fn hand_over(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        if self.emitting.back().is_none_or(|last| last.future.is_some()) {
            return moved;
        }
        let fence = self.progress.pass();
        if *fence {
            return moved;
        }
        for emitting in self.emitting.iter_mut().filter(|emitting| emitting.future.is_none()) {
            let (stream, options) = &emitting.output;
            let emission = Emission {
                batch: Arc::clone(&emitting.batch),
                applied: emitting.applied.clone(),
                options: Arc::clone(options),
                epoch: self.progress.epoch,
            };
            let mut future = stream.emit(emission);
            if let Poll::Ready(outcome) = future.as_mut().poll(cx) {
                // Looked at in its turn, behind those that were handed over before.
                future = Box::pin(std::future::ready(outcome));
            }
            emitting.future = Some(future);
            moved = true;
        }
        moved
    }

    /// After a failure: waits for all that was handed over, then plans to hand it over again.
    fn settle(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Failure> {
        for emitting in &mut self.emitting {
            if emitting.future.as_mut().is_some_and(|future| future.as_mut().poll(cx).is_ready()) {
                emitting.future = None;
            }
        }
        if self.emitting.iter().any(|emitting| emitting.future.is_some()) {
            return Ok(());
        }
        if self.abandoned {
            self.emitting.clear();
            return Ok(());
        }
        let Some(failure) = self.broken.take() else { return Ok(()) };
        if failure.disposition == Disposition::Stop {
            return Err(failure);
        }
        let (again, first) = self.output.failed(now);
        self.retried("output", &failure, first);
        self.shared.timer.wake_at(again, cx.waker().clone());
        Ok(())
    }

    /// Once abandoned, what was never handed over goes.
    fn sweep(&mut self) {
        self.emitting.retain(|emitting| emitting.future.is_some());
    }

    fn retried(&self, what: &'static str, failure: &Failure, first: bool) {
        self.progress.set_trouble(what, failure.to_string());
        let (metrics, partition) = (self.view.metrics(), &self.progress.partition);
        ViewRetries { metrics, partition, what, failure, first }.emit();
    }

    fn recovered(&self, what: &'static str, attempts: u32, after: Duration) {
        self.progress.clear_trouble(what);
        let (metrics, partition) = (self.view.metrics(), &self.progress.partition);
        ViewRecovered { metrics, partition, what, attempts, after }.emit();
    }
}

fn write_letters(shared: &Shared, metrics: &ViewMetrics, job: &Job) -> Result<(), Failure> {
    if job.letters.is_empty() {
        return Ok(());
    }
    let (raw, batch) = (&job.events.raw, &job.batch);
    let letters = job.letters.iter().map(|letter| {
        let row = letter.raw_row as usize;
        DeadLetter {
            view: &batch.view.name,
            source: &batch.view.source,
            partition: &batch.partition,
            position: raw.positions.at(row),
            code: letter.code,
            reason: &letter.reason,
            ingest_time: raw.ingest_time(row),
            digest: batch.generation.digest,
            payload: raw.payload(row),
        }
    });
    shared.dead_letters.write(&letters.collect::<Vec<_>>())?;
    job.letters.iter().for_each(|letter| metrics.count_dead_letter(letter.code));
    Ok(())
}
