//! `host.yaml` as a host runs by it: every default is here, and nowhere else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use model::time::EventTime;

use super::{ConnectionPlan, CreateTopic, EventTimeBounds};

/// `host.yaml`, with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct HostPlan {
    /// The project that the host serves; part of each view's id.
    pub project: String,
    /// Address and port to listen on.
    pub listen: String,
    /// Where the host keeps what it must not lose.
    pub data_dir: PathBuf,
    /// File sources and file outputs lie here.
    pub files_root: PathBuf,
    /// The embedded online store, which keeps positions in any case.
    pub online_store: EmbeddedStorePlan,
    /// What all stores in Redis have in common.
    pub redis_stores: RedisStoresPlan,
    /// Where the rows of views go that do not say otherwise.
    pub default_store: StorePlan,
    /// Push sources.
    pub push: PushPlan,
    /// Where events go that could not be used.
    pub dead_letter: DeadLetterPlan,
    /// The event times that are believed, unless a source says otherwise.
    pub event_time: EventTimeBounds,
    /// Whether reads are answered before a crash is made up for.
    pub serve_while_recovering: bool,
    /// How long a stop may take.
    pub shutdown_grace: Duration,
    /// Threads that transform; `None` = one for each processor.
    pub threads: Option<usize>,
    /// Endpoints and secrets, by the name that view files use.
    pub connections: BTreeMap<String, ConnectionPlan>,
}

/// Where events go that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterPlan {
    /// `dead_letter.ndjson` in the data directory.
    Default,
    /// A file, one JSON object per line.
    File(PathBuf),
    /// A Kafka topic, one record per event: the payload as it was, the reason in headers.
    Kafka {
        /// The connection.
        connection: String,
        /// The topic.
        topic: String,
        /// How to make the topic if it is missing.
        create: Option<CreateTopic>,
    },
}

/// Settings of the embedded online store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedStorePlan {
    /// Bytes of rows in memory.
    pub memory: usize,
    /// Time between checkpoints.
    pub checkpoint_interval: Duration,
    /// Bytes of changed rows that bring a checkpoint forward.
    pub checkpoint_bytes: usize,
}

/// Settings of all online stores in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisStoresPlan {
    /// Bytes, of each store, for what is known of entities that this host wrote last.
    pub memory: usize,
    /// Connections of each store that write.
    pub writers: usize,
}

/// Where rows go and are read from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum StorePlan {
    /// The embedded store of this host.
    #[default]
    Embedded,
    /// Redis, which several hosts share.
    Redis {
        /// The connection in `host.yaml`.
        connection: String,
    },
}

impl StorePlan {
    /// The connection to Redis, if rows are there.
    pub fn connection(&self) -> Option<&str> {
        match self {
            Self::Embedded => None,
            Self::Redis { connection } => Some(connection),
        }
    }
}

/// `embedded`, or `redis/CONNECTION`.
impl std::fmt::Display for StorePlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Redis { connection } => write!(f, "redis/{connection}"),
        }
    }
}

/// Settings of push sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushPlan {
    /// Bytes of one source's log before pushes are refused.
    pub max_log_bytes: u64,
    /// Bytes of one file of a log.
    pub segment_bytes: u64,
    /// Bytes of one request.
    pub max_body_bytes: usize,
    /// Bytes of one event.
    pub max_row_bytes: usize,
}

impl Default for HostPlan {
    fn default() -> Self {
        Self {
            project: "default".to_owned(),
            listen: "127.0.0.1:6566".to_owned(),
            data_dir: PathBuf::from("./.millrace"),
            files_root: PathBuf::from("."),
            online_store: EmbeddedStorePlan {
                memory: 512 << 20,
                checkpoint_interval: Duration::from_secs(2),
                checkpoint_bytes: 256 << 20,
            },
            redis_stores: RedisStoresPlan { memory: 256 << 20, writers: 2 },
            default_store: StorePlan::Embedded,
            push: PushPlan {
                max_log_bytes: 4 << 30,
                segment_bytes: 64 << 20,
                max_body_bytes: 32 << 20,
                max_row_bytes: 1 << 20,
            },
            dead_letter: DeadLetterPlan::Default,
            event_time: EventTimeBounds { earliest: EventTime::DEFAULT_EARLIEST.0, max_future: 600_000_000 },
            serve_while_recovering: false,
            shutdown_grace: Duration::from_secs(60),
            threads: None,
            connections: BTreeMap::new(),
        }
    }
}
