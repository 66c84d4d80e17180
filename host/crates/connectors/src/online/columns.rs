//! Values in columns, for rows that come from a store and not from a stream. Slow beside the way that events take, and seldom
//! gone.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::DataType as ArrowType;
use model::error::Failure;
use model::schema::DataType;
use model::value::Value;

/// A column of these values. Fails with `Stop` if one of them is not of the type.
pub(super) fn column<'a>(
    data_type: &DataType,
    values: impl Iterator<Item = &'a Value>,
) -> Result<ArrayRef, Failure> {
    build(data_type, &values.collect::<Vec<_>>()).ok_or_else(|| {
        Failure::stop(format!(
            "put values into a column of type `{data_type}`: one of them is of another type"
        ))
    })
}

/// `None` = a value is of another type.
fn build(data_type: &DataType, values: &[&Value]) -> Option<ArrayRef> {
    fn int<T: TryFrom<i64>>(value: &Value) -> Option<T> {
        let Value::Int(number) = value else { return None };
        T::try_from(*number).ok()
    }
    fn unsigned<T: TryFrom<u64>>(value: &Value) -> Option<T> {
        let Value::UInt(number) = value else { return None };
        T::try_from(*number).ok()
    }
    macro_rules! of {
        ($pattern:pat => $found:expr) => {
            |value: &Value| if let $pattern = value { Some($found) } else { None }
        };
    }
    let arrow = || data_type.to_arrow();
    Some(match data_type {
        DataType::Bool => Arc::new(BooleanArray::from(each(values, of!(Value::Bool(value) => *value))?)),
        DataType::Int8 => numbers::<Int8Type>(values, int, arrow())?,
        DataType::Int16 => numbers::<Int16Type>(values, int, arrow())?,
        DataType::Int32 => numbers::<Int32Type>(values, int, arrow())?,
        DataType::Int64 => numbers::<Int64Type>(values, int, arrow())?,
        DataType::UInt8 => numbers::<UInt8Type>(values, unsigned, arrow())?,
        DataType::UInt16 => numbers::<UInt16Type>(values, unsigned, arrow())?,
        DataType::UInt32 => numbers::<UInt32Type>(values, unsigned, arrow())?,
        DataType::UInt64 => numbers::<UInt64Type>(values, unsigned, arrow())?,
        DataType::Float32 => numbers::<Float32Type>(values, of!(Value::Float32(value) => *value), arrow())?,
        DataType::Float64 => numbers::<Float64Type>(values, of!(Value::Float64(value) => *value), arrow())?,
        DataType::Timestamp => {
            numbers::<TimestampMicrosecondType>(values, of!(Value::Timestamp(value) => *value), arrow())?
        }
        DataType::Date => numbers::<Date32Type>(values, of!(Value::Date(value) => *value), arrow())?,
        DataType::Decimal { scale, .. } => {
            let same_scale = |value: &Value| match value {
                Value::Decimal(number, found) if found == scale => Some(*number),
                _ => None,
            };
            numbers::<Decimal128Type>(values, same_scale, arrow())?
        }
        DataType::String => {
            let texts = each(values, of!(Value::String(text) => text.as_str()))?;
            Arc::new(StringArray::from(texts))
        }
        DataType::Bytes => {
            let bytes = each(values, of!(Value::Bytes(bytes) => bytes.as_slice()))?;
            Arc::new(BinaryArray::from(bytes))
        }
        DataType::List(item) => {
            let lists = each(values, of!(Value::List(items) => items))?;
            let offsets = offsets(lists.iter().map(|list| list.map_or(0, Vec::len)));
            let items: Vec<&Value> = lists.iter().copied().flatten().flatten().collect();
            let ArrowType::List(field) = arrow() else { return None };
            Arc::new(ListArray::try_new(field, offsets, build(item, &items)?, nulls(values)).ok()?)
        }
        DataType::Struct(fields) => {
            let structs = each(values, of!(Value::Struct(members) => members))?;
            let children = fields.iter().enumerate().map(|(index, (name, data_type))| {
                let values: Option<Vec<&Value>> =
                    structs.iter().map(|members| member(*members, index, name)).collect();
                build(data_type, &values?)
            });
            let children = children.collect::<Option<Vec<ArrayRef>>>()?;
            let ArrowType::Struct(fields) = arrow() else { return None };
            Arc::new(StructArray::try_new(fields, children, nulls(values)).ok()?)
        }
        DataType::Map(key, value) => {
            let maps = each(values, of!(Value::Map(entries) => entries))?;
            let offsets = offsets(maps.iter().map(|map| map.map_or(0, Vec::len)));
            let entries = || maps.iter().copied().flatten().flatten();
            let keys = build(key, &entries().map(|(key, _)| key).collect::<Vec<_>>())?;
            let found = build(value, &entries().map(|(_, value)| value).collect::<Vec<_>>())?;
            let ArrowType::Map(field, sorted) = arrow() else { return None };
            let ArrowType::Struct(fields) = field.data_type().clone() else { return None };
            let entries = StructArray::try_new(fields, vec![keys, found], None).ok()?;
            Arc::new(MapArray::try_new(field, offsets, entries, nulls(values), sorted).ok()?)
        }
    })
}

/// A member of a struct; null in one that is null. `None` = it has no such member there.
fn member<'a>(of: Option<&'a Vec<(String, Value)>>, index: usize, name: &str) -> Option<&'a Value> {
    let Some(members) = of else { return Some(&Value::Null) };
    members.get(index).filter(|(found, _)| found == name).map(|(_, value)| value)
}

/// What is behind each value; `None` if one is of another type.
fn each<'a, T>(values: &[&'a Value], of: impl Fn(&'a Value) -> Option<T>) -> Option<Vec<Option<T>>> {
    values
        .iter()
        .map(|value| match value {
            Value::Null => Some(None),
            value => of(value).map(Some),
        })
        .collect()
}

fn numbers<T: ArrowPrimitiveType>(
    values: &[&Value],
    of: impl Fn(&Value) -> Option<T::Native>,
    arrow: ArrowType,
) -> Option<ArrayRef> {
    let numbers: PrimitiveArray<T> = each(values, of)?.into_iter().collect();
    Some(Arc::new(numbers.with_data_type(arrow)))
}

fn offsets(lengths: impl Iterator<Item = usize>) -> OffsetBuffer<i32> {
    OffsetBuffer::from_lengths(lengths)
}

fn nulls(values: &[&Value]) -> Option<NullBuffer> {
    values.iter().any(|value| value.is_null()).then(|| values.iter().map(|value| !value.is_null()).collect())
}
