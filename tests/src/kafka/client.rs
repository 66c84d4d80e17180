//! What tests do to a cluster as any other client would: topics, records, transactions, groups.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{FromClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

use super::{Record, Tail};
use crate::wait::{LIMIT, eventually};

/// What the cluster does within one request.
const REQUEST: Duration = Duration::from_secs(30);

/// A client of one cluster. Cheap to clone; every call connects anew, so nothing outlives a fault.
#[derive(Clone)]
pub struct Client {
    config: ClientConfig,
}

/// Produces to one topic, idempotently and in order.
pub struct Writer {
    producer: ThreadedProducer<Deliveries>,
    topic: String,
}

impl Writer {
    /// Produces records in order and waits for all acknowledgements; gives partition and offset of each.
    #[track_caller]
    pub fn write(&self, records: impl IntoIterator<Item = Record>) -> Vec<(i32, i64)> {
        send(&self.producer, &self.topic, records).expect("all records are acknowledged")
    }
}

/// Collects what became of each record.
#[derive(Default)]
struct Deliveries(Mutex<BTreeMap<usize, Delivery>>);

/// Where a record went, or why it did not.
type Delivery = Result<(i32, i64), KafkaError>;

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let result = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number, result);
    }
}

impl Client {
    /// A client of these brokers.
    pub fn new(bootstrap: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("topic.metadata.refresh.interval.ms", "1000");
        Self { config }
    }

    /// The same with a further setting of librdkafka's.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.config.set(name, value);
        self
    }

    /// Makes a topic, with as many copies as is usual in this cluster, and waits until every partition has a leader.
    #[track_caller]
    pub fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let new = settings
            .iter()
            .fold(NewTopic::new(topic, partitions, TopicReplication::Fixed(-1)), |new, (name, value)| {
                new.set(name, value)
            });
        let admin = self.admin();
        let made = block_on(admin.create_topics([&new], &options())).expect("the cluster answers");
        assert!(made.iter().all(Result::is_ok), "topic `{topic}` cannot be made: {made:?}");
        self.wait_for_leaders(topic, partitions);
    }

    /// Waits until a topic has that many partitions, each with a leader.
    #[track_caller]
    pub fn wait_for_leaders(&self, topic: &str, partitions: i32) {
        let consumer: BaseConsumer = self.make(&[]);
        eventually("every partition has a leader", || {
            let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
            let known = metadata.topics()[0].partitions();
            let led = known.iter().filter(|partition| partition.leader() >= 0).count();
            (i32::try_from(led) == Ok(partitions)).then_some(())
        });
    }

    /// Deletes a topic and waits until it is gone.
    #[track_caller]
    pub fn delete(&self, topic: &str) {
        let admin = self.admin();
        let gone = block_on(admin.delete_topics(&[topic], &options())).expect("the cluster answers");
        assert!(gone.iter().all(Result::is_ok), "topic `{topic}` cannot be deleted: {gone:?}");
        eventually("the topic is gone", || (!self.topics().contains(&topic.to_owned())).then_some(()));
    }

    /// Gives a topic more partitions.
    #[track_caller]
    pub fn grow(&self, topic: &str, partitions: i32) {
        let count = usize::try_from(partitions).expect("a count");
        let admin = self.admin();
        let grown = block_on(admin.create_partitions([&NewPartitions::new(topic, count)], &options()));
        let grown = grown.expect("the cluster answers");
        assert!(grown.iter().all(Result::is_ok), "topic `{topic}` cannot grow: {grown:?}");
        self.wait_for_leaders(topic, partitions);
    }

    /// Deletes the records of a partition before an offset.
    #[track_caller]
    pub fn truncate(&self, topic: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).expect("an offset");
        let admin = self.admin();
        let gone = block_on(admin.delete_records(&list, &options())).expect("the cluster answers");
        let element = gone.find_partition(topic, partition).expect("it was asked for");
        element.error().expect("records can be deleted");
    }

    /// The topics, but for Kafka's own.
    pub fn topics(&self) -> Vec<String> {
        let consumer: BaseConsumer = self.make(&[]);
        let metadata = eventually("the cluster lists its topics", || {
            consumer.fetch_metadata(None, Duration::from_secs(5)).ok()
        });
        let names = metadata.topics().iter().filter(|topic| topic.error().is_none());
        names.map(|topic| topic.name().to_owned()).filter(|name| !name.starts_with("__")).collect()
    }

    /// The brokers that the cluster lists.
    pub fn brokers(&self) -> usize {
        let consumer: BaseConsumer = self.make(&[]);
        consumer.fetch_metadata(None, Duration::from_secs(2)).map_or(0, |metadata| metadata.brokers().len())
    }

    /// The broker that leads a partition.
    #[track_caller]
    pub fn leader(&self, topic: &str, partition: i32) -> i32 {
        let consumer: BaseConsumer = self.make(&[]);
        eventually("the partition has a leader", || {
            let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
            let mut known = metadata.topics()[0].partitions().iter();
            let leader = known.find(|known| known.id() == partition)?.leader();
            (leader >= 0).then_some(leader)
        })
    }

    /// First offset and end of each partition; open transactions do not count.
    #[track_caller]
    pub fn ends(&self, topic: &str) -> BTreeMap<i32, (i64, i64)> {
        let consumer: BaseConsumer = self.make(&[("isolation.level", "read_committed")]);
        let numbers = self.partitions(topic);
        numbers
            .into_iter()
            .map(|number| {
                let ends = consumer.fetch_watermarks(topic, number, REQUEST).expect("the leader answers");
                (number, ends)
            })
            .collect()
    }

    /// A producer for a topic that lasts.
    pub fn writer(&self, topic: &str) -> Writer {
        let settings = [("enable.idempotence", "true"), ("linger.ms", "2")];
        let producer = self.producer(&settings).expect("the settings are right");
        Writer { producer, topic: topic.to_owned() }
    }

    /// Produces records in order and waits for all acknowledgements; gives partition and offset of each.
    #[track_caller]
    pub fn produce(&self, topic: &str, records: impl IntoIterator<Item = Record>) -> Vec<(i32, i64)> {
        self.writer(topic).write(records)
    }

    /// Produces records in one transaction, which is committed or aborted.
    #[track_caller]
    pub fn transaction(&self, topic: &str, records: impl IntoIterator<Item = Record>, commit: bool) {
        let id = super::name("transaction");
        let producer: ThreadedProducer<Deliveries> =
            self.producer(&[("transactional.id", &id)]).expect("the settings are right");
        producer.init_transactions(REQUEST).expect("the cluster has a coordinator");
        producer.begin_transaction().expect("none is open");
        send(&producer, topic, records).expect("all records are acknowledged");
        if commit {
            producer.commit_transaction(REQUEST).expect("the transaction can be committed");
        } else {
            producer.abort_transaction(REQUEST).expect("the transaction can be aborted");
        }
    }

    /// Every committed record of a topic, partition by partition.
    #[track_caller]
    pub fn read(&self, topic: &str) -> Vec<Record> {
        self.read_from(topic, &self.beginning(topic))
    }

    #[track_caller]
    fn read_from(&self, topic: &str, from: &TopicPartitionList) -> Vec<Record> {
        let consumer: BaseConsumer =
            self.consumer(&[("isolation.level", "read_committed"), ("enable.partition.eof", "true")]);
        consumer.assign(from).expect("partitions can be assigned");
        let started = Instant::now();
        let mut left = from.count();
        let mut records = Vec::new();
        while left > 0 {
            assert!(started.elapsed() < LIMIT, "topic `{topic}` cannot be read to its end");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => records.push(Record::read(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
                // Brokers that come and go.
                Some(Err(_)) | None => {}
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// Follows a topic's committed records from the beginning, beside the test.
    #[track_caller]
    pub fn tail(&self, topic: &str) -> Tail {
        Tail::start(self, topic)
    }

    /// Waits until a topic has that many committed records, and gives them.
    #[track_caller]
    pub fn read_when(&self, topic: &str, count: usize) -> Vec<Record> {
        let tail = self.tail(topic);
        let started = Instant::now();
        while tail.count() < count {
            assert!(
                started.elapsed() < LIMIT,
                "waited for {count} records in `{topic}`, there are {}",
                tail.count()
            );
            thread::park_timeout(Duration::from_millis(10));
        }
        drop(tail);
        self.read(topic)
    }

    /// What a group has committed for a topic: offset and metadata by partition.
    #[track_caller]
    pub fn commits(&self, group: &str, topic: &str) -> BTreeMap<i32, (i64, String)> {
        let consumer: BaseConsumer = self.consumer(&[("group.id", group)]);
        let list = eventually("the group has a coordinator", || {
            consumer.committed_offsets(self.beginning(topic), Duration::from_secs(5)).ok()
        });
        list.elements()
            .iter()
            .filter_map(|element| {
                let offset = element.offset().to_raw().filter(|offset| *offset >= 0)?;
                Some((element.partition(), (offset, element.metadata().to_owned())))
            })
            .collect()
    }

    /// Commits an offset for a group that has no members.
    #[track_caller]
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let consumer: BaseConsumer = self.consumer(&[("group.id", group)]);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        eventually("the offset is committed", || consumer.commit(&list, CommitMode::Sync).ok());
    }

    /// State of a group and the number of its members; `None` if it is not there.
    pub fn group(&self, group: &str) -> Option<(String, usize)> {
        let consumer: BaseConsumer = self.make(&[]);
        let list = consumer.fetch_group_list(Some(group), Duration::from_secs(10)).ok()?;
        let known = list.groups().iter().find(|known| known.name() == group)?;
        Some((known.state().to_owned(), known.members().len()))
    }

    /// The beginnings of a topic's partitions.
    #[track_caller]
    pub(super) fn beginning(&self, topic: &str) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for number in self.partitions(topic) {
            list.add_partition_offset(topic, number, Offset::Beginning).expect("an offset");
        }
        list
    }

    #[track_caller]
    fn partitions(&self, topic: &str) -> Vec<i32> {
        let consumer: BaseConsumer = self.make(&[]);
        eventually("the topic is there", || {
            let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
            let numbers: Vec<i32> = metadata.topics()[0]
                .partitions()
                .iter()
                .map(rdkafka::metadata::MetadataPartition::id)
                .collect();
            (!numbers.is_empty()).then_some(numbers)
        })
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.make(&[])
    }

    pub(super) fn consumer(&self, settings: &[(&str, &str)]) -> BaseConsumer {
        let common =
            [("enable.auto.commit", "false"), ("auto.offset.reset", "error"), ("fetch.wait.max.ms", "50")];
        self.make(&[&[("group.id", "reader")], &common[..], settings].concat())
    }

    fn producer(&self, settings: &[(&str, &str)]) -> KafkaResult<ThreadedProducer<Deliveries>> {
        let mut config = self.config.clone();
        config.set("acks", "all").set("partitioner", "murmur2").set("message.max.bytes", "100000000");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        ThreadedProducer::from_config_and_context(&config, Deliveries::default())
    }

    fn make<T: FromClientConfig>(&self, settings: &[(&str, &str)]) -> T {
        let mut config = self.config.clone();
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config.create().expect("the settings are right")
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(REQUEST)).request_timeout(Some(REQUEST))
}

/// Hands records over in order and waits until each is acknowledged.
fn send(
    producer: &ThreadedProducer<Deliveries>,
    topic: &str,
    records: impl IntoIterator<Item = Record>,
) -> KafkaResult<Vec<(i32, i64)>> {
    let mut count = 0;
    for (number, record) in records.into_iter().enumerate() {
        count = number + 1;
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let mut base = BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, number).headers(headers);
        base.key = record.key.as_deref();
        base.payload = record.value.as_deref();
        base.partition = record.partition;
        base.timestamp = record.timestamp;
        loop {
            match producer.send(base) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    base = again;
                    thread::park_timeout(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
    producer.flush(LIMIT)?;
    let delivered = std::mem::take(&mut *producer.context().0.lock().unwrap_or_else(PoisonError::into_inner));
    assert_eq!(delivered.len(), count, "every record has a delivery report once all is flushed");
    delivered.into_values().collect()
}

/// Waits for a future: the client library completes it on a thread of its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
