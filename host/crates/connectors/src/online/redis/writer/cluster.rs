//! A writer's thread for a cluster. No claim can lie in the slots of all rows, so each row is compared by a call of its
//! own; the calls of many rows go to all nodes at the same time. Behind them, each master gets a mark of its own.
//!
//! The marks prove the rows only if each row went to the master that got the mark. So when anything has changed between
//! the first row and the last mark, all is sent again: rows that are there already are found to be the same.
//!
//! What rows of a view may hold is noted in its history before the first of them, as `batch.lua` does. On a cluster nobody
//! asks for it; but rows may be moved to a single server, where a missing note would be taken for proof.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use model::error::{Disposition, Failure};
use model::position::RowVersion;
use redis::cmd;

use super::answer::{self, Outcome};
use super::common::Common;
use super::contact::{look_at_cluster, number, warn_of_eviction};
use super::encode::row_parts;
use super::known::EntityHasher;
use super::single::copy;
use super::view::View;
use super::work::{Content, Job, Work};
use crate::online::redis::layout::ValueColumn;
use crate::online::redis::scripts;
use crate::redis::error::{Trouble, trouble_of};
use crate::redis::{Keyed, Shard, slot};

/// How often the cluster is looked at while nothing is to be written.
const LOOK: Duration = Duration::from_secs(1);
/// Batches that are written together.
const MOST_WORKS: usize = 16;
/// Rows that are sent at a time.
const MOST_ROWS: usize = 2048;
/// How often all is sent again because the cluster has changed meanwhile, before the caller is to try again.
const MOST_ROUNDS: usize = 4;
/// Under which name trouble with memory is noted.
const MEMORY: &str = "memory";

/// The state of the thread.
pub(super) struct Cluster {
    common: Arc<Common>,
    jobs: Receiver<Job>,
    prefix: String,
    hasher: EntityHasher,
    views: HashMap<String, View>,
    /// What [`crate::redis::Nodes::changes`] said when the marks were looked at last.
    seen: Option<u64>,
    /// A mark's key for each master.
    marks: Vec<String>,
    /// The last number that was sent; one for all marks.
    sent: u64,
    /// The numbers that stand, by key.
    stand: HashMap<String, u64>,
    /// What was noted of views, by the keys of their histories.
    histories: HashMap<String, History>,
}

/// What rows of a view may hold, as it was noted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct History {
    deletions: bool,
    deadlines: bool,
    /// What [`crate::redis::Nodes::changes`] said then. After a change the note may be gone, with rows still there that need
    /// it, and is made again.
    seen: Option<u64>,
}

impl Cluster {
    pub(super) fn new(common: Arc<Common>, jobs: Receiver<Job>, writer: usize) -> Self {
        Self {
            prefix: common.mark_key(writer),
            common,
            jobs,
            hasher: EntityHasher::default(),
            views: HashMap::new(),
            seen: None,
            marks: Vec::new(),
            sent: 0,
            stand: HashMap::new(),
            histories: HashMap::new(),
        }
    }

    /// Until no job can come any more.
    pub(super) fn run(mut self) {
        self.look();
        loop {
            match self.jobs.recv_timeout(LOOK) {
                Ok(job) => {
                    let mut works = Vec::new();
                    self.begin(job, &mut works);
                    while works.len() < MOST_WORKS
                        && let Ok(job) = self.jobs.try_recv()
                    {
                        if self.is_of_other_shape(&job) {
                            // Rows of one shape are written before any of another.
                            self.write(std::mem::take(&mut works));
                        }
                        self.begin(job, &mut works);
                    }
                    self.write(works);
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Whether its view is known, but not as the job says it is: units of a view that was saved anew change one by one.
    fn is_of_other_shape(&self, job: &Job) -> bool {
        let shape = job.view();
        self.views
            .get(&shape.name)
            .is_some_and(|view| !Arc::ptr_eq(&view.shape, shape) && view.shape != *shape)
    }

    fn begin(&mut self, job: Job, works: &mut Vec<Work>) {
        if job.is_abandoned() {
            return;
        }
        let notes = &self.common.notes;
        let checked = notes.check_store().and_then(|()| match &job {
            Job::Write { batch, .. } => notes.check(&batch.view.name, &batch.partition),
            // Moves no position.
            Job::Delete { .. } => Ok(0),
        });
        let shape = Arc::clone(job.view());
        let era = match checked {
            Ok(era) => era,
            Err(failure) => return job.fail(failure),
        };
        if self.views.get(&shape.name).is_none_or(|view| view.shape != shape) {
            match View::new(&shape, &self.common.options, 0) {
                // Works of the old shape are gone: they were written before this was taken.
                Ok(view) => drop(self.views.insert(shape.name.clone(), view)),
                Err(failure) => return job.fail(failure),
            }
        }
        let Some(view) = self.views.get_mut(&shape.name) else { return };
        view.count_anew(&self.common.options);
        works.extend(Work::new(job, era, &view.keys, &self.hasher));
    }

    /// Writes works and ends them.
    fn write(&mut self, mut works: Vec<Work>) {
        let since = Instant::now();
        let written = self.write_all(&mut works);
        for mut work in works {
            match (&written, &work.content) {
                (Err(failure), _) => {
                    work.failure.get_or_insert_with(|| copy(failure));
                }
                (Ok(()), Content::Rows(batch)) if work.failure.is_none() => {
                    let marks: Vec<_> = match work.collapsed.rows.is_empty() {
                        true => Vec::new(),
                        false => self.marks.iter().map(|key| (key.clone(), self.sent)).collect(),
                    };
                    let noted =
                        self.common.notes.acknowledge(batch, &marks, work.era, || work.is_abandoned());
                    work.failure = noted.err();
                    if let Some(view) = self.views.get(&work.view.name) {
                        view.metrics.late.inc_by(work.late.len() as u64);
                    }
                    self.common.nodes.metrics().writes.inc();
                }
                (Ok(()), _) => {}
            }
            self.note_memory(work.failure.as_ref());
            work.finish();
        }
        if written.is_ok() {
            self.common.nodes.metrics().write_seconds.observe(since.elapsed().as_secs_f64());
        }
    }

    fn write_all(&mut self, works: &mut [Work]) -> Result<(), Failure> {
        for _ in 0..MOST_ROUNDS {
            self.look_if_changed()?;
            let begun = self.common.nodes.changes();
            for work in works.iter_mut() {
                let noted = self.note_history(work, begun);
                if let Err(failure) = noted.and_then(|()| self.write_rows(work)) {
                    if failure.disposition == Disposition::Stop {
                        // The others may be well.
                        work.failure = Some(failure);
                    } else {
                        return Err(failure);
                    }
                }
            }
            self.write_marks()?;
            if self.common.nodes.changes() == begun {
                return Ok(());
            }
        }
        let name = &self.common.options.connection.name;
        Err(Failure::retry(format!(
            "write rows to Redis at connection `{name}`: the cluster does not come to rest"
        )))
    }

    /// Notes what the rows of a work are the first to hold, before they are written.
    fn note_history(&mut self, work: &Work, seen: u64) -> Result<(), Failure> {
        let Some(view) = self.views.get(&work.view.name) else { return Ok(()) };
        let known = self.histories.get(&view.history_key).copied().unwrap_or_default();
        let needed = History {
            deletions: known.deletions || work.is_deletion(),
            deadlines: known.deadlines || view.lifetime.is_limited(),
            seen: Some(seen),
        };
        if needed == known || !(needed.deletions || needed.deadlines) {
            return Ok(());
        }
        let mut command = cmd("HSET");
        command.arg(&view.history_key);
        for (field, is_needed) in [("deletions", needed.deletions), ("deadlines", needed.deadlines)] {
            if is_needed {
                command.arg(field).arg("1");
            }
        }
        let commands = vec![Keyed::new(view.history_key.as_bytes(), command)];
        let nodes = Arc::clone(&self.common.nodes);
        for answer in self.wait(async move { nodes.run(commands).await })?? {
            answer.map_err(|failure| within(view, failure))?;
        }
        self.histories.insert(view.history_key.clone(), needed);
        Ok(())
    }

    fn write_rows(&self, work: &mut Work) -> Result<(), Failure> {
        let Some(view) = self.views.get(&work.view.name) else { return Ok(()) };
        let now = self.common.options.clock.now().0;
        let rows = work.collapsed.rows.clone();
        for rows in rows.chunks(MOST_ROWS) {
            let commands = commands(view, work, rows, now)?;
            let nodes = Arc::clone(&self.common.nodes);
            let answers = self.wait(async move { nodes.run(commands).await })??;
            for (row, answer) in rows.iter().zip(answers) {
                let told = answer::single(&answer.map_err(|failure| within(view, failure))?)
                    .map_err(|error| self.common.nodes.failure("write rows", error))?;
                if told.outcome == Outcome::Late {
                    // In a second round it may have been known before.
                    if !work.late.contains(row) {
                        work.note_late(*row);
                    }
                    continue;
                }
                if told.outcome == Outcome::Damaged {
                    work.note_damaged(*row);
                    continue;
                }
                view.metrics.compared.inc();
                if let Some(held) = &told.held {
                    work.note_replaced(*row, |replaced| held.version > RowVersion::from(*replaced));
                }
            }
            work.late.sort_unstable();
            work.late.dedup();
        }
        Ok(())
    }

    /// Puts a mark behind the rows at each master.
    fn write_marks(&mut self) -> Result<(), Failure> {
        self.sent += 1;
        let commands: Vec<Keyed> = self
            .marks
            .iter()
            .map(|key| {
                let mut command = cmd("GETSET");
                command.arg(key).arg(self.sent);
                // One that is done late would seem to go back.
                Keyed::new(key.as_bytes(), command).once()
            })
            .collect();
        let nodes = Arc::clone(&self.common.nodes);
        let answers = self.wait(async move { nodes.run(commands).await })??;
        let sent = self.sent;
        for (key, answer) in self.marks.iter().zip(answers) {
            let before = number(&answer?);
            self.sent = self.sent.max(before);
            let stands = self.stand.entry(key.clone()).or_default();
            if before < *stands {
                self.common.notes.lose(key, before);
                // Looking again sees to it that the file says so before anything else is written.
                self.seen = None;
            }
            *stands = sent;
        }
        // Marks of an earlier life, of which the notes are gone: below them a mark proves nothing. Only once, as nobody else
        // writes them.
        if self.sent > sent { self.write_marks() } else { Ok(()) }
    }

    /// Nothing is to be written: is everything well?
    fn look(&mut self) {
        self.seen = None;
        if let Err(failure) = self.look_if_changed() {
            tracing::debug!(connection = self.common.options.connection.name, "failed to {failure}");
        }
    }

    /// Looks at store and marks, if the cluster is not what it was.
    fn look_if_changed(&mut self) -> Result<(), Failure> {
        if self.seen == Some(self.common.nodes.changes()) {
            return Ok(());
        }
        let common = Arc::clone(&self.common);
        let (shards, found) = self.wait(async move {
            let shards = common.nodes.masters().await?;
            let found = look_at_cluster(&common, &common.nodes).await?;
            Ok::<_, Failure>((shards, found))
        })??;
        for shard in &shards {
            warn_of_eviction(&self.common, &shard.identity);
        }
        self.marks =
            shards.iter().filter(|shard| !shard.slots.is_empty()).map(|shard| self.mark_of(shard)).collect();
        self.stand = found.into_iter().map(|mark| (mark.key, mark.found)).collect();
        let highest = self.stand.values().copied().max().unwrap_or(0);
        self.sent = self.sent.max(highest);
        self.seen = Some(self.common.nodes.changes());
        Ok(())
    }

    /// A key that lies at a master.
    fn mark_of(&self, shard: &Shard) -> String {
        let tag = (0u32..).map(|tag| tag.to_string()).find(|tag| {
            let slot = slot(tag.as_bytes());
            shard.slots.iter().any(|slots| slots.contains(&slot))
        });
        format!("{}:{{{}}}", self.prefix, tag.unwrap_or_default())
    }

    fn note_memory(&self, failure: Option<&Failure>) {
        match failure {
            None => self.common.nodes.fine(MEMORY),
            Some(failure) if trouble_of(failure) == Some(Trouble::OutOfMemory) => {
                self.common.nodes.trouble(MEMORY, "it has reached its `maxmemory`");
            }
            Some(_) => {}
        }
    }

    /// Waits for something that runs on the runtime.
    fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = sync_channel(1);
        self.common.options.shared.runtime.spawn(async move {
            // Nobody listens any more if the thread has ended.
            drop(sender.try_send(future.await));
        });
        receiver.recv().map_err(|_| Failure::retry("write rows to Redis: the host is ending"))
    }
}

fn commands(view: &View, work: &Work, rows: &[u32], now: i64) -> Result<Vec<Keyed>, Failure> {
    let columns = match &work.content {
        Content::Rows(batch) => {
            let columns = &batch.rows.columns()[view.shape.keys.len()..];
            let columns = view.shape.features.iter().zip(columns);
            columns
                .map(|(feature, column)| ValueColumn::new(feature, column))
                .collect::<Result<Vec<_>, _>>()?
        }
        Content::Deletion(_) => Vec::new(),
    };
    let head = [
        view.fields.version.clone(),
        view.fields.time.clone(),
        if view.lifetime.is_limited() { b"1".to_vec() } else { b"0".to_vec() },
        view.fields.features.len().to_string().into_bytes(),
    ];
    let common: Vec<Vec<u8>> =
        head.into_iter().chain(view.fields.features.iter().map(|field| field.to_vec())).collect();
    let commands = rows.iter().map(|row| {
        let mut arguments = common.clone();
        row_parts(view, &columns, work, *row, now, &mut arguments);
        Keyed::script(&scripts::SINGLE, &[work.keys.get(*row as usize)], arguments)
    });
    Ok(commands.collect())
}

/// Says of which view.
fn within(view: &View, mut failure: Failure) -> Failure {
    failure.message = format!("write rows of view `{}`: {}", view.name(), failure.message);
    failure
}
