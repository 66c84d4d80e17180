//! One value of a column, as typed JSON or as the text that version 1 has.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use model::schema::DataType;

use super::text::{self, Instants};

/// How a value stands in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// What stands between the quotes of a version-1 value. Not null.
    Text,
    /// A JSON value.
    Typed,
}

/// Appends the value of `row`.
#[inline]
pub(super) fn write(
    out: &mut Vec<u8>,
    array: &ArrayRef,
    row: usize,
    data_type: &DataType,
    form: Form,
    instants: &mut Instants,
) {
    if form == Form::Typed && array.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match data_type {
        DataType::Int64 => text::integer(out, array.as_primitive::<Int64Type>().value(row)),
        DataType::String => {
            let value = array.as_string::<i32>().value(row);
            quoted(out, form, |out| text::escaped(out, value.as_bytes()));
        }
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            float(out, form, value.is_finite(), |out| text::float(out, value));
        }
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            float(out, form, value.is_finite(), |out| text::float(out, value));
        }
        DataType::Bool => {
            out.extend_from_slice(if array.as_boolean().value(row) { b"true" } else { b"false" });
        }
        DataType::Timestamp => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            quoted(out, form, |out| instants.write(out, micros));
        }
        DataType::Int8 => text::integer(out, array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => text::integer(out, array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => text::integer(out, array.as_primitive::<Int32Type>().value(row)),
        DataType::UInt8 => text::integer(out, array.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt16 => text::integer(out, array.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => text::integer(out, array.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => text::integer(out, array.as_primitive::<UInt64Type>().value(row)),
        DataType::Bytes => {
            let value = array.as_binary::<i32>().value(row);
            quoted(out, form, |out| text::base64(out, value));
        }
        DataType::Date => {
            let days = array.as_primitive::<Date32Type>().value(row);
            quoted(out, form, |out| text::date(out, days));
        }
        DataType::Decimal { scale, .. } => {
            let unscaled = array.as_primitive::<Decimal128Type>().value(row);
            quoted(out, form, |out| text::decimal(out, unscaled, usize::from(*scale)));
        }
        DataType::List(_) | DataType::Struct(_) | DataType::Map(..) if form == Form::Text => {
            let mut json = Vec::new();
            nested(&mut json, array, row, data_type, instants);
            text::escaped(out, &json);
        }
        DataType::List(_) | DataType::Struct(_) | DataType::Map(..) => {
            nested(out, array, row, data_type, instants)
        }
    }
}

/// Appends something that needs quotes as JSON.
#[inline]
fn quoted(out: &mut Vec<u8>, form: Form, write: impl FnOnce(&mut Vec<u8>)) {
    if form == Form::Text {
        return write(out);
    }
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// JSON has no numbers that are not finite: they become texts.
fn float(out: &mut Vec<u8>, form: Form, finite: bool, write: impl FnOnce(&mut Vec<u8>)) {
    if finite { write(out) } else { quoted(out, form, write) }
}

fn nested(out: &mut Vec<u8>, array: &ArrayRef, row: usize, data_type: &DataType, instants: &mut Instants) {
    match data_type {
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let (start, end) = (list.value_offsets()[row], list.value_offsets()[row + 1]);
            out.push(b'[');
            for index in start..end {
                comma(out, index > start);
                write(out, list.values(), place(index), item, Form::Typed, instants);
            }
            out.push(b']');
        }
        DataType::Struct(fields) => {
            out.push(b'{');
            for (index, ((name, part), column)) in fields.iter().zip(array.as_struct().columns()).enumerate()
            {
                comma(out, index > 0);
                quoted(out, Form::Typed, |out| text::escaped(out, name.as_bytes()));
                out.push(b':');
                write(out, column, row, part, Form::Typed, instants);
            }
            out.push(b'}');
        }
        DataType::Map(key_type, value_type) => {
            let map = array.as_map();
            let (start, end) = (map.value_offsets()[row], map.value_offsets()[row + 1]);
            out.push(b'{');
            for index in start..end {
                comma(out, index > start);
                quoted(out, Form::Typed, |out| {
                    write(out, map.keys(), place(index), key_type, Form::Text, instants)
                });
                out.push(b':');
                write(out, map.values(), place(index), value_type, Form::Typed, instants);
            }
            out.push(b'}');
        }
        _ => unreachable!("only nested types come here"),
    }
}

#[inline]
fn comma(out: &mut Vec<u8>, wanted: bool) {
    if wanted {
        out.push(b',');
    }
}

/// Offsets of valid Arrow arrays are not negative.
fn place(offset: i32) -> usize {
    offset.cast_unsigned() as usize
}
