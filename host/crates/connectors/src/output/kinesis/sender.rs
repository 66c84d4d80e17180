//! The task that sends what waits, hears what became of it, and looks at the stream now and then.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use model::error::{Disposition, Failure};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep_until, timeout};

use super::pace::ShardMap;
use super::queue::{Outcome, Taken};
use super::request::{self, Said};
use super::stream::{Emitter, Slot};
use super::summary::{self, Summary};
use crate::contact::Contact;
use crate::kinesis::{Class, Trouble};
use crate::output::reply::again;

/// How often to look whether partitions with records under way are still this host's.
const FENCE_EVERY: Duration = Duration::from_millis(500);
/// How often to look at the stream's summary, in which its record size and distribution can change.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long to wait before a stream that could not be used is looked at again; and where only an operator can mend it.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How often the stream is asked for its shards, at most.
const MAP_EVERY: Duration = Duration::from_secs(10);
/// How long a stream that is dropped waits for what is under way.
const CLOSING: Duration = Duration::from_secs(5);

/// What runs beside.
enum Done {
    Put(Taken, Result<Said, Trouble>),
    Looked(Result<Summary, Failure>),
    Mapped(Result<ShardMap, Failure>),
}

/// Until the stream is dropped.
pub(super) async fn run(shared: Arc<Emitter>) {
    let contact = shared.options.shared.contact(&shared.options.connection);
    let mut sender = Sender {
        shared,
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
    let closed = Failure::retry(format!("{}: the stream is closed", sender.shared.options.doing()));
    sender.give_up(&closed);
}

struct Sender {
    shared: Arc<Emitter>,
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
        if !self.shared.stopping.load(Ordering::Acquire) {
            return false;
        }
        let since = *self.closing.get_or_insert_with(Instant::now);
        self.is_closed() || self.shared.queue().len() == 0 || since.elapsed() >= CLOSING
    }

    fn is_closed(&self) -> bool {
        matches!(&*self.shared.slot.read().unwrap_or_else(PoisonError::into_inner), Slot::Closed(..))
    }

    /// Sends what may go; then waits for something to happen.
    async fn step(&mut self) {
        self.send().await;
        let now = Instant::now();
        let look = self.shared.queue().next_look(now);
        let wake = look.unwrap_or(now + FENCE_EVERY).min(self.fenced + FENCE_EVERY);
        tokio::select! {
            Some(done) = self.jobs.join_next() => match done {
                Ok(done) => self.hear(done).await,
                Err(error) => self.defect(&error),
            },
            () = self.shared.news.notified() => {}
            () = sleep_until(wake.into()) => {}
        }
        if self.fenced.elapsed() >= FENCE_EVERY {
            self.fenced = Instant::now();
            self.fence();
            let outstanding = self.shared.queue().len();
            self.shared.metrics.outstanding.set(i64::try_from(outstanding).unwrap_or(i64::MAX));
        }
    }

    async fn send(&mut self) {
        let options = &self.shared.options;
        if self.client.is_none() {
            match options.shared.client(&options.connection).await {
                Ok(client) => self.client = Some(client),
                Err(failure) => return self.give_up(&failure),
            }
        }
        let Some(client) = &self.client else { return };
        while let Some(mut taken) = { self.shared.queue().take(Instant::now()) } {
            let (client, stream) = (client.clone(), options.stream.clone());
            self.jobs.spawn(async move {
                let body = std::mem::take(&mut taken.body);
                let said = request::put(&client, &stream, body, taken.records.len()).await;
                Done::Put(taken, said)
            });
        }
        let wants_map = self.shared.queue().wants_map();
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
            Done::Mapped(Ok(map)) => self.shared.queue().set_map(map),
            Done::Mapped(Err(failure)) => {
                // Records whose shard is not known wait together.
                tracing::debug!(view = self.shared.options.view, "failed to {failure}");
            }
            Done::Looked(looked) => {
                (self.is_looking, self.looked) = (false, Instant::now());
                match looked {
                    Ok(summary) => self.set(Slot::Open { max_record: summary.max_record }),
                    Err(failure) if failure.disposition == Disposition::Stop => self.give_up(&failure),
                    // Requests with records say so themselves, and know better.
                    Err(_) => {}
                }
            }
        }
    }

    fn answered(&mut self, taken: Taken, said: Said) {
        let shared = &self.shared;
        self.contact.back();
        shared.metrics.requests.inc();
        shared.metrics.throttles.inc_by(said.throttled as u64);
        shared.metrics.repeated.inc_by(said.not_taken.len() as u64);
        if let Some(reason) = &said.reason {
            let options = &shared.options;
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
        let options = self.shared.options.clone();
        trouble.tell(&self.contact);
        options.shared.metrics().error(&options.connection.name, &trouble.code);
        let records = taken.records.len() as u64;
        self.shared.metrics.repeated.inc_by(records);
        if trouble.class == Class::Throttled {
            self.shared.metrics.throttles.inc_by(records);
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
                let before = self.max_record();
                self.give_up(&failure);
                if let Ok(summary) = summary::look(&options).await
                    && before.is_some_and(|before| summary.max_record < before)
                {
                    self.set(Slot::Open { max_record: summary.max_record });
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
            self.shared.options.doing()
        )));
        self.jobs = JoinSet::new();
        self.shared.forget_records();
    }

    fn settle(&self, taken: Taken, outcome: Outcome) {
        let complete = self.shared.queue().settle(taken, outcome, Instant::now());
        for ticket in complete.iter().filter(|ticket| !ticket.is_dead()) {
            self.shared.advance(&ticket.lane);
        }
        self.shared.room();
    }

    /// Partitions with records under way that are not this host's any more: who waits has to know at once.
    fn fence(&self) {
        let shared = &self.shared;
        for lane in shared.lanes.all().iter().filter(|lane| !shared.keeper.holds(&lane.partition)) {
            if lane.is_busy() {
                let failed = lane.fail();
                shared.queue().purge();
                let failure = shared.not_ours(&lane.partition);
                failed.iter().for_each(|ticket| ticket.answer(Err(again(&failure))));
                shared.wake();
            }
            // Whoever has it next begins from what its keeper says.
            lane.forget();
        }
    }

    /// Closes the stream: nothing more comes in, what is not acknowledged is dropped, then everybody who waits is told.
    /// Requests under way end as they will.
    fn give_up(&mut self, failure: &Failure) {
        let shared = &self.shared;
        // Waits for those who are encoding.
        self.set(Slot::Closed(failure.disposition, failure.to_string()));
        let failed: Vec<_> = shared.lanes.all().iter().flat_map(|lane| lane.fail()).collect();
        shared.queue().purge();
        shared.metrics.outstanding.set(0);
        failed.iter().for_each(|ticket| ticket.answer(Err(again(failure))));
        shared.wake();
        self.looked = Instant::now();
    }

    /// Looks at a stream that could not be used, after a pause.
    async fn reopen(&mut self) {
        let pause = match &*self.shared.slot.read().unwrap_or_else(PoisonError::into_inner) {
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
                () = self.shared.news.notified() => {
                    if self.shared.stopping.load(Ordering::Acquire) {
                        return;
                    }
                }
                () = sleep_until(due.into()) => {}
            }
        }
        self.shared.queue().purge();
        let options = self.shared.options.clone();
        let looked = timeout(LOOK_EVERY, summary::look(&options)).await;
        self.looked = Instant::now();
        match looked {
            Ok(Ok(summary)) => self.set(Slot::Open { max_record: summary.max_record }),
            Ok(Err(failure)) => self.set(Slot::Closed(failure.disposition, failure.to_string())),
            Err(_) => {}
        }
    }

    fn max_record(&self) -> Option<usize> {
        match &*self.shared.slot.read().unwrap_or_else(PoisonError::into_inner) {
            Slot::Open { max_record } => Some(*max_record),
            Slot::Closed(..) => None,
        }
    }

    fn set(&self, slot: Slot) {
        *self.shared.slot.write().unwrap_or_else(PoisonError::into_inner) = slot;
    }
}
