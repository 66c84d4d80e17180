//! The task that sends what waits, hears what became of it, and looks at the stream now and then.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use model::error::{Disposition, Failure};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep_until, timeout};

use super::pace::ShardMap;
use super::queue::{Outcome, Taken};
use super::request::{self, Said};
use super::stream::Queueing;
use super::summary::{self, Summary};
use crate::contact::Contact;
use crate::kinesis::{Class, Trouble};
use crate::output::emitter::{CLOSING, Carrier as _, Emitter, FENCE_EVERY, REOPEN_AFTER, Slot};
use crate::output::reply::again;

/// How often to look at the stream's summary, in which its record size and distribution can change.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long to wait before a stream that could not be used is looked at again, where only an operator can mend it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How often the stream is asked for its shards, at most.
const MAP_EVERY: Duration = Duration::from_secs(10);

/// What runs beside.
enum Done {
    Put(Taken, Result<Said, Trouble>),
    Looked(Result<Summary, Failure>),
    Mapped(Result<ShardMap, Failure>),
}

/// Until the stream is dropped.
pub(super) async fn run(emitter: Arc<Emitter<Queueing>>) {
    let contact = emitter.carrier.options.shared.contact(&emitter.carrier.options.connection);
    let mut sender = Sender {
        emitter,
        contact,
        client: None,
        jobs: JoinSet::new(),
        looked: Instant::now(),
        mapped: None,
        is_looking: false,
        fenced: Instant::now(),
        closing: None,
    };
    while !sender.is_over() {
        if sender.is_closed() {
            sender.reopen().await;
        } else {
            sender.step().await;
        }
    }
    let closed = Failure::retry(format!("{}: the stream is closed", sender.emitter.carrier.options.doing()));
    sender.give_up(&closed);
}

struct Sender {
    emitter: Arc<Emitter<Queueing>>,
    contact: Contact,
    client: Option<Client>,
    jobs: JoinSet<Done>,
    looked: Instant,
    is_looking: bool,
    mapped: Option<Instant>,
    fenced: Instant,
    /// Since when the stream is being dropped.
    closing: Option<Instant>,
}

impl Sender {
    /// Whether the stream is dropped and nothing is under way, or it was waited for long enough.
    fn is_over(&mut self) -> bool {
        if !self.emitter.stopping.load(Ordering::Acquire) {
            return false;
        }
        let since = *self.closing.get_or_insert_with(Instant::now);
        self.is_closed() || self.emitter.carrier.queue().len() == 0 || since.elapsed() >= CLOSING
    }

    fn is_closed(&self) -> bool {
        matches!(&*self.emitter.slot(), Slot::Closed(..))
    }

    /// Sends what may go; then waits for something to happen.
    async fn step(&mut self) {
        self.send().await;
        let now = Instant::now();
        let look = self.emitter.carrier.queue().next_look(now);
        let wake = look.unwrap_or(now + FENCE_EVERY).min(self.fenced + FENCE_EVERY);
        tokio::select! {
            Some(done) = self.jobs.join_next() => match done {
                Ok(done) => self.hear(done).await,
                Err(error) => self.defect(&error),
            },
            () = self.emitter.carrier.news.notified() => {}
            () = sleep_until(wake.into()) => {}
        }
        if self.fenced.elapsed() >= FENCE_EVERY {
            self.fenced = Instant::now();
            self.fence();
            let outstanding = self.emitter.carrier.queue().len();
            self.emitter.carrier.metrics.outstanding.set(i64::try_from(outstanding).unwrap_or(i64::MAX));
        }
    }

    async fn send(&mut self) {
        let options = &self.emitter.carrier.options;
        if self.client.is_none() {
            match options.shared.client(&options.connection).await {
                Ok(client) => self.client = Some(client),
                Err(failure) => return self.give_up(&failure),
            }
        }
        let Some(client) = &self.client else { return };
        while let Some(mut taken) = { self.emitter.carrier.queue().take(Instant::now()) } {
            let (client, stream) = (client.clone(), options.stream.clone());
            self.jobs.spawn(async move {
                let body = std::mem::take(&mut taken.body);
                let said = request::put(&client, &stream, body, taken.records.len()).await;
                Done::Put(taken, said)
            });
        }
        let wants_map = self.emitter.carrier.queue().wants_map();
        if wants_map && self.mapped.is_none_or(|mapped| mapped.elapsed() >= MAP_EVERY) {
            self.mapped = Some(Instant::now());
            let options = options.clone();
            self.jobs.spawn(async move { Done::Mapped(summary::shards(&options).await) });
        }
        if !self.is_looking && self.looked.elapsed() >= LOOK_EVERY {
            self.is_looking = true;
            let options = options.clone();
            self.jobs.spawn(async move { Done::Looked(summary::look(&options).await) });
        }
    }

    async fn hear(&mut self, done: Done) {
        match done {
            Done::Put(taken, Ok(said)) => self.answered(taken, said),
            Done::Put(taken, Err(trouble)) => self.troubled(taken, &trouble).await,
            Done::Mapped(Ok(map)) => self.emitter.carrier.queue().set_map(map),
            Done::Mapped(Err(failure)) => {
                // Records whose shard is not known wait together.
                tracing::debug!(view = self.emitter.carrier.options.view, "failed to {failure}");
            }
            Done::Looked(looked) => {
                (self.is_looking, self.looked) = (false, Instant::now());
                match looked {
                    Ok(summary) => self.emitter.set(Slot::Open(summary)),
                    Err(failure) if failure.disposition == Disposition::Stop => self.give_up(&failure),
                    // Requests with records say so themselves, and know better.
                    Err(_) => {}
                }
            }
        }
    }

    fn answered(&mut self, taken: Taken, said: Said) {
        let emitter = &self.emitter;
        self.contact.back();
        emitter.carrier.metrics.requests.inc();
        emitter.carrier.metrics.throttles.inc_by(said.throttled as u64);
        emitter.carrier.metrics.repeated.inc_by(said.not_taken.len() as u64);
        if let Some(reason) = &said.reason {
            let options = &emitter.carrier.options;
            options.shared.metrics().error(&options.connection.name, &reason.code);
            tracing::debug!(
                view = options.view,
                stream = %options.stream,
                records = said.not_taken.len(),
                reason = %reason,
                "records were not taken and are sent again"
            );
            if reason.is_final() {
                let failure = reason.failure(&options.connection.name, &options.doing());
                self.settle(taken, Outcome::Answered(said.not_taken));
                return self.give_up(&failure);
            }
        }
        self.settle(taken, Outcome::Answered(said.not_taken));
    }

    async fn troubled(&mut self, taken: Taken, trouble: &Trouble) {
        let options = self.emitter.carrier.options.clone();
        trouble.tell(&self.contact);
        options.shared.metrics().error(&options.connection.name, &trouble.code);
        let records = taken.records.len() as u64;
        self.emitter.carrier.metrics.repeated.inc_by(records);
        if trouble.class == Class::Throttled {
            self.emitter.carrier.metrics.throttles.inc_by(records);
        }
        self.settle(taken, Outcome::Failed);
        let failure = trouble.failure(&options.connection.name, &options.doing());
        match trouble.class {
            Class::Credentials => match options.shared.renewed(&options.connection).await {
                Ok(client) => self.client = Some(client),
                Err(failure) => self.give_up(&failure),
            },
            // The stream may have been changed to take smaller records than it did.
            Class::Invalid => {
                let before = match &*self.emitter.slot() {
                    Slot::Open(summary) => Some(summary.max_record),
                    Slot::Closed(..) => None,
                };
                self.give_up(&failure);
                if let Ok(summary) = summary::look(&options).await
                    && before.is_some_and(|before| summary.max_record < before)
                {
                    self.emitter.set(Slot::Open(summary));
                }
            }
            _ if trouble.is_final() => self.give_up(&failure),
            _ => {}
        }
    }

    /// A request has ended by a panic, so its records would be under way for ever: everything begins anew.
    fn defect(&mut self, error: &JoinError) {
        self.give_up(&Failure::stop(format!(
            "{}: a request ended by a defect ({error})",
            self.emitter.carrier.options.doing()
        )));
        self.jobs = JoinSet::new();
        self.emitter.carrier.forget_records();
    }

    fn settle(&self, taken: Taken, outcome: Outcome) {
        let complete = self.emitter.carrier.queue().settle(taken, outcome, Instant::now());
        complete.iter().for_each(|ticket| self.emitter.complete(ticket));
        if self.emitter.room.is_awaited() && self.emitter.carrier.has_room() {
            self.emitter.room.wake();
        }
    }

    /// Partitions with records under way that are not this host's any more: who waits has to know at once.
    fn fence(&self) {
        let emitter = &self.emitter;
        for lane in emitter.lanes.lost(&*emitter.keeper) {
            if lane.is_busy() {
                let failed = lane.fail();
                emitter.carrier.queue().purge();
                let failure = emitter.carrier.not_ours(&lane.partition);
                failed.iter().for_each(|ticket| ticket.answer(Err(again(&failure))));
                emitter.room.wake();
            }
            // Whoever has it next begins from what its keeper says.
            lane.forget();
        }
    }

    /// Closes the stream: nothing more comes in, what is not acknowledged is dropped, then everybody who waits is told.
    /// Requests under way end as they will.
    fn give_up(&mut self, failure: &Failure) {
        let emitter = &self.emitter;
        // Waits for those who are encoding.
        self.emitter.set(Slot::closed(failure));
        let failed: Vec<_> = emitter.lanes.all().iter().flat_map(|lane| lane.fail()).collect();
        emitter.carrier.queue().purge();
        emitter.carrier.metrics.outstanding.set(0);
        failed.iter().for_each(|ticket| ticket.answer(Err(again(failure))));
        emitter.room.wake();
        self.looked = Instant::now();
    }

    /// Looks at a stream that could not be used, after a pause.
    async fn reopen(&mut self) {
        let pause = match &*self.emitter.slot() {
            Slot::Closed(Disposition::Stop, _) => LOOK_AGAIN_AFTER,
            _ => REOPEN_AFTER,
        };
        let due = self.looked + pause;
        // Requests that were under way have to be heard, and the end.
        while Instant::now() < due {
            tokio::select! {
                Some(done) = self.jobs.join_next() => match done {
                    Ok(Done::Put(taken, Ok(said))) => self.settle(taken, Outcome::Answered(said.not_taken)),
                    Ok(Done::Put(taken, Err(_))) => self.settle(taken, Outcome::Failed),
                    Ok(Done::Looked(_)) => self.is_looking = false,
                    Ok(Done::Mapped(_)) => {}
                    Err(error) => self.defect(&error),
                },
                () = self.emitter.carrier.news.notified() => {
                    if self.emitter.stopping.load(Ordering::Acquire) {
                        return;
                    }
                }
                () = sleep_until(due.into()) => {}
            }
        }
        self.emitter.carrier.queue().purge();
        let options = self.emitter.carrier.options.clone();
        let looked = timeout(LOOK_EVERY, summary::look(&options)).await;
        self.looked = Instant::now();
        match looked {
            Ok(Ok(summary)) => self.emitter.set(Slot::Open(summary)),
            Ok(Err(failure)) => self.emitter.set(Slot::closed(&failure)),
            Err(_) => {}
        }
    }
}
