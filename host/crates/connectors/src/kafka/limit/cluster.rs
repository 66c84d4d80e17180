//! The broker as a benchmark sees it: topics that come and go, and how many records they hold.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::error::Failure;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, error::RDKafkaErrorCode};

use super::{Producer, failed};

/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Client settings, by librdkafka's names.
pub type Settings = BTreeMap<String, String>;

/// A broker without security.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// `host:port`.
    pub bootstrap: String,
}

impl Cluster {
    /// The broker at an address, `host:port`.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into() }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    /// A consumer that is tuned for this work: small queues stay in the processor's cache, and librdkafka's default pause
    /// of a second after a full one would leave the loop waiting for data most of the time.
    pub(super) fn consumer(&self, group: &str, settings: &Settings) -> Result<BaseConsumer, Failure> {
        let mut config = self.config();
        config
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", "4096")
            .set("queued.min.messages", "10000000")
            .set("fetch.queue.backoff.ms", "10");
        config.extend(settings.clone());
        config.create().map_err(failed("make a consumer"))
    }

    /// A producer with the host's guarantees and settings: with more requests under way or a larger queue every record
    /// costs more. The linger is what was cheapest.
    pub(super) fn producer(&self, settings: &Settings) -> Result<Producer, Failure> {
        let mut config = self.config();
        config
            .set("linger.ms", "5")
            .set("max.in.flight", "2")
            .set("queue.buffering.max.kbytes", "4096")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2")
            .set("compression.type", "none");
        config.extend(settings.clone());
        config.create_with_context(DefaultProducerContext).map_err(failed("make a producer"))
    }

    /// Makes a topic that does not exist.
    pub fn create(&self, topic: &str, partitions: u16) -> Result<(), Failure> {
        let topics = [NewTopic::new(topic, i32::from(partitions), TopicReplication::Fixed(1))];
        let admin = self.admin()?;
        let answers = block_on(admin.create_topics(&topics, &options()))?.map_err(failed("make a topic"))?;
        refused("make", answers)
    }

    /// Deletes topics; those that do not exist are no error.
    pub fn delete(&self, topics: &[&str]) -> Result<(), Failure> {
        let admin = self.admin()?;
        let answers = block_on(admin.delete_topics(topics, &options()))?.map_err(failed("delete topics"))?;
        refused("delete", answers)
    }

    /// Watches how much a topic holds.
    pub fn ends(&self, topic: &str, partitions: u16) -> Result<Ends, Failure> {
        let consumer = self.config().create().map_err(failed("make a client"))?;
        Ok(Ends { consumer, topic: topic.to_owned(), partitions })
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, Failure> {
        self.config().create().map_err(failed("make an admin client"))
    }
}

/// How much a topic holds.
pub struct Ends {
    consumer: BaseConsumer,
    topic: String,
    partitions: u16,
}

impl Ends {
    /// Sum of the end offsets of all partitions: every record that was ever written.
    pub fn sum(&self) -> Result<u64, Failure> {
        self.each().map(|ends| ends.iter().sum())
    }

    /// End offset of each partition.
    pub fn each(&self) -> Result<Vec<u64>, Failure> {
        (0..self.partitions)
            .map(|partition| {
                // A topic that was just made has no leader for a moment.
                let started = Instant::now();
                loop {
                    match self.consumer.fetch_watermarks(&self.topic, i32::from(partition), PATIENCE) {
                        Ok((_, end)) => return Ok(u64::try_from(end).unwrap_or(0)),
                        Err(_) if started.elapsed() < PATIENCE => {
                            std::thread::park_timeout(Duration::from_millis(20));
                        }
                        Err(error) => return Err(failed("ask for the end of a partition")(error)),
                    }
                }
            })
            .collect()
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

fn refused(what: &str, answers: Vec<Result<String, (String, RDKafkaErrorCode)>>) -> Result<(), Failure> {
    for answer in answers {
        match answer {
            Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
            Err((topic, code)) => {
                return Err(Failure::stop(format!("{what} topic `{topic}`")).caused_by(code));
            }
        }
    }
    Ok(())
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Failure::stop("start a runtime").caused_by(error))?;
    Ok(runtime.block_on(future))
}
