//! Stream feature views as they stand in view files.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::declare::{raw_choice, raw_mapping};
use super::kafka::RawKafkaOutput;
use super::kinesis::RawKinesisOutput;
use super::read::{Anything, Ordered, Read, Reader, Spanned};
use super::redis::RawViewStore;
use super::scalars::{ByteSize, Instant, Micros, Name};
use super::source::RawType;
use super::start::RawStart;
use crate::diagnostic::{Code, Spot};
use crate::yaml::{Meaning, Node, NodeValue};

raw_mapping! {
    /// A stream feature view: a source, a transform, and the features that come of it.
    RawView {
        /// Unique among views.
        required name: Spanned<Name>,
        /// The source that it reads.
        required source: Spanned<Name>,
        /// The entities that its features are about.
        required entities: Spanned<Vec<Spanned<Name>>>,
        /// What makes features of events.
        required transform: RawTransform,
        /// The features, in order, each with its type.
        required features: Spanned<Ordered<Spanned<RawType>>>,
        /// The output column that holds the event time; named like the source's timestamp field unless said otherwise.
        optional timestamp_field: Option<Spanned<Name>>,
        /// Whether rows go to the online store; `true` unless said otherwise.
        optional online: Option<Spanned<bool>>,
        /// Where rows go and are read from; `online_store` of host.yaml unless said otherwise.
        optional online_store: Option<Spanned<RawViewStore>>,
        /// Whether rows go to the offline store; `false` unless said otherwise. Stores nothing in this version.
        optional offline: Option<Spanned<bool>>,
        /// How long a row is served after its event time, such as `365d`; forever unless said otherwise.
        optional ttl: Option<Spanned<Micros>>,
        /// From when history is to be computed.
        optional feature_start_time: Option<Instant>,
        /// How often history is to be computed, such as `1d`.
        optional batch_schedule: Option<Spanned<Micros>>,
        /// Where the view begins when it has no position of its own; the source's `start` unless said otherwise.
        optional start: Option<Spanned<RawStart>>,
        /// Where every result is emitted to.
        optional output_stream: Option<Spanned<RawOutputStream>>,
        /// Time-window aggregations; not in this build yet.
        optional aggregations: Option<Spanned<Anything>>,
        /// When aggregations are updated.
        optional stream_processing_mode: Option<Spanned<RawProcessingMode>>,
        /// One line for people.
        optional description: Option<String>,
        /// Who answers for it.
        optional owner: Option<String>,
        /// Labels for people.
        optional tags: Option<BTreeMap<String, String>>,
    }
}

raw_mapping! {
    /// What makes features of events: a WebAssembly component.
    RawTransform {
        /// The component's file, relative to the view file.
        required component: Spanned<String>,
        /// Passed to the component; it says which it takes.
        optional params: Option<Spanned<Params>>,
        /// Sample events, one per line, relative to the view file: a changed component is tried on them first.
        optional samples: Option<Spanned<String>>,
        /// How `host build` makes the component.
        optional build: Option<Spanned<RawBuild>>,
        /// What the component may use.
        optional limits: Option<RawLimits>,
    }
}

raw_mapping! {
    /// How the component is built. It has exactly one of `rust`, `python`, `command`. Paths are relative to the view file.
    RawBuild {
        /// The folder of a Cargo package.
        optional rust: Option<Spanned<String>>,
        /// A Python module.
        optional python: Option<Spanned<String>>,
        /// A program and its arguments, run in the folder of the view file; a single text is run by `sh -c`.
        optional command: Option<Spanned<CommandLine>>,
        /// What `command` leaves behind; the component itself unless said otherwise.
        optional output: Option<Spanned<String>>,
        /// Files and folders whose change makes a build stale.
        optional watch: Option<Vec<Spanned<String>>>,
    }
}

raw_mapping! {
    /// What the component may use.
    RawLimits {
        /// Linear memory; `64MiB` unless said otherwise.
        optional memory: Option<Spanned<ByteSize>>,
        /// Time for a batch; `100ms` unless said otherwise.
        optional time: Option<Spanned<Micros>>,
        /// Further time for each row; `100us` unless said otherwise.
        optional time_per_row: Option<Spanned<Micros>>,
        /// Output rows for each input row, on average over a batch; 64 unless said otherwise.
        optional rows_per_row: Option<Spanned<u64>>,
        /// Output bytes of a batch; `64MiB` unless said otherwise.
        optional output: Option<Spanned<ByteSize>>,
        /// Log bytes a second; `64KiB` unless said otherwise.
        optional log: Option<Spanned<ByteSize>>,
        /// Batches that one instance serves before it is replaced; 1 (a fresh instance each time) unless said otherwise.
        optional batches_per_instance: Option<Spanned<u64>>,
        /// Rows that fail in a row before the view is paused; 1000 unless said otherwise.
        optional failures_to_pause: Option<Spanned<u64>>,
    }
}

raw_mapping! {
    /// Where every result is emitted to. It has exactly one of `file`, `kafka`, `kinesis`.
    RawOutputStream {
        /// A file, one JSON record per line.
        optional file: Option<RawOutputFile>,
        /// A Kafka topic, one record for each row.
        optional kafka: Option<Spanned<RawKafkaOutput>>,
        /// A Kinesis stream, one record for each row.
        optional kinesis: Option<Spanned<RawKinesisOutput>>,
        /// Whether records have feature values; `false` unless said otherwise.
        optional include_features: Option<Spanned<bool>>,
        /// The schema of records; `"1"` unless said otherwise.
        optional version: Option<Spanned<RawVersion>>,
        /// What records say has produced them; `millrace` unless said otherwise.
        optional producer: Option<RawProducer>,
        /// When records are emitted; `after_online` unless said otherwise.
        optional emit: Option<RawEmit>,
    }
}

raw_mapping! {
    /// A file of output records.
    RawOutputFile {
        /// The file, relative to `files_root` of host.yaml.
        required path: Spanned<String>,
    }
}

raw_choice! {
    /// The schema of records.
    RawVersion {
        /// All strings; what consumers of Tecton's output stream read.
        One = "1",
        /// A typed superset.
        Two = "2",
    }
}

raw_choice! {
    /// What records say has produced them.
    RawProducer {
        /// Millrace.
        Millrace = "millrace",
        /// Tecton, for consumers that insist on it.
        Tecton = "tecton",
    }
}

raw_choice! {
    /// When records are emitted.
    RawEmit {
        /// Once the online store has the row: whoever receives a record can read the feature.
        AfterOnline = "after_online",
        /// At the same time.
        Parallel = "parallel",
    }
}

raw_choice! {
    /// When aggregations are updated.
    RawProcessingMode {
        /// With every event.
        Continuous = "continuous",
        /// Once in each interval.
        TimeInterval = "time_interval",
    }
}

/// Parameters of a component.
#[derive(Debug, Clone)]
pub(crate) struct Params {
    /// One JSON object, keys sorted at every level.
    pub(crate) json: String,
    /// Where each top-level parameter stands.
    pub(crate) spots: BTreeMap<String, Spot>,
}

impl Read for Params {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let entries = reader.entries(node)?;
        let spots =
            entries.iter().map(|(key, _)| (key.name.clone(), reader.spot(key.range.clone()))).collect();
        let mut json = String::new();
        write_json(node, &mut json, reader)?;
        // `params:` without a value means no parameters.
        Some(Self { json: if json == "null" { "{}".to_owned() } else { json }, spots })
    }
}

/// Appends a node as compact JSON with sorted keys. Does not end at the first problem.
fn write_json(node: &Node, out: &mut String, reader: &mut Reader<'_>) -> Option<()> {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    match &node.value {
        NodeValue::Scalar(scalar) => match scalar.meaning() {
            Meaning::Null => out.push_str("null"),
            Meaning::Bool(value) => out.push_str(if value { "true" } else { "false" }),
            Meaning::Text(value) => out.push_str(&text(value)),
            Meaning::Integer(number) if i64::try_from(number).is_ok() || u64::try_from(number).is_ok() => {
                out.push_str(&number.to_string());
            }
            Meaning::Float(number) if number.is_finite() => {
                out.push_str(&serde_json::Value::from(number).to_string());
            }
            Meaning::Integer(_) | Meaning::Float(_) => {
                let message = format!("cannot be {}: it has no place in JSON", node.describe());
                let problem = reader.at(Code::OutOfRange, node, &message);
                reader.report(problem.help("put it in quotes, and let the component read the text"));
                return None;
            }
        },
        NodeValue::List(items) => {
            out.push('[');
            let mut ok = Some(());
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                ok = write_json(item, out, reader).and(ok);
            }
            out.push(']');
            return ok;
        }
        NodeValue::Map(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
            out.push('{');
            let mut ok = Some(());
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&text(&key.name));
                out.push(':');
                ok = write_json(value, out, reader).and(ok);
            }
            out.push('}');
            return ok;
        }
    }
    Some(())
}

/// A program and its arguments.
#[derive(Debug, Clone)]
pub(crate) struct CommandLine(pub(crate) Vec<String>);

impl Read for CommandLine {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let words = match &node.value {
            NodeValue::List(_) => Vec::<String>::read(node, reader)?,
            _ => {
                let line = reader.text(node, "a program and its arguments, as a list or as one text")?;
                vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()]
            }
        };
        if words.is_empty() {
            let problem = reader.at(Code::Empty, node, "is empty");
            reader.report(problem.help("give the program and its arguments"));
            return None;
        }
        Some(Self(words))
    }
}

impl JsonSchema for Params {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Params".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

impl JsonSchema for CommandLine {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CommandLine".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            ],
        })
    }
}
