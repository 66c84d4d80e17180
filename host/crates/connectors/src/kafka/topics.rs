//! Topics of a cluster: whether one exists, how it is set up, and making one that is missing.
//!
//! Never makes a topic by asking for it. Blocks; every call to a broker ends within [`PATIENCE`].

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use model::error::Failure;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};

use super::{Connection, Watch, error};

/// How long a cluster may take to answer. Longer than it takes to choose a new leader.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a batch that topics take where nothing else is said (`max.message.bytes`).
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 1_048_588;

/// How long to wait between two looks for a topic that was just made.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How a missing topic is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateTopic {
    /// Number of partitions, at least 1.
    pub partitions: u32,
    /// Copies of each partition, at least 1; `None` = as the cluster is set up.
    pub replication: Option<u16>,
}

/// How a topic is set up, as far as it matters to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// Bytes of the largest batch, compressed, that the topic takes (`max.message.bytes`).
    pub max_message_bytes: usize,
    /// Whether old records of a key are removed (`cleanup.policy`).
    pub is_compacted: bool,
    /// Whether records have the time of the broker's clock and not of who made them (`message.timestamp.type`).
    pub has_append_time: bool,
}

impl Default for TopicSettings {
    /// What brokers do unless they are told otherwise.
    fn default() -> Self {
        Self { max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES, is_compacted: false, has_append_time: false }
    }
}

/// Clients for topics. Short-lived: nobody hears what they log once the calls are done.
pub struct Topics {
    connection: String,
    watch: Watch,
    client: BaseConsumer<Watch>,
    admin: AdminClient<Watch>,
}

impl Topics {
    /// Makes the clients; connects to nobody yet.
    pub fn open(connection: &Connection, watch: &Watch) -> Result<Self, Failure> {
        let mut config = connection.config();
        // Asking whether there is a topic does not make one, whatever the broker's default.
        config.set("allow.auto.create.topics", "false");
        let failed = |error: KafkaError| watch.failure("make a client", &error);
        let client = BaseConsumer::from_config_and_context(&config, watch.clone()).map_err(failed)?;
        config.remove("allow.auto.create.topics");
        let admin = AdminClient::from_config_and_context(&config, watch.clone()).map_err(failed)?;
        Ok(Self { connection: connection.name.clone(), watch: watch.clone(), client, admin })
    }

    /// Number of partitions of a topic; `None` if there is no such topic.
    pub fn partitions(&self, topic: &str) -> Result<Option<u32>, Failure> {
        let doing = || format!("look for topic `{topic}`");
        let metadata = self.client.fetch_metadata(Some(topic), PATIENCE);
        self.listen();
        let metadata = metadata.map_err(|error| self.watch.failure(&doing(), &error))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        match found.error().map(Code::from) {
            Some(code) if error::is_unknown_topic(code) => Ok(None),
            // Whoever may not see a topic does not learn either whether there is one.
            Some(Code::TopicAuthorizationFailed) => Err(Failure::stop(format!(
                "{} through connection `{}`: it does not exist, or this user may not use it; create it, or give the \
                 user READ and DESCRIBE to read it, WRITE and DESCRIBE to write it",
                doing(),
                self.connection
            ))),
            // Its leaders are still being chosen.
            None | Some(Code::LeaderNotAvailable) if !found.partitions().is_empty() => {
                Ok(Some(u32::try_from(found.partitions().len()).unwrap_or(u32::MAX)))
            }
            None | Some(Code::LeaderNotAvailable) => Ok(None),
            Some(code) => Err(error::code_failure(&self.connection, &doing(), code, None)),
        }
    }

    /// Makes a topic with these settings and waits until it is there. One that exists is left as it is.
    pub fn create(&self, topic: &str, how: CreateTopic, settings: &[(&str, &str)]) -> Result<(), Failure> {
        self.request(topic, how, settings, &options())?;
        let deadline = Instant::now() + PATIENCE;
        while self.partitions(topic)?.is_none() {
            if deadline < Instant::now() {
                return Err(Failure::retry(format!(
                    "create topic `{topic}` through connection `{}`: the broker has taken the request, and the topic is \
                     not there yet",
                    self.connection
                )));
            }
            // Hears the client meanwhile.
            self.client.poll(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Whether a topic could be made; makes none.
    pub fn could_create(&self, topic: &str, how: CreateTopic) -> Result<(), Failure> {
        self.request(topic, how, &[], &options().validate_only(true))
    }

    fn request(
        &self,
        topic: &str,
        how: CreateTopic,
        settings: &[(&str, &str)],
        options: &AdminOptions,
    ) -> Result<(), Failure> {
        let doing = || format!("create topic `{topic}`");
        let partitions = i32::try_from(how.partitions).unwrap_or(i32::MAX);
        // Minus one stands for the cluster's own choice.
        let replication = TopicReplication::Fixed(how.replication.map_or(-1, i32::from));
        let mut new = NewTopic::new(topic, partitions, replication);
        for (key, value) in settings {
            new = new.set(key, value);
        }
        let answers = self.wait(self.admin.create_topics(&[new], options));
        let answers = answers.map_err(|error| self.watch.failure(&doing(), &error))?;
        for answer in answers {
            match answer {
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(error::code_failure(&self.connection, &doing(), code, None)),
            }
        }
        Ok(())
    }

    /// Number of partitions of a topic that has to be there; makes it if `how` says how.
    pub fn ensure(
        &self,
        topic: &str,
        how: Option<CreateTopic>,
        settings: &[(&str, &str)],
    ) -> Result<u32, Failure> {
        if let Some(partitions) = self.partitions(topic)? {
            return Ok(partitions);
        }
        match how {
            Some(how) => {
                self.create(topic, how, settings)?;
                tracing::info!(
                    connection = self.connection,
                    topic,
                    partitions = how.partitions,
                    "created the topic, which was missing"
                );
                Ok(self.partitions(topic)?.unwrap_or(how.partitions))
            }
            None => Err(Failure::stop(format!(
                "use topic `{topic}` through connection `{}`: it does not exist; create it, or add `create: \
                 {{partitions: N}}` beside `topic`",
                self.connection
            ))),
        }
    }

    /// How a topic is set up; `None` if we may not ask (`DESCRIBE_CONFIGS`).
    pub fn settings(&self, topic: &str) -> Result<Option<TopicSettings>, Failure> {
        let doing = || format!("read the settings of topic `{topic}`");
        let asked = [ResourceSpecifier::Topic(topic)];
        let answers = self.wait(self.admin.describe_configs(&asked, &options()));
        let answers = answers.map_err(|error| self.watch.failure(&doing(), &error))?;
        let Some(answer) = answers.into_iter().next() else { return Ok(None) };
        let config = match answer {
            Ok(config) => config,
            Err(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => return Ok(None),
            Err(code) => return Err(error::code_failure(&self.connection, &doing(), code, None)),
        };
        let entries = config.entry_map();
        let value = |name: &str| entries.get(name).and_then(|entry| entry.value.as_deref());
        // Whoever may not ask gets an empty answer.
        let Some(max_message_bytes) = value("max.message.bytes").and_then(|bytes| bytes.parse().ok()) else {
            return Ok(None);
        };
        Ok(Some(TopicSettings {
            max_message_bytes,
            is_compacted: value("cleanup.policy").is_some_and(|policy| policy.contains("compact")),
            has_append_time: value("message.timestamp.type") == Some("LogAppendTime"),
        }))
    }

    /// Waits for an answer. The client sees to it that there is one in time.
    fn wait<T>(&self, answer: impl Future<Output = KafkaResult<T>>) -> KafkaResult<T> {
        let answer = block_on(answer, PATIENCE * 2);
        self.listen();
        answer.unwrap_or(Err(KafkaError::AdminOp(Code::OperationTimedOut)))
    }

    /// Hears errors that explain an answer.
    fn listen(&self) {
        while self.client.poll(Duration::ZERO).is_some() {}
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What a future answers, if it does so in time. Also where a runtime is running.
fn block_on<T>(future: impl Future<Output = T>, patience: Duration) -> Option<T> {
    let deadline = Instant::now() + patience;
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(answer);
        }
        thread::park_timeout(deadline.checked_duration_since(Instant::now())?);
    }
}
