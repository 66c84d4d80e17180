//! The topics of a source, apart from its group: readers of their partitions, and questions about offsets.
//!
//! Knows nothing of who reads which partition or how far anybody is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::error::{Disposition, Failure};
use model::position::{Partition, Position};
use model::source::{Point, Positions, Reader};
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::reader::KafkaReader;
use crate::kafka::{Connection, Shared, SourceMetrics, Watch, error, topic_and_number};
use crate::source::OutOfRange;

/// Bytes of records that a reader's client holds before they are taken. Less, and it may not have the next ones when
/// they are wanted; more, and a source that nobody reads fast enough costs that memory for each of its readers.
const HELD_KILOBYTES: &str = "4096";

/// Bytes that one answer of a broker may have, if no single record is larger.
const ANSWER_BYTES: &str = "16777216";

/// Bytes of one partition in it, if no single record is larger: an answer is taken apart at once, and each record costs
/// several times its bytes until it is taken.
const PARTITION_BYTES: &str = "524288";

/// How long a broker may take to answer a question.
const ASK: Duration = Duration::from_secs(10);

/// How long the client for questions is kept after the last one.
const KEEP_CLIENT: Duration = Duration::from_secs(10);

/// How topics are read.
#[derive(Clone)]
pub struct TopicSetOptions {
    /// The source's name, for messages and metrics.
    pub name: String,
    /// The cluster.
    pub connection: Connection,
    /// The topics.
    pub topics: Vec<String>,
    /// What to do when a position is not there any more.
    pub out_of_range: OutOfRange,
    /// Whether events bring their headers, which costs a fifth of the reading even where there are none.
    pub with_headers: bool,
    /// Further consumer settings, by librdkafka's names. What a promise rests on wins.
    pub options: BTreeMap<String, String>,
    /// Metrics and what is known of clusters.
    pub shared: Shared,
}

/// Reads topics of one cluster.
#[derive(Clone)]
pub struct TopicSet {
    pub(super) core: Arc<Core>,
}

/// What readers share.
pub(super) struct Core {
    pub(super) name: String,
    pub(super) connection: Connection,
    pub(super) topics: Vec<String>,
    pub(super) out_of_range: OutOfRange,
    /// Whether events bring their headers.
    pub(super) with_headers: AtomicBool,
    pub(super) watch: Watch,
    pub(super) metrics: SourceMetrics,
    options: BTreeMap<String, String>,
    /// Made for the first question and dropped after the last: nobody hears its log in between.
    questions: Mutex<Option<Questions>>,
}

struct Questions {
    client: BaseConsumer<Watch>,
    asked: Instant,
}

impl TopicSet {
    /// Connects to nobody yet.
    pub fn new(options: TopicSetOptions) -> Self {
        let TopicSetOptions { name, connection, topics, out_of_range, with_headers, options, shared } =
            options;
        let metrics = shared.metrics().source(&name);
        let watch = shared.watch(&connection);
        let questions = Mutex::default();
        let core = Core {
            name,
            connection,
            topics,
            out_of_range,
            with_headers: AtomicBool::new(with_headers),
            watch,
            metrics,
            options,
            questions,
        };
        Self { core: Arc::new(core) }
    }

    /// From now on events bring their headers: somebody looks at them.
    pub fn bring_headers(&self) {
        self.core.with_headers.store(true, Ordering::Relaxed);
    }

    /// A reader of these partitions that starts behind the given positions.
    pub fn read(&self, partitions: &[Partition], after: &Positions) -> Result<Box<dyn Reader>, Failure> {
        Ok(Box::new(KafkaReader::new(Arc::clone(&self.core), partitions, after)?))
    }

    /// The position right before a point; `None` = nothing lies before. Only a group knows what is committed.
    pub fn find(&self, partition: &Partition, point: &Point) -> Result<Option<Position>, Failure> {
        match point {
            Point::Earliest => Ok(None),
            Point::Latest => Ok(before(self.range(partition)?.1)),
            Point::Time(time) => Ok(before(self.offset_at(partition, *time)?)),
            Point::Numbers(numbers) => match numbers.get(partition) {
                Some(number) => Ok(before(*number)),
                None => Err(Failure::stop(format!(
                    "find the start in partition `{partition}` of source `{}`: offsets are given for {} only; add one \
                     for this partition, or start at `earliest`, `latest` or a time",
                    self.core.name,
                    list(numbers.keys().map(Partition::as_str))
                ))),
            },
            Point::Committed => Err(Failure::stop(format!(
                "find what is committed in partition `{partition}` of source `{}`: it is read without a group",
                self.core.name
            ))),
        }
    }

    /// Position of the last record that exists now; `None` if there is none.
    pub fn end(&self, partition: &Partition) -> Result<Option<Position>, Failure> {
        let (low, high) = self.range(partition)?;
        Ok(if low < high { before(high) } else { None })
    }

    /// How many partitions the topics have at this moment; a topic that is missing has none.
    pub fn count(&self) -> Result<usize, Failure> {
        let doing = format!("count the partitions of source `{}`", self.core.name);
        let mut count = 0;
        for topic in &self.core.topics {
            let metadata = self.core.ask(&doing, |client| client.fetch_metadata(Some(topic), ASK))?;
            let found = metadata.topics().iter().filter(|found| found.name() == topic);
            count += found.map(|found| found.partitions().len()).sum::<usize>();
        }
        Ok(count)
    }

    /// Offset of the first record of a partition, and the offset behind the last one that is not part of an open
    /// transaction.
    pub fn range(&self, partition: &Partition) -> Result<(u64, u64), Failure> {
        self.core.range(partition)
    }

    /// Offset of the first record that is from this time or later, microseconds since the epoch; behind the last one
    /// if there is none.
    pub fn offset_at(&self, partition: &Partition, time: i64) -> Result<u64, Failure> {
        let (topic, number) = self.core.place(partition)?;
        let doing = format!("find a time in partition `{partition}` of source `{}`", self.core.name);
        // Kafka's times are milliseconds: the first one that is not before the time.
        let milliseconds = time.div_euclid(1000) + i64::from(time.rem_euclid(1000) != 0);
        let found = self.core.ask(&doing, |client| {
            let mut times = TopicPartitionList::new();
            times.add_partition_offset(topic, number, Offset::Offset(milliseconds.max(0)))?;
            let found = client.offsets_for_times(times, ASK)?;
            let Some(element) = found.find_partition(topic, number) else { return Ok(Offset::End) };
            element.error()?;
            Ok(element.offset())
        })?;
        match found {
            Offset::Offset(offset) => Ok(u64::try_from(offset).unwrap_or(0)),
            _ => Ok(self.range(partition)?.1),
        }
    }
}

impl Core {
    /// The first offset, and the one behind the last.
    pub(super) fn range(&self, partition: &Partition) -> Result<(u64, u64), Failure> {
        let (topic, number) = self.place(partition)?;
        let doing = format!("learn which offsets partition `{partition}` of source `{}` has", self.name);
        let (low, high) = self.ask(&doing, |client| client.fetch_watermarks(topic, number, ASK))?;
        Ok((u64::try_from(low).unwrap_or(0), u64::try_from(high).unwrap_or(0)))
    }

    /// Topic and number of a partition of this source.
    pub(super) fn place<'a>(&self, partition: &'a Partition) -> Result<(&'a str, i32), Failure> {
        match topic_and_number(partition) {
            Some((topic, number)) if self.topics.iter().any(|known| known == topic) => Ok((topic, number)),
            _ => Err(Failure::stop(format!(
                "use partition `{partition}` of source `{}`: its partitions are called `TOPIC-NUMBER`, its topics are {}",
                self.name,
                list(self.topics.iter().map(String::as_str))
            ))),
        }
    }

    /// The offset behind a position.
    pub(super) fn offset(&self, position: &Position) -> Result<u64, Failure> {
        position.as_u64().ok_or_else(|| {
            Failure::stop(format!(
                "use position {position} of source `{}`: its positions have 8 bytes",
                self.name
            ))
        })
    }

    /// A client that reads without a group.
    pub(super) fn reading_client(&self) -> Result<BaseConsumer<Watch>, Failure> {
        let mut config = self.connection.config();
        for (key, value) in &self.options {
            config.set(key, value);
        }
        // Readers commit nothing: the group does, on a client of its own.
        config
            .remove("group.id")
            .remove("group.instance.id")
            .remove("group.protocol")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            // A hundredth of the reading: what a bad cable makes of a record does not become a feature.
            .set("check.crcs", "true");
        let mut prefer = |key: &str, value: &str| {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        };
        prefer("queued.max.messages.kbytes", HELD_KILOBYTES);
        // Bytes are what bounds the queue.
        prefer("queued.min.messages", "10000000");
        prefer("fetch.max.bytes", ANSWER_BYTES);
        prefer("max.partition.fetch.bytes", PARTITION_BYTES);
        // Once the queue is full, the second that librdkafka would wait by itself leaves the reader with nothing to do.
        prefer("fetch.queue.backoff.ms", "10");
        // A source that was away goes on soon after its brokers are back.
        prefer("reconnect.backoff.max.ms", "2000");
        self.client(&config)
    }

    /// Asks a broker something about this source.
    fn ask<T>(
        &self,
        doing: &str,
        question: impl FnOnce(&BaseConsumer<Watch>) -> KafkaResult<T>,
    ) -> Result<T, Failure> {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        if questions.is_none() {
            *questions = Some(Questions { client: self.reading_client()?, asked: Instant::now() });
        }
        let questions = questions.as_mut().expect("a client was made if there was none");
        let answer = question(&questions.client);
        questions.asked = Instant::now();
        // Errors that explain the answer are waiting.
        while questions.client.poll(Duration::ZERO).is_some() {}
        answer.map_err(|error| match error::code(&error) {
            // A partition that was just added is not known to all brokers, nor to this client, at the same moment.
            Some(code) if error::is_unknown_topic(code) => Failure::retry(format!(
                "{doing} through connection `{}`: its brokers do not know it, or not yet",
                self.connection.name
            )),
            _ => self.watch.failure(doing, &error),
        })
    }

    /// Drops the client for questions if nobody asks any more.
    pub(super) fn look_after_questions(&self) {
        // Whoever holds the lock is asking.
        if let Ok(mut questions) = self.questions.try_lock()
            && questions.as_ref().is_some_and(|questions| KEEP_CLIENT <= questions.asked.elapsed())
        {
            *questions = None;
        }
    }

    /// Fails while no broker lets us in. That a broker is away is no failure of a reader, which has only to wait.
    pub(super) fn refused(&self) -> Result<(), Failure> {
        match self.watch.trouble() {
            // Credentials may be mended where the brokers are, so that trying again can help.
            Some(failure) if failure.disposition == Disposition::Stop => {
                Err(Failure::retry(failure.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn client(&self, config: &ClientConfig) -> Result<BaseConsumer<Watch>, Failure> {
        BaseConsumer::from_config_and_context(config, self.watch.clone())
            .map_err(|error| self.watch.failure(&format!("read source `{}`", self.name), &error))
    }
}

/// The position right before an offset.
fn before(offset: u64) -> Option<Position> {
    offset.checked_sub(1).map(Position::from_u64)
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
