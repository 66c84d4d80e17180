//! One transaction after the other, with one producer, up to the first that fails.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::error::Failure;
use model::position::{Partition, Position};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer as _;

use super::native::Record;
use super::progress_topic::{Mark, PROGRESS_TOPIC};
use super::session::{Session, Transactional};
use super::transactions::{Queue, Waiting};
use super::truth::Truth;
use super::watchdog::Watchdog;
use crate::kafka::error;
use crate::output::keeper::Keeper as _;

/// After which the broker aborts a transaction by itself. Below the session's timeout, so that a host that was suspended
/// has lost its transaction before its partitions.
pub(super) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long records may take to be acknowledged.
const DELIVERY_LIMIT: Duration = Duration::from_secs(8);
/// How long a call may take that knows timeouts.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// How long it is waited for: a call that returns later than it should is one that hangs.
const PATIENCE: Duration = Duration::from_secs(12);
const POLL: Duration = Duration::from_millis(100);
/// The progress topic among those of the producer.
const PROGRESS: usize = 1;

/// A producer whose id has fenced all before it.
pub(super) struct Committer {
    /// Until this is dropped.
    session: Option<Arc<Session>>,
    watchdog: Watchdog,
    /// Something of the type that a group gives, to take its place while it is used elsewhere.
    spare: Mutex<Option<ConsumerGroupMetadata>>,
}

impl Committer {
    /// Makes a producer; whatever another with this id has left open is ended. Blocks.
    pub(super) fn open(queue: &Queue) -> Result<Self, Failure> {
        let options = &queue.options;
        let progress_topic = matches!(queue.kept.truth, Truth::Topic { .. }).then_some(PROGRESS_TOPIC);
        let transactional = Transactional {
            id: format!("millrace-{}-{}-{}", options.project, options.view, options.instance),
            timeout: TRANSACTION_TIMEOUT,
            progress_topic,
        };
        let session = Arc::new(Session::open(options, &queue.watch, Some(&transactional))?);
        let watchdog = Watchdog::start()?;
        let theirs = Arc::clone(&session);
        let begun = watchdog.call(PATIENCE, move || theirs.producer.client().init_transactions(LIMIT));
        let doing = format!("begin transactions of view `{}`", options.view);
        match begun {
            Ok(Ok(())) => Ok(Self { session: Some(session), watchdog, spare: Mutex::new(None) }),
            Ok(Err(problem)) => Err(queue.failure(&doing, &problem)),
            Err(_) => Err(hangs(&doing)),
        }
    }

    pub(super) fn max_record(&self) -> usize {
        self.session().max_record
    }

    fn session(&self) -> &Arc<Session> {
        self.session.as_ref().expect("it is there until the committer is dropped")
    }

    /// Runs a transaction. After a failure this is of no more use, and what became of the transaction is unknown.
    ///
    /// `marks`: how far each partition is with it.
    pub(super) fn commit(
        &self,
        queue: &Queue,
        waiting: &[Waiting],
        marks: &[(Partition, Mark)],
    ) -> Result<(), Failure> {
        let doing = queue.options.doing();
        let producer = &self.session().producer;
        let since = Instant::now();
        producer.client().begin_transaction().map_err(|problem| queue.failure(&doing, &problem))?;
        for record in waiting.iter().flat_map(|waiting| waiting.encoded.records()) {
            self.produce(queue, 0, &record, since)?;
        }
        if let Truth::Topic { log, .. } = &queue.kept.truth {
            for (partition, mark) in marks {
                let (key, value) = log.record(partition, *mark);
                let record = Record { key: &key, value: &value, header: (c"version", b"1") };
                self.produce(queue, PROGRESS, &record, since)?;
            }
        }
        while producer.outstanding() > 0 {
            self.poll(queue, since)?;
        }
        let Truth::Group { group, view } = &queue.kept.truth else {
            // Nobody but us knows that a partition went meanwhile: whoever has it now may have read the topic already.
            if let Some((lost, _)) = marks.iter().find(|(partition, _)| !queue.kept.holds(partition)) {
                return Err(queue.options.not_ours(lost));
            }
            let theirs = Arc::clone(self.session());
            let committed =
                self.watchdog.call(PATIENCE, move || theirs.producer.client().commit_transaction(LIMIT));
            return settled(queue, &doing, committed.map_err(|_| hangs(&doing))?);
        };
        let through: Vec<(Partition, Position)> =
            marks.iter().filter_map(|(partition, mark)| Some((partition.clone(), mark.through?))).collect();
        // Until this is dropped the group commits nothing by itself.
        let mut offsets = group.transaction(view, &through)?;
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        let spare = spare.map_or_else(|| spare_metadata(queue), Ok)?;
        let metadata = std::mem::replace(&mut offsets.metadata, spare);
        let list = std::mem::take(&mut offsets.offsets);
        let theirs = Arc::clone(self.session());
        let committed = self.watchdog.call(2 * PATIENCE, move || {
            let client = theirs.producer.client();
            let committed = client
                .send_offsets_to_transaction(&list, &metadata, TRANSACTION_TIMEOUT)
                .and_then(|()| client.commit_transaction(LIMIT));
            (metadata, committed)
        });
        let (metadata, committed) = committed.map_err(|_| hangs(&doing))?;
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(metadata);
        settled(queue, &doing, committed)?;
        offsets.committed();
        Ok(())
    }

    /// Hands a record over, waiting for room.
    fn produce(
        &self,
        queue: &Queue,
        topic: usize,
        record: &Record<'_>,
        since: Instant,
    ) -> Result<(), Failure> {
        loop {
            match self.session().producer.produce_unwatched(topic, record) {
                Ok(()) => return Ok(()),
                Err(Code::QueueFull) => self.poll(queue, since)?,
                Err(code) => return Err(self.session().failure(&queue.options, code)),
            }
        }
    }

    /// Waits for acknowledgements.
    fn poll(&self, queue: &Queue, since: Instant) -> Result<(), Failure> {
        if let Some(code) = self.session().producer.poll(POLL).failed {
            return Err(self.session().failure(&queue.options, code));
        }
        if since.elapsed() > DELIVERY_LIMIT {
            return Err(queue.watch.trouble().unwrap_or_else(|| {
                Failure::retry(format!("{}: the broker does not acknowledge in time", queue.options.doing()))
            }));
        }
        Ok(())
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // Ending a client can take as long as any of its calls. What it may still do is fenced by the next one.
        let session = self.session.take();
        self.watchdog.leave(move || drop(session));
    }
}

impl Queue {
    pub(super) fn failure(&self, doing: &str, problem: &KafkaError) -> Failure {
        match problem {
            // Its code says more than its kind.
            KafkaError::Transaction(problem) => {
                let text = problem.string();
                error::code_failure(&self.options.connection.name, doing, problem.code(), Some(&text))
            }
            other => self.watch.failure(doing, other),
        }
    }
}

fn settled(queue: &Queue, doing: &str, committed: Result<(), KafkaError>) -> Result<(), Failure> {
    committed.map_err(|problem| queue.failure(doing, &problem))
}

fn hangs(doing: &str) -> Failure {
    Failure::retry(format!("{doing}: the client does not return; it is given up"))
}

/// Metadata of a group that nobody is in: the value that stands in while the real one is used.
fn spare_metadata(queue: &Queue) -> Result<ConsumerGroupMetadata, Failure> {
    let doing = queue.options.doing();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("group.id", "nobody")
        .create()
        .map_err(|problem| queue.failure(&doing, &problem))?;
    Ok(consumer.group_metadata().expect("a consumer with a group id has metadata"))
}
