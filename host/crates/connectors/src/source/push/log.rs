//! The push log as the rest of the host sees it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use futures_core::future::BoxFuture;
use model::codec::Format;
use model::error::Failure;
use model::position::{Partition, Position};
use model::source::{Positions, Push, PushAck, PushError, PushRequest, Reader, Source};
use model::time::Clock;
use tokio::sync::oneshot;

use super::core::Core;
use super::faults::Faults;
use super::files::Files;
use super::queue::{Append, Queue, Taken};
use super::reader::PushReader;
use super::recovery::{self, Recovered};
use super::tail::Tail;
use super::validate::Validator;
use super::writer::Writer;
use crate::source::single::{self, PARTITION};

/// Bytes in the name of a producer. Bounds what is remembered of all of them together.
pub const MAX_PRODUCER_NAME_BYTES: usize = 256;

/// Bytes of rows in one push, whatever the caller allows: a frame of the log has to stay far below 4 GiB.
const MAX_PUSH_BYTES: u64 = 1 << 30;

/// How a push log is set up.
pub struct PushOptions {
    /// Name of the source, for messages.
    pub name: String,
    /// Where the log's files are; made if it is missing.
    pub directory: PathBuf,
    /// What the rows have to be.
    pub format: Arc<dyn Format>,
    /// The source's `timestamp_field`, or [`model::codec::metadata::INGEST_TIME`].
    pub timestamp_column: String,
    /// Earlier event times are refused: microseconds since the epoch.
    pub earliest: i64,
    /// Event times further ahead of the clock than this are refused: microseconds.
    pub max_future: i64,
    /// Bytes that no view has finished with, beyond which pushes are refused until views catch up.
    pub max_log_bytes: u64,
    /// Bytes in one file of the log. Smaller files are given back sooner; larger ones are changed less often.
    pub segment_bytes: u64,
    /// Bytes in one row; larger ones are refused.
    pub max_row_bytes: usize,
    /// Bytes of the newest rows that are kept in memory for readers that keep up.
    pub memory_bytes: usize,
    /// Says when a row was taken.
    pub clock: Arc<dyn Clock>,
}

/// A durable log of pushed events.
///
/// Pushes are checked on the task of the caller; one thread of its own writes and syncs. Dropping the log closes it.
pub struct PushLog {
    pushes: Arc<Pushes>,
    core: Arc<Core>,
    /// Until the log is closed.
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What a push in flight holds on to.
struct Pushes {
    core: Arc<Core>,
    validator: Validator,
    clock: Arc<dyn Clock>,
}

impl PushLog {
    /// Opens the log in its directory, which is made if it is missing, and starts the thread that writes it.
    ///
    /// Fails if the log is damaged before its last frame or has another format version, if the directory cannot be
    /// used, and if the schema has no timestamp column of the name given.
    pub fn open(options: PushOptions) -> Result<Arc<Self>, Failure> {
        Self::open_with(options, Faults::default())
    }

    pub(super) fn open_with(options: PushOptions, faults: Faults) -> Result<Arc<Self>, Failure> {
        let PushOptions { name, directory, .. } = options;
        let validator = Validator::new(
            options.format,
            Partition::new(PARTITION),
            &options.timestamp_column,
            (options.earliest, options.max_future),
            options.max_row_bytes,
        )
        .map_err(|failure| {
            Failure::stop(format!("open the push log of source `{name}`")).caused_by(failure)
        })?;
        let Recovered { segments, active, next, producers } = recovery::recover(&name, &directory, &faults)?;
        let has_rows = segments.back().is_some_and(|newest| newest.first < next);
        let core = Arc::new(Core {
            name,
            max_log_bytes: options.max_log_bytes,
            queue: Queue::new(),
            files: Files::new(directory.clone(), segments, next),
            directory,
            tail: Tail::new(next, options.memory_bytes),
            trouble: Mutex::new(None),
        });
        let writer = Writer::new(
            Arc::clone(&core),
            active,
            (next, has_rows),
            producers,
            options.segment_bytes,
            faults,
        );
        let thread =
            thread::Builder::new().name("push-log".into()).spawn(move || writer.run()).map_err(|error| {
                Failure::retry(format!("start the log thread of source `{}`", core.name)).caused_by(error)
            })?;
        let pushes = Arc::new(Pushes { core: Arc::clone(&core), validator, clock: options.clock });
        Ok(Arc::new(Self { pushes, core, thread: Mutex::new(Some(thread)) }))
    }

    /// Refuses further pushes, finishes those that wait, and ends the thread. Readers go on.
    ///
    /// Blocks for the syncs that are left, a few milliseconds on a disk that works.
    pub fn close(&self) {
        self.core.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(source = self.core.name, "the thread of the push log panicked");
        }
    }

    /// Bytes of rows that views have not finished with; pushes are refused when they reach the limit.
    pub fn unreleased_bytes(&self) -> u64 {
        self.core.files.unreleased()
    }

    /// Why pushes fail, such as a full disk; `None` once one succeeded.
    pub fn trouble(&self) -> Option<String> {
        self.core.trouble()
    }

    fn sequence(&self, position: &Position) -> Result<u64, Failure> {
        single::number(&self.core.name, position)
    }
}

impl Drop for PushLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Source for PushLog {
    fn partitions(&self) -> Result<Vec<Partition>, Failure> {
        Ok(vec![Partition::new(PARTITION)])
    }

    fn end(&self, partition: &Partition) -> Result<Option<Position>, Failure> {
        single::check(&self.core.name, partition)?;
        Ok(self.core.tail.next().checked_sub(1).map(Position::from_u64))
    }

    /// Without a position reading begins with the oldest row that is kept. A position behind the end is refused: the
    /// log was lost, and new rows would be taken for old ones.
    fn read(&self, partitions: &[Partition], after: &Positions) -> Result<Box<dyn Reader>, Failure> {
        let partition = single::only(&self.core.name, partitions)?;
        let first = match after.get(partition) {
            None => self.core.files.first(),
            Some(position) => self.sequence(position)? + 1,
        };
        let end = self.core.tail.next();
        if first > end {
            let directory = self.core.directory.display();
            return Err(Failure::stop(format!(
                "read source `{}` behind event {}: its log ends before event {end}: `{directory}` was emptied or \
                 replaced by an older copy; put back the one that belongs to the online store",
                self.core.name,
                first - 1
            )));
        }
        Ok(Box::new(PushReader::new(Arc::clone(&self.core), partition.clone(), first)))
    }

    fn release(
        &self,
        partition: &Partition,
        through: Option<&Position>,
        _views: &std::collections::BTreeMap<String, model::source::ViewProgress>,
    ) -> Result<(), Failure> {
        single::check(&self.core.name, partition)?;
        let Some(through) = through else { return Ok(()) };
        let next = self.sequence(through)?.saturating_add(1);
        self.core.files.release(next).map_err(|error| {
            let (name, directory) = (&self.core.name, self.core.directory.display());
            Failure::retry(format!("delete released files of source `{name}` in `{directory}`"))
                .caused_by(error)
        })
    }
}

impl Push for PushLog {
    fn push(&self, request: PushRequest) -> BoxFuture<'static, Result<PushAck, PushError>> {
        let pushes = Arc::clone(&self.pushes);
        Box::pin(async move { pushes.push(request).await })
    }

    fn partition(&self) -> Partition {
        Partition::new(PARTITION)
    }
}

impl Pushes {
    async fn push(&self, request: PushRequest) -> Result<PushAck, PushError> {
        if self.core.queue.is_closed() {
            return Err(PushError::Stopping);
        }
        if let Some((name, _)) = &request.producer
            && name.len() > MAX_PRODUCER_NAME_BYTES
        {
            let message = format!(
                "use a producer name of {} bytes: at most {MAX_PRODUCER_NAME_BYTES} are allowed",
                name.len()
            );
            return Err(PushError::Failed(Failure::stop(message)));
        }
        // A repeat is answered even then; and the log thread looks again, at what the group before has left.
        if request.producer.is_none() && self.core.is_full() {
            return Err(PushError::Full(self.core.name.clone()));
        }
        let now = self.clock.now().0;
        let mut checked = self.validator.check(&request, now);
        if checked.good.is_empty() {
            return Ok(PushAck { accepted: 0, rejected: checked.refused, through: None, repeated: false });
        }
        let taken = self.log(&request, checked.good, now).await?;
        if let Some(first_time) = taken.repeat_of
            && first_time != now
            && taken.accepted as usize != request.rows.len()
        {
            // What was refused is not remembered, but found again in the same way: a row that was too far ahead of the
            // clock then must not count as taken now.
            checked.refused = self.validator.check(&request, first_time).refused;
        }
        Ok(PushAck {
            accepted: taken.accepted,
            rejected: checked.refused,
            through: Some(Position::from_u64(taken.through)),
            repeated: taken.repeat_of.is_some(),
        })
    }

    async fn log(&self, request: &PushRequest, rows: Vec<(u32, u32)>, now: i64) -> Result<Taken, PushError> {
        let room =
            self.core.queue.room_for(request.body.len() + rows.len() * size_of::<(u32, u32)>()).await?;
        let bytes = rows.iter().map(|(start, end)| u64::from(end - start) + 4).sum::<u64>();
        if bytes > MAX_PUSH_BYTES {
            let message =
                format!("log a push of {bytes} bytes: at most {MAX_PUSH_BYTES} are taken; send it in parts");
            return Err(PushError::Failed(Failure::stop(message)));
        }
        let (answer, answered) = oneshot::channel();
        let (body, producer) = (request.body.clone(), request.producer.clone());
        self.core.queue.put(Append { body, rows, ingest_time: now, producer, answer, room })?;
        answered.await.unwrap_or_else(|_gone| {
            let message =
                format!("write the log of source `{}`: its thread ended; restart the host", self.core.name);
            Err(PushError::Failed(Failure::stop(message)))
        })
    }
}
