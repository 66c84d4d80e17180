//! Topics, groups and rights in a cluster that lets us in.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::error::Failure;
use rdkafka::config::{FromClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::contact::Cluster;
use super::rights::{self, Rights, Whose};
use super::{Depth, Expectation, Finding, Severity};
use crate::kafka::{Connection, CreateTopic, KafkaMetrics, Shared, Topics, Watch, error};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of the largest record that a client writes if its options say nothing (`message.max.bytes`).
const OUR_MAX_MESSAGE_BYTES: usize = 1_000_000;

/// How long to wait before a question is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

const MAY_NOT_JOIN: &str = "this user may not take part in it";
const GIVE_READ_FOR_GROUP: &str = "give it READ for the group";
const RIGHTS_UNKNOWN: &str = "what this user may do with it cannot be learned";

/// What everything is asked with.
struct Look<'a> {
    connection: &'a Connection,
    cluster: Cluster,
    topics: Topics,
    client: BaseConsumer<Watch>,
    depth: Depth,
    findings: Vec<Finding>,
}

/// Looks at everything that is expected of the cluster.
pub(super) fn around(
    connection: &Connection,
    cluster: Cluster,
    expectations: &[Expectation],
    depth: Depth,
) -> Vec<Finding> {
    // What is found goes into the answer, and to no metric.
    let watch = Shared::new(KafkaMetrics::detached(), Arc::new(|_, _| {})).watch(connection);
    let clients = || -> Result<(Topics, BaseConsumer<Watch>), Failure> {
        let mut config = connection.config();
        config.set("allow.auto.create.topics", "false");
        let client = BaseConsumer::from_config_and_context(&config, watch.clone())
            .map_err(|error| watch.failure("make a client", &error))?;
        Ok((Topics::open(connection, &watch)?, client))
    };
    let what = format!("connection `{}`", connection.name);
    let (topics, client) = match clients() {
        Ok(clients) => clients,
        Err(failure) => return vec![problem(what, failure, "correct the connection's settings")],
    };
    let mut look = Look { connection, cluster, topics, client, depth, findings: Vec::new() };
    look.note(what, count(cluster.brokers, "broker"));
    for expectation in expectations {
        match expectation {
            Expectation::Source { topics, group, is_from_committed } => {
                let partitions = look.sources(topics);
                look.group(group, is_from_committed.then_some(&partitions[..]));
            }
            Expectation::Output { topic, create, record_bytes, transactional_id } => {
                look.output(topic, *create, *record_bytes);
                if let Some(id) = transactional_id {
                    look.transactions(id);
                }
            }
        }
    }
    look.findings
}

impl Look<'_> {
    /// Topics that are read; answers their names with the number of their partitions.
    fn sources(&mut self, topics: &[String]) -> Vec<(String, u32)> {
        let mut found = Vec::new();
        for topic in topics {
            let what = format!("topic `{topic}`");
            match self.topics.partitions(topic) {
                Ok(Some(partitions)) => {
                    self.note(what.clone(), count(partitions as usize, "partition"));
                    found.push((topic.clone(), partitions));
                    if let Some(rights) = self.rights(&what, topic)
                        && !rights.can_read()
                    {
                        self.problem(what, "this user may not read it", "give it READ for the topic");
                    }
                }
                Ok(None) => self.problem(
                    what,
                    "does not exist, or may not be seen",
                    "create it, correct its name under `topic`, or give this user DESCRIBE and READ for it",
                ),
                Err(failure) => self.problem(what, failure, ""),
            }
        }
        found
    }

    /// The group that shares partitions. `committed`: where it has to be somewhere.
    fn group(&mut self, group: &str, committed: Option<&[(String, u32)]>) {
        let what = format!("group `{group}`");
        match self.ask_rights(Whose::Group(group)) {
            Ok(rights) if !rights.can_read() => return self.problem(what, MAY_NOT_JOIN, GIVE_READ_FOR_GROUP),
            Err(Code::GroupAuthorizationFailed) => {
                return self.problem(what, MAY_NOT_JOIN, GIVE_READ_FOR_GROUP);
            }
            // A group that is not there yet is made by joining it.
            Ok(_) | Err(Code::GroupIdNotFound) => {}
            Err(code) => self.warning(what.clone(), format!("{RIGHTS_UNKNOWN}: {code}"), ""),
        }
        let Some(topics) = committed else { return };
        match self.missing_commits(group, topics) {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => self.problem(
                what,
                format!("has committed nothing in {}, where `start: committed` begins", missing.join(", ")),
                "set `start` to `earliest`, `latest` or a time, or correct `group`",
            ),
            Err(message) => self.problem(what, message, ""),
        }
    }

    /// Partitions in which a group has committed nothing.
    fn missing_commits(&self, group: &str, topics: &[(String, u32)]) -> Result<Vec<String>, String> {
        let say =
            |error: rdkafka::error::KafkaError| format!("what it has committed cannot be learned: {error}");
        let mut config = self.connection.config();
        config.set("group.id", group).set("enable.auto.commit", "false");
        let client =
            BaseConsumer::<rdkafka::consumer::DefaultConsumerContext>::from_config(&config).map_err(say)?;
        let mut asked = TopicPartitionList::new();
        for (topic, partitions) in topics {
            let last = i32::try_from(*partitions).unwrap_or(i32::MAX) - 1;
            asked.add_partition_range(topic, 0, last);
        }
        let answer = client.committed_offsets(asked, PATIENCE).map_err(say)?;
        let is_missing = |offset: Offset| !matches!(offset, Offset::Offset(_));
        let elements = answer.elements();
        let missing = elements.iter().filter(|element| is_missing(element.offset()));
        Ok(missing.map(|element| format!("`{}-{}`", element.topic(), element.partition())).collect())
    }

    /// A topic that is written.
    fn output(&mut self, topic: &str, create: Option<CreateTopic>, record_bytes: Option<usize>) {
        let what = format!("topic `{topic}`");
        match (self.topics.partitions(topic), create) {
            (Ok(Some(partitions)), _) => {
                self.note(what.clone(), count(partitions as usize, "partition"));
                if let Some(create) = create
                    && create.partitions != partitions
                {
                    let message = format!("has {partitions} partitions, `create` says {}", create.partitions);
                    let help = "a topic that exists is left as it is: correct `create`, or add partitions, after which \
                                entities go to other partitions than before";
                    self.warning(what.clone(), message, help);
                }
                self.can_write(&what, topic);
                self.sizes(&what, topic, record_bytes);
            }
            (Ok(None), Some(create)) => self.creation(what, topic, create),
            (Ok(None), None) => self.problem(
                what,
                "does not exist, or may not be seen",
                "create it, add `create: {partitions: N}` beside `topic`, or give this user DESCRIBE and WRITE for it",
            ),
            (Err(failure), _) => self.problem(what, failure, ""),
        }
    }

    fn can_write(&mut self, what: &str, topic: &str) {
        if let Some(rights) = self.rights(what, topic) {
            if !rights.can_write() {
                self.problem(what.to_owned(), "this user may not write to it", "give it WRITE for the topic");
            }
            if !rights.can_describe_configs() {
                self.warning(
                    what.to_owned(),
                    "this user may not read its settings, so that its `max.message.bytes` is taken for the default",
                    "give it DESCRIBE_CONFIGS for the topic",
                );
            }
        }
    }

    /// Whether the topic takes records as large as we write them.
    fn sizes(&mut self, what: &str, topic: &str, record_bytes: Option<usize>) {
        let settings = match self.topics.settings(topic) {
            Ok(Some(settings)) => settings,
            // What that means was said with the rights.
            Ok(None) => return,
            Err(failure) => return self.warning(what.to_owned(), failure, ""),
        };
        let options = &self.connection.options;
        let option = options.get("message.max.bytes").and_then(|bytes| bytes.parse().ok());
        let ours = record_bytes.or(option).unwrap_or(OUR_MAX_MESSAGE_BYTES);
        if settings.max_message_bytes < ours {
            let theirs = settings.max_message_bytes;
            self.warning(
                what.to_owned(),
                format!("takes {theirs} bytes at most, and records may have {ours}: larger ones become dead letters"),
                "raise the topic's `max.message.bytes`, or lower `message.max.bytes` under `options`",
            );
        }
        if settings.is_compacted {
            self.note(
                what.to_owned(),
                "is compacted: of each entity only the newest record stays".to_owned(),
            );
        }
    }

    /// Whether a missing topic could be made.
    fn creation(&mut self, what: String, topic: &str, create: CreateTopic) {
        let replication = usize::from(create.replication.unwrap_or(1));
        if self.cluster.brokers < replication {
            let message = format!(
                "is to be created with {replication} copies, and {} brokers are there",
                self.cluster.brokers
            );
            return self.problem(what, message, "lower `create.replication`, or see that all brokers run");
        }
        match self.topics.could_create(topic, create) {
            Ok(()) => self.note(what, "does not exist and will be created".to_owned()),
            Err(failure) => {
                self.problem(what, failure, "create it by other means, or give this user CREATE for it");
            }
        }
    }

    /// Whether transactions may be begun.
    fn transactions(&mut self, id: &str) {
        if self.depth == Depth::Check {
            return;
        }
        let what = format!("transactional ids `{id}…`");
        let mut config = self.connection.config();
        config.set("transactional.id", format!("{id}-doctor")).set("transaction.timeout.ms", "10000");
        let begun = BaseProducer::<rdkafka::producer::DefaultProducerContext>::from_config(&config)
            .and_then(|producer| producer.init_transactions(PATIENCE));
        match begun {
            Ok(()) => self.note(what, "transactions can be begun".to_owned()),
            Err(error) => {
                let name = &self.connection.name;
                let failure = error::failure(name, "begin a transaction", &error);
                self.problem(what, failure, "");
            }
        }
    }

    /// What this user may do with a topic; `None` if that cannot be learned, which is said.
    fn rights(&mut self, what: &str, topic: &str) -> Option<Rights> {
        match self.ask_rights(Whose::Topic(topic)) {
            Ok(rights) => Some(rights),
            Err(code) => {
                self.warning(what.to_owned(), format!("{RIGHTS_UNKNOWN}: {code}"), "");
                None
            }
        }
    }

    /// Asks again while a coordinator is being made ready, which the first question about groups brings about.
    fn ask_rights(&self, whose: Whose<'_>) -> Result<Rights, Code> {
        let began = Instant::now();
        loop {
            match rights::of(self.client.client(), whose, PATIENCE) {
                Err(
                    Code::NotCoordinator | Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress,
                ) if began.elapsed() < PATIENCE => {
                    // Hears the client meanwhile.
                    self.client.poll(ASK_AGAIN);
                }
                answer => return answer,
            }
        }
    }

    fn note(&mut self, what: String, message: String) {
        self.findings.push(Finding { severity: Severity::Note, what, message, help: String::new() });
    }

    fn warning(&mut self, what: String, message: impl Display, help: &str) {
        let message = message.to_string();
        self.findings.push(Finding { severity: Severity::Warning, what, message, help: help.to_owned() });
    }

    fn problem(&mut self, what: String, message: impl Display, help: &str) {
        self.findings.push(problem(what, message, help));
    }
}

fn problem(what: String, message: impl Display, help: &str) -> Finding {
    Finding { severity: Severity::Problem, what, message: message.to_string(), help: help.to_owned() }
}

/// Such as `1 partition`, `2 partitions`.
fn count(number: usize, of_what: &str) -> String {
    if number == 1 { format!("1 {of_what}") } else { format!("{number} {of_what}s") }
}
