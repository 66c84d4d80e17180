//! Feature values of one row as bytes: the layout, and how a value is read from it. Writing is in `encode.rs`.
//!
//! ```text
//! schema number  u16      which list of features this row was written with
//! nulls          1 bit a feature, set = null
//! fixed          the features of fixed width in declared order, little-endian; bool is one byte; null is zeros
//! ends           u32 for each feature of variable width: where its value ends within `variable`
//! variable       the values themselves
//! ```
//!
//! A list, struct or map is a value of variable width that consists of *sequences*: `count u32`, null bits, then fixed
//! values side by side, or ends and bytes as above. A list is one sequence, a struct one of length 1 for each field, a
//! map one of keys and one of values. Rows of the same features without variable width all have one length, so a newer
//! row replaces an older one in place.

use model::schema::{DataType, Field};
use model::value::Value;

/// Bytes of the schema number at the start of a row.
pub(super) const SCHEMA_BYTES: usize = 2;

/// Where the values of a list of features lie in a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) features: Vec<Field>,
    pub(super) places: Vec<Place>,
    /// Bytes before the ends of variable values.
    pub(super) fixed_bytes: usize,
    /// Number of features of variable width.
    pub(super) variable: usize,
}

/// Where one feature lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Offset from the start of the row and width.
    Fixed { offset: usize, width: usize },
    /// Ordinal among the features of variable width.
    Variable { ordinal: usize },
}

impl Layout {
    pub(super) fn new(features: Vec<Field>) -> Self {
        let mut fixed_bytes = SCHEMA_BYTES + features.len().div_ceil(8);
        let mut variable = 0;
        let places = features
            .iter()
            .map(|feature| match stored_width(&feature.data_type) {
                Some(width) => {
                    fixed_bytes += width;
                    Place::Fixed { offset: fixed_bytes - width, width }
                }
                None => {
                    variable += 1;
                    Place::Variable { ordinal: variable - 1 }
                }
            })
            .collect();
        Self { features, places, fixed_bytes, variable }
    }

    /// Bytes before the variable values.
    pub(super) fn head_bytes(&self) -> usize {
        self.fixed_bytes + 4 * self.variable
    }

    /// The value of a feature in a row; `None` if the row is damaged.
    pub(super) fn value(&self, row: &[u8], feature: usize) -> Option<Value> {
        let data_type = &self.features[feature].data_type;
        if row.get(SCHEMA_BYTES + feature / 8)? >> (feature % 8) & 1 == 1 {
            return Some(Value::Null);
        }
        match self.places[feature] {
            Place::Fixed { offset, width } => fixed_value(row.get(offset..offset + width)?, data_type),
            Place::Variable { ordinal } => {
                let end = |ordinal: usize| read_u32(row, self.fixed_bytes + 4 * ordinal);
                let start = if ordinal == 0 { 0 } else { end(ordinal - 1)? };
                let values = row.get(self.head_bytes()..)?;
                variable_value(values.get(start..end(ordinal)?)?, data_type)
            }
        }
    }
}

/// The number of the schema that a row was written with.
pub(super) fn schema_number(row: &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes(row.get(..SCHEMA_BYTES)?.try_into().ok()?))
}

/// Bytes of a value within the fixed part; `None` for variable width.
pub(super) fn stored_width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Bool => Some(1),
        other => other.fixed_width(),
    }
}

fn read_u32(bytes: &[u8], offset: usize) -> Option<usize> {
    let bytes = bytes.get(offset..offset + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
}

fn fixed_value(bytes: &[u8], data_type: &DataType) -> Option<Value> {
    Some(match data_type {
        DataType::Bool => Value::Bool(*bytes.first()? != 0),
        DataType::Int8 => Value::Int(i8::from_le_bytes(bytes.try_into().ok()?).into()),
        DataType::Int16 => Value::Int(i16::from_le_bytes(bytes.try_into().ok()?).into()),
        DataType::Int32 => Value::Int(i32::from_le_bytes(bytes.try_into().ok()?).into()),
        DataType::Int64 => Value::Int(i64::from_le_bytes(bytes.try_into().ok()?)),
        DataType::UInt8 => Value::UInt(u8::from_le_bytes(bytes.try_into().ok()?).into()),
        DataType::UInt16 => Value::UInt(u16::from_le_bytes(bytes.try_into().ok()?).into()),
        DataType::UInt32 => Value::UInt(u32::from_le_bytes(bytes.try_into().ok()?).into()),
        DataType::UInt64 => Value::UInt(u64::from_le_bytes(bytes.try_into().ok()?)),
        DataType::Float32 => Value::Float32(f32::from_le_bytes(bytes.try_into().ok()?)),
        DataType::Float64 => Value::Float64(f64::from_le_bytes(bytes.try_into().ok()?)),
        DataType::Timestamp => Value::Timestamp(i64::from_le_bytes(bytes.try_into().ok()?)),
        DataType::Date => Value::Date(i32::from_le_bytes(bytes.try_into().ok()?)),
        DataType::Decimal { scale, .. } => {
            Value::Decimal(i128::from_le_bytes(bytes.try_into().ok()?), *scale)
        }
        DataType::String | DataType::Bytes | DataType::List(_) | DataType::Struct(_) | DataType::Map(..) => {
            return None;
        }
    })
}

fn variable_value(mut bytes: &[u8], data_type: &DataType) -> Option<Value> {
    Some(match data_type {
        DataType::String => Value::String(std::str::from_utf8(bytes).ok()?.to_owned()),
        DataType::Bytes => Value::Bytes(bytes.to_vec()),
        DataType::List(item) => Value::List(sequence(&mut bytes, item)?),
        DataType::Struct(fields) => {
            let mut values = Vec::with_capacity(fields.len());
            for (name, field_type) in fields {
                let mut value = sequence(&mut bytes, field_type)?;
                values.push((name.clone(), value.pop()?));
            }
            Value::Struct(values)
        }
        DataType::Map(key, value) => {
            let keys = sequence(&mut bytes, key)?;
            let values = sequence(&mut bytes, value)?;
            Value::Map(keys.into_iter().zip(values).collect())
        }
        _ => return None,
    })
}

/// Reads a sequence and moves `bytes` behind it.
fn sequence(bytes: &mut &[u8], item: &DataType) -> Option<Vec<Value>> {
    let count = read_u32(bytes, 0)?;
    let nulls = bytes.get(4..4 + count.div_ceil(8))?;
    let body = bytes.get(4 + nulls.len()..)?;
    let is_null = |index: usize| nulls[index / 8] >> (index % 8) & 1 == 1;
    let mut values = Vec::with_capacity(count);
    let used = match stored_width(item) {
        Some(width) => {
            let fixed = body.get(..count.checked_mul(width)?)?;
            for (index, bytes) in fixed.chunks_exact(width).enumerate() {
                values.push(if is_null(index) { Value::Null } else { fixed_value(bytes, item)? });
            }
            fixed.len()
        }
        None => {
            let head = count.checked_mul(4)?;
            let data = body.get(head..)?;
            let mut start = 0;
            for index in 0..count {
                let end = read_u32(body, 4 * index)?;
                let value = data.get(start..end)?;
                values.push(if is_null(index) { Value::Null } else { variable_value(value, item)? });
                start = end;
            }
            head + start
        }
    };
    *bytes = body.get(used..)?;
    Some(values)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use proptest::prelude::*;

    use super::super::encode::Rows;
    use super::*;

    fn fields(types: &[&str]) -> Vec<Field> {
        types.iter().map(|name| Field::nullable(*name, name.parse().unwrap())).collect()
    }

    #[test]
    fn the_layout_is_as_described() {
        let layout = Layout::new(fields(&["int64", "string", "bool", "bytes"]));
        assert_eq!((layout.fixed_bytes, layout.variable, layout.head_bytes()), (2 + 1 + 8 + 1, 2, 20));
        let layout = Layout::new(fields(&["int64", "string"]));
        let columns: [ArrayRef; 2] =
            [Arc::new(Int64Array::from(vec![3])), Arc::new(StringArray::from(vec!["ab"]))];
        let mut rows = Rows::default();
        rows.encode(258, &layout, &columns, 1).unwrap();
        assert_eq!(rows.get(0), b"\x02\x01\0\x03\0\0\0\0\0\0\0\x02\0\0\0ab");
        assert_eq!(schema_number(rows.get(0)), Some(258));
        assert_eq!(layout.value(rows.get(0), 0), Some(Value::Int(3)));
        assert_eq!(layout.value(rows.get(0), 1), Some(Value::String("ab".into())));
    }

    #[test]
    fn a_column_of_another_type_is_refused_by_name() {
        let layout = Layout::new(fields(&["int64"]));
        let columns: [ArrayRef; 1] = [Arc::new(StringArray::from(vec!["ab"]))];
        let failure = Rows::default().encode(0, &layout, &columns, 1).unwrap_err().to_string();
        assert!(
            failure.contains("feature `int64`, declared as `int64`: its column came as Utf8"),
            "{failure}"
        );
    }

    proptest! {
        /// Whatever a disk gives back is read or refused, never a reason to panic or to allocate without bound.
        #[test]
        fn damaged_rows_are_refused(row in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..80)) {
            let types = ["int64", "string", "list<int32>", "map<string, list<string>>", "struct<a: bool, b: list<bytes>>"];
            let layout = Layout::new(fields(&types));
            for feature in 0..types.len() {
                let _ = layout.value(&row, feature);
            }
        }
    }
}
