//! Columns of join keys with their types resolved: what online stores make keys from, each in its own format.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};
use model::error::Failure;
use model::schema::{DataType, Field};

/// A join key's column. It has no nulls.
pub(super) enum KeyColumn<'a> {
    /// `string` or `bytes`: see [`KeyColumn::bytes`].
    Variable { offsets: &'a [i32], bytes: &'a [u8] },
    /// `int32`.
    Int32(&'a [i32]),
    /// `int64`, or `timestamp` in microseconds.
    Int64(&'a [i64]),
}

impl<'a> KeyColumn<'a> {
    /// Fails with `Stop` if the column is of another type than the field, or has nulls.
    pub(super) fn of(field: &Field, column: &'a ArrayRef) -> Result<Self, Failure> {
        if column.null_count() > 0 {
            return Err(Failure::stop(format!("write rows whose join key `{}` is null", field.name)));
        }
        let found = match &field.data_type {
            DataType::String => column
                .as_string_opt::<i32>()
                .map(|text| Self::Variable { offsets: text.value_offsets(), bytes: text.value_data() }),
            DataType::Bytes => column
                .as_binary_opt::<i32>()
                .map(|text| Self::Variable { offsets: text.value_offsets(), bytes: text.value_data() }),
            DataType::Int32 => {
                column.as_primitive_opt::<Int32Type>().map(|array| Self::Int32(array.values()))
            }
            DataType::Int64 => {
                column.as_primitive_opt::<Int64Type>().map(|array| Self::Int64(array.values()))
            }
            DataType::Timestamp => {
                column.as_primitive_opt::<TimestampMicrosecondType>().map(|array| Self::Int64(array.values()))
            }
            _ => None,
        };
        found.ok_or_else(|| {
            Failure::stop(format!(
                "write rows: join key `{}` is declared as `{}`, which came as {} (join keys are string, bytes, int32, int64 or timestamp)",
                field.name,
                field.data_type,
                column.data_type()
            ))
        })
    }

    /// Text or bytes of a row; empty for columns of numbers.
    #[inline]
    pub(super) fn bytes(&self, row: usize) -> &'a [u8] {
        match self {
            // Offsets of an Arrow array ascend and lie within its data.
            Self::Variable { offsets, bytes } => &bytes[offsets[row] as usize..offsets[row + 1] as usize],
            Self::Int32(_) | Self::Int64(_) => &[],
        }
    }
}
