//! Feature columns → `Value` messages, cell by cell, the type of a column looked at once.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use model::error::Failure;
use model::schema::{DataType, Field};

use super::kind;
use super::nested::{append_list, append_map, append_struct};
use super::protobuf::{FIXED32, FIXED64, append_bytes, append_int, append_message, append_varint, tag};
use super::timestamp::MICROS;
use crate::output::record::append_decimal;

/// Seconds in a day.
pub(super) const DAY: i64 = 86_400;

/// A column that rows are taken from.
pub(in crate::online::redis) struct ValueColumn<'a> {
    /// Only where there are some.
    nulls: Option<&'a NullBuffer>,
    pub(super) cells: Cells<'a>,
}

/// The values of a column, in the form of their type.
pub(super) enum Cells<'a> {
    Bool(&'a BooleanBuffer),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    String { offsets: &'a [i32], bytes: &'a [u8] },
    Bytes { offsets: &'a [i32], bytes: &'a [u8] },
    Timestamp(&'a [i64]),
    Date(&'a [i32]),
    Decimal { unscaled: &'a [i128], scale: usize },
    List { offsets: &'a [i32], items: Box<ValueColumn<'a>> },
    Struct(Vec<(&'a str, ValueColumn<'a>)>),
    Map { offsets: &'a [i32], keys: Box<ValueColumn<'a>>, values: Box<ValueColumn<'a>> },
}

impl<'a> ValueColumn<'a> {
    /// The column of a feature. Fails with `Stop` if it is of another type.
    pub(in crate::online::redis) fn new(feature: &'a Field, array: &'a ArrayRef) -> Result<Self, Failure> {
        Self::of(&feature.data_type, array).ok_or_else(|| {
            Failure::stop(format!(
                "store feature `{}`, declared as `{}`: its column came as {}",
                feature.name,
                feature.data_type,
                array.data_type()
            ))
        })
    }

    fn of(data_type: &'a DataType, array: &'a ArrayRef) -> Option<Self> {
        let cells = match data_type {
            DataType::Bool => Cells::Bool(array.as_boolean_opt()?.values()),
            DataType::Int8 => Cells::Int8(primitive::<Int8Type>(array)?),
            DataType::Int16 => Cells::Int16(primitive::<Int16Type>(array)?),
            DataType::Int32 => Cells::Int32(primitive::<Int32Type>(array)?),
            DataType::Int64 => Cells::Int64(primitive::<Int64Type>(array)?),
            DataType::UInt8 => Cells::UInt8(primitive::<UInt8Type>(array)?),
            DataType::UInt16 => Cells::UInt16(primitive::<UInt16Type>(array)?),
            DataType::UInt32 => Cells::UInt32(primitive::<UInt32Type>(array)?),
            DataType::UInt64 => Cells::UInt64(primitive::<UInt64Type>(array)?),
            DataType::Float32 => Cells::Float32(primitive::<Float32Type>(array)?),
            DataType::Float64 => Cells::Float64(primitive::<Float64Type>(array)?),
            DataType::Timestamp => Cells::Timestamp(primitive::<TimestampMicrosecondType>(array)?),
            DataType::Date => Cells::Date(primitive::<Date32Type>(array)?),
            DataType::Decimal { scale, .. } => {
                Cells::Decimal { unscaled: primitive::<Decimal128Type>(array)?, scale: usize::from(*scale) }
            }
            DataType::String => {
                let text = array.as_string_opt::<i32>()?;
                Cells::String { offsets: text.value_offsets(), bytes: text.value_data() }
            }
            DataType::Bytes => {
                let bytes = array.as_binary_opt::<i32>()?;
                Cells::Bytes { offsets: bytes.value_offsets(), bytes: bytes.value_data() }
            }
            DataType::List(item) => {
                let list = array.as_list_opt::<i32>()?;
                Cells::List { offsets: list.value_offsets(), items: Box::new(Self::of(item, list.values())?) }
            }
            DataType::Struct(fields) => {
                let columns = array.as_struct_opt()?.columns();
                if columns.len() != fields.len() {
                    return None;
                }
                let named = fields.iter().zip(columns);
                let columns = named
                    .map(|((name, data_type), array)| Some((name.as_str(), Self::of(data_type, array)?)));
                Cells::Struct(columns.collect::<Option<_>>()?)
            }
            DataType::Map(key, value) => {
                let map = array.as_map_opt()?;
                Cells::Map {
                    offsets: map.value_offsets(),
                    keys: Box::new(Self::of(key, map.keys())?),
                    values: Box::new(Self::of(value, map.values())?),
                }
            }
        };
        Some(Self { nulls: array.nulls().filter(|nulls| nulls.null_count() > 0), cells })
    }

    /// Appends the `Value` of a row: nothing at all if it is null or NaN.
    #[inline]
    pub(in crate::online::redis) fn append(&self, row: usize, out: &mut Vec<u8>) {
        let nan = match &self.cells {
            Cells::Float32(values) => values[row].is_nan(),
            Cells::Float64(values) => values[row].is_nan(),
            _ => false,
        };
        if !nan {
            self.append_inner(row, out);
        }
    }

    /// Appends the `Value` of a row as a bulk string of the Redis protocol: `$length`, the bytes, with line ends.
    #[inline]
    pub(in crate::online::redis) fn append_bulk(&self, row: usize, out: &mut Vec<u8>) {
        const HEAD: usize = 4;
        let start = out.len();
        out.extend_from_slice(b"$0\r\n");
        self.append(row, out);
        let length = out.len() - start - HEAD;
        if length < 10 {
            // One digit.
            out[start + 1] += length as u8;
        } else {
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(length).as_bytes();
            let more = digits.len() - 1;
            out.resize(out.len() + more, 0);
            out.copy_within(start + 2..start + HEAD + length, start + 2 + more);
            out[start + 1..start + 2 + more].copy_from_slice(digits);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Whether a row is null.
    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    /// Whether some of these rows are null.
    pub(super) fn has_nulls(&self, mut rows: Range<usize>) -> bool {
        self.nulls.is_some_and(|nulls| rows.any(|row| nulls.is_null(row)))
    }

    /// Appends the `Value` of a row within another: NaN is itself there.
    #[inline]
    pub(super) fn append_inner(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return;
        }
        match &self.cells {
            Cells::Bool(values) => append_int(kind::BOOL, i64::from(values.value(row)), out),
            Cells::Float32(values) => {
                append_varint(const { tag(kind::FLOAT, FIXED32) }, out);
                out.extend_from_slice(&values[row].to_le_bytes());
            }
            Cells::Float64(values) => {
                append_varint(const { tag(kind::DOUBLE, FIXED64) }, out);
                out.extend_from_slice(&values[row].to_le_bytes());
            }
            Cells::String { offsets, bytes } => append_bytes(kind::STRING, slice(offsets, bytes, row), out),
            Cells::Bytes { offsets, bytes } => append_bytes(kind::BYTES, slice(offsets, bytes, row), out),
            Cells::Timestamp(values) => {
                let micros = values[row];
                append_int(kind::UNIX_TIMESTAMP, micros.div_euclid(MICROS), out);
                let rest = micros.rem_euclid(MICROS);
                if rest != 0 {
                    append_int(kind::OUR_MICROS, rest, out);
                }
            }
            Cells::Date(values) => append_int(kind::UNIX_TIMESTAMP, i64::from(values[row]) * DAY, out),
            Cells::Decimal { unscaled, scale } => {
                append_decimal_text(kind::DECIMAL, unscaled[row], *scale, out)
            }
            Cells::UInt64(values) => match i64::try_from(values[row]) {
                Ok(number) => append_int(kind::INT64, number, out),
                Err(_) => append_decimal_text(kind::DECIMAL, values[row].into(), 0, out),
            },
            Cells::Int64(_) | Cells::UInt32(_) => append_int(kind::INT64, self.integer(row), out),
            Cells::Int8(_) | Cells::Int16(_) | Cells::Int32(_) | Cells::UInt8(_) | Cells::UInt16(_) => {
                append_int(kind::INT32, self.integer(row), out);
            }
            Cells::List { offsets, items } => append_list(items, range(offsets, row), out),
            Cells::Struct(fields) => append_struct(kind::STRUCT, fields, row, out),
            Cells::Map { offsets, keys, values } => append_map(keys, values, range(offsets, row), out),
        }
    }

    /// A value of a column of integers, times or bools as protobuf sees it: days are the seconds of their midnight, instants
    /// lose what is below a second. 0 for other columns.
    #[inline]
    pub(super) fn integer(&self, row: usize) -> i64 {
        match &self.cells {
            Cells::Bool(values) => values.value(row).into(),
            Cells::Int8(values) => values[row].into(),
            Cells::Int16(values) => values[row].into(),
            Cells::Int32(values) => values[row].into(),
            Cells::Int64(values) => values[row],
            Cells::UInt8(values) => values[row].into(),
            Cells::UInt16(values) => values[row].into(),
            Cells::UInt32(values) => values[row].into(),
            Cells::UInt64(values) => values[row].cast_signed(),
            Cells::Timestamp(values) => values[row].div_euclid(MICROS),
            Cells::Date(values) => i64::from(values[row]) * DAY,
            _ => 0,
        }
    }
}

/// Appends a decimal as text at its scale.
pub(super) fn append_decimal_text(number: u32, unscaled: i128, scale: usize, out: &mut Vec<u8>) {
    append_message(number, out, |out| append_decimal(out, unscaled, scale));
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<&[T::Native]> {
    let values: &[T::Native] = array.as_primitive_opt::<T>()?.values();
    Some(values)
}

/// Offsets of an Arrow array ascend and lie within its data.
#[inline]
pub(super) fn range(offsets: &[i32], row: usize) -> Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

#[inline]
pub(super) fn slice<'a>(offsets: &[i32], bytes: &'a [u8], row: usize) -> &'a [u8] {
    &bytes[range(offsets, row)]
}
