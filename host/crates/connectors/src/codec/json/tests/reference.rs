//! The same rules once more, written with `serde_json` and without any thought of speed.

use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use model::codec::{SourceColumn, TimestampUnit};
use model::schema::DataType;
use model::time::{parse_date, parse_rfc3339};
use model::value::Value;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The row of an event; `None` if it is to be rejected.
pub(super) fn row(columns: &[SourceColumn], payload: &[u8]) -> Option<Vec<Value>> {
    let text = std::str::from_utf8(payload).ok()?;
    let values: HashMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    if depth(text) > 127 {
        return None;
    }
    let value = |column: &SourceColumn| {
        let value = match values.get(&column.field.name) {
            Some(text) => value(text.get(), &column.field.data_type, column.unit)?,
            None => Value::Null,
        };
        (column.field.nullable || !value.is_null()).then_some(value)
    };
    columns.iter().map(value).collect()
}

fn value(text: &str, data_type: &DataType, unit: TimestampUnit) -> Option<Value> {
    if text == "null" {
        return Some(Value::Null);
    }
    Some(match data_type {
        DataType::Bool => Value::Bool(serde_json::from_str(text).ok()?),
        DataType::Int8 => Value::Int(signed(text, i8::MIN.into(), i8::MAX.into())?),
        DataType::Int16 => Value::Int(signed(text, i16::MIN.into(), i16::MAX.into())?),
        DataType::Int32 => Value::Int(signed(text, i32::MIN.into(), i32::MAX.into())?),
        DataType::Int64 => Value::Int(signed(text, i64::MIN, i64::MAX)?),
        DataType::UInt8 => Value::UInt(unsigned(text, u8::MAX.into())?),
        DataType::UInt16 => Value::UInt(unsigned(text, u16::MAX.into())?),
        DataType::UInt32 => Value::UInt(unsigned(text, u32::MAX.into())?),
        DataType::UInt64 => Value::UInt(unsigned(text, u64::MAX)?),
        DataType::Float32 => Value::Float32(if text.starts_with('"') {
            float(text)? as f32
        } else {
            number(text)?.parse::<f32>().ok().filter(|f| f.is_finite())?
        }),
        DataType::Float64 => Value::Float64(float(text)?),
        DataType::String => Value::String(serde_json::from_str(text).ok()?),
        DataType::Bytes => {
            let text: String = serde_json::from_str(text).ok()?;
            Value::Bytes(STANDARD.decode(&text).or_else(|_| STANDARD_NO_PAD.decode(&text)).ok()?)
        }
        DataType::Timestamp => Value::Timestamp(match unit {
            TimestampUnit::Text => {
                parse_rfc3339(serde_json::from_str::<String>(text).ok()?.as_bytes()).ok()?
            }
            TimestampUnit::Seconds => signed(text, i64::MIN, i64::MAX)?.checked_mul(1_000_000)?,
            TimestampUnit::Millis => signed(text, i64::MIN, i64::MAX)?.checked_mul(1_000)?,
            TimestampUnit::Micros => signed(text, i64::MIN, i64::MAX)?,
        }),
        DataType::Date => {
            let days = parse_date(serde_json::from_str::<String>(text).ok()?.as_bytes()).ok()?;
            Value::Date(i32::try_from(days).ok()?)
        }
        DataType::Decimal { precision, scale } => {
            let text = if text.starts_with('"') { serde_json::from_str(text).ok()? } else { text.to_owned() };
            Value::Decimal(decimal(number(&text)?, *precision, *scale)?, *scale)
        }
        DataType::List(item) => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Value::List(items.iter().map(|text| value(text.get(), item, unit)).collect::<Option<_>>()?)
        }
        DataType::Struct(fields) => {
            text.starts_with('{').then_some(())?;
            let values: HashMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            let field = |(name, data_type): &(String, DataType)| {
                let value =
                    values.get(name).map_or(Some(Value::Null), |text| value(text.get(), data_type, unit));
                Some((name.clone(), value?))
            };
            Value::Struct(fields.iter().map(field).collect::<Option<_>>()?)
        }
        DataType::Map(key, item) => {
            assert_eq!(**key, DataType::String, "other keys are tested by example");
            let entries: Entries<'_> = serde_json::from_str(text).ok()?;
            let entry = |(name, text): &(String, &RawValue)| {
                Some((Value::String(name.clone()), value(text.get(), item, unit)?))
            };
            Value::Map(entries.0.iter().map(entry).collect::<Option<_>>()?)
        }
    })
}

/// Text that follows JSON's grammar of numbers.
fn number(text: &str) -> Option<&str> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    (raw.get() == text && text.starts_with(|first: char| first == '-' || first.is_ascii_digit()))
        .then_some(text)
}

fn signed(text: &str, least: i64, greatest: i64) -> Option<i64> {
    let value = if text == "-0" { 0 } else { serde_json::from_str(text).ok()? };
    (least..=greatest).contains(&value).then_some(value)
}

fn unsigned(text: &str, greatest: u64) -> Option<u64> {
    let value = if text == "-0" { 0 } else { serde_json::from_str(text).ok()? };
    (value <= greatest).then_some(value)
}

fn float(text: &str) -> Option<f64> {
    if text.starts_with('"') {
        return match serde_json::from_str::<String>(text).ok()?.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        };
    }
    number(text)?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Writes the number out in full and looks at its digits. Exponents beyond a few hundred are left to examples.
fn decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i32 = exponent.parse().unwrap_or(1000).clamp(-400, 400);
    let mut digits = "0".repeat(500) + whole + fraction + &"0".repeat(500);
    let point =
        usize::try_from(500 + i32::try_from(whole.len()).unwrap() + exponent + i32::from(scale)).unwrap();
    let beyond = digits.split_off(point);
    if beyond.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if digits.len() > usize::from(precision) {
        return None;
    }
    let unscaled: i128 = if digits.is_empty() { 0 } else { digits.parse().unwrap() };
    Some(if negative { -unscaled } else { unscaled })
}

/// Levels of brackets outside of texts, in text that is JSON.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Entries of an object in the order in which keys come first, each with its last value.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Vec<(String, &RawValue)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    match entries.iter_mut().find(|(known, _)| *known == key) {
                        Some(entry) => entry.1 = value,
                        None => entries.push((key, value)),
                    }
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
