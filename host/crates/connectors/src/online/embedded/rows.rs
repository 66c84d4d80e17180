//! All rows of a view, one after the other: for those who take them elsewhere. Not for serving, and not while others write.

use model::error::Failure;
use model::position::RowVersion;
use model::schema::{DataType, Field};
use model::value::Value;
use model::view::ViewRef;

use super::core::Core;
use super::key::MAX_KEY_BYTES;
use super::reader::Projection;
use super::record::{Stored, TOMBSTONE, damaged};

/// Bytes of the row set's number at the start of a key.
const ROW_SET_BYTES: usize = 4;

/// An entity and its newest row.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityRow {
    /// Its join keys in the view's declared order.
    pub key: Vec<Value>,
    /// What decided that this row is the newest.
    pub version: RowVersion,
    /// One value for each feature of the view; `None` = the entity was deleted.
    pub values: Option<Vec<Value>>,
}

/// What came of a walk over the rows of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Walked {
    /// Rows that were shown.
    pub rows: u64,
    /// Rows whose keys are kept as a digest only, because they are longer than about a kilobyte: nobody can say any more
    /// which entity they are of.
    pub unnamed: u64,
}

impl Core {
    /// Shows the rows of a view, as far as they are on disk, in the order of their keys; until `visit` answers `false`.
    pub(super) fn walk_rows(
        &self,
        view: &ViewRef,
        visit: &mut dyn FnMut(EntityRow) -> Result<bool, Failure>,
    ) -> Result<Walked, Failure> {
        let mut walked = Walked::default();
        let Some(row_set) = self.views.find(view, &self.ledger) else { return Ok(walked) };
        let features: Vec<usize> = (0..view.features.len()).collect();
        let mut projection = Projection::new(view, &features, &row_set);
        let prefix = row_set.number.to_be_bytes();
        let mut failure = None;
        self.disk.scan(&prefix, |key, value| {
            if !key.starts_with(&prefix) {
                return false;
            }
            let shown = self.show(view, key, value, &mut projection).and_then(|row| match row {
                Some(row) => {
                    walked.rows += 1;
                    visit(row)
                }
                None => {
                    walked.unnamed += 1;
                    Ok(true)
                }
            });
            shown.unwrap_or_else(|found| {
                failure = Some(found);
                false
            })
        })?;
        failure.map_or(Ok(walked), Err)
    }

    /// `None` = nobody can say which entity it is of.
    fn show(
        &self,
        view: &ViewRef,
        key: &[u8],
        value: &[u8],
        projection: &mut Projection<'_>,
    ) -> Result<Option<EntityRow>, Failure> {
        if key.len() > MAX_KEY_BYTES {
            return Ok(None);
        }
        let key = read_key(&view.keys, &key[ROW_SET_BYTES..]).ok_or_else(damaged)?;
        let stored = Stored::parse(value, &self.names)?;
        let values = match stored.flags & TOMBSTONE {
            0 => Some(projection.values(stored.row).ok_or_else(damaged)?),
            _ => None,
        };
        let version = stored.version.to_row_version(&self.names).ok_or_else(damaged)?;
        Ok(Some(EntityRow { key, version, values }))
    }
}

/// The join keys that a key was made of; `None` if it is none of these.
fn read_key(fields: &[Field], mut bytes: &[u8]) -> Option<Vec<Value>> {
    let mut values = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        let is_last = index + 1 == fields.len();
        let width = match field.data_type {
            DataType::Int32 => 4,
            DataType::Int64 | DataType::Timestamp => 8,
            _ if is_last => bytes.len(),
            _ => take_length(&mut bytes)?,
        };
        let (part, rest) = bytes.split_at_checked(width)?;
        bytes = rest;
        values.push(match field.data_type {
            DataType::Int32 => Value::Int(i32::from_be_bytes(part.try_into().ok()?).into()),
            DataType::Int64 => Value::Int(i64::from_be_bytes(part.try_into().ok()?)),
            DataType::Timestamp => Value::Timestamp(i64::from_be_bytes(part.try_into().ok()?)),
            DataType::String => Value::String(std::str::from_utf8(part).ok()?.to_owned()),
            DataType::Bytes => Value::Bytes(part.to_vec()),
            _ => return None,
        });
    }
    bytes.is_empty().then_some(values)
}

/// A varint.
fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        length |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(length);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key::append_key;
    use super::*;

    #[track_caller]
    fn check(types: &[DataType], values: &[Value]) {
        let fields: Vec<Field> =
            types.iter().map(|data_type| Field::required("k", data_type.clone())).collect();
        let mut key = Vec::new();
        assert!(append_key(7, &fields, values, &mut key).unwrap());
        assert_eq!(read_key(&fields, &key[ROW_SET_BYTES..]).as_deref(), Some(values));
        let mut longer = key.clone();
        longer.push(0);
        let is_open = matches!(types.last(), Some(DataType::String | DataType::Bytes));
        assert_eq!(read_key(&fields, &longer[ROW_SET_BYTES..]).is_some(), is_open);
    }

    fn part() -> impl Strategy<Value = (DataType, Value)> {
        prop_oneof![
            any::<i32>().prop_map(|number| (DataType::Int32, Value::Int(number.into()))),
            any::<i64>().prop_map(|number| (DataType::Int64, Value::Int(number))),
            any::<i64>().prop_map(|number| (DataType::Timestamp, Value::Timestamp(number))),
            "\\PC{0,200}".prop_map(|text| (DataType::String, Value::String(text))),
            prop::collection::vec(any::<u8>(), 0..200)
                .prop_map(|bytes| (DataType::Bytes, Value::Bytes(bytes))),
        ]
    }

    proptest! {
        #[test]
        fn keys_are_read_back(parts in prop::collection::vec(part(), 1..4)) {
            let (types, values): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            check(&types, &values);
        }
    }
}
