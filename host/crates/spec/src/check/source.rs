//! Stream sources.

use std::time::Duration;

use model::codec::{SourceColumn, TimestampUnit, metadata};
use model::schema::{DataType, Field};

use super::{Context, Outcome, kafka, kinesis, not_reserved, start};
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::{BatchPlan, EventTimeBounds, FormatKind, SourceKind, SourcePlan, Start};
use crate::raw::{ByteSize, Instant, Micros, RawFormat, RawSource, Spanned};

/// Bytes of one event at most, whatever the files say: positions within a batch are 32-bit.
const MAX_ROW_BYTES: u64 = 1 << 30;

pub(super) fn source(context: &Context<'_>, raw: &RawSource, outcome: &mut Outcome) -> Option<SourcePlan> {
    let kind = kind(context, raw, outcome);
    let format = match raw.format.as_ref().map(|format| format.value) {
        None | Some(RawFormat::Json) => FormatKind::Json,
        Some(RawFormat::Raw) => FormatKind::Raw,
    };
    let columns = columns(raw, outcome);
    match format {
        FormatKind::Json => timestamp_field(raw, outcome),
        FormatKind::Raw => raw_schema(raw, outcome),
    }
    let batch = batch(context, raw, outcome);
    let max_row_bytes = match &raw.max_row_bytes {
        Some(Spanned { value: ByteSize(bytes), spot }) if *bytes == 0 || *bytes > MAX_ROW_BYTES => {
            let message = "`source.max_row_bytes` must be between 1 byte and 1GiB";
            outcome.report(Diagnostic::at(Code::OutOfRange, spot, message));
            None
        }
        Some(size) => usize::try_from(size.value.0).ok(),
        None => Some(context.host.push.max_row_bytes),
    };
    let given_start = start::given(raw, outcome);
    let kind = kind?;
    let start = match (given_start, &kind) {
        (Some(given), _) => start::plan(given, &raw.name.value.0, &kind, outcome),
        (None, SourceKind::Push | SourceKind::Kafka(_) | SourceKind::Kinesis(_)) => Start::Latest,
        (None, SourceKind::File { .. }) => Start::Earliest,
    };
    let bounds = context.host.event_time;
    Some(SourcePlan {
        name: raw.name.value.0.clone(),
        kind,
        format,
        columns,
        timestamp_field: raw.timestamp_field.value.0.clone(),
        bounds: EventTimeBounds {
            earliest: raw.earliest_event_time.map_or(bounds.earliest, |Instant(time)| time.0),
            max_future: raw.max_future.map_or(bounds.max_future, |Micros(micros)| micros),
        },
        start,
        watermark_delay: raw.watermark_delay_threshold.map(duration),
        batch,
        max_row_bytes: max_row_bytes?,
        description: raw.description.clone().unwrap_or_default(),
        spot: raw.name.spot.clone(),
        column_spots: raw
            .schema
            .value
            .0
            .iter()
            .map(|(name, _)| (name.value.0.clone(), name.spot.clone()))
            .collect(),
    })
}

/// A duration that was read is not negative.
pub(super) fn duration(Micros(micros): Micros) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

/// Exactly one kind.
fn kind(context: &Context<'_>, raw: &RawSource, outcome: &mut Outcome) -> Option<SourceKind> {
    let spots = [
        ("push", raw.push.as_ref().map(|kind| &kind.spot)),
        ("file", raw.file.as_ref().map(|kind| &kind.spot)),
        ("kafka", raw.kafka.as_ref().map(|kind| &kind.spot)),
        ("kinesis", raw.kinesis.as_ref().map(|kind| &kind.spot)),
    ];
    let given: Vec<_> = spots.into_iter().filter_map(|(name, spot)| Some((name, spot?))).collect();
    if let (Some(kinesis), None) = (&raw.kinesis, &raw.batch) {
        outcome.report_absent(
            Diagnostic::at(Code::KinesisNeedsBatch, &kinesis.spot, "a Kinesis source needs a batch source")
                .help("add `batch: { parquet: { path: … } }` with the stream's past events"),
        );
    }
    match given.as_slice() {
        [_] => {}
        [] => {
            outcome.report_absent(
                Diagnostic::at(Code::ChooseOne, &raw.name.spot, "a source needs one of `push`, `file`, `kafka`, `kinesis`")
                    .help("add `push: {}` for events that come over HTTP, `file: { path: … }`, `kafka: { connection: …, topic: … }`, or `kinesis: { connection: …, stream_name: … }`"),
            );
            return None;
        }
        [(first, first_spot), (second, spot), ..] => {
            outcome.report(
                Diagnostic::at(
                    Code::ChooseOne,
                    spot,
                    format!("a source has one kind: `{first}` or `{second}`"),
                )
                .related(first_spot, "the first one")
                .help("declare a second source"),
            );
            return None;
        }
    }
    if raw.push.is_some() {
        return Some(SourceKind::Push);
    }
    if let Some(kafka) = &raw.kafka {
        return kafka::source(context, raw, &kafka.value, outcome).map(SourceKind::Kafka);
    }
    if let Some(kinesis) = &raw.kinesis {
        return kinesis::source(context, kinesis, outcome).map(SourceKind::Kinesis);
    }
    let file = &raw.file.as_ref()?.value;
    let path = outcome.note(context.in_files_root(&file.path))?;
    Some(SourceKind::File { path, follow: file.follow.unwrap_or(false) })
}

fn columns(raw: &RawSource, outcome: &mut Outcome) -> Vec<SourceColumn> {
    let columns = &raw.schema.value.0;
    if columns.is_empty() {
        outcome.report_absent(
            Diagnostic::at(Code::Empty, &raw.schema.spot, "a schema needs at least one column")
                .help("name the fields of an event, each with its type: `schema: { user_id: string }`"),
        );
    }
    columns
        .iter()
        .map(|(name, column)| {
            not_reserved(name, outcome);
            // An event without an event time has no place in any order.
            let is_timestamp_field = name.value == raw.timestamp_field.value;
            let nullable = column.nullable.unwrap_or(true) && !is_timestamp_field;
            if is_timestamp_field && column.nullable == Some(true) {
                let message = format!("timestamp field `{}` cannot be nullable", name.value.0);
                outcome.report(
                    Diagnostic::at(Code::BadTimestampField, &name.spot, message)
                        .related(&raw.timestamp_field.spot, "named as the timestamp field here")
                        .help("remove `nullable: true`: events without an event time are dead-lettered"),
                );
            }
            let field = Field { name: name.value.0.clone(), data_type: column.data_type.clone(), nullable };
            SourceColumn { field, unit: column.unit }
        })
        .collect()
}

fn timestamp_field(raw: &RawSource, outcome: &mut Outcome) {
    let Spanned { value: name, spot } = &raw.timestamp_field;
    if name.0 == metadata::INGEST_TIME {
        return;
    }
    let columns = &raw.schema.value.0;
    let Some((column_name, column)) = columns.iter().find(|(column, _)| column.value == *name) else {
        let timestamps: Vec<&str> = columns
            .iter()
            .filter(|(_, column)| column.data_type == DataType::Timestamp)
            .map(|(name, _)| name.value.0.as_str())
            .collect();
        let mut problem =
            Diagnostic::at(Code::BadTimestampField, spot, format!("the schema has no column `{}`", name.0))
                .suggest(&name.0, timestamps.iter().copied());
        problem = problem.help(match timestamps.as_slice() {
            [] => {
                "add the column with type `timestamp`, or name `_ingest_time`: when the host took the event"
                    .to_owned()
            }
            _ => format!("timestamps of the schema: {}", timestamps.join(", ")),
        });
        outcome.report_absent(problem);
        return;
    };
    if column.data_type != DataType::Timestamp {
        let mut help = "give the column type `timestamp`".to_owned();
        if matches!(column.data_type, DataType::Int64 | DataType::UInt64 | DataType::Int32) {
            help = "for numbers say their unit: `timestamp_s`, `timestamp_ms` or `timestamp_us`".to_owned();
        }
        let message =
            format!("timestamp field `{}` is of type `{}`, not a timestamp", name.0, column.data_type);
        outcome.report(
            Diagnostic::at(Code::BadTimestampField, spot, message)
                .related(&column_name.spot, "the column")
                .help(help),
        );
    }
}

/// A raw payload fills one column and says nothing of time.
fn raw_schema(raw: &RawSource, outcome: &mut Outcome) {
    let columns = &raw.schema.value.0;
    let fits = match columns.as_slice() {
        [(_, column)] => {
            matches!(column.data_type, DataType::Bytes | DataType::String)
                && column.unit == TimestampUnit::Text
        }
        _ => columns.is_empty(),
    };
    if !fits {
        let message = "format `raw` fills exactly one column, of type `bytes` or `string`";
        outcome.report(
            Diagnostic::at(Code::BadSchemaForFormat, &raw.schema.spot, message)
                .help("write `schema: { payload: bytes }`; the component takes the payload apart"),
        );
    } else if raw.timestamp_field.value.0 != metadata::INGEST_TIME {
        let message = "format `raw` has no timestamp column";
        outcome.report(Diagnostic::at(Code::BadSchemaForFormat, &raw.timestamp_field.spot, message).help(
            "write `timestamp_field: _ingest_time`; the view's own timestamp comes from the component",
        ));
    }
}

fn batch(context: &Context<'_>, raw: &RawSource, outcome: &mut Outcome) -> Option<BatchPlan> {
    let parquet = &raw.batch.as_ref()?.value.parquet;
    let path = outcome.note(context.in_files_root(&parquet.path))?;
    let timestamp_field = parquet.timestamp_field.as_ref().unwrap_or(&raw.timestamp_field);
    Some(BatchPlan { path, timestamp_field: timestamp_field.value.0.clone() })
}
