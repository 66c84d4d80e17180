//! A writer's thread for a single master: takes jobs, keeps the pipe full, and begins anew when the connection breaks.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use model::error::{Disposition, Failure};
use model::view::ViewRef;
use redis::{ConnectionLike, RedisError, cmd};

use super::claim::ASK_AGAIN;
use super::common::Common;
use super::contact;
use super::known::EntityHasher;
use super::pipe::{Pipe, Works};
use super::view::View;
use super::work::{Content, Job, Work};
use crate::redis::check_leads;

/// How often Redis is looked at while nothing is to be written, and tried while it is away.
const LOOK: Duration = Duration::from_secs(1);
/// Batches that are worked on at a time; the others wait in the queue.
const MOST_WORKS: usize = 16;

/// The state of the thread.
pub(super) struct Single {
    common: Arc<Common>,
    jobs: Receiver<Job>,
    mark_key: String,
    known_bytes: usize,
    hasher: EntityHasher,
    views: HashMap<String, View>,
    works: Works,
    pipe: Option<Pipe>,
    /// The highest mark that was ever sent.
    most_mark: u64,
    /// The last connection: run id of its server, and its number there.
    last: Option<(String, i64)>,
    connections: u64,
    /// What an idle look has said to be wrong, so that it is said once.
    told: String,
}

impl Single {
    pub(super) fn new(common: Arc<Common>, jobs: Receiver<Job>, writer: usize) -> Self {
        let known_bytes = common.options.memory_bytes / common.options.writers.max(1);
        Self {
            mark_key: common.mark_key(writer),
            common,
            jobs,
            known_bytes,
            hasher: EntityHasher::default(),
            views: HashMap::new(),
            works: Works { first: 0, queue: VecDeque::new() },
            pipe: None,
            most_mark: 0,
            last: None,
            connections: 0,
            told: String::new(),
        }
    }

    /// Until no job can come any more and all have ended.
    pub(super) fn run(mut self) {
        // Contact is made before there is something to write: claims, losses and warnings do not wait for rows.
        if let Err(failure) = self.connect() {
            tracing::debug!(connection = self.common.options.connection.name, "failed to {failure}");
        }
        loop {
            let is_open = self.take_jobs();
            if self.works.queue.is_empty() && self.pipe.as_mut().is_none_or(|pipe| pipe.idle().is_some()) {
                if !is_open {
                    return;
                }
                match self.jobs.recv_timeout(LOOK) {
                    Ok(job) => self.begin(job),
                    Err(RecvTimeoutError::Timeout) => self.look(),
                    Err(RecvTimeoutError::Disconnected) => {}
                }
                continue;
            }
            if let Err(failure) = self.advance() {
                self.fail_all(&failure);
            }
        }
    }

    /// Takes what waits, without waiting. Returns whether more can come.
    fn take_jobs(&mut self) -> bool {
        while self.works.queue.len() < MOST_WORKS {
            match self.jobs.try_recv() {
                Ok(job) => self.begin(job),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn begin(&mut self, job: Job) {
        if job.is_abandoned() {
            return;
        }
        let notes = &self.common.notes;
        let checked = notes.check_store().and_then(|()| match &job {
            Job::Write { batch, .. } => notes.check(&batch.view.name, &batch.partition),
            // Moves no position.
            Job::Delete { .. } => Ok(0),
        });
        let era = match checked.and_then(|era| self.know(job.view()).map(|()| era)) {
            Ok(era) => era,
            Err(failure) => return job.fail(failure),
        };
        let Some(view) = self.views.get(&job.view().name) else { return };
        if let Some(work) = Work::new(job, era, &view.keys, &self.hasher) {
            self.works.queue.push_back(work);
        }
    }

    /// Makes sure that a view is known as it is now.
    fn know(&mut self, shape: &ViewRef) -> Result<(), Failure> {
        if let Some(known) = self.views.get_mut(&shape.name)
            && (Arc::ptr_eq(&known.shape, shape) || known.shape == *shape)
        {
            known.count_anew(&self.common.options);
            return Ok(());
        }
        // Rows of the old shape are written before any of the new, and what is known of entities has to do with both.
        while !self.works.queue.is_empty() {
            if let Err(failure) = self.advance() {
                self.fail_all(&failure);
            }
        }
        let view = View::new(shape, &self.common.options, 0)?;
        self.views.insert(shape.name.clone(), view);
        let share = self.known_bytes / self.views.len();
        self.views.values_mut().for_each(|view| view.known.limit(share));
        Ok(())
    }

    /// Does one thing, and tells of what has ended.
    fn advance(&mut self) -> Result<(), Failure> {
        if self.pipe.is_none() {
            self.connect()?;
        }
        let common = Arc::clone(&self.common);
        let Some(pipe) = &mut self.pipe else {
            return Err(Failure::retry("write rows: there is no connection"));
        };
        match pipe.step(&mut self.works, &mut self.views, &common) {
            Ok(_) => {
                self.finish();
                Ok(())
            }
            Err(error) => Err(self.disconnect(error)),
        }
    }

    /// Ends works from the front, in order.
    fn finish(&mut self) {
        while let Some(mut work) = self.works.queue.pop_front_if(|work| work.is_done()) {
            self.works.first += 1;
            if work.failure.is_none()
                && let Content::Rows(batch) = &work.content
            {
                let marks = (work.mark > 0).then(|| (self.mark_key.clone(), work.mark));
                let noted =
                    self.common.notes.acknowledge(batch, marks.as_slice(), work.era, || work.is_abandoned());
                self.common.nodes.metrics().writes.inc();
                work.failure = noted.err();
                if let Some(view) = self.views.get(&work.view.name) {
                    view.metrics.late.inc_by(work.late.len() as u64);
                }
            }
            work.finish();
        }
    }

    /// Connects, and looks at what is there.
    fn connect(&mut self) -> Result<(), Failure> {
        let common = Arc::clone(&self.common);
        let mut master = common.nodes.master()?;
        contact::warn_of_eviction(&common, &master.identity);
        let connection = &mut master.connection;
        let run_id = master.identity.run_id.clone().unwrap_or_default();
        let ready = self.make_ready(connection, &run_id);
        let marks = match ready {
            Ok(marks) => marks?,
            Err(error) => return Err(common.nodes.failure("begin to write", error)),
        };
        // What was known may have been known of another server, or not have arrived at this one.
        for view in self.views.values_mut() {
            view.lose_claim(std::time::Instant::now(), Duration::ZERO);
        }
        if self.connections > 0 {
            common.nodes.metrics().reconnects.inc();
        }
        self.connections += 1;
        self.most_mark = self.most_mark.max(marks);
        self.pipe = Some(Pipe::new(master.connection, self.mark_key.clone(), marks, self.most_mark));
        Ok(())
    }

    /// Ends what may be left of the connection before, and returns the mark that stands.
    fn make_ready(
        &mut self,
        connection: &mut redis::Connection,
        run_id: &str,
    ) -> Result<Result<u64, Failure>, RedisError> {
        // A server that was stopped has commands of ours in its sockets, which it would still do. Who may not kill
        // connections has to live with a mark that seems to go back then: something is read again in vain.
        if let Some((before, number)) = self.last.take()
            && !run_id.is_empty()
            && before == run_id
        {
            let killed = connection.req_command(cmd("CLIENT").arg("KILL").arg("ID").arg(number));
            tracing::debug!(?killed, "ended the connection before");
        }
        if let Ok(redis::Value::Int(number)) = connection.req_command(cmd("CLIENT").arg("ID")) {
            self.last = Some((run_id.to_owned(), number));
        }
        let found = match contact::look(&self.common, connection)? {
            Ok(found) => found,
            Err(failure) => return Ok(Err(failure)),
        };
        let mark = match found.into_iter().find(|mark| mark.key == self.mark_key) {
            Some(mark) => mark.found,
            None => contact::number(&connection.req_command(cmd("GET").arg(&self.mark_key))?),
        };
        Ok(Ok(mark))
    }

    /// Nothing is to be written: is everything well?
    fn look(&mut self) {
        let common = Arc::clone(&self.common);
        let looked = match self.pipe.as_mut().and_then(Pipe::idle) {
            None => self.connect(),
            // Whoever reads goes where the next connection finds the master.
            Some(connection) => {
                match check_leads(connection).and_then(|()| contact::look(&common, connection)) {
                    Ok(looked) => looked.map(drop),
                    Err(error) => Err(self.disconnect(error)),
                }
            }
        };
        let connection = &common.options.connection.name;
        match looked {
            Ok(()) => self.told.clear(),
            // That somebody is away is told by whoever asked.
            Err(failure) if failure.disposition == Disposition::Retry => {
                tracing::debug!(connection, "failed to {failure}");
            }
            // Nobody may write for long, and nobody else would hear of it meanwhile.
            Err(failure) => {
                let reason = failure.to_string();
                if reason != self.told {
                    tracing::error!(connection, "failed to {reason}");
                    self.told = reason;
                }
            }
        }
    }

    fn disconnect(&mut self, error: RedisError) -> Failure {
        if let Some(pipe) = self.pipe.take() {
            self.most_mark = self.most_mark.max(pipe.sent());
        }
        for view in self.views.values_mut() {
            view.lose_claim(std::time::Instant::now(), ASK_AGAIN);
        }
        self.common.nodes.failure("write rows", error)
    }

    /// Nobody knows what became of what is under way, and what waits would not do better: all is to be repeated.
    fn fail_all(&mut self, failure: &Failure) {
        for mut work in self.works.queue.drain(..) {
            self.works.first += 1;
            let lost = match &work.content {
                Content::Rows(batch) => self.common.notes.check(&batch.view.name, &batch.partition).err(),
                Content::Deletion(_) => None,
            };
            work.failure.get_or_insert_with(|| lost.unwrap_or_else(|| copy(failure)));
            work.finish();
        }
        while let Ok(job) = self.jobs.try_recv() {
            job.fail(copy(failure));
        }
        // Requests that were under way belong to nobody now.
        if self.pipe.as_mut().is_some_and(|pipe| pipe.idle().is_none())
            && let Some(pipe) = self.pipe.take()
        {
            self.most_mark = self.most_mark.max(pipe.sent());
        }
    }
}

/// The same failure, for somebody else.
pub(super) fn copy(failure: &Failure) -> Failure {
    Failure { disposition: failure.disposition, message: failure.to_string(), source: None }
}
