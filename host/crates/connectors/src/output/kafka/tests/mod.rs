//! What is in the topic after order, repeats, failures and fences; against librdkafka's mock cluster.

mod broker;
mod emitting;
mod exactly;
mod failing;
mod leases;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::error::Failure;
use model::output::Emission;
use model::position::Partition;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::options::{KafkaOutputOptions, Progress};
use super::session::Session;
use super::stream::Stream;
use crate::kafka::{Connection, Shared};
use crate::output::testing::{self, Kept, LIMIT, Letters, Memory};

pub(super) const TOPIC: &str = "features";

/// A stream to a mock cluster with one topic of two partitions.
pub(super) struct Rig {
    pub(super) stream: Stream,
    pub(super) mock: MockCluster<'static, DefaultProducerContext>,
    pub(super) memory: Arc<Memory>,
    pub(super) letters: Arc<Letters>,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    pub(super) fn new(settings: &[(&str, &str)]) -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic(TOPIC, 2, 1).unwrap();
        let letters = Arc::new(Letters::default());
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let options = options(&mock.bootstrap_servers(), settings.collect(), Arc::clone(&letters));
        let memory = Arc::new(Memory::default());
        let watch = options.shared.watch(&options.connection);
        let session = Session::open(&options, &watch, None);
        let stream = Stream::start(options, watch, Box::new(Kept(Arc::clone(&memory))), session).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { stream, mock, memory, letters, runtime }
    }

    /// Emits and waits.
    pub(super) fn emit(&self, emission: Emission) -> Result<(), Failure> {
        self.wait(self.stream.emit(emission))
    }

    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let timed = async { tokio::time::timeout(LIMIT, future).await };
        self.runtime.block_on(timed).expect("the stream answers")
    }

    pub(super) fn position(&self, partition: &str) -> Option<u64> {
        self.stream.position(&Partition::new(partition))?.as_u64()
    }

    /// The numbers in the keys of all records of the topic, by partition, in order.
    pub(super) fn numbers(&self) -> Vec<Vec<u64>> {
        let mut numbers = vec![Vec::new(); 2];
        for record in self.records() {
            numbers[record.partition].push(record.key.parse().unwrap());
        }
        numbers
    }

    /// All numbers, whichever partition they are in, sorted.
    pub(super) fn all(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.numbers().concat();
        numbers.sort_unstable();
        numbers
    }

    pub(super) fn records(&self) -> Vec<Record> {
        read(&self.mock.bootstrap_servers(), TOPIC, 2)
    }

    pub(super) fn letters(&self) -> Vec<(String, u64, usize)> {
        self.letters.written()
    }
}

pub(super) fn options(
    bootstrap_servers: &str,
    settings: BTreeMap<String, String>,
    letters: Arc<Letters>,
) -> KafkaOutputOptions {
    KafkaOutputOptions {
        project: "default".into(),
        view: "v".into(),
        source: "events".into(),
        connection: Connection {
            name: "main".into(),
            bootstrap_servers: bootstrap_servers.into(),
            tls: None,
            sasl: None,
            options: BTreeMap::new(),
        },
        topic: TOPIC.into(),
        create: None,
        // The mock cluster does not say.
        max_message_bytes: Some(crate::kafka::DEFAULT_MAX_MESSAGE_BYTES),
        exactly_once: false,
        options: settings,
        instance: "here".into(),
        progress: Progress::Topic { group: None },
        dead_letters: letters,
        shared: Shared::for_tests(),
    }
}

#[derive(Debug, PartialEq)]
pub(super) struct Record {
    pub(super) partition: usize,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) identity: String,
}

/// All records of a topic, read committed.
pub(super) fn read(bootstrap_servers: &str, topic: &str, partitions: usize) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap_servers)
        .set("group.id", "test")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut records, mut ended, since) = (Vec::new(), 0, Instant::now());
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    while ended < partitions {
        assert!(since.elapsed() < LIMIT, "the topic can be read");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let headers = message.headers().unwrap();
                assert_eq!((headers.count(), headers.get(0).key), (1, "millrace"));
                records.push(Record {
                    partition: message.partition() as usize,
                    key: text(message.key()),
                    value: text(message.payload()),
                    identity: text(headers.get(0).value),
                });
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    records
}

/// Rows with their position as key that cover `first..=through` of partition `p`.
pub(super) fn emission(
    partition: &str,
    first: u64,
    through: u64,
    rows: impl Iterator<Item = u64>,
) -> Emission {
    wide(partition, first, through, rows, 1)
}

/// The same with a feature of `width` bytes.
pub(super) fn wide(
    partition: &str,
    first: u64,
    through: u64,
    rows: impl Iterator<Item = u64>,
    width: usize,
) -> Emission {
    let rows: Vec<u64> = rows.collect();
    testing::emission(partition, first..=through, &rows, width, |row| row.to_string())
}
