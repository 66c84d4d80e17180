//! Entity keys as bytes: what rows are found by, in memory and on disk.
//!
//! A key begins with the number of its row set, 4 bytes big-endian, so that the rows of a view lie side by side. The join
//! keys follow in declared order: integers and timestamps with their fixed width, big-endian; text and bytes behind
//! their length as a varint, or as they are if they come last. Keys that are longer than [`MAX_KEY_BYTES`] keep their
//! first bytes and end in SHA-256 of the whole, one byte longer than any key that is written out.

use arrow_array::{Array, ArrayRef};
use model::error::Failure;
use model::schema::{DataType, Field};
use model::value::Value;
use sha2::{Digest, Sha256};

use crate::online::key_column::KeyColumn;

/// The longest key that is written out; the storage engine ends at 64 KiB and is slow long before.
pub(super) const MAX_KEY_BYTES: usize = 1024;

const HASH_BYTES: usize = 32;

/// The keys of a batch, one after the other.
#[derive(Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    /// Replaces the content by the keys of these columns, which are the join keys in declared order.
    pub(super) fn encode(
        &mut self,
        row_set: u32,
        fields: &[Field],
        columns: &[ArrayRef],
    ) -> Result<(), Failure> {
        self.clear();
        let parts = fields
            .iter()
            .zip(columns)
            .map(|(field, column)| KeyColumn::of(field, column))
            .collect::<Result<Vec<_>, _>>()?;
        let rows = columns.first().map_or(0, Array::len);
        let Some((last, first)) = parts.split_last() else {
            return Err(Failure::stop("write rows of a view without join keys"));
        };
        self.ends.reserve(rows);
        for row in 0..rows {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&row_set.to_be_bytes());
            for part in first {
                append_part(part, row, true, &mut self.bytes);
            }
            append_part(last, row, false, &mut self.bytes);
            shorten(&mut self.bytes, start);
            self.ends.push(self.bytes.len());
        }
        Ok(())
    }
}

/// Appends the key of one entity given as values. `false`: no entity can have this key (a null, an `int32` out of range).
pub(super) fn append_key(
    row_set: u32,
    fields: &[Field],
    values: &[Value],
    out: &mut Vec<u8>,
) -> Result<bool, Failure> {
    if fields.len() != values.len() {
        return Err(Failure::stop(format!(
            "look up an entity by {} join keys where the view has {}",
            values.len(),
            fields.len()
        )));
    }
    let start = out.len();
    out.extend_from_slice(&row_set.to_be_bytes());
    for (index, (field, value)) in fields.iter().zip(values).enumerate() {
        let prefixed = index + 1 < fields.len();
        match (&field.data_type, value) {
            (_, Value::Null) => return Ok(false),
            (DataType::String, Value::String(text)) => append_bytes(text.as_bytes(), prefixed, out),
            (DataType::Bytes, Value::Bytes(bytes)) => append_bytes(bytes, prefixed, out),
            (DataType::Int64, Value::Int(number)) | (DataType::Timestamp, Value::Timestamp(number)) => {
                out.extend_from_slice(&number.to_be_bytes());
            }
            (DataType::Int32, Value::Int(number)) => match i32::try_from(*number) {
                Ok(number) => out.extend_from_slice(&number.to_be_bytes()),
                Err(_) => return Ok(false),
            },
            (expected, found) => {
                return Err(Failure::stop(format!(
                    "look up an entity: join key `{}` is of type `{expected}`, not {found:?}",
                    field.name
                )));
            }
        }
    }
    shorten(out, start);
    Ok(true)
}

/// Appends one join key.
#[inline]
fn append_part(part: &KeyColumn<'_>, row: usize, prefixed: bool, out: &mut Vec<u8>) {
    match part {
        KeyColumn::Variable { .. } => append_bytes(part.bytes(row), prefixed, out),
        KeyColumn::Int32(values) => out.extend_from_slice(&values[row].to_be_bytes()),
        KeyColumn::Int64(values) => out.extend_from_slice(&values[row].to_be_bytes()),
    }
}

#[inline]
fn append_bytes(bytes: &[u8], prefixed: bool, out: &mut Vec<u8>) {
    if prefixed {
        let mut rest = bytes.len();
        while rest >= 0x80 {
            out.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    out.extend_from_slice(bytes);
}

#[inline]
fn shorten(out: &mut Vec<u8>, start: usize) {
    if out.len() - start > MAX_KEY_BYTES {
        let digest = Sha256::digest(&out[start..]);
        out.truncate(start + MAX_KEY_BYTES + 1 - HASH_BYTES);
        out.extend_from_slice(&digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{BinaryArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use std::sync::Arc;

    #[track_caller]
    fn check<const N: usize>(types: &[DataType; N], columns: &[ArrayRef; N], values: &[Value; N]) -> Vec<u8> {
        let fields: Vec<Field> = types.iter().map(|t| Field::required("k", t.clone())).collect();
        let mut keys = Keys::default();
        keys.encode(7, &fields, columns).unwrap();
        let mut one = Vec::new();
        assert!(append_key(7, &fields, values, &mut one).unwrap());
        assert_eq!(keys.get(0), one, "columns and values have one encoding");
        one
    }

    #[test]
    fn columns_and_values_have_one_encoding() {
        let key = check(
            &[DataType::String, DataType::Int32, DataType::Bytes],
            &[
                Arc::new(StringArray::from(vec!["ab"])),
                Arc::new(Int32Array::from(vec![-2])),
                Arc::new(BinaryArray::from(vec![&b"\0x"[..]])),
            ],
            &[Value::String("ab".into()), Value::Int(-2), Value::Bytes(b"\0x".to_vec())],
        );
        assert_eq!(key, b"\0\0\0\x07\x02ab\xff\xff\xff\xfe\0x");
        let key = check(
            &[DataType::Int64, DataType::Timestamp],
            &[
                Arc::new(Int64Array::from(vec![1])),
                Arc::new(TimestampMicrosecondArray::from(vec![2]).with_timezone("UTC")),
            ],
            &[Value::Int(1), Value::Timestamp(2)],
        );
        assert_eq!(key, b"\0\0\0\x07\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02");
    }

    #[test]
    fn neighbors_do_not_run_into_each_other() {
        let types = [DataType::String, DataType::String];
        let pair = |a: &str, b: &str| {
            check(
                &types,
                &[Arc::new(StringArray::from(vec![a])), Arc::new(StringArray::from(vec![b]))],
                &[Value::String(a.into()), Value::String(b.into())],
            )
        };
        assert_ne!(pair("a", "bc"), pair("ab", "c"));
        assert_ne!(pair(&"x".repeat(200), "y"), pair(&"x".repeat(199), "xy"));
    }

    #[test]
    fn long_keys_stay_apart_and_short() {
        let key = |text: String| {
            check(
                &[DataType::String],
                &[Arc::new(StringArray::from(vec![text.as_str()]))],
                &[Value::String(text)],
            )
        };
        assert_eq!(key("x".repeat(MAX_KEY_BYTES - 4)).len(), MAX_KEY_BYTES);
        let (long, longer) = (key("x".repeat(100_000)), key("x".repeat(100_001)));
        assert_eq!(long.len(), MAX_KEY_BYTES + 1);
        assert_ne!(long, longer);
    }

    #[test]
    fn keys_that_no_entity_has_are_no_error() {
        let fields = [Field::required("k", DataType::Int32)];
        let mut out = Vec::new();
        assert!(!append_key(1, &fields, &[Value::Null], &mut out).unwrap());
        assert!(!append_key(1, &fields, &[Value::Int(1 << 40)], &mut out).unwrap());
        assert!(append_key(1, &fields, &[Value::Bool(true)], &mut out).is_err());
        assert!(append_key(1, &fields, &[], &mut out).is_err());
    }
}
