//! `Value` messages → values of a declared type. Bytes may come from anybody: they are read, taken for another type, or
//! refused, within memory that is bounded by their number.

use model::schema::DataType;
use model::value::Value;

use super::column::DAY;
use super::kind;
use super::protobuf::{Malformed, Message, Wire, read_array, read_varint};
use super::timestamp::{MICROS, join};
use crate::codec::json::decimal_of_text;

/// Feast's null among instants.
const NULL_TIMESTAMP: i64 = i64::MIN;

/// The value that a message holds; null if it holds none, or one that a feature of this type cannot have.
pub(in crate::online::redis) fn decode(bytes: &[u8], data_type: &DataType) -> Result<Value, Malformed> {
    Ok(read(bytes, data_type)?.unwrap_or(Value::Null))
}

/// `None`: a value of another type.
fn read(bytes: &[u8], data_type: &DataType) -> Result<Option<Value>, Malformed> {
    let mut message = Message::new(bytes);
    let (mut found, mut micros) = (None, None);
    while let Some((number, wire)) = message.next()? {
        match number {
            kind::OUR_MICROS => micros = Some(wire),
            // The last one counts, as everywhere in protobuf.
            1..=kind::ZONED_TIMESTAMP => found = Some((number, wire)),
            _ => {}
        }
    }
    match found {
        None | Some((kind::NULL, _)) => Ok(Some(Value::Null)),
        Some((number, wire)) => convert(number, wire, micros, data_type),
    }
}

fn convert(
    number: u32,
    wire: Wire<'_>,
    micros: Option<Wire<'_>>,
    data_type: &DataType,
) -> Result<Option<Value>, Malformed> {
    Ok(match (data_type, number) {
        (DataType::Bool, kind::BOOL) => Some(Value::Bool(wire.varint()? != 0)),
        (DataType::Float32, kind::FLOAT | kind::DOUBLE) => {
            let (single, double) = float(number, wire)?;
            Some(Value::Float32(single.unwrap_or(double as f32)))
        }
        (DataType::Float64, kind::FLOAT | kind::DOUBLE) => Some(Value::Float64(float(number, wire)?.1)),
        (DataType::String, kind::STRING | kind::JSON | kind::UUID | kind::TIME_UUID) => {
            Some(Value::String(wire.text()?.to_owned()))
        }
        (DataType::Bytes, kind::BYTES) => Some(Value::Bytes(wire.bytes()?.to_vec())),
        (DataType::Timestamp, kind::UNIX_TIMESTAMP | kind::ZONED_TIMESTAMP) => {
            let seconds = seconds(number, wire)?;
            if seconds == NULL_TIMESTAMP {
                return Ok(Some(Value::Null));
            }
            let micros = micros.map_or(Ok(0), Wire::varint)?;
            if micros >= MICROS.cast_unsigned() {
                return Err(Malformed("an instant has more microseconds than a second has"));
            }
            Some(Value::Timestamp(join(seconds, micros.cast_signed())?))
        }
        (DataType::Date, kind::UNIX_TIMESTAMP | kind::ZONED_TIMESTAMP) => {
            let seconds = seconds(number, wire)?;
            if seconds == NULL_TIMESTAMP {
                return Ok(Some(Value::Null));
            }
            let days = i32::try_from(seconds.div_euclid(DAY));
            Some(Value::Date(days.map_err(|_| Malformed("a day is out of range"))?))
        }
        (DataType::Decimal { precision, scale }, kind::DECIMAL) => {
            decimal_of_text(wire.bytes()?, *precision, *scale)
                .map(|unscaled| Value::Decimal(unscaled, *scale))
        }
        (DataType::UInt64, kind::DECIMAL) => {
            let number = decimal_of_text(wire.bytes()?, 38, 0);
            number.and_then(|number| u64::try_from(number).ok()).map(Value::UInt)
        }
        (_, kind::INT32 | kind::INT64) => integer(number, wire.varint()?, data_type),
        (DataType::List(item), _) => list(number, wire, micros, item)?.map(Value::List),
        (DataType::Struct(fields), kind::STRUCT | kind::MAP) => Some(read_struct(wire.bytes()?, fields)?),
        (DataType::Map(key, value), _) => map(number, wire, key, value)?.map(Value::Map),
        _ => None,
    })
}

/// `None` if numbers of this type cannot be that great, or it is no type of integers.
fn integer(number: u32, varint: u64, data_type: &DataType) -> Option<Value> {
    let value = varint.cast_signed();
    // Protobuf cuts what is too wide for an `int32`.
    let value = if number == kind::INT32 { i64::from(value as i32) } else { value };
    let fits = match data_type {
        DataType::Int8 => i8::try_from(value).is_ok(),
        DataType::Int16 => i16::try_from(value).is_ok(),
        DataType::Int32 => i32::try_from(value).is_ok(),
        DataType::Int64 => true,
        DataType::UInt8 => u8::try_from(value).is_ok(),
        DataType::UInt16 => u16::try_from(value).is_ok(),
        DataType::UInt32 => u32::try_from(value).is_ok(),
        DataType::UInt64 => u64::try_from(value).is_ok(),
        _ => false,
    };
    let unsigned =
        matches!(data_type, DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64);
    fits.then(|| if unsigned { Value::UInt(value.cast_unsigned()) } else { Value::Int(value) })
}

/// The number as it was written, if it was a `float`, and as a `double`.
fn float(number: u32, wire: Wire<'_>) -> Result<(Option<f32>, f64), Malformed> {
    match (number, wire) {
        (kind::FLOAT, Wire::Fixed32(bytes)) => {
            let single = f32::from_le_bytes(bytes);
            Ok((Some(single), single.into()))
        }
        (kind::DOUBLE, Wire::Fixed64(bytes)) => Ok((None, f64::from_le_bytes(bytes))),
        _ => Err(Malformed("something else stands where a float should")),
    }
}

fn seconds(number: u32, wire: Wire<'_>) -> Result<i64, Malformed> {
    if number == kind::UNIX_TIMESTAMP {
        return Ok(wire.varint()?.cast_signed());
    }
    // Where the instant was taken makes no difference to it.
    let (mut message, mut seconds) = (Message::new(wire.bytes()?), 0);
    while let Some((number, wire)) = message.next()? {
        if number == 1 {
            seconds = wire.varint()?.cast_signed();
        }
    }
    Ok(seconds)
}

/// `None`: a list of something else, or none.
fn list(
    number: u32,
    wire: Wire<'_>,
    micros: Option<Wire<'_>>,
    item: &DataType,
) -> Result<Option<Vec<Value>>, Malformed> {
    let item_kind = match number {
        kind::LIST | kind::SET => return values(wire.bytes()?, item),
        kind::BYTES_LIST | kind::BYTES_SET => kind::BYTES,
        kind::STRING_LIST | kind::STRING_SET => kind::STRING,
        kind::INT32_LIST | kind::INT32_SET => kind::INT32,
        kind::INT64_LIST | kind::INT64_SET => kind::INT64,
        kind::DOUBLE_LIST | kind::DOUBLE_SET => kind::DOUBLE,
        kind::FLOAT_LIST | kind::FLOAT_SET => kind::FLOAT,
        kind::BOOL_LIST | kind::BOOL_SET => kind::BOOL,
        kind::UNIX_TIMESTAMP_LIST | kind::UNIX_TIMESTAMP_SET => kind::UNIX_TIMESTAMP,
        kind::MAP_LIST => kind::MAP,
        kind::STRUCT_LIST => kind::STRUCT,
        kind::JSON_LIST => kind::JSON,
        kind::UUID_LIST | kind::UUID_SET => kind::UUID,
        kind::TIME_UUID_LIST | kind::TIME_UUID_SET => kind::TIME_UUID,
        kind::DECIMAL_LIST | kind::DECIMAL_SET => kind::DECIMAL,
        _ => return Ok(None),
    };
    let mut micros = micros.map_or(Ok(&[][..]), Wire::bytes)?;
    let mut message = Message::new(wire.bytes()?);
    let mut values = Vec::new();
    let mut add = |wire: Wire<'_>| -> Result<bool, Malformed> {
        let micros = if micros.is_empty() { None } else { Some(Wire::Varint(read_varint(&mut micros)?)) };
        let value = convert(item_kind, wire, micros, item)?;
        let is_one = value.is_some();
        values.extend(value);
        Ok(is_one)
    };
    while let Some((number, wire)) = message.next()? {
        if number != 1 {
            continue;
        }
        let is_list = match (item_kind, wire) {
            (kind::FLOAT, Wire::Bytes(mut packed)) => {
                each(&mut packed, |packed| Ok(Wire::Fixed32(*read_array(packed)?)), &mut add)?
            }
            (kind::DOUBLE, Wire::Bytes(mut packed)) => {
                each(&mut packed, |packed| Ok(Wire::Fixed64(*read_array(packed)?)), &mut add)?
            }
            (kind::INT32 | kind::INT64 | kind::BOOL | kind::UNIX_TIMESTAMP, Wire::Bytes(mut packed)) => {
                each(&mut packed, |packed| Ok(Wire::Varint(read_varint(packed)?)), &mut add)?
            }
            (_, wire) => add(wire)?,
        };
        if !is_list {
            return Ok(None);
        }
    }
    // An empty list of another kind is none of this one.
    let is_empty_of_another = values.is_empty() && !may_hold(item, item_kind);
    Ok((!is_empty_of_another).then_some(values))
}

/// Takes packed numbers one by one, until one is not of the type.
fn each<'a>(
    packed: &mut &'a [u8],
    next: impl Fn(&mut &'a [u8]) -> Result<Wire<'a>, Malformed>,
    add: &mut impl FnMut(Wire<'a>) -> Result<bool, Malformed>,
) -> Result<bool, Malformed> {
    while !packed.is_empty() {
        if !add(next(packed)?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether values of a type may be of a kind.
fn may_hold(data_type: &DataType, number: u32) -> bool {
    match data_type {
        DataType::Bool => number == kind::BOOL,
        DataType::UInt64 => matches!(number, kind::INT32 | kind::INT64 | kind::DECIMAL),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => matches!(number, kind::INT32 | kind::INT64),
        DataType::Float32 | DataType::Float64 => matches!(number, kind::FLOAT | kind::DOUBLE),
        DataType::String => matches!(number, kind::STRING | kind::JSON | kind::UUID | kind::TIME_UUID),
        DataType::Bytes => number == kind::BYTES,
        DataType::Timestamp | DataType::Date => number == kind::UNIX_TIMESTAMP,
        DataType::Decimal { .. } => number == kind::DECIMAL,
        DataType::Struct(_) => matches!(number, kind::STRUCT | kind::MAP),
        DataType::Map(key, _) => **key == DataType::String && matches!(number, kind::STRUCT | kind::MAP),
        DataType::List(_) => false,
    }
}

/// The values of a `RepeatedValue`.
fn values(bytes: &[u8], item: &DataType) -> Result<Option<Vec<Value>>, Malformed> {
    let (mut message, mut values) = (Message::new(bytes), Vec::new());
    while let Some((number, wire)) = message.next()? {
        if number == 1 {
            match read(wire.bytes()?, item)? {
                Some(value) => values.push(value),
                None => return Ok(None),
            }
        }
    }
    Ok(Some(values))
}

/// Fields that are missing, or of another type, are null.
fn read_struct(bytes: &[u8], fields: &[(String, DataType)]) -> Result<Value, Malformed> {
    let mut values: Vec<(String, Value)> =
        fields.iter().map(|(name, _)| (name.clone(), Value::Null)).collect();
    let mut message = Message::new(bytes);
    while let Some((number, wire)) = message.next()? {
        if number == 1 {
            let (key, value) = entry(wire.bytes()?)?;
            let key = key.map_or(Ok(""), Wire::text)?;
            if let Some(index) = fields.iter().position(|(name, _)| name == key) {
                values[index].1 = decode(value, &fields[index].1)?;
            }
        }
    }
    Ok(Value::Struct(values))
}

/// `None`: a map of something else, or none.
fn map(
    number: u32,
    wire: Wire<'_>,
    key_type: &DataType,
    value_type: &DataType,
) -> Result<Option<Vec<(Value, Value)>>, Malformed> {
    let may_be = match number {
        kind::LIST | kind::SCALAR_MAP => true,
        kind::MAP | kind::STRUCT => *key_type == DataType::String,
        _ => false,
    };
    if !may_be {
        return Ok(None);
    }
    let mut message = Message::new(wire.bytes()?);
    let mut entries = Vec::new();
    while let Some((repeated, wire)) = message.next()? {
        if repeated != 1 {
            continue;
        }
        let (key, value) = match number {
            kind::LIST => match pair(wire.bytes()?)? {
                Some((key, value)) => (read(key, key_type)?, value),
                None => return Ok(None),
            },
            kind::SCALAR_MAP => {
                let (key, value) = entry(wire.bytes()?)?;
                (map_key(key.map_or(Ok(&[][..]), Wire::bytes)?, key_type)?, value)
            }
            _ => {
                let (key, value) = entry(wire.bytes()?)?;
                (Some(Value::String(key.map_or(Ok(""), Wire::text)?.to_owned())), value)
            }
        };
        match (key, read(value, value_type)?) {
            (Some(key), Some(value)) => entries.push((key, value)),
            _ => return Ok(None),
        }
    }
    Ok(Some(entries))
}

/// Key and value of an entry; what is missing is what protobuf takes for nothing.
fn entry(bytes: &[u8]) -> Result<(Option<Wire<'_>>, &[u8]), Malformed> {
    let (mut message, mut key, mut value) = (Message::new(bytes), None, &[][..]);
    while let Some((number, wire)) = message.next()? {
        match number {
            1 => key = Some(wire),
            2 => value = wire.bytes()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Two messages.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// The two values of a `Value` that is a list of two.
fn pair(bytes: &[u8]) -> Result<Option<Pair<'_>>, Malformed> {
    let (mut message, mut list) = (Message::new(bytes), None);
    while let Some((number, wire)) = message.next()? {
        if number == kind::LIST {
            list = Some(wire.bytes()?);
        }
    }
    let Some(list) = list else { return Ok(None) };
    let (mut message, mut pair) = (Message::new(list), (None, None));
    while let Some((number, wire)) = message.next()? {
        match (number, &pair) {
            (1, (None, _)) => pair.0 = Some(wire.bytes()?),
            (1, (_, None)) => pair.1 = Some(wire.bytes()?),
            (1, _) => return Ok(None),
            _ => {}
        }
    }
    Ok(pair.0.zip(pair.1))
}

fn map_key(bytes: &[u8], key_type: &DataType) -> Result<Option<Value>, Malformed> {
    let (mut message, mut found, mut micros) = (Message::new(bytes), None, None);
    while let Some((number, wire)) = message.next()? {
        match kind::key::as_value(number) {
            Some(kind::OUR_MICROS) => micros = Some(wire),
            Some(number) => found = Some((number, wire)),
            None => {}
        }
    }
    match found {
        Some((number, wire)) => convert(number, wire, micros, key_type),
        None => Ok(None),
    }
}
