//! The topic `millrace-progress`: through where exactly-once streams are whose source's group cannot be in their
//! transactions. One compacted partition; a record is written within the transaction of the rows that it covers.
//!
//! The key is a JSON array of project, view, source, partition and, where each host reads for itself, the host's instance;
//! the value `{"position":"<hex>","epoch":0}`. A position of `null` means that nothing counts as emitted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use model::error::Failure;
use model::position::{Partition, Position};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::options::KafkaOutputOptions;
use super::topic;
use crate::kafka::{Connection, Watch};

/// Its name.
pub(super) const PROGRESS_TOPIC: &str = "millrace-progress";
/// How long to read it at most: longer than a transaction that was left open can last.
const READ_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// How far a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) through: Option<Position>,
    pub(super) epoch: u32,
}

#[derive(Serialize, Deserialize)]
struct Value {
    position: Option<String>,
    epoch: u32,
}

/// The records of one view.
pub(super) struct Log {
    connection: Connection,
    watch: Watch,
    doing: String,
    project: String,
    view: String,
    source: String,
    instance: Option<String>,
}

impl Log {
    /// Makes the topic if it is missing. `shared`: whether partitions move between hosts.
    pub(super) fn open(options: &KafkaOutputOptions, watch: &Watch, shared: bool) -> Result<Self, Failure> {
        topic::ensure_progress(options, watch)?;
        Ok(Self {
            connection: options.connection.clone(),
            watch: watch.clone(),
            doing: format!("read the progress of view `{}` from topic `{PROGRESS_TOPIC}`", options.view),
            project: options.project.clone(),
            view: options.view.clone(),
            source: options.source.clone(),
            instance: (!shared).then(|| options.instance.clone()),
        })
    }

    /// Key and value of a record.
    pub(super) fn record(&self, partition: &Partition, mark: Mark) -> (Vec<u8>, Vec<u8>) {
        let position = mark.through.map(|through| through.to_string());
        let mut key: Vec<&str> = vec![&self.project, &self.view, &self.source, partition.as_str()];
        key.extend(self.instance.as_deref());
        let text = |json: serde_json::Result<Vec<u8>>| json.expect("texts and numbers are JSON");
        (text(serde_json::to_vec(&key)), text(serde_json::to_vec(&Value { position, epoch: mark.epoch })))
    }

    /// The partition that a key is about, if it is one of this view's here.
    fn partition(&self, key: &[u8]) -> Option<Partition> {
        let key: Vec<String> = serde_json::from_slice(key).ok()?;
        let (ours, rest) = key.split_at_checked(3)?;
        let (partition, instance) = rest.split_first()?;
        let is_ours = ours == [&*self.project, &*self.view, &*self.source]
            && instance.first() == self.instance.as_ref()
            && instance.len() <= 1;
        is_ours.then(|| Partition::new(partition))
    }

    /// Reads the topic to its end, waiting for transactions that are open. Blocks.
    pub(super) fn read(&self) -> Result<HashMap<Partition, Mark>, Failure> {
        let failed = |error| self.watch.failure(&self.doing, &error);
        let since = Instant::now();
        let mut config = self.connection.config();
        // No group is joined; the library wants a name all the same.
        config
            .set("group.id", "millrace-progress-reader")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false");
        let consumer: BaseConsumer<Watch> = config.create_with_context(self.watch.clone()).map_err(failed)?;
        // Who reads what was committed hears of an end before the first transaction that is open, whoever's that is: what
        // was committed behind it would be missed.
        config.set("isolation.level", "read_uncommitted");
        let all: BaseConsumer<Watch> = config.create_with_context(self.watch.clone()).map_err(failed)?;
        let (low, end) = all.fetch_watermarks(PROGRESS_TOPIC, 0, READ_LIMIT).map_err(failed)?;
        drop(all);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(PROGRESS_TOPIC, 0, Offset::Offset(low)).map_err(failed)?;
        consumer.assign(&list).map_err(failed)?;
        let mut marks = HashMap::new();
        let mut at = low;
        while at < end {
            if since.elapsed() > READ_LIMIT {
                return Err(Failure::retry(format!("{}: a transaction stays open", self.doing)));
            }
            match consumer.poll(POLL) {
                Some(Ok(record)) => {
                    at = record.offset() + 1;
                    let Some(partition) = record.key().and_then(|key| self.partition(key)) else { continue };
                    match record.payload().map(serde_json::from_slice::<Value>) {
                        None => {
                            marks.remove(&partition);
                        }
                        Some(Ok(Value { position, epoch })) => {
                            let through = position.as_deref().and_then(Position::from_hex);
                            marks.insert(partition, Mark { through, epoch });
                        }
                        Some(Err(error)) => {
                            return Err(Failure::stop(format!(
                                "{}: the record at offset {} is not one of Millrace's",
                                self.doing,
                                record.offset()
                            ))
                            .caused_by(error));
                        }
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => return Err(failed(error)),
                // Behind the last record there may be marks of transactions, which are no records.
                None => {}
            }
            // The client's own position counts those too.
            let position = consumer.position().map_err(failed)?;
            if let Some(Offset::Offset(offset)) = position.elements().first().map(|element| element.offset())
            {
                at = at.max(offset);
            }
        }
        Ok(marks)
    }
}
