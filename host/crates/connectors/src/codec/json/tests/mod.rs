//! The decoder against examples, and both of its ways against `serde_json`.

mod equality;
mod examples;
mod reference;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use model::batch::{EventBatch, RawBatch};
use model::codec::{Decoder, SourceColumn, TimestampUnit};
use model::schema::{DataType, Field};
use model::value::Value;

use super::format::JsonDecoder;

/// A nullable column of a type in its usual spelling; `timestamp_s|ms|us` are instants that count.
fn column(name: &str, data_type: &str) -> SourceColumn {
    let (data_type, unit) = match data_type {
        "timestamp_s" => ("timestamp", TimestampUnit::Seconds),
        "timestamp_ms" => ("timestamp", TimestampUnit::Millis),
        "timestamp_us" => ("timestamp", TimestampUnit::Micros),
        other => (other, TimestampUnit::Text),
    };
    SourceColumn { field: Field::nullable(name, data_type.parse().unwrap()), unit }
}

fn required(name: &str, data_type: &str) -> SourceColumn {
    let mut column = column(name, data_type);
    column.field.nullable = false;
    column
}

fn decode(columns: &[SourceColumn], raw: RawBatch) -> EventBatch {
    JsonDecoder::new(columns.into()).decode(raw)
}

fn decode_carefully(columns: &[SourceColumn], raw: RawBatch) -> EventBatch {
    JsonDecoder::careful_only(columns.into()).decode(raw)
}

/// The rows of a batch, with `None` in place of rejected events.
fn rows(columns: &[SourceColumn], batch: &EventBatch) -> Vec<Option<Vec<Value>>> {
    let mut rows = vec![None; batch.raw.len()];
    for row in 0..batch.columns.num_rows() {
        let values = columns.iter().enumerate();
        let values =
            values.map(|(index, column)| value(batch.columns.column(index), row, &column.field.data_type));
        rows[batch.raw_row(row)] = Some(values.collect());
    }
    rows
}

/// One value of an array.
fn value(array: &ArrayRef, row: usize, data_type: &DataType) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match data_type {
        DataType::Bool => Value::Bool(array.as_boolean().value(row)),
        DataType::Int8 => Value::Int(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Value::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Value::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => Value::UInt(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => Value::UInt(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => Value::UInt(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => Value::UInt(array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => Value::Float32(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Value::Float64(array.as_primitive::<Float64Type>().value(row)),
        DataType::String => Value::String(array.as_string::<i32>().value(row).to_owned()),
        DataType::Bytes => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::Timestamp => Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Date => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Decimal { scale, .. } => {
            Value::Decimal(array.as_primitive::<Decimal128Type>().value(row), *scale)
        }
        DataType::List(item) => {
            let items = array.as_list::<i32>().value(row);
            Value::List((0..items.len()).map(|index| value(&items, index, item)).collect())
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let parts = fields.iter().zip(columns);
            Value::Struct(
                parts.map(|((name, part), column)| (name.clone(), value(column, row, part))).collect(),
            )
        }
        DataType::Map(key_type, value_type) => {
            let entries: ArrayRef = Arc::new(array.as_map().value(row));
            let (keys, values) = (entries.as_struct().column(0), entries.as_struct().column(1));
            let pairs =
                (0..keys.len()).map(|index| (value(keys, index, key_type), value(values, index, value_type)));
            Value::Map(pairs.collect())
        }
    }
}
