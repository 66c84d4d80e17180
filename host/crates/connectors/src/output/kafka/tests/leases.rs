//! A source that is Kinesis: its leases say for which shards this host may emit, and keep how far the topic is, unless
//! transactions do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use model::error::{Disposition, Failure};
use model::output::OutputStream;
use model::position::{Partition, Position};
use model::source::Assignee;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::super::KafkaOutput;
use super::{LIMIT, Letters, Progress, TOPIC, emission, options, read};
use crate::kinesis;
use crate::kinesis::lease::{LeaseOptions, LeasePlace, Leases, Shard, ShardLister, ShardPage};

const SHARD: &str = "shardId-0";

/// A stream of one shard.
struct One;

impl ShardLister for One {
    fn page(&self, _next: Option<String>) -> BoxFuture<'_, Result<ShardPage, Failure>> {
        let shard = Shard {
            id: SHARD.to_owned(),
            parents: Vec::new(),
            starting: "1".to_owned(),
            ending: None,
            hash_keys: (0, u128::MAX),
        };
        Box::pin(std::future::ready(Ok(ShardPage { shards: vec![shard], next: None })))
    }
}

/// A flow that does nothing.
struct Idle;

impl Assignee for Idle {
    fn assigned(&self, _partitions: &[Partition]) {}

    fn revoked(&self, _partitions: &[Partition], _deadline: Instant) {}

    fn lost(&self, _partitions: &[Partition]) {}
}

struct Rig {
    mock: MockCluster<'static, DefaultProducerContext>,
    leases: Arc<Leases>,
    output: Arc<KafkaOutput>,
    runtime: Runtime,
    _folder: TempDir,
}

impl Rig {
    fn new(exactly_once: bool) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let lease_options = LeaseOptions {
            project: "default".to_owned(),
            source: "events".to_owned(),
            instance: "here".to_owned(),
            place: LeasePlace::Alone { directory: folder.path().to_owned() },
            duration: LIMIT,
            shared: kinesis::Shared::for_tests(runtime.handle().clone()),
        };
        let leases = Leases::open(lease_options, Arc::new(One)).unwrap();
        leases.join(Arc::new(Idle));
        let since = Instant::now();
        while leases.partitions().is_empty() {
            assert!(since.elapsed() < LIMIT, "the shard is leased");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic(TOPIC, 2, 1).unwrap();
        mock.create_topic("millrace-progress", 1, 1).unwrap();
        let mut options = options(&mock.bootstrap_servers(), [].into(), Arc::new(Letters::default()));
        options.exactly_once = exactly_once;
        options.progress = Progress::Leases(Arc::clone(&leases));
        let output = KafkaOutput::open(options).unwrap();
        Self { mock, leases, output, runtime, _folder: folder }
    }

    /// One attempt, with rows that cover so many positions of a shard.
    fn try_emit(&self, shard: &str, first: u64, through: u64) -> Result<(), Failure> {
        let emitting = self.output.emit(emission(shard, first, through, first..=through));
        let timed = async { tokio::time::timeout(LIMIT, emitting).await };
        self.runtime.block_on(timed).expect("the stream answers")
    }

    /// Emits, again and again while told to, as the flow does.
    fn emit(&self, first: u64, through: u64) {
        let since = Instant::now();
        while let Err(failure) = self.try_emit(SHARD, first, through) {
            assert!(failure.disposition == Disposition::Retry && since.elapsed() < LIMIT, "{failure}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn position(&self) -> Option<Position> {
        self.output.position("v", &Partition::new(SHARD))
    }

    fn check_topic(&self, count: u64) {
        let records = read(&self.mock.bootstrap_servers(), TOPIC, 2);
        let mut numbers: Vec<u64> = records.iter().map(|record| record.key.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    }

    fn check_refused(&self, shard: &str) {
        let failure = self.try_emit(shard, 20, 29).unwrap_err();
        assert_eq!(failure.disposition, Disposition::Retry, "{failure}");
    }
}

#[track_caller]
fn check(exactly_once: bool) {
    let rig = Rig::new(exactly_once);
    assert_eq!(rig.position(), None);
    rig.emit(0, 9);
    rig.emit(5, 19);
    let through = Some(Position::from_u64(19));
    assert_eq!(rig.position(), through);
    rig.check_topic(20);
    let kept = rig.leases.kept("v", &Partition::new(SHARD)).unwrap();
    assert_eq!(kept.view, through.filter(|_| !exactly_once), "transactions keep it beside the records");
    rig.check_refused("shardId-1");
    rig.leases.leave();
    rig.check_refused(SHARD);
    rig.check_topic(20);
}

#[test]
fn leases_keep_how_far_the_topic_is() {
    check(false);
}

#[test]
fn with_transactions_leases_say_who_may_emit() {
    check(true);
}

#[test]
fn a_transaction_is_not_committed_once_its_shard_is_lost() {
    let rig = Rig::new(true);
    rig.emit(0, 9);
    rig.mock.broker_round_trip_time(-1, Duration::from_millis(200)).unwrap();
    let emitting = rig.output.emit(emission(SHARD, 10, 19, 10..20));
    rig.leases.leave();
    let timed = async { tokio::time::timeout(LIMIT, emitting).await };
    let failure = rig.runtime.block_on(timed).expect("the stream answers").unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry, "{failure}");
}
