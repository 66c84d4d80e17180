//! Against a real broker, `MILLRACE_TEST_KAFKA`, which `cargo xtask test` starts; without one these are skipped and say
//! so, and fail where services are required.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::error::{Disposition, Failure};
use model::output::{Emission, OutputStream};
use model::position::{Partition, Position};
use model::source::Assignee;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::super::{KafkaOutput, KafkaOutputOptions, Progress};
use super::{LIMIT, Letters, Record, emission, options, read, wide};
use crate::kafka::{CreateTopic, Group, GroupOptions, GroupProtocol, Shared};

/// A topic of its own on the broker.
struct Rig {
    options: KafkaOutputOptions,
    letters: Arc<Letters>,
    runtime: tokio::runtime::Runtime,
}

struct Nobody;

impl Assignee for Nobody {
    fn assigned(&self, _partitions: &[Partition]) {}

    fn revoked(&self, _partitions: &[Partition], _deadline: Instant) {}

    fn lost(&self, _partitions: &[Partition]) {}
}

impl Rig {
    /// `None` without a broker.
    fn new(name: &str, exactly_once: bool) -> Option<Self> {
        let Ok(servers) = std::env::var("MILLRACE_TEST_KAFKA") else {
            assert!(
                std::env::var_os("MILLRACE_REQUIRE_SERVICES").is_none(),
                "MILLRACE_TEST_KAFKA names no broker, and MILLRACE_REQUIRE_SERVICES is set"
            );
            eprintln!("SKIPPED {name}: MILLRACE_TEST_KAFKA names no broker");
            return None;
        };
        let letters = Arc::new(Letters::default());
        let mut options = options(&servers, BTreeMap::new(), Arc::clone(&letters));
        // The broker outlives the tests.
        options.topic = format!("{name}-{:x}", RandomState::new().hash_one(name));
        options.instance = options.topic.clone();
        options.create = Some(CreateTopic { partitions: 2, replication: None });
        options.max_message_bytes = None;
        options.exactly_once = exactly_once;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Some(Self { options, letters, runtime })
    }

    fn open(&self) -> Arc<KafkaOutput> {
        KafkaOutput::open(self.options.clone()).unwrap()
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.options.connection.bootstrap_servers)
            .create()
            .unwrap()
    }

    /// A group with a topic of four partitions, all of them this host's.
    fn group(&self) -> Arc<Group> {
        let topic = format!("in-{}", self.options.topic);
        let new = NewTopic::new(&topic, 4, TopicReplication::Fixed(1));
        self.runtime.block_on(self.admin().create_topics(&[new], &AdminOptions::new())).unwrap();
        let group = Group::open(GroupOptions {
            connection: self.options.connection.clone(),
            source: "events".into(),
            group: format!("group-{topic}"),
            topics: vec![topic],
            protocol: GroupProtocol::Classic,
            instance: "here".into(),
            options: BTreeMap::new(),
            commit_interval: Duration::from_millis(100),
            shared: Shared::for_tests(),
        })
        .unwrap();
        group.join(Arc::new(Nobody));
        let since = Instant::now();
        while group.partitions().len() < 4 {
            assert!(since.elapsed() < LIMIT);
            std::thread::park_timeout(Duration::from_millis(20));
        }
        group
    }

    fn try_emit(&self, output: &KafkaOutput, emission: &Emission) -> Result<(), Failure> {
        self.runtime.block_on(async {
            tokio::time::timeout(2 * LIMIT, output.emit(emission.clone())).await.expect("the stream answers")
        })
    }

    fn emit(&self, output: &KafkaOutput, emission: &Emission) {
        let since = Instant::now();
        while let Err(failure) = self.try_emit(output, emission) {
            assert!(failure.disposition == Disposition::Retry && since.elapsed() < 2 * LIMIT, "{failure}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn records(&self) -> Vec<Record> {
        read(&self.options.connection.bootstrap_servers, &self.options.topic, 2)
    }

    /// The numbers in the keys by partition, in order.
    fn numbers(&self) -> Vec<Vec<u64>> {
        let mut numbers = vec![Vec::new(); 2];
        self.records().iter().for_each(|record| numbers[record.partition].push(record.key.parse().unwrap()));
        numbers
    }

    /// Each number once, and in order.
    #[track_caller]
    fn check_once(&self, count: u64) {
        let numbers = self.numbers();
        assert!(numbers.iter().all(|numbers| numbers.is_sorted()), "{numbers:?}");
        let mut all = numbers.concat();
        all.sort_unstable();
        assert_eq!(all, (0..count).collect::<Vec<_>>());
    }
}

fn batch(partition: &str, first: u64) -> Emission {
    emission(partition, first, first + 9, first..first + 10)
}

#[test]
fn a_second_host_of_the_same_id_fences_the_first_and_nothing_is_lost_or_repeated() {
    let Some(rig) = Rig::new("fence", true) else { return };
    let mut rig = rig;
    rig.options.progress = Progress::Topic { group: None };
    let mut output = rig.open();
    let (partition, mut next) = (Partition::new("p-0"), 0);
    for round in 0..20 {
        let waiting: Vec<_> = (0..4).map(|ahead| output.emit(batch("p-0", next + ahead * 10))).collect();
        // Somewhere within the transaction.
        std::thread::park_timeout(Duration::from_millis(round % 10));
        let newer = rig.open();
        // Whatever the old one does now is not to be seen. What came before is still waited for: without it, this would
        // be a gap.
        let late = output.emit(batch("p-0", next + 40));
        drop(waiting);
        drop(std::mem::replace(&mut output, newer));
        drop(late);
        next = output.position("v", &partition).map_or(0, |through| through.as_u64().unwrap() + 1);
    }
    rig.emit(&output, &batch("p-0", next));
    rig.check_once(next + 10);
}

#[test]
fn an_open_transaction_of_somebody_else_hides_no_progress() {
    let Some(rig) = Rig::new("hidden", true) else { return };
    let output = rig.open();
    let other: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &rig.options.connection.bootstrap_servers)
        .set("transactional.id", format!("other-{}", rig.options.topic))
        .create()
        .unwrap();
    other.init_transactions(LIMIT).unwrap();
    other.begin_transaction().unwrap();
    other
        .send(BaseRecord::to("millrace-progress").key("[]").payload("{}"))
        .map_err(|(error, _)| error)
        .unwrap();
    other.flush(LIMIT).unwrap();
    rig.emit(&output, &batch("p-0", 0));
    drop(output);
    let aborting = std::thread::spawn(move || {
        // Long enough for a reader that does not wait.
        std::thread::park_timeout(Duration::from_secs(1));
        other.abort_transaction(LIMIT).unwrap();
    });
    let output = rig.open();
    assert_eq!(output.position("v", &Partition::new("p-0")), Some(Position::from_u64(9)));
    rig.emit(&output, &emission("p-0", 0, 19, 0..20));
    rig.check_once(20);
    aborting.join().unwrap();
}

#[test]
fn progress_in_the_group_moves_with_the_transaction() {
    let Some(rig) = Rig::new("grouped", true) else { return };
    let mut rig = rig;
    let group = rig.group();
    rig.options.progress = Progress::Group(Arc::clone(&group));
    let partition = group.partitions()[0].clone();
    let output = rig.open();
    for number in 0..20 {
        rig.emit(&output, &batch(partition.as_str(), number * 10));
        assert_eq!(output.position("v", &partition), Some(Position::from_u64(number * 10 + 9)));
    }
    // What the broker has, not what is remembered.
    group.refresh(std::slice::from_ref(&partition), LIMIT).unwrap();
    assert_eq!(group.kept("v", &partition).view, Some(Position::from_u64(199)));
    drop(output);
    let output = rig.open();
    rig.emit(&output, &emission(partition.as_str(), 190, 209, 190..210));
    rig.check_once(210);
    group.leave();
}

#[test]
fn progress_in_the_group_follows_acknowledgements() {
    let Some(rig) = Rig::new("followed", false) else { return };
    let mut rig = rig;
    let group = rig.group();
    rig.options.progress = Progress::Group(Arc::clone(&group));
    let partition = group.partitions()[0].clone();
    let output = rig.open();
    rig.emit(&output, &batch(partition.as_str(), 0));
    rig.emit(&output, &emission(partition.as_str(), 5, 19, 5..20));
    assert_eq!(output.position("v", &partition), Some(Position::from_u64(19)));
    rig.check_once(20);
    group.leave();
    let refused = rig.try_emit(&output, &batch(partition.as_str(), 20)).unwrap_err();
    assert_eq!(refused.disposition, Disposition::Retry);
}

#[test]
fn a_topic_is_made_and_a_missing_one_is_named() {
    let Some(rig) = Rig::new("missing", true) else { return };
    let mut rig = rig;
    rig.options.create = None;
    let failure = KafkaOutput::open(rig.options.clone()).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Stop);
    assert!(failure.to_string().contains(&format!("topic `{}`", rig.options.topic)), "{failure}");
}

#[test]
fn a_topic_that_takes_little_has_its_larger_records_put_aside() {
    let Some(rig) = Rig::new("small", true) else { return };
    let new =
        NewTopic::new(&rig.options.topic, 2, TopicReplication::Fixed(1)).set("max.message.bytes", "3000");
    rig.runtime.block_on(rig.admin().create_topics(&[new], &AdminOptions::new())).unwrap();
    let output = rig.open();
    rig.emit(&output, &emission("p-0", 0, 99, 0..100));
    rig.emit(&output, &wide("p-0", 100, 100, 100..101, 3_000));
    rig.emit(&output, &wide("p-0", 101, 101, 101..102, 2_000));
    let mut all = rig.numbers().concat();
    all.sort_unstable();
    assert_eq!(all, (0..100).chain([101]).collect::<Vec<_>>());
    assert_eq!(rig.letters.written().len(), 1);
}

#[test]
fn progress_that_was_aborted_does_not_count() {
    for exactly_once in [true, false] {
        let Some(rig) = Rig::new("shrunk", exactly_once) else { return };
        let mut rig = rig;
        let group = rig.group();
        let own = Progress::Topic { group: None };
        rig.options.progress = if exactly_once { own } else { Progress::Group(Arc::clone(&group)) };
        let partition = group.partitions()[0].clone();
        let output = rig.open();
        rig.emit(&output, &batch(partition.as_str(), 0));
        // From now on the broker refuses what the stream believes to be small enough.
        let smaller =
            AlterConfig::new(ResourceSpecifier::Topic(&rig.options.topic)).set("max.message.bytes", "3000");
        rig.runtime.block_on(rig.admin().alter_configs(&[smaller], &AdminOptions::new())).unwrap();
        std::thread::park_timeout(Duration::from_millis(500));
        let large = wide(partition.as_str(), 10, 19, 10..20, 5_000);
        assert_eq!(rig.try_emit(&output, &large).unwrap_err().disposition, Disposition::Retry);
        // As soon as the topic has been looked at again.
        let since = Instant::now();
        while rig.try_emit(&output, &large).is_err() {
            assert!(since.elapsed() < LIMIT);
            std::thread::park_timeout(Duration::from_millis(50));
        }
        assert_eq!(rig.letters.written().len(), 10);
        rig.emit(&output, &emission(partition.as_str(), 20, 29, 20..30));
        let mut all = rig.numbers().concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).chain(20..30).collect::<Vec<_>>());
        group.leave();
    }
}

#[test]
#[ignore = "suspends the broker's process, MILLRACE_TEST_KAFKA_PID, for a minute"]
fn a_broker_that_stops_for_longer_than_a_transaction_may_last() {
    let pid = std::env::var("MILLRACE_TEST_KAFKA_PID").expect("the process of the broker is named");
    let signal = |name: &str| {
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    for exactly_once in [true, false] {
        let Some(rig) = Rig::new("stopped", exactly_once) else { return };
        let mut rig = rig;
        let group = rig.group();
        rig.options.progress = Progress::Group(Arc::clone(&group));
        let partition = group.partitions()[0].clone();
        let output = rig.open();
        rig.emit(&output, &batch(partition.as_str(), 0));
        for round in 0..2 {
            let first = 10 + round * 20;
            signal("-STOP");
            let waiting = output.emit(batch(partition.as_str(), first));
            std::thread::park_timeout(Duration::from_secs(14));
            signal("-CONT");
            drop(
                rig.runtime
                    .block_on(async { tokio::time::timeout(2 * LIMIT, waiting).await.expect("answers") }),
            );
            rig.emit(&output, &batch(partition.as_str(), first));
            rig.emit(&output, &batch(partition.as_str(), first + 10));
        }
        rig.check_once(50);
        group.leave();
    }
}
