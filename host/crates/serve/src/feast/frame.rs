//! From Feast's data frame (columns) to events (rows): one JSON object each, joined from slices of the body.
//!
//! Values are copied as they stand. Only times change where the two sides disagree: Feast's clients send a timestamp
//! as text or as a number of seconds, the source says which of them, or which unit, it takes.

use bytes::Bytes;
use hyper::StatusCode;
use model::codec::{SourceColumn, TimestampUnit, metadata};
use model::schema::DataType;
use model::time::{parse_rfc3339, write_rfc3339};
use serde_json::value::RawValue;

use crate::directory::PushEntry;
use crate::json::write_text;
use crate::problem::Problem;
use crate::request::Frame;
use crate::v1::{MAX_PUSH_ROWS, Rows, too_many_rows};

/// Rows repeat the names of columns: they may be so many times larger than the body.
const MAX_GROWTH: usize = 16;

/// A column on its way into rows.
struct Column<'a> {
    /// Its name as it stands in a row, with the brace or comma before and the colon behind.
    prefix: Vec<u8>,
    values: &'a [&'a RawValue],
    /// For timestamps: how the source wants them.
    unit: Option<TimestampUnit>,
}

/// The rows of a frame.
pub(super) fn rows(frame: &Frame<'_>, entry: &PushEntry, body_bytes: usize) -> Result<Rows, Problem> {
    let count = row_count(frame)?;
    if !entry.raw {
        check_columns(frame, entry)?;
    }
    let columns = columns(frame, entry);
    let names: usize = columns.iter().map(|column| column.prefix.len()).sum();
    let size = names.saturating_mul(count).saturating_add(body_bytes);
    if size > body_bytes.saturating_mul(MAX_GROWTH).max(1 << 20) || u32::try_from(size).is_err() {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "frame_too_large",
            format!(
                "{count} rows with the names of their columns take {size} bytes as events: too many for one push"
            ),
            "send several requests",
        ));
    }
    let mut body = Vec::with_capacity(size + count * 2);
    let mut ranges = Vec::with_capacity(count);
    for row in 0..count {
        let start = body.len();
        if columns.is_empty() {
            body.push(b'{');
        }
        for column in &columns {
            body.extend_from_slice(&column.prefix);
            write_cell(&mut body, column.values[row].get(), column.unit);
        }
        body.push(b'}');
        ranges.push((offset(start)?, offset(body.len())?));
        body.push(b'\n');
    }
    Ok(Rows { body: Bytes::from(body), ranges })
}

fn offset(position: usize) -> Result<u32, Problem> {
    u32::try_from(position).map_err(|_| too_many_rows(position))
}

/// How many rows: the length that all columns share.
fn row_count(frame: &Frame<'_>) -> Result<usize, Problem> {
    let Some((first, values)) = frame.0.first() else {
        return Err(bad_frame(
            "empty_frame",
            "`df` has no columns",
            "give a list of values for each column",
            &[],
        ));
    };
    for (name, others) in &frame.0[1..] {
        if others.len() != values.len() {
            return Err(bad_frame(
                "column_lengths",
                format!("column `{first}` has {} values but `{name}` has {}", values.len(), others.len()),
                "give each column one value for each row",
                &[name],
            ));
        }
    }
    match values.len() {
        0 => Err(bad_frame("empty_frame", "`df` has no rows", "send at least one row", &[])),
        count if count > MAX_PUSH_ROWS => Err(too_many_rows(count)),
        count => Ok(count),
    }
}

/// Says at once what would otherwise be said for every row.
fn check_columns(frame: &Frame<'_>, entry: &PushEntry) -> Result<(), Problem> {
    let absent: Vec<&str> = entry
        .columns
        .iter()
        .map(|column| &column.field)
        .filter(|field| !field.nullable && !is_metadata(&field.name) && frame.get(&field.name).is_none())
        .map(|field| field.name.as_str())
        .collect();
    let Some(first) = absent.first() else { return Ok(()) };
    let given: Vec<&str> = frame.0.iter().map(|(name, _)| &**name).collect();
    Err(bad_frame(
        "missing_column",
        format!("`df` lacks `{}`", absent.join("`, `")),
        format!("add what is missing; given: `{}`", given.join("`, `")),
        &[first],
    ))
}

fn is_metadata(name: &str) -> bool {
    matches!(
        name,
        metadata::INGEST_TIME
            | metadata::KEY
            | metadata::PARTITION
            | metadata::POSITION
            | metadata::OFFSET
            | metadata::HEADERS
    )
}

/// The columns that the source knows, in the order of its schema: its decoder is fastest when the order never changes.
/// Raw sources get all, in the order of the frame.
fn columns<'a>(frame: &'a Frame<'a>, entry: &PushEntry) -> Vec<Column<'a>> {
    let mut columns: Vec<Column<'a>> = Vec::new();
    let mut add = |name: &str, values: &'a [&'a RawValue], unit| {
        let mut prefix = vec![if columns.is_empty() { b'{' } else { b',' }];
        write_text(&mut prefix, name);
        prefix.push(b':');
        columns.push(Column { prefix, values, unit });
    };
    if entry.raw {
        frame.0.iter().for_each(|(name, values)| add(name, values, None));
    } else {
        for SourceColumn { field, unit } in &entry.columns {
            if let Some(values) = frame.get(&field.name) {
                add(&field.name, values, (field.data_type == DataType::Timestamp).then_some(*unit));
            }
        }
    }
    columns
}

fn write_cell(body: &mut Vec<u8>, cell: &str, unit: Option<TimestampUnit>) {
    let converted = match unit {
        None => false,
        Some(TimestampUnit::Text) => write_seconds_as_text(body, cell),
        Some(TimestampUnit::Seconds) => write_text_as_number(body, cell, 1_000_000),
        Some(TimestampUnit::Millis) => write_text_as_number(body, cell, 1000),
        Some(TimestampUnit::Micros) => write_text_as_number(body, cell, 1),
    };
    if !converted {
        // What cannot be converted is left for the source to refuse.
        body.extend_from_slice(cell.as_bytes());
    }
}

/// Feast's number of seconds, where the source takes text.
fn write_seconds_as_text(body: &mut Vec<u8>, cell: &str) -> bool {
    let Some(micros) = cell.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1_000_000)) else {
        return false;
    };
    body.push(b'"');
    write_rfc3339(body, micros);
    body.push(b'"');
    true
}

/// Text, where the source takes a number.
fn write_text_as_number(body: &mut Vec<u8>, cell: &str, micros_per_unit: i64) -> bool {
    let text = cell.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(micros) = text.and_then(|text| parse_rfc3339(text.as_bytes()).ok()) else { return false };
    crate::json::write_integer(body, micros.div_euclid(micros_per_unit));
    true
}

fn bad_frame(
    code: &'static str,
    message: impl Into<String>,
    help: impl Into<std::borrow::Cow<'static, str>>,
    path: &[&str],
) -> Problem {
    let mut whole = vec!["df"];
    whole.extend_from_slice(path);
    let kind = if code == "missing_column" { "missing" } else { "value_error" };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, message, help).at(kind, &whole)
}

#[cfg(test)]
mod tests;
