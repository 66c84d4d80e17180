//! The writers of a store as the store sees them: jobs go in, and end.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use model::batch::{Applied, FeatureBatch};
use model::error::Failure;
use model::position::RowVersion;
use model::value::Value;
use model::view::ViewRef;
use tokio::sync::oneshot;

use super::budget::{Budget, MOST_BATCHES, weight};
use super::cluster::Cluster;
use super::common::Common;
use super::single::Single;
use super::work::Job;

/// All writers: each has a thread and a connection; the rows of one view go through one of them.
pub(in crate::online::redis) struct Writers {
    writers: Vec<Writer>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Clone)]
struct Writer {
    /// `None` once it is closed.
    jobs: Arc<Mutex<Option<SyncSender<Job>>>>,
    budget: Budget,
}

impl Writers {
    /// Starts them.
    pub(in crate::online::redis) fn start(common: &Arc<Common>) -> Result<Self, Failure> {
        let (mut writers, mut threads) = (Vec::new(), Vec::new());
        for number in 0..common.options.writers.max(1) {
            // Places are given out by the budget, so there is always one.
            let (sender, jobs) = sync_channel(MOST_BATCHES);
            let common = Arc::clone(common);
            let thread = std::thread::Builder::new()
                .name(format!("redis-writer-{number}"))
                .spawn(move || run(common, jobs, number))
                .map_err(|error| Failure::stop("start a thread that writes to Redis").caused_by(error))?;
            threads.push(thread);
            writers.push(Writer { jobs: Arc::new(Mutex::new(Some(sender))), budget: Budget::new() });
        }
        Ok(Self { writers, threads: Mutex::new(threads) })
    }

    /// Writes a batch; see [`model::online::OnlineStore::write`].
    pub(in crate::online::redis) async fn write(
        self: Arc<Self>,
        batch: Arc<FeatureBatch>,
    ) -> Result<Applied, Failure> {
        let writer = self.writer(&batch.view.name);
        let permit = writer.budget.take(weight(&batch)).await;
        let (reply, answer) = oneshot::channel();
        writer.send(Job::Write { batch, reply, permit });
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Deletes entities; says of each key whether the deletion was the newest.
    pub(in crate::online::redis) async fn delete(
        self: Arc<Self>,
        view: ViewRef,
        keys: Vec<Vec<Value>>,
        version: RowVersion,
    ) -> Result<Vec<bool>, Failure> {
        let writer = self.writer(&view.name);
        // A guess; deletions are rare and small.
        let permit = writer.budget.take(keys.len() * 64).await;
        let (reply, answer) = oneshot::channel();
        writer.send(Job::Delete { view, keys, version, reply, permit });
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Takes no more jobs, and waits for those that are there.
    pub(in crate::online::redis) fn close(&self) {
        for writer in &self.writers {
            writer.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("a thread that writes to redis had panicked");
            }
        }
    }

    /// The writer of a view: always the same.
    fn writer(&self, view: &str) -> Writer {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(view);
        // The remainder is smaller than the number of writers.
        let index = usize::try_from(hash % self.writers.len() as u64).unwrap_or(0);
        self.writers[index].clone()
    }
}

impl Writer {
    fn send(&self, job: Job) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = &*jobs else { return job.fail(ended()) };
        match sender.try_send(job) {
            Ok(()) => {}
            Err(
                std::sync::mpsc::TrySendError::Full(job) | std::sync::mpsc::TrySendError::Disconnected(job),
            ) => {
                job.fail(ended());
            }
        }
    }
}

fn run(common: Arc<Common>, jobs: Receiver<Job>, number: usize) {
    if common.nodes.is_cluster() {
        Cluster::new(common, jobs, number).run();
    } else {
        Single::new(common, jobs, number).run();
    }
}

fn ended() -> Failure {
    Failure::retry("write rows to Redis: the store is closed")
}
