//! What is in the topic after order, repeats, failures and fences; against librdkafka's mock cluster.

mod broker;
mod emitting;
mod exactly;
mod failing;
mod leases;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use model::batch::{Applied, FeatureBatch};
use model::dead_letter::{DeadLetter, DeadLetters};
use model::error::Failure;
use model::output::{Emission, OutputOptions, RecordVersion};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};
use model::view::{Digest, Generation, ViewShape};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::options::{KafkaOutputOptions, Progress};
use super::session::Session;
use super::stream::Stream;
use crate::kafka::{Connection, Shared};
use crate::output::keeper::Keeper;

/// Patience of a test that waits for another thread.
const LIMIT: Duration = Duration::from_secs(30);
pub(super) const TOPIC: &str = "features";

/// Keeps positions in memory.
#[derive(Default)]
pub(super) struct Memory {
    positions: Mutex<HashMap<Partition, Position>>,
    lost: AtomicBool,
}

impl Memory {
    pub(super) fn lose(&self, lost: bool) {
        self.lost.store(lost, Ordering::SeqCst);
    }
}

/// Shares a [`Memory`] with the test.
struct Kept(Arc<Memory>);

impl Keeper for Kept {
    fn holds(&self, _partition: &Partition) -> bool {
        !self.0.lost.load(Ordering::SeqCst)
    }

    fn position(&self, partition: &Partition) -> Option<Position> {
        self.0.positions.lock().unwrap().get(partition).copied()
    }

    fn emitted(&self, partition: &Partition, through: Position) {
        self.0.positions.lock().unwrap().insert(partition.clone(), through);
    }

    fn rewind(&self, partition: &Partition, to: Option<Position>, _epoch: u32) -> Result<(), Failure> {
        let mut positions = self.0.positions.lock().unwrap();
        positions.remove(partition);
        positions.extend(to.map(|to| (partition.clone(), to)));
        Ok(())
    }
}

/// Remembers code, position and length of the payload.
#[derive(Default)]
pub(super) struct Letters(Mutex<Vec<(String, u64, usize)>>);

impl DeadLetters for Letters {
    fn write(&self, letters: &[DeadLetter<'_>]) -> Result<(), Failure> {
        let known = letters
            .iter()
            .map(|letter| (letter.code.to_owned(), letter.position.as_u64().unwrap(), letter.payload.len()));
        self.0.lock().unwrap().extend(known);
        Ok(())
    }
}

/// A stream to a mock cluster with one topic of two partitions.
pub(super) struct Rig {
    pub(super) stream: Stream,
    pub(super) mock: MockCluster<'static, DefaultProducerContext>,
    pub(super) memory: Arc<Memory>,
    letters: Arc<Letters>,
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
        self.letters.0.lock().unwrap().clone()
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
    let view = Arc::new(ViewShape {
        project: "default".into(),
        name: "v".into(),
        source: "events".into(),
        id: "0".repeat(32),
        keys: vec![Field::required("id", DataType::String)],
        features: vec![Field::nullable("f", DataType::String)],
        ttl_micros: None,
        online: true,
    });
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.to_string())).collect::<StringArray>());
    let features: ArrayRef = Arc::new(rows.iter().map(|_| Some("x".repeat(width))).collect::<StringArray>());
    let mut positions = PositionColumn::new(8);
    rows.iter().for_each(|row| positions.push_u64(*row));
    let columns: Vec<Field> = view.columns().cloned().collect();
    let batch = FeatureBatch {
        rows: RecordBatch::try_new(arrow_schema(&columns), vec![ids, features]).unwrap(),
        view,
        event_times: vec![0; rows.len()],
        partition: Partition::new(partition),
        positions,
        ordinals: Vec::new(),
        generation: Generation { number: 1, digest: Digest([0xab; 32]) },
        covers: Covers { first: Position::from_u64(first), through: Position::from_u64(through) },
    };
    let options =
        OutputOptions { version: RecordVersion::V1, include_features: true, producer: "millrace".into() };
    Emission { batch: Arc::new(batch), applied: Applied::default(), options: Arc::new(options), epoch: 0 }
}
