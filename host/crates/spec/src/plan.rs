//! What the files come to: resolved, complete, checked; what the host runs.
//!
//! Plans cannot be serialized; `raw` mirrors the files. Two plans are equal when they say the same: where it is
//! said (every [`Spot`]) takes no part, so moving a view within its file changes nothing.

mod connection;
mod host;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::codec::SourceColumn;
use model::output::OutputOptions;
use model::schema::DataType;
use model::time::EventTime;
use model::transform::Limits;
use model::view::ViewRef;

use crate::diagnostic::Spot;

pub use connection::{
    ConnectionPlan, KafkaConnectionPlan, KinesisConnectionPlan, RedisConnectionPlan, RedisMode, RedisTlsPlan,
    SaslMechanism, SaslPlan, Secret, TlsPlan,
};
pub use host::{DeadLetterPlan, EmbeddedStorePlan, HostPlan, PushPlan, RedisStoresPlan, StorePlan};

/// Everything that view files declare, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Entities.
    pub entities: BTreeMap<String, EntityPlan>,
    /// Stream sources.
    pub sources: BTreeMap<String, SourcePlan>,
    /// Stream feature views.
    pub views: BTreeMap<String, ViewPlan>,
    /// Feature services.
    pub services: BTreeMap<String, ServicePlan>,
}

/// What features are about.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityPlan {
    /// Unique among entities.
    pub name: String,
    /// Names and types of the columns that identify one entity, in declared order.
    pub join_keys: Vec<(String, DataType)>,
    /// One line for people.
    pub description: String,
    /// Where it is declared.
    pub spot: Spot,
}

/// A stream of events.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    /// Unique among sources.
    pub name: String,
    /// Where events come from.
    pub kind: SourceKind,
    /// How payloads are read.
    pub format: FormatKind,
    /// Columns in declared order.
    pub columns: Vec<SourceColumn>,
    /// The column that holds the event time, or `_ingest_time`.
    pub timestamp_field: String,
    /// Event times outside are dead-lettered.
    pub bounds: EventTimeBounds,
    /// Where a view without a position of its own begins.
    pub start: Start,
    /// How late events may be before windows close without them.
    pub watermark_delay: Option<Duration>,
    /// Where history lies.
    pub batch: Option<BatchPlan>,
    /// Bytes of one event at most.
    pub max_row_bytes: usize,
    /// One line for people.
    pub description: String,
    /// Where it is declared.
    pub spot: Spot,
    /// Where each column is declared.
    pub column_spots: BTreeMap<String, Spot>,
}

impl SourcePlan {
    /// A column of the schema.
    pub fn column(&self, name: &str) -> Option<&SourceColumn> {
        self.columns.iter().find(|column| column.field.name == name)
    }
}

/// Where events come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// Clients push them over HTTP.
    Push,
    /// They are lines of a file.
    File {
        /// The file, absolute.
        path: PathBuf,
        /// Whether to wait for more at its end.
        follow: bool,
    },
    /// They are records of Kafka topics.
    Kafka(KafkaSourcePlan),
    /// They are records of a Kinesis stream.
    Kinesis(KinesisSourcePlan),
}

/// Kafka topics to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSourcePlan {
    /// The connection in `host.yaml`.
    pub connection: String,
    /// The topics, in declared order, each once.
    pub topics: Vec<String>,
    /// The consumer group: hosts with the same group share the partitions.
    pub group: String,
    /// What to do when the position to read from is not there any more.
    pub out_of_range: OutOfRange,
    /// How the group agrees on who reads what.
    pub group_protocol: GroupProtocol,
    /// Further consumer settings, by librdkafka's names; none of them breaks a promise.
    pub options: BTreeMap<String, String>,
}

/// What to do when the position to read from is not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutOfRange {
    /// Stop the view and say so.
    #[default]
    Stop,
    /// Go on at the first record that is there, and count the gap.
    Earliest,
    /// Go on behind the last record, and count the gap.
    Latest,
}

/// How a consumer group agrees on who reads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupProtocol {
    /// Members agree among themselves, cooperatively.
    #[default]
    Classic,
    /// The broker assigns (KIP-848); brokers from 4.0 on.
    Consumer,
}

/// A Kinesis stream to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinesisSourcePlan {
    /// The connection in `host.yaml`.
    pub connection: String,
    /// The stream.
    pub stream: StreamPlan,
    /// What to do when the position to read from is not there any more.
    pub out_of_range: OutOfRange,
    /// Who knows which host reads which shard.
    pub leases: LeasesPlan,
}

/// A Kinesis stream, by either of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamPlan {
    /// In the connection's account and region.
    Name(String),
    /// An Amazon resource name, well-formed.
    Arn(String),
}

impl StreamPlan {
    /// The stream's name; that of a resource name is its last part.
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Arn(arn) => arn.rsplit('/').next().unwrap_or(arn),
        }
    }
}

impl std::fmt::Display for StreamPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(text) | Self::Arn(text) => f.write_str(text),
        }
    }
}

/// Who knows which host reads which shard of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeasesPlan {
    /// Nobody needs to: this host reads all of them.
    Alone,
    /// Redis: hosts of one project share the shards of a source.
    Redis {
        /// The connection in `host.yaml`.
        connection: String,
    },
}

impl SourceKind {
    /// The key that selects it in a view file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::File { .. } => "file",
            Self::Kafka(_) => "kafka",
            Self::Kinesis(_) => "kinesis",
        }
    }

    /// The connection that it reads through.
    pub fn connection(&self) -> Option<&str> {
        match self {
            Self::Push | Self::File { .. } => None,
            Self::Kafka(kafka) => Some(&kafka.connection),
            Self::Kinesis(kinesis) => Some(&kinesis.connection),
        }
    }
}

/// How payloads are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatKind {
    /// One JSON object each.
    Json,
    /// The payload is the one column.
    Raw,
}

impl FormatKind {
    /// The word that selects it in a view file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Raw => "raw",
        }
    }
}

/// The event times that are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTimeBounds {
    /// The earliest, microseconds since the epoch.
    pub earliest: i64,
    /// How far ahead of the host's clock, in microseconds.
    pub max_future: i64,
}

/// Where a view without a position of its own begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At what comes from now on.
    Latest,
    /// At the oldest event that the source still has.
    Earliest,
    /// Where the consumer group is; a view does not start while there is no commit.
    Committed,
    /// At the first record that the broker has from this time on.
    Time(EventTime),
    /// At these offsets, by number of partition.
    Offsets(BTreeMap<u32, u64>),
}

/// A table of past events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlan {
    /// A Parquet file, or a folder of them; absolute.
    pub path: PathBuf,
    /// The column that holds the event time.
    pub timestamp_field: String,
}

/// A stream feature view.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewPlan {
    /// Names, columns, time to live: what the flow and the stores see.
    pub shape: ViewRef,
    /// The source that it reads.
    pub source: String,
    /// Its entities, in declared order.
    pub entities: Vec<String>,
    /// The component's file, absolute.
    pub component: PathBuf,
    /// The component's parameters: one JSON object, keys sorted at every level, so that equal parameters have equal texts.
    pub params_json: String,
    /// Sample events, one per line, absolute.
    pub samples: Option<PathBuf>,
    /// How `host build` makes the component.
    pub build: Option<BuildPlan>,
    /// What the guest may use.
    pub limits: Limits,
    /// Rows that fail in a row before the view is paused.
    pub failures_to_pause: u32,
    /// The output column that holds the event time.
    pub timestamp_column: String,
    /// Where it begins when it has no position.
    pub start: Start,
    /// Where rows go and are read from.
    pub store: StorePlan,
    /// Where output records go.
    pub output: Option<OutputPlan>,
    /// Whether rows are meant for the offline store.
    pub offline: bool,
    /// From when history is to be computed.
    pub feature_start: Option<EventTime>,
    /// How often history is to be computed.
    pub batch_schedule: Option<Duration>,
    /// One line for people.
    pub description: String,
    /// Who answers for it.
    pub owner: String,
    /// Labels for people.
    pub tags: BTreeMap<String, String>,
    /// Where its parts are declared.
    pub spots: ViewSpots,
}

impl ViewPlan {
    /// The view file that declares it.
    pub fn file(&self) -> &Path {
        self.spots.name.path()
    }

    /// The view's name.
    pub fn name(&self) -> &str {
        &self.shape.name
    }
}

/// Where the parts of a view are declared, for problems that are found later.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewSpots {
    /// Its name.
    pub name: Spot,
    /// The reference to its source.
    pub source: Spot,
    /// The component.
    pub component: Spot,
    /// The sample events.
    pub samples: Option<Spot>,
    /// `params`, or the component where there are none.
    pub params: Spot,
    /// Each parameter.
    pub param: BTreeMap<String, Spot>,
    /// For each join key, the entity's reference in the view.
    pub keys: BTreeMap<String, Spot>,
    /// Each feature.
    pub features: BTreeMap<String, Spot>,
    /// The timestamp field, or the view's name where it is the source's.
    pub timestamp: Spot,
}

/// How a component is built. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildPlan {
    /// A Cargo package.
    Rust {
        /// The folder that holds its `Cargo.toml`.
        directory: PathBuf,
        /// Further files and folders whose change makes a build stale.
        watch: Vec<PathBuf>,
    },
    /// A Python module, componentized.
    Python {
        /// The module.
        module: PathBuf,
        /// Further files and folders whose change makes a build stale.
        watch: Vec<PathBuf>,
    },
    /// Any program.
    Command {
        /// The program and its arguments; a single text in the file means `sh -c`.
        command: Vec<String>,
        /// Where it runs: the folder of the view file.
        directory: PathBuf,
        /// What it leaves behind; the component itself unless said otherwise.
        output: PathBuf,
        /// Files and folders whose change makes a build stale.
        watch: Vec<PathBuf>,
    },
}

/// An output stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPlan {
    /// Where records go.
    pub sink: OutputSink,
    /// How records look.
    pub options: OutputOptions,
    /// Whether records go out at the same time as rows, instead of after them.
    pub parallel: bool,
}

/// Where output records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputSink {
    /// A file, one record per line.
    File {
        /// The file, absolute.
        path: PathBuf,
    },
    /// A Kafka topic, one record per row.
    Kafka(KafkaOutputPlan),
    /// A Kinesis stream, one record per row.
    Kinesis(KinesisOutputPlan),
}

impl OutputSink {
    /// The connection that it writes through.
    pub fn connection(&self) -> Option<&str> {
        match self {
            Self::File { .. } => None,
            Self::Kafka(kafka) => Some(&kafka.connection),
            Self::Kinesis(kinesis) => Some(&kinesis.connection),
        }
    }
}

/// A Kinesis stream to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinesisOutputPlan {
    /// The connection in `host.yaml`.
    pub connection: String,
    /// The stream.
    pub stream: StreamPlan,
    /// Whether the records of one entity stay in their order.
    pub ordered: bool,
}

/// A Kafka topic to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaOutputPlan {
    /// The connection in `host.yaml`.
    pub connection: String,
    /// The topic.
    pub topic: String,
    /// Whether records and progress are written in transactions.
    pub exactly_once: bool,
    /// How to make the topic if it is missing; `None` = a missing topic is an error.
    pub create: Option<CreateTopic>,
    /// Further producer settings, by librdkafka's names; none of them breaks a promise.
    pub options: BTreeMap<String, String>,
}

/// How a missing topic is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateTopic {
    /// Number of partitions, at least 1.
    pub partitions: u32,
    /// Copies of each partition, at least 1; `None` = as the broker is set up.
    pub replication: Option<u16>,
}

/// Features that are read together.
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePlan {
    /// Unique among services.
    pub name: String,
    /// Views and features, in declared order.
    pub features: Vec<ServiceFeatures>,
    /// One line for people.
    pub description: String,
    /// Where it is declared.
    pub spot: Spot,
}

/// The part of one view in a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceFeatures {
    /// The view.
    pub view: String,
    /// One feature; `None` = all of the view.
    pub feature: Option<String>,
}
