//! Payloads of the form `key,value,micros`; an empty part is null. Anything else cannot be decoded.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{Field as ArrowField, Schema};
use model::batch::{EventBatch, RawBatch, Rejected};
use model::codec::{Decoder, Format, SourceColumn, TimestampUnit};
use model::schema::{DataType, Field};

/// The format of the fakes.
pub struct LineFormat {
    columns: Vec<SourceColumn>,
}

impl Default for LineFormat {
    fn default() -> Self {
        let column = |name, data_type| SourceColumn {
            field: Field::nullable(name, data_type),
            unit: TimestampUnit::Micros,
        };
        let columns = vec![
            column("key", DataType::String),
            column("value", DataType::Int64),
            column("at", DataType::Timestamp),
        ];
        Self { columns }
    }
}

impl Format for LineFormat {
    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(LineDecoder)
    }

    fn columns(&self) -> &[SourceColumn] {
        &self.columns
    }
}

struct LineDecoder;

impl Decoder for LineDecoder {
    fn decode(&mut self, raw: RawBatch) -> EventBatch {
        let (mut keys, mut values, mut times) = (Vec::new(), Vec::new(), Vec::new());
        let (mut raw_rows, mut rejected) = (Vec::new(), Vec::new());
        for row in 0..raw.len() {
            let number = u32::try_from(row).expect("test batches are small");
            match parse(raw.payload(row)) {
                Some((key, value, at)) => {
                    keys.push(key);
                    values.push(value);
                    times.push(at);
                    raw_rows.push(number);
                }
                None => rejected.push(Rejected {
                    row: number,
                    code: "decode",
                    message: "is not of the form `key,value,micros`".to_owned(),
                }),
            }
        }
        if rejected.is_empty() {
            raw_rows.clear();
        }
        EventBatch { columns: columns(keys, values, times), raw, raw_rows, rejected }
    }
}

/// A row of the fakes: key, value, event time in microseconds.
pub type Row = (Option<String>, Option<i64>, Option<i64>);

/// Reads `key,value,micros`.
pub fn parse(payload: &[u8]) -> Option<Row> {
    let text = std::str::from_utf8(payload).ok()?;
    let mut parts = text.split(',');
    let key = parts.next()?;
    let number = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
    let (value, at) = (number(parts.next()?)?, number(parts.next()?)?);
    Some(((!key.is_empty()).then(|| key.to_owned()), value, at)).filter(|_| parts.next().is_none())
}

/// Columns `key`, `value`, `at`.
pub fn columns(keys: Vec<Option<String>>, values: Vec<Option<i64>>, times: Vec<Option<i64>>) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(keys)),
        Arc::new(Int64Array::from(values)),
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
    ];
    let types = [DataType::String, DataType::Int64, DataType::Timestamp];
    let names = ["key", "value", "at"];
    let fields: Vec<_> = names
        .iter()
        .zip(types)
        .map(|(name, data_type)| ArrowField::new(*name, data_type.to_arrow(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("three columns of one length")
}
