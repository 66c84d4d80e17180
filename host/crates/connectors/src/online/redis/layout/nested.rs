//! Lists, structs and maps → messages within `Value`.

use std::ops::Range;

use super::column::{Cells, ValueColumn, append_decimal_text, slice};
use super::kind;
use super::protobuf::{FIXED32, FIXED64, append_bytes, append_int, append_message, append_varint, tag};
use super::timestamp::MICROS;

/// The field of a message that repeats.
const REPEATED: u32 = 1;
/// Key and value of an entry of a map.
const KEY: u32 = 1;
const VALUE: u32 = 2;

/// Appends a list: in the narrowest kind that can carry it.
pub(super) fn append_list(items: &ValueColumn<'_>, rows: Range<usize>, out: &mut Vec<u8>) {
    if items.has_nulls(rows.clone()) {
        return append_values(items, rows, out);
    }
    match &items.cells {
        Cells::Bool(_) => append_integers(kind::BOOL_LIST, items, rows, out),
        Cells::Int8(_) | Cells::Int16(_) | Cells::Int32(_) | Cells::UInt8(_) | Cells::UInt16(_) => {
            append_integers(kind::INT32_LIST, items, rows, out);
        }
        Cells::UInt64(values) if values[rows.clone()].iter().any(|value| i64::try_from(*value).is_err()) => {
            append_values(items, rows, out);
        }
        Cells::Int64(_) | Cells::UInt32(_) | Cells::UInt64(_) => {
            append_integers(kind::INT64_LIST, items, rows, out);
        }
        Cells::Date(_) => append_integers(kind::UNIX_TIMESTAMP_LIST, items, rows, out),
        Cells::Timestamp(values) => {
            append_integers(kind::UNIX_TIMESTAMP_LIST, items, rows.clone(), out);
            let values = &values[rows];
            if values.iter().any(|value| value % MICROS != 0) {
                append_message(kind::OUR_MICROS, out, |out| {
                    values
                        .iter()
                        .for_each(|micros| append_varint(micros.rem_euclid(MICROS).cast_unsigned(), out));
                });
            }
        }
        Cells::Float32(values) => {
            append_floats(kind::FLOAT_LIST, values[rows].iter().map(|value| value.to_le_bytes()), out);
        }
        Cells::Float64(values) => {
            append_floats(kind::DOUBLE_LIST, values[rows].iter().map(|value| value.to_le_bytes()), out);
        }
        Cells::String { offsets, bytes } => {
            append_message(kind::STRING_LIST, out, |out| {
                rows.for_each(|row| append_bytes(REPEATED, slice(offsets, bytes, row), out));
            });
        }
        Cells::Bytes { offsets, bytes } => {
            append_message(kind::BYTES_LIST, out, |out| {
                rows.for_each(|row| append_bytes(REPEATED, slice(offsets, bytes, row), out));
            });
        }
        Cells::Decimal { unscaled, scale } => append_message(kind::DECIMAL_LIST, out, |out| {
            rows.for_each(|row| append_decimal_text(REPEATED, unscaled[row], *scale, out));
        }),
        Cells::Struct(fields) => append_message(kind::STRUCT_LIST, out, |out| {
            rows.for_each(|row| append_struct(REPEATED, fields, row, out));
        }),
        Cells::Map { offsets, keys, values } if matches!(keys.cells, Cells::String { .. }) => {
            append_message(kind::MAP_LIST, out, |out| {
                rows.for_each(|row| {
                    append_text_map(REPEATED, keys, values, super::column::range(offsets, row), out);
                });
            });
        }
        Cells::List { .. } | Cells::Map { .. } => append_values(items, rows, out),
    }
}

/// Appends a struct as the map of its fields; as field `number` of the message around it.
pub(super) fn append_struct(number: u32, fields: &[(&str, ValueColumn<'_>)], row: usize, out: &mut Vec<u8>) {
    append_message(number, out, |out| {
        for (name, column) in fields {
            append_message(REPEATED, out, |out| {
                append_bytes(KEY, name.as_bytes(), out);
                append_message(VALUE, out, |out| column.append_inner(row, out));
            });
        }
    });
}

/// Appends a map.
pub(super) fn append_map(
    keys: &ValueColumn<'_>,
    values: &ValueColumn<'_>,
    rows: Range<usize>,
    out: &mut Vec<u8>,
) {
    match &keys.cells {
        Cells::String { .. } => append_text_map(kind::MAP, keys, values, rows, out),
        Cells::List { .. } | Cells::Struct(_) | Cells::Map { .. } => {
            append_message(kind::LIST, out, |out| {
                for row in rows {
                    append_message(REPEATED, out, |out| {
                        append_message(kind::LIST, out, |out| {
                            append_message(REPEATED, out, |out| keys.append_inner(row, out));
                            append_message(REPEATED, out, |out| values.append_inner(row, out));
                        });
                    });
                }
            });
        }
        _ => append_message(kind::SCALAR_MAP, out, |out| {
            for row in rows {
                append_message(REPEATED, out, |out| {
                    append_message(KEY, out, |out| append_key(keys, row, out));
                    append_message(VALUE, out, |out| values.append_inner(row, out));
                });
            }
        }),
    }
}

/// Appends the content of a `MapKey`: only what is neither text nor nested comes here.
fn append_key(keys: &ValueColumn<'_>, row: usize, out: &mut Vec<u8>) {
    match &keys.cells {
        Cells::Bool(_) => append_int(kind::key::BOOL, keys.integer(row), out),
        Cells::Int64(_) | Cells::UInt32(_) => append_int(kind::key::INT64, keys.integer(row), out),
        Cells::UInt64(values) => match i64::try_from(values[row]) {
            Ok(number) => append_int(kind::key::INT64, number, out),
            Err(_) => append_decimal_text(kind::key::DECIMAL, values[row].into(), 0, out),
        },
        Cells::Float32(values) => {
            append_varint(tag(kind::key::FLOAT, FIXED32), out);
            out.extend_from_slice(&values[row].to_le_bytes());
        }
        Cells::Float64(values) => {
            append_varint(tag(kind::key::DOUBLE, FIXED64), out);
            out.extend_from_slice(&values[row].to_le_bytes());
        }
        Cells::Timestamp(values) => {
            append_int(kind::key::UNIX_TIMESTAMP, keys.integer(row), out);
            let rest = values[row].rem_euclid(MICROS);
            if rest != 0 {
                append_int(kind::OUR_MICROS, rest, out);
            }
        }
        Cells::Date(_) => append_int(kind::key::UNIX_TIMESTAMP, keys.integer(row), out),
        Cells::Bytes { offsets, bytes } => append_bytes(kind::key::BYTES, slice(offsets, bytes, row), out),
        Cells::Decimal { unscaled, scale } => {
            append_decimal_text(kind::key::DECIMAL, unscaled[row], *scale, out)
        }
        _ => append_int(kind::key::INT32, keys.integer(row), out),
    }
}

fn append_text_map(
    number: u32,
    keys: &ValueColumn<'_>,
    values: &ValueColumn<'_>,
    rows: Range<usize>,
    out: &mut Vec<u8>,
) {
    let Cells::String { offsets, bytes } = &keys.cells else { return };
    append_message(number, out, |out| {
        for row in rows {
            append_message(REPEATED, out, |out| {
                append_bytes(KEY, slice(offsets, bytes, row), out);
                append_message(VALUE, out, |out| values.append_inner(row, out));
            });
        }
    });
}

/// A list of `Value`: carries anything, nulls too.
fn append_values(items: &ValueColumn<'_>, rows: Range<usize>, out: &mut Vec<u8>) {
    append_message(kind::LIST, out, |out| {
        for row in rows {
            append_message(REPEATED, out, |out| items.append_inner(row, out));
        }
    });
}

fn append_integers(number: u32, items: &ValueColumn<'_>, rows: Range<usize>, out: &mut Vec<u8>) {
    append_message(number, out, |out| {
        if !rows.is_empty() {
            append_message(REPEATED, out, |out| {
                rows.for_each(|row| append_varint(items.integer(row).cast_unsigned(), out));
            });
        }
    });
}

fn append_floats<const N: usize>(
    number: u32,
    values: impl ExactSizeIterator<Item = [u8; N]>,
    out: &mut Vec<u8>,
) {
    append_message(number, out, |out| {
        if values.len() > 0 {
            append_message(REPEATED, out, |out| values.for_each(|value| out.extend_from_slice(&value)));
        }
    });
}
