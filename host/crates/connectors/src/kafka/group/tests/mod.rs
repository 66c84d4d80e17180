//! Groups against librdkafka's mock cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use model::error::Disposition;
use model::position::{Partition, Position};
use model::source::{Assignee, Kept, ViewProgress};
use prometheus_client::registry::Registry;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::*;
use crate::kafka::{BrokerState, Connection, KafkaMetrics, Shared};

mod joining;
mod progress;
mod trouble;

/// How long anything may take; only a failing test waits for it.
const LIMIT: Duration = Duration::from_secs(60);

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster(partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).expect("starts");
    cluster.create_topic("ads", partitions, 1).expect("creates");
    cluster
}

fn options(cluster: &Cluster, instance: &str) -> GroupOptions {
    GroupOptions {
        connection: Connection {
            name: "main".to_owned(),
            bootstrap_servers: cluster.bootstrap_servers(),
            tls: None,
            sasl: None,
            options: BTreeMap::new(),
        },
        source: "ads".to_owned(),
        group: "millrace-test-ads".to_owned(),
        topics: vec!["ads".to_owned()],
        protocol: GroupProtocol::Classic,
        instance: instance.to_owned(),
        options: [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "200")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        commit_interval: Duration::from_millis(100),
        shared: Shared::for_tests(),
    }
}

type Act = Box<dyn Fn(&[Partition]) + Send>;

/// A flow that writes down what it is told, and does what it is asked to when partitions are revoked.
#[derive(Default)]
struct Flow {
    told: Mutex<Vec<String>>,
    turned: Condvar,
    at_revoke: Mutex<Option<Act>>,
}

impl Flow {
    fn tell(&self, what: &str, partitions: &[Partition]) {
        let mut told = self.told.lock().unwrap();
        told.extend(partitions.iter().map(|partition| format!("{what} {partition}")));
        self.turned.notify_all();
    }

    /// Waits until it was told of so many partitions in that way.
    #[track_caller]
    fn wait(&self, what: &str, count: usize) {
        let told = self.told.lock().unwrap();
        let counted = |told: &Vec<String>| told.iter().filter(|line| line.starts_with(what)).count();
        let (told, _) = self.turned.wait_timeout_while(told, LIMIT, |told| counted(told) < count).unwrap();
        assert!(counted(&told) >= count, "{count} times `{what}` in {told:?}");
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

impl Assignee for Flow {
    fn assigned(&self, partitions: &[Partition]) {
        self.tell("assigned", partitions);
    }

    fn revoked(&self, partitions: &[Partition], deadline: Instant) {
        assert!(deadline > Instant::now());
        if let Some(act) = &*self.at_revoke.lock().unwrap() {
            act(partitions);
        }
        self.tell("revoked", partitions);
    }

    fn lost(&self, partitions: &[Partition]) {
        self.tell("lost", partitions);
    }
}

/// A member that has joined.
fn join(options: GroupOptions) -> (Arc<Group>, Arc<Flow>) {
    let group = Group::open(options).expect("opens");
    let flow = Arc::new(Flow::default());
    group.join(Arc::clone(&flow) as _);
    (group, flow)
}

/// Waits for a condition.
#[track_caller]
fn until(what: &str, condition: impl Fn() -> bool) {
    let limit = Instant::now() + LIMIT;
    let (lock, condvar) = (Mutex::new(()), Condvar::new());
    while !condition() {
        assert!(Instant::now() < limit, "{what}");
        let _ = condvar.wait_timeout(lock.lock().unwrap(), Duration::from_millis(10)).unwrap();
    }
}

/// What the cluster has for a partition of the group.
fn committed(cluster: &Cluster, number: i32) -> Option<(i64, String)> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "millrace-test-ads");
    let client = BaseConsumer::from_config(&config).expect("makes a client");
    let mut list = TopicPartitionList::new();
    list.add_partition("ads", number);
    let list = client.committed_offsets(list, LIMIT).expect("reads");
    let element = list.find_partition("ads", number).expect("was asked for");
    match element.offset() {
        Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
        _ => None,
    }
}

fn partition(number: i32) -> Partition {
    partition_name("ads", number)
}

fn at(offset: u64) -> Position {
    Position::from_u64(offset)
}

fn views(views: &[(&str, Option<u64>)]) -> BTreeMap<String, ViewProgress> {
    views
        .iter()
        .map(|(view, through)| ((*view).to_owned(), ViewProgress { through: through.map(at), epoch: 0 }))
        .collect()
}
