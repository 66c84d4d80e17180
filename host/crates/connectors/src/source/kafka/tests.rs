//! Readers against librdkafka's own mock of a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::batch::RawBatch;
use model::error::{Disposition, Failure};
use model::position::{Partition, Position};
use model::source::{BatchBudget, Point, Positions, ReadEvent, Reader, Source, ViewProgress};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use testkit::contract::source::{self, SourceFixture};

use super::{KafkaSource, KafkaSourceOptions, TopicSet, TopicSetOptions};
use crate::kafka::{Connection, GroupProtocol, Shared};
use crate::source::OutOfRange;

const TOPIC: &str = "ads";
const AMPLE: BatchBudget = BatchBudget { rows: 1 << 20, bytes: 1 << 30 };
/// Generous: a busy machine must not fail a test.
const LIMIT: Duration = Duration::from_secs(30);

/// A cluster of one broker with one topic.
struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Broker {
    fn new(partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, partitions, 1).unwrap();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("linger.ms", "1")
            .create()
            .unwrap();
        Self { cluster, producer }
    }

    fn connection(&self) -> Connection {
        Connection {
            name: "main".to_owned(),
            bootstrap_servers: self.cluster.bootstrap_servers(),
            tls: None,
            sasl: None,
            options: BTreeMap::new(),
        }
    }

    fn topics(&self, out_of_range: OutOfRange) -> TopicSet {
        // The mock answers a fetch of nothing after this time only, and what comes meanwhile waits for it.
        let options = BTreeMap::from([("fetch.wait.max.ms".to_owned(), "5".to_owned())]);
        TopicSet::new(TopicSetOptions {
            name: "clicks".to_owned(),
            connection: self.connection(),
            topics: vec![TOPIC.to_owned()],
            out_of_range,
            with_headers: true,
            options,
            shared: Shared::for_tests(),
        })
    }

    fn send(&self, number: i32, value: Option<&[u8]>, key: Option<&[u8]>, headers: Option<OwnedHeaders>) {
        let mut record = BaseRecord::<[u8], [u8]>::to(TOPIC).partition(number);
        record.payload = value;
        record.key = key;
        record.headers = headers;
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    fn flush(&self) {
        self.producer.flush(LIMIT).unwrap();
    }
}

fn partition(number: i32) -> Partition {
    Partition::new(format!("{TOPIC}-{number}"))
}

fn behind(number: i32, offset: u64) -> Positions {
    Positions::from([(partition(number), Position::from_u64(offset))])
}

/// What comes next, waiting for it.
#[track_caller]
fn next(reader: &mut dyn Reader, budget: BatchBudget) -> Result<RawBatch, Failure> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let ReadEvent::Batch(batch) = reader.next(budget, Duration::from_millis(100))? {
            return Ok(batch);
        }
    }
    panic!("nothing came within {LIMIT:?}");
}

fn covers(batch: &RawBatch) -> (u64, u64) {
    (batch.covers.first.as_u64().unwrap(), batch.covers.through.as_u64().unwrap())
}

/// The topics of one partition as a source without a group.
struct Ungrouped(TopicSet);

impl Source for Ungrouped {
    fn partitions(&self) -> Result<Vec<Partition>, Failure> {
        Ok(vec![partition(0)])
    }

    fn end(&self, partition: &Partition) -> Result<Option<Position>, Failure> {
        self.0.end(partition)
    }

    fn read(&self, partitions: &[Partition], after: &Positions) -> Result<Box<dyn Reader>, Failure> {
        self.0.read(partitions, after)
    }

    fn release(
        &self,
        _: &Partition,
        _: Option<&Position>,
        _: &BTreeMap<String, ViewProgress>,
    ) -> Result<(), Failure> {
        Ok(())
    }
}

struct Fixture {
    broker: Broker,
    source: Arc<Ungrouped>,
}

impl SourceFixture for Fixture {
    fn source(&self) -> Arc<dyn Source> {
        self.source.clone()
    }

    fn partition(&self) -> Partition {
        partition(0)
    }

    fn append(&mut self, events: &[Vec<u8>]) {
        for event in events {
            self.broker.send(0, Some(event), None, None);
        }
        self.broker.flush();
    }

    fn reopen(&mut self) {
        self.source = Arc::new(Ungrouped(self.broker.topics(OutOfRange::Stop)));
    }
}

#[test]
fn topics_are_a_source() {
    source::holds(|| {
        let broker = Broker::new(1);
        let source = Arc::new(Ungrouped(broker.topics(OutOfRange::Stop)));
        Box::new(Fixture { broker, source })
    });
}

#[test]
fn records_come_with_what_is_known_of_them() {
    let broker = Broker::new(1);
    let headers =
        OwnedHeaders::new()
            .insert(Header { key: "trace", value: Some("abc") })
            .insert(Header::<&str> { key: "empty", value: None });
    broker.send(0, Some(b"plain"), None, None);
    broker.send(0, Some(b"keyed"), Some(b"user 1"), Some(headers));
    broker.send(0, None, Some(b"user 1"), None);
    broker.send(0, Some(b""), None, None);
    broker.flush();
    let mut reader = broker.topics(OutOfRange::Stop).read(&[partition(0)], &Positions::new()).unwrap();
    let mut rows = Vec::new();
    let mut through = 0;
    while through < 3 {
        let batch = next(&mut *reader, AMPLE).unwrap();
        through = covers(&batch).1;
        for row in 0..batch.len() {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            assert!(batch.ingest_time(row) > 1_600_000_000_000_000, "microseconds");
            rows.push((
                batch.positions.at(row).as_u64().unwrap(),
                text(batch.payload(row)),
                batch.key(row).map(text),
                batch.headers(row).map(|(name, value)| (text(name), value.map(text))).collect::<Vec<_>>(),
            ));
        }
    }
    let headers = vec![("trace".to_owned(), Some("abc".to_owned())), ("empty".to_owned(), None)];
    let expected = [
        (0, "plain".to_owned(), None, vec![]),
        (1, "keyed".to_owned(), Some("user 1".to_owned()), headers),
        (3, String::new(), None, vec![]),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_tombstone_at_the_end_moves_the_position() {
    let broker = Broker::new(1);
    broker.send(0, Some(b"event"), None, None);
    broker.send(0, None, Some(b"key"), None);
    broker.flush();
    let topics = broker.topics(OutOfRange::Stop);
    let mut reader = topics.read(&[partition(0)], &behind(0, 0)).unwrap();
    let batch = next(&mut *reader, AMPLE).unwrap();
    assert_eq!((batch.len(), covers(&batch)), (0, (1, 1)));
    assert_eq!(topics.end(&partition(0)).unwrap(), Some(Position::from_u64(1)));
}

#[test]
fn partitions_take_turns() {
    let broker = Broker::new(3);
    for number in 0..3 {
        for event in 0..500 {
            broker.send(number, Some(format!("{event}").as_bytes()), None, None);
        }
    }
    broker.flush();
    let all: Vec<Partition> = (0..3).map(partition).collect();
    let mut reader = broker.topics(OutOfRange::Stop).read(&all, &Positions::new()).unwrap();
    let mut seen: BTreeMap<Partition, Vec<String>> = BTreeMap::new();
    while seen.values().map(Vec::len).sum::<usize>() < 1500 {
        let batch = next(&mut *reader, BatchBudget { rows: 7, bytes: 1 << 20 }).unwrap();
        let rows = seen.entry(batch.partition.clone()).or_default();
        rows.extend((0..batch.len()).map(|row| String::from_utf8(batch.payload(row).to_vec()).unwrap()));
    }
    let expected: Vec<String> = (0..500).map(|event| event.to_string()).collect();
    assert!(seen.values().all(|rows| *rows == expected), "each partition is in order");
    assert_eq!(seen.len(), 3);
}

/// Fills a partition until its first records are gone; answers its range.
fn overfill(broker: &Broker, topics: &TopicSet) -> (u64, u64) {
    let event = vec![b'x'; 100_000];
    let deadline = Instant::now() + LIMIT;
    while topics.range(&partition(0)).unwrap().0 == 0 {
        assert!(Instant::now() < deadline, "the mock keeps a few megabytes only");
        for _ in 0..20 {
            broker.send(0, Some(&event), None, None);
        }
        broker.flush();
    }
    topics.range(&partition(0)).unwrap()
}

#[test]
fn a_position_that_is_gone_stops_the_source() {
    let broker = Broker::new(1);
    let topics = broker.topics(OutOfRange::Stop);
    let (low, high) = overfill(&broker, &topics);
    let mut reader = topics.read(&[partition(0)], &behind(0, 0)).unwrap();
    let failure = next(&mut *reader, AMPLE).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Stop);
    let message = failure.to_string();
    let expected = format!(
        "read partition `ads-0` of source `clicks` at offset 1: the broker has {low} to {high} only, {} records are gone",
        low - 1
    );
    assert!(message.starts_with(&expected), "{message}");
    assert!(message.contains("`out_of_range`") && message.contains("`host rewind`"), "{message}");
}

#[test]
fn a_gap_is_passed_over_and_counted() {
    let broker = Broker::new(1);
    for (policy, latest) in [(OutOfRange::Earliest, false), (OutOfRange::Latest, true)] {
        let topics = broker.topics(policy);
        let (low, high) = overfill(&broker, &topics);
        let to = if latest { high } else { low };
        let mut reader = topics.read(&[partition(0)], &behind(0, 0)).unwrap();
        let gap = next(&mut *reader, AMPLE).unwrap();
        assert_eq!((gap.len(), covers(&gap)), (0, (1, to - 1)));
        assert_eq!(topics.core.metrics.gap_records.get(), to - 1);
        broker.send(0, Some(b"after"), None, None);
        broker.flush();
        let batch = next(&mut *reader, AMPLE).unwrap();
        assert_eq!(covers(&batch).0, to, "{policy:?}");
    }
}

#[test]
fn a_topic_that_was_made_anew_stops_the_source() {
    let broker = Broker::new(1);
    broker.send(0, Some(b"event"), None, None);
    broker.flush();
    for policy in [OutOfRange::Stop, OutOfRange::Earliest, OutOfRange::Latest] {
        let mut reader = broker.topics(policy).read(&[partition(0)], &behind(0, 1_000)).unwrap();
        let failure = next(&mut *reader, AMPLE).unwrap_err();
        assert_eq!(failure.disposition, Disposition::Stop);
        let message = failure.to_string();
        assert!(
            message.contains("at offset 1001: the partition ends at 1: the topic was made anew"),
            "{message}"
        );
    }
}

#[test]
fn a_broker_that_is_away_leaves_a_reader_idle() {
    let broker = Broker::new(1);
    broker.send(0, Some(b"before"), None, None);
    broker.flush();
    let mut reader = broker.topics(OutOfRange::Stop).read(&[partition(0)], &Positions::new()).unwrap();
    assert_eq!(next(&mut *reader, AMPLE).unwrap().payload(0), b"before");
    broker.cluster.broker_down(1).unwrap();
    for _ in 0..3 {
        let event = reader.next(AMPLE, Duration::from_millis(200)).unwrap();
        assert!(matches!(event, ReadEvent::Idle));
    }
    broker.cluster.broker_up(1).unwrap();
    broker.send(0, Some(b"after"), None, None);
    broker.flush();
    assert_eq!(next(&mut *reader, AMPLE).unwrap().payload(0), b"after");
}

#[test]
fn points_are_found() {
    let broker = Broker::new(2);
    let topics = broker.topics(OutOfRange::Stop);
    assert_eq!(topics.find(&partition(0), &Point::Latest).unwrap(), None);
    assert_eq!(topics.end(&partition(0)).unwrap(), None);
    for _ in 0..5 {
        broker.send(0, Some(b"event"), None, None);
    }
    broker.flush();
    assert_eq!(topics.find(&partition(0), &Point::Latest).unwrap(), Some(Position::from_u64(4)));
    assert_eq!(topics.find(&partition(0), &Point::Earliest).unwrap(), None);
    let numbers = Point::Numbers(BTreeMap::from([(partition(0), 3)]));
    assert_eq!(topics.find(&partition(0), &numbers).unwrap(), Some(Position::from_u64(2)));
    let failure = topics.find(&partition(1), &numbers).unwrap_err();
    assert_eq!(
        (failure.disposition, failure.to_string().as_str()),
        (
            Disposition::Stop,
            "find the start in partition `ads-1` of source `clicks`: offsets are given for `ads-0` only; add one for \
             this partition, or start at `earliest`, `latest` or a time"
        )
    );
}

#[test]
fn a_partition_of_another_topic_is_refused() {
    let broker = Broker::new(1);
    let failure = broker.topics(OutOfRange::Stop).end(&Partition::new("other-0")).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Stop);
    assert!(failure.to_string().contains("its topics are `ads`"), "{failure}");
}

#[test]
fn without_a_commit_there_is_no_committed_place() {
    let broker = Broker::new(1);
    let source = KafkaSource::open(KafkaSourceOptions {
        name: "clicks".to_owned(),
        connection: broker.connection(),
        topics: vec![TOPIC.to_owned()],
        group: "millrace-default-clicks".to_owned(),
        protocol: GroupProtocol::Classic,
        instance: "one".to_owned(),
        out_of_range: OutOfRange::Stop,
        with_headers: false,
        options: BTreeMap::new(),
        commit_interval: Duration::from_secs(1),
        shared: Shared::for_tests(),
    })
    .unwrap();
    assert_eq!(source.partitions().unwrap(), []);
    let failure = source.find(&partition(0), &Point::Committed).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Stop);
    let message = failure.to_string();
    assert!(message.contains("`millrace-default-clicks`") && message.contains("set `start`"), "{message}");
}
