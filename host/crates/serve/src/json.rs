//! Writing JSON: texts, numbers, times and values, appended to bytes without a tree in between.
//!
//! Two dialects differ in one thing. Feast's clients expect a timestamp as whole seconds; our own endpoints write
//! RFC 3339 with microseconds. In both, integers are exact at any size, floats are the shortest text that reads back
//! as the same number, and what JSON has no number for is a string: `"NaN"`, `"Infinity"`, `"-Infinity"`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::time;
use model::value::Value;

/// Whose endpoints a value is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Timestamps are seconds since the epoch; the fraction is cut off.
    Feast,
    /// Timestamps are RFC 3339 with six fraction digits.
    Own,
}

/// Appends a string with its quotes.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text);
    out.push(b'"');
}

/// Appends the inside of a string.
pub(crate) fn write_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain..index]);
        plain = index + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                out.extend_from_slice(b"\\u00");
                out.push(b"0123456789abcdef"[usize::from(control >> 4)]);
                out.push(b"0123456789abcdef"[usize::from(control & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain..]);
}

/// Appends an integer.
pub(crate) fn write_integer(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends an instant as a string: RFC 3339, six fraction digits.
pub(crate) fn write_time(out: &mut Vec<u8>, micros: i64) {
    out.push(b'"');
    time::write_rfc3339(out, micros);
    out.push(b'"');
}

/// Appends an instant as a string the way protobuf does: RFC 3339 with 0, 3 or 6 fraction digits.
pub(crate) fn write_short_time(out: &mut Vec<u8>, micros: i64) {
    out.push(b'"');
    time::write_rfc3339(out, micros);
    // The text ends in `.ffffffZ`.
    let needless = match micros {
        whole if whole % 1_000_000 == 0 => 8,
        millis if millis % 1000 == 0 => 4,
        _ => 0,
    };
    if needless > 0 {
        out.truncate(out.len() - needless);
        out.push(b'Z');
    }
    out.push(b'"');
}

/// Appends a value.
pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value, dialect: Dialect) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => write_integer(out, *number),
        Value::UInt(number) => write_integer(out, *number),
        Value::Float32(number) if number.is_finite() => {
            out.extend_from_slice(zmij::Buffer::new().format_finite(*number).as_bytes());
        }
        Value::Float32(number) => write_nonfinite(out, f64::from(*number)),
        Value::Float64(number) if number.is_finite() => {
            out.extend_from_slice(zmij::Buffer::new().format_finite(*number).as_bytes());
        }
        Value::Float64(number) => write_nonfinite(out, *number),
        Value::String(text) => write_text(out, text),
        Value::Bytes(bytes) => write_base64(out, bytes),
        Value::Timestamp(micros) if dialect == Dialect::Feast => {
            write_integer(out, micros.div_euclid(1_000_000));
        }
        Value::Timestamp(micros) => write_time(out, *micros),
        Value::Date(days) => {
            out.push(b'"');
            time::write_date(out, i64::from(*days));
            out.push(b'"');
        }
        Value::Decimal(unscaled, scale) => write_decimal(out, *unscaled, usize::from(*scale)),
        Value::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                separate(out, index);
                write_value(out, item, dialect);
            }
            out.push(b']');
        }
        Value::Struct(fields) => {
            out.push(b'{');
            for (index, (name, field)) in fields.iter().enumerate() {
                separate(out, index);
                write_text(out, name);
                out.push(b':');
                write_value(out, field, dialect);
            }
            out.push(b'}');
        }
        Value::Map(entries) => {
            out.push(b'{');
            for (index, (key, entry)) in entries.iter().enumerate() {
                separate(out, index);
                write_key(out, key, dialect);
                out.push(b':');
                write_value(out, entry, dialect);
            }
            out.push(b'}');
        }
    }
}

/// Appends a comma before every element but the first.
pub(crate) fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

/// Keys of JSON objects are strings: other keys become the text that they have as a value.
fn write_key(out: &mut Vec<u8>, key: &Value, dialect: Dialect) {
    let mut text = Vec::new();
    write_value(&mut text, key, dialect);
    if text.first() == Some(&b'"') {
        out.extend_from_slice(&text);
    } else {
        write_text(out, &String::from_utf8_lossy(&text));
    }
}

fn write_nonfinite(out: &mut Vec<u8>, number: f64) {
    out.extend_from_slice(match number {
        nan if nan.is_nan() => b"\"NaN\"",
        positive if positive > 0.0 => b"\"Infinity\"",
        _ => b"\"-Infinity\"",
    });
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    // Four characters for three bytes, the last group filled up.
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written =
        STANDARD.encode_slice(bytes, &mut out[start..]).expect("the room was computed from the length");
    out.truncate(start + written);
    out.push(b'"');
}

/// A string, because readers of JSON numbers would round it.
fn write_decimal(out: &mut Vec<u8>, unscaled: i128, scale: usize) {
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    out.push(b'"');
    if unscaled < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(whole.as_bytes());
    if scale > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests;
