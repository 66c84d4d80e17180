//! Stream sources as they stand in view files.

use std::borrow::Cow;

use model::codec::TimestampUnit;
use model::schema::{DataType, SIMPLE_TYPE_NAMES};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::declare::{raw_choice, raw_mapping};
use super::kafka::RawKafkaSource;
use super::kinesis::RawKinesisSource;
use super::read::{Ordered, Read, Reader, Spanned};
use super::scalars::{ByteSize, Instant, Micros, Name};
use super::start::RawStart;
use crate::diagnostic::Code;
use crate::yaml::{Node, NodeValue};

raw_mapping! {
    /// A stream of events. It has exactly one of `push`, `file`, `kafka`, `kinesis`.
    RawSource {
        /// Unique among sources.
        required name: Spanned<Name>,
        /// Clients push events over HTTP: `push: {}`.
        optional push: Option<Spanned<RawEmpty>>,
        /// Events are the lines of a file.
        optional file: Option<Spanned<RawFileSource>>,
        /// Events are the records of Kafka topics.
        optional kafka: Option<Spanned<RawKafkaSource>>,
        /// Events are the records of a Kinesis stream. Such a source needs `batch`.
        optional kinesis: Option<Spanned<RawKinesisSource>>,
        /// How payloads are read; `json` unless said otherwise.
        optional format: Option<Spanned<RawFormat>>,
        /// The columns, in order, each with its type.
        required schema: Spanned<Ordered<RawColumn>>,
        /// The column that holds the event time: a timestamp of the schema, or `_ingest_time`.
        required timestamp_field: Spanned<Name>,
        /// Where a view without a position of its own begins. `earliest` for files, `latest` for all
        /// others, unless said otherwise.
        optional start: Option<Spanned<RawStart>>,
        /// How late events may be before time windows close without them.
        optional watermark_delay_threshold: Option<Micros>,
        /// Where past events lie.
        optional batch: Option<Spanned<RawBatch>>,
        /// Bytes of one event at most; `push.max_row_bytes` of host.yaml unless said otherwise.
        optional max_row_bytes: Option<Spanned<ByteSize>>,
        /// Event times before this are dead-lettered; `event_time.earliest` of host.yaml unless said otherwise.
        optional earliest_event_time: Option<Instant>,
        /// Event times further ahead than this are dead-lettered; `event_time.max_future` of host.yaml unless said
        /// otherwise.
        optional max_future: Option<Micros>,
        /// One line for people.
        optional description: Option<String>,
    }
}

raw_mapping! {
    /// Lines of a file.
    RawFileSource {
        /// The file, relative to `files_root` of host.yaml.
        required path: Spanned<String>,
        /// Whether to wait for more lines at its end; `false` unless said otherwise.
        optional follow: Option<bool>,
    }
}

raw_mapping! {
    /// Past events.
    RawBatch {
        /// A Parquet file, or a folder of them.
        required parquet: RawParquet,
    }
}

raw_mapping! {
    /// Parquet files.
    RawParquet {
        /// A file or folder, relative to `files_root` of host.yaml.
        required path: Spanned<String>,
        /// The column that holds the event time; the source's timestamp field unless said otherwise.
        optional timestamp_field: Option<Spanned<Name>>,
    }
}

raw_choice! {
    /// How payloads are read.
    RawFormat {
        /// One JSON object each.
        Json = "json",
        /// The payload itself is the one column, of type `bytes` or `string`.
        Raw = "raw",
    } later { "avro", "protobuf" }
}

/// `push: {}`, or `push:` alone: a choice that needs no further words.
#[derive(Debug, Clone)]
pub(crate) struct RawEmpty;

impl Read for RawEmpty {
    const NULL_IS_ABSENT: bool = false;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.mapping(node, &[]).map(|()| Self)
    }
}

/// The type of a join key or feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawType(pub(crate) DataType);

impl Read for RawType {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(node, "a type such as `int64`")?;
        parse_type(text, node, reader).map(Self)
    }
}

/// A column of a source's schema.
#[derive(Debug, Clone)]
pub(crate) struct RawColumn {
    /// Its type.
    pub(crate) data_type: DataType,
    /// For timestamps: how they are written.
    pub(crate) unit: TimestampUnit,
    /// Whether values may be missing, where that is said.
    pub(crate) nullable: Option<bool>,
}

raw_mapping! {
    /// The long form of a column.
    RawLongColumn {
        /// Its type, as in the short form.
        required r#type: RawColumnType,
        /// Whether values may be missing; `true` unless said otherwise.
        optional nullable: Option<bool>,
    }
}

/// The type of a column: that of a feature, or a timestamp in a unit.
#[derive(Debug, Clone)]
pub(crate) struct RawColumnType {
    data_type: DataType,
    unit: TimestampUnit,
}

impl Read for RawColumnType {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(node, "a type such as `int64`")?;
        column_type(text, node, reader)
    }
}

fn column_type(text: &str, node: &Node, reader: &mut Reader<'_>) -> Option<RawColumnType> {
    let unit = match text.trim() {
        "timestamp_s" => TimestampUnit::Seconds,
        "timestamp_ms" => TimestampUnit::Millis,
        "timestamp_us" => TimestampUnit::Micros,
        other => {
            let data_type = parse_type(other, node, reader)?;
            return Some(RawColumnType { data_type, unit: TimestampUnit::Text });
        }
    };
    Some(RawColumnType { data_type: DataType::Timestamp, unit })
}

impl Read for RawColumn {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.value, NodeValue::Map(_)) {
            let RawLongColumn { r#type: RawColumnType { data_type, unit }, nullable } =
                RawLongColumn::read(node, reader)?;
            return Some(Self { data_type, unit, nullable });
        }
        let text = reader.text(node, "a type such as `int64`, or `{ type: int64, nullable: false }`")?.trim();
        let (text, nullable) = match (text.strip_suffix("not null"), text.strip_suffix('?')) {
            (Some(text), _) => (text, Some(false)),
            (_, Some(text)) => (text, Some(true)),
            _ => (text, None),
        };
        let RawColumnType { data_type, unit } = column_type(text, node, reader)?;
        Some(Self { data_type, unit, nullable })
    }
}

fn parse_type(text: &str, node: &Node, reader: &mut Reader<'_>) -> Option<DataType> {
    match text.parse() {
        Ok(data_type) => Some(data_type),
        Err(error) => {
            let units = ["timestamp_s", "timestamp_ms", "timestamp_us"];
            let mut problem = reader
                .at(Code::UnknownType, node, &format!("has no valid type: {error}"))
                .suggest(text.trim(), SIMPLE_TYPE_NAMES.into_iter().chain(units));
            // What other systems call it.
            let usual = match text.trim().to_lowercase().as_str() {
                "int" | "integer" | "long" | "bigint" => Some("int64"),
                "double" | "float" | "number" => Some("float64"),
                "str" | "text" | "varchar" => Some("string"),
                "boolean" => Some("bool"),
                "datetime" => Some("timestamp"),
                _ => None,
            };
            if let Some(usual) = usual {
                problem.suggestion = Some(usual.to_owned());
            }
            if units.contains(&text.trim()) {
                problem.suggestion = Some("timestamp".to_owned());
                problem = problem.help("only columns of a source's schema have a unit");
            } else if problem.suggestion.is_none() {
                problem = problem.help(format!(
                    "types: {}, `decimal(p,s)`, `list<T>`, `struct<name: T, …>`, `map<K, V>`",
                    super::declare::list(&SIMPLE_TYPE_NAMES)
                ));
            }
            reader.report(problem);
            None
        }
    }
}

const TYPE_PATTERN: &str = "^(bool|u?int(8|16|32|64)|float(32|64)|string|utf8|bytes|binary|timestamp|date|decimal(128)?\\(.*\\)|list<.*>|struct<.*>|map<.*>)$";
const COLUMN_TYPE_PATTERN: &str = "^(bool|u?int(8|16|32|64)|float(32|64)|string|utf8|bytes|binary|timestamp(_s|_ms|_us)?|date|decimal(128)?\\(.*\\)|list<.*>|struct<.*>|map<.*>)(\\?| not null)?$";

impl JsonSchema for RawEmpty {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Empty".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["object", "null"], "additionalProperties": false })
    }
}

impl JsonSchema for RawType {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Type".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": TYPE_PATTERN, "examples": SIMPLE_TYPE_NAMES })
    }
}

impl JsonSchema for RawColumnType {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ColumnType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": COLUMN_TYPE_PATTERN, "examples": SIMPLE_TYPE_NAMES })
    }
}

impl JsonSchema for RawColumn {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Column".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (short, long) =
            (generator.subschema_for::<RawColumnType>(), generator.subschema_for::<RawLongColumn>());
        json_schema!({ "anyOf": [short, long] })
    }
}
