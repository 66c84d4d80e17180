//! What a group is joined with, as the client's settings.

use std::collections::BTreeMap;
use std::time::Duration;

use model::position::Partition;
use rdkafka::ClientConfig;

use crate::kafka::{Connection, Shared};

/// `session.timeout.ms` where the options say nothing; for the protocol in which the broker assigns, what brokers use
/// unless told otherwise. Shorter, and a busy machine loses its partitions; longer, and those of a crashed host wait.
const SESSION: Duration = Duration::from_secs(45);

/// How a group agrees on who reads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// Members agree among themselves, cooperatively.
    Classic,
    /// The broker assigns (KIP-848).
    Consumer,
}

/// What a group is joined with.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// The cluster.
    pub connection: Connection,
    /// The source's name, for messages.
    pub source: String,
    /// `group.id`.
    pub group: String,
    /// Topics to read.
    pub topics: Vec<String>,
    /// How the group agrees.
    pub protocol: GroupProtocol,
    /// Names this host within the group, also after a restart.
    pub instance: String,
    /// Further consumer settings.
    pub options: BTreeMap<String, String>,
    /// How often progress is committed.
    pub commit_interval: Duration,
    /// Metrics and what is known of clusters.
    pub shared: Shared,
}

impl GroupOptions {
    /// The settings of the member's client.
    pub(super) fn config(&self) -> ClientConfig {
        let mut config = self.connection.config();
        // New partitions and topics that come into being are seen within this time.
        config.set("topic.metadata.refresh.interval.ms", "10000");
        // A rebalance goes as fast as all members hear of it, which is with their next heartbeat.
        config.set("heartbeat.interval.ms", "1000");
        for (key, value) in &self.options {
            config.set(key, value);
        }
        config.set("group.id", &self.group);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        // Offsets inside open transactions are waited for when commits are read.
        config.set("isolation.level", "read_committed");
        config.set("auto.offset.reset", "latest");
        // Nothing is fetched; between an assignment and its pause there is a moment.
        config.set("queued.min.messages", "1");
        config.set("queued.max.messages.kbytes", "1");
        config.set("enable.partition.eof", "false");
        match self.protocol {
            GroupProtocol::Classic => {
                config.set("group.protocol", "classic");
                config.set("partition.assignment.strategy", "cooperative-sticky");
                config.set("group.instance.id", &self.instance);
                config.set("session.timeout.ms", self.session().as_millis().to_string());
            }
            GroupProtocol::Consumer => {
                config.set("group.protocol", "consumer");
                // The client refuses what only the broker decides in this protocol.
                for key in ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"] {
                    config.remove(key);
                }
            }
        }
        config
    }

    /// How long the broker waits for a heartbeat.
    pub(super) fn session(&self) -> Duration {
        let named = |options: &BTreeMap<String, String>| options.get("session.timeout.ms")?.parse().ok();
        named(&self.options)
            .or_else(|| named(&self.connection.options))
            .map_or(SESSION, Duration::from_millis)
    }
}

/// The text of a partition: `ads-3`.
pub fn partition_name(topic: &str, number: i32) -> Partition {
    Partition::new(format!("{topic}-{number}"))
}

/// The topic and number in a partition's text.
pub fn topic_and_number(partition: &Partition) -> Option<(&str, i32)> {
    let (topic, number) = partition.as_str().rsplit_once('-')?;
    Some((topic, number.parse().ok()?))
}
