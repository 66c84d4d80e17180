//! Raw payloads: what came is the value of one column, of type `bytes` or `string`.
//!
//! A `string` column takes only UTF-8; other events are rejected. A column named `_ingest_time` is filled from the
//! batch. Nothing is parsed.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::Schema;
use model::batch::{EventBatch, RawBatch, Rejected};
use model::codec::{Decoder, Format, SourceColumn, metadata};
use model::error::Failure;
use model::schema::{DataType, Field, arrow_schema};

#[cfg(test)]
mod tests;

/// Payloads as they are, in one column.
#[derive(Debug, Clone)]
pub struct RawFormat {
    columns: Arc<[SourceColumn]>,
}

impl RawFormat {
    /// The format for a source with these columns: one of type `bytes` or `string`, and `_ingest_time` if wanted.
    pub fn new(columns: Vec<SourceColumn>) -> Result<Self, Failure> {
        let mut payloads = columns.iter().filter(|column| !is_ingest_time(column));
        let wanted = "format `raw` needs exactly one column, of type `bytes` or `string`";
        match (payloads.next(), payloads.next()) {
            (Some(only), None) if matches!(only.field.data_type, DataType::Bytes | DataType::String) => {}
            (Some(only), None) => {
                return Err(Failure::stop(format!("{wanted}; the schema has `{}`", only.field)));
            }
            (None, _) => return Err(Failure::stop(format!("{wanted}; the schema has none"))),
            (Some(_), Some(second)) => {
                return Err(Failure::stop(format!(
                    "{wanted}; remove `{}` from the schema",
                    second.field.name
                )));
            }
        }
        Ok(Self { columns: columns.into() })
    }
}

impl Format for RawFormat {
    fn decoder(&self) -> Box<dyn Decoder> {
        let fields: Vec<Field> = self.columns.iter().map(|column| column.field.clone()).collect();
        Box::new(RawDecoder { columns: Arc::clone(&self.columns), schema: arrow_schema(&fields) })
    }

    fn columns(&self) -> &[SourceColumn] {
        &self.columns
    }
}

struct RawDecoder {
    columns: Arc<[SourceColumn]>,
    schema: Arc<Schema>,
}

impl Decoder for RawDecoder {
    fn decode(&mut self, raw: RawBatch) -> EventBatch {
        let text = self
            .columns
            .iter()
            .find(|column| !is_ingest_time(column))
            .filter(|column| column.field.data_type == DataType::String);
        let (mut rejected, mut kept) = (Vec::new(), Vec::with_capacity(raw.len()));
        let (mut offsets, mut data) = (vec![0], Vec::with_capacity(raw.data.len()));
        for (event, number) in (0..raw.len()).zip(0_u32..) {
            let payload = raw.payload(event);
            let message = match text.map(|column| (column, std::str::from_utf8(payload))) {
                Some((column, Err(error))) => Some(format!(
                    "column `{}` (string): the payload is not UTF-8 at byte {}; declare the column `bytes` to take it as it is",
                    column.field.name,
                    error.valid_up_to()
                )),
                _ => None,
            };
            let end = i32::try_from(data.len() + payload.len());
            match (message, end) {
                (None, Ok(end)) => {
                    data.extend_from_slice(payload);
                    offsets.push(end);
                    kept.push(number);
                }
                (message, _) => {
                    let message = message.unwrap_or_else(|| {
                        "more than 2 GiB of payloads in one batch; lower the batch size".to_owned()
                    });
                    rejected.push(Rejected { row: number, code: "decode", message });
                }
            }
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let payloads: ArrayRef = if text.is_some() {
            // SAFETY: each payload was checked to be UTF-8 by itself, and `offsets` are the ends of whole payloads.
            Arc::new(unsafe { StringArray::new_unchecked(offsets, Buffer::from_vec(data), None) })
        } else {
            Arc::new(BinaryArray::new(offsets, Buffer::from_vec(data), None))
        };
        let arrays = self
            .columns
            .iter()
            .map(
                |column| {
                    if is_ingest_time(column) { ingest_times(&raw, &kept) } else { Arc::clone(&payloads) }
                },
            )
            .collect();
        let columns = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .expect("every column has one value of its declared type for each row");
        let raw_rows = if rejected.is_empty() { Vec::new() } else { kept };
        EventBatch { raw, columns, raw_rows, rejected }
    }
}

fn is_ingest_time(column: &SourceColumn) -> bool {
    column.field.name == metadata::INGEST_TIME && column.field.data_type == DataType::Timestamp
}

fn ingest_times(raw: &RawBatch, rows: &[u32]) -> ArrayRef {
    let times: Vec<i64> = rows.iter().map(|row| raw.ingest_time(*row as usize)).collect();
    Arc::new(TimestampMicrosecondArray::new(ScalarBuffer::from(times), None).with_timezone("UTC"))
}
