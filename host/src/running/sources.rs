//! Opens the sources that view files declare.

use std::sync::Arc;
use std::time::Duration;

use connectors::codec::bounded::BoundedFormat;
use connectors::codec::json::JsonFormat;
use connectors::codec::raw::RawFormat;
use connectors::kafka::{Group, GroupProtocol};
use connectors::kinesis::lease::{LeasePlace, Leases};
use connectors::source::OutOfRange;
use connectors::source::file::{FileOptions, FileSource};
use connectors::source::kafka::{KafkaSource, KafkaSourceOptions};
use connectors::source::kinesis::{KinesisSource, KinesisSourceOptions};
use connectors::source::push::{PushLog, PushOptions};
use model::codec::{Format, metadata};
use model::error::Failure;
use model::source::{Push, Source};
use model::transform::Description;
use serve::{PushEntry, Share, SharedStream};
use spec::plan::{self, FormatKind, KafkaSourcePlan, KinesisSourcePlan, LeasesPlan, SourceKind, SourcePlan};

use super::kinesis::stream;
use super::parts::Parts;

/// Bytes of the newest pushed events that stay in memory for views that keep up.
const PUSH_MEMORY_BYTES: usize = 64 << 20;

/// How often progress is committed to a consumer group. Longer, and more is repeated after a crash; shorter, and the
/// group's coordinator has more to do.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// How long the lease of a shard holds that is not renewed. All hosts of a project have to agree on it: shorter, and a host
/// that pauses loses its shards; longer, and the shards of a host that died wait longer.
const LEASE_DURATION: Duration = Duration::from_secs(10);

/// A source that is open.
pub(crate) struct OpenSource {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) format: Arc<dyn Format>,
    push: Option<Arc<PushLog>>,
    kafka: Option<OpenKafka>,
    kinesis: Option<OpenKinesis>,
}

/// What is particular to Kafka.
struct OpenKafka {
    source: Arc<KafkaSource>,
    share: Arc<Share>,
    with_headers: bool,
}

/// What is particular to Kinesis.
struct OpenKinesis {
    source: Arc<KinesisSource>,
    share: Arc<Share>,
}

impl OpenSource {
    /// Opens what the plan says; waits for no broker. `with_headers`: whether some transform takes the headers of
    /// events.
    pub(crate) fn open(parts: &Parts, plan: &SourcePlan, with_headers: bool) -> Result<Self, Failure> {
        let format = format(plan)?;
        let data = &parts.settings.data_dir;
        match &plan.kind {
            SourceKind::Kafka(kafka) => {
                let format = Arc::new(BoundedFormat::new(format, plan.max_row_bytes)) as Arc<dyn Format>;
                let source = KafkaSource::open(kafka_options(parts, plan, kafka, with_headers)?)?;
                let share = parts.shares.follow(&source);
                let open = OpenKafka { source: Arc::clone(&source), share, with_headers };
                Ok(Self { source, format, push: None, kafka: Some(open), kinesis: None })
            }
            SourceKind::Kinesis(kinesis) => {
                let format = Arc::new(BoundedFormat::new(format, plan.max_row_bytes)) as Arc<dyn Format>;
                let source = KinesisSource::open(kinesis_options(parts, plan, kinesis)?)?;
                let share = parts.shares.follow(&source);
                let open = OpenKinesis { source: Arc::clone(&source), share };
                Ok(Self { source, format, push: None, kafka: None, kinesis: Some(open) })
            }
            SourceKind::Push => {
                let log = PushLog::open(PushOptions {
                    name: plan.name.clone(),
                    directory: data.join("push").join(&plan.name),
                    format: Arc::clone(&format),
                    timestamp_column: plan.timestamp_field.clone(),
                    earliest: plan.bounds.earliest,
                    max_future: plan.bounds.max_future,
                    max_log_bytes: parts.settings.push.max_log_bytes,
                    segment_bytes: parts.settings.push.segment_bytes,
                    max_row_bytes: plan.max_row_bytes,
                    memory_bytes: PUSH_MEMORY_BYTES,
                    clock: Arc::clone(&parts.clock),
                })?;
                Ok(Self {
                    source: Arc::clone(&log) as _,
                    format,
                    push: Some(log),
                    kafka: None,
                    kinesis: None,
                })
            }
            SourceKind::File { path, follow } => {
                // A line beyond the limit comes cut to one byte more than it, and is put aside for that.
                let format = Arc::new(BoundedFormat::new(format, plan.max_row_bytes)) as Arc<dyn Format>;
                let source = FileSource::open(FileOptions {
                    name: plan.name.clone(),
                    path: path.clone(),
                    follow: *follow,
                    state_directory: data.join("files").join(&plan.name),
                    max_row_bytes: plan.max_row_bytes.saturating_add(1),
                    clock: Arc::clone(&parts.clock),
                })?;
                Ok(Self { source, format, push: None, kafka: None, kinesis: None })
            }
        }
    }

    /// How the server sees it.
    pub(crate) fn entry(&self, plan: &SourcePlan) -> PushEntry {
        PushEntry {
            push: self.push.as_ref().map(|log| Arc::clone(log) as Arc<dyn Push>),
            columns: plan.columns.clone(),
            kind: plan.kind.name(),
            raw: plan.format == FormatKind::Raw,
            shared: self.shared(plan),
        }
    }

    /// This host's part in the source's consumer group.
    pub(crate) fn group(&self) -> Option<Arc<Group>> {
        self.kafka.as_ref().map(|open| open.source.group())
    }

    /// This host's part among those that share the source's stream.
    pub(crate) fn leases(&self) -> Option<Arc<Leases>> {
        self.kinesis.as_ref().map(|open| open.source.leases())
    }

    /// Who shares the partitions of the source.
    fn shared(&self, plan: &SourcePlan) -> Option<SharedStream> {
        match (&plan.kind, &self.kafka, &self.kinesis) {
            (SourceKind::Kafka(kafka), Some(open), _) => Some(SharedStream {
                group: kafka.group.clone(),
                topics: kafka.topics.clone(),
                share: Arc::clone(&open.share),
            }),
            (SourceKind::Kinesis(kinesis), _, Some(open)) => match &kinesis.leases {
                LeasesPlan::Alone => None,
                LeasesPlan::Redis { connection } => Some(SharedStream {
                    group: format!("redis/{connection}"),
                    topics: vec![kinesis.stream.name().to_owned()],
                    share: Arc::clone(&open.share),
                }),
            },
            _ => None,
        }
    }

    /// Whether headers of events are read, or there are none.
    pub(crate) fn has_headers(&self) -> bool {
        self.kafka.as_ref().is_none_or(|open| open.with_headers)
    }

    /// Whether a transform of this description gets all columns that it takes.
    pub(crate) fn gives(&self, description: &Description) -> bool {
        self.has_headers() || !takes_headers(description)
    }

    /// Takes no more events.
    pub(crate) fn close(&self) {
        if let Some(log) = &self.push {
            log.close();
        }
    }
}

/// How the payloads of a source are decoded.
pub(crate) fn format(plan: &SourcePlan) -> Result<Arc<dyn Format>, Failure> {
    let columns = plan.columns.clone();
    Ok(match plan.format {
        FormatKind::Json => Arc::new(JsonFormat::new(columns)),
        FormatKind::Raw => Arc::new(RawFormat::new(columns)?),
    })
}

/// Whether events of such a source may have headers.
pub(super) fn have_headers(kind: &SourceKind) -> bool {
    matches!(kind, SourceKind::Kafka(_))
}

/// Whether a transform takes the headers of events: they are only read where somebody does.
pub(super) fn takes_headers(description: &Description) -> bool {
    description.input.iter().any(|field| field.name == metadata::HEADERS)
}

fn out_of_range(plan: plan::OutOfRange) -> OutOfRange {
    match plan {
        plan::OutOfRange::Stop => OutOfRange::Stop,
        plan::OutOfRange::Earliest => OutOfRange::Earliest,
        plan::OutOfRange::Latest => OutOfRange::Latest,
    }
}

fn kafka_options(
    parts: &Parts,
    plan: &SourcePlan,
    kafka: &KafkaSourcePlan,
    with_headers: bool,
) -> Result<KafkaSourceOptions, Failure> {
    Ok(KafkaSourceOptions {
        name: plan.name.clone(),
        connection: parts.kafka.connection(&kafka.connection)?,
        topics: kafka.topics.clone(),
        group: kafka.group.clone(),
        protocol: match kafka.group_protocol {
            plan::GroupProtocol::Classic => GroupProtocol::Classic,
            plan::GroupProtocol::Consumer => GroupProtocol::Consumer,
        },
        instance: parts.kafka.instance.clone(),
        out_of_range: out_of_range(kafka.out_of_range),
        with_headers,
        options: kafka.options.clone(),
        commit_interval: COMMIT_INTERVAL,
        shared: parts.kafka.shared.clone(),
    })
}

fn kinesis_options(
    parts: &Parts,
    plan: &SourcePlan,
    kinesis: &KinesisSourcePlan,
) -> Result<KinesisSourceOptions, Failure> {
    Ok(KinesisSourceOptions {
        name: plan.name.clone(),
        project: parts.settings.project.clone(),
        connection: parts.kinesis.connection(&kinesis.connection)?,
        stream: stream(&kinesis.stream),
        leases: match &kinesis.leases {
            LeasesPlan::Alone => {
                LeasePlace::Alone { directory: parts.settings.data_dir.join("kinesis").join(&plan.name) }
            }
            LeasesPlan::Redis { connection } => LeasePlace::Redis {
                connection: parts.redis.connection(connection)?,
                shared: parts.redis.shared.clone(),
            },
        },
        instance: parts.instance.clone(),
        out_of_range: out_of_range(kinesis.out_of_range),
        lease_duration: LEASE_DURATION,
        clock: Arc::clone(&parts.clock),
        shared: parts.kinesis.shared.clone(),
    })
}
