//! From what a client sent to a join-key value of the declared type.
//!
//! Generous where nothing can be lost: whole numbers may come as text or as a float without fraction, as JSON writers
//! in other languages send them. Everything else must have the declared type.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::schema::DataType;
use model::time;
use model::value::Value;

use crate::request::Scalar;

/// Floats hold every whole number up to here.
const EXACT_IN_FLOAT: f64 = 9_007_199_254_740_992.0;

/// The value of a join key; `Err` says what it should have been. Null stays null: no entity has it.
pub(crate) fn convert(scalar: &Scalar<'_>, data_type: &DataType) -> Result<Value, String> {
    match (data_type, scalar) {
        (_, Scalar::Null) => Ok(Value::Null),
        (DataType::String, Scalar::Text(text)) => Ok(Value::String(text.clone().into_owned())),
        (DataType::Int64, scalar) => {
            integer(scalar).map(Value::Int).ok_or_else(|| expected(scalar, "a whole number of 64 bits"))
        }
        (DataType::Int32, scalar) => integer(scalar)
            .filter(|number| i32::try_from(*number).is_ok())
            .map(Value::Int)
            .ok_or_else(|| expected(scalar, "a whole number of 32 bits")),
        (DataType::Bytes, Scalar::Text(text)) => {
            STANDARD.decode(text.as_bytes()).map(Value::Bytes).map_err(|_| expected(scalar, "base64"))
        }
        (DataType::Timestamp, Scalar::Text(text)) => time::parse_rfc3339(text.as_bytes())
            .map(Value::Timestamp)
            .map_err(|error| format!("`{text}` {error}")),
        (DataType::Timestamp, Scalar::Int(seconds)) => seconds
            .checked_mul(1_000_000)
            .map(Value::Timestamp)
            .ok_or_else(|| expected(scalar, "a number of seconds since 1970")),
        (DataType::String, scalar) => Err(expected(scalar, "a string")),
        (DataType::Bytes, scalar) => Err(expected(scalar, "a base64 string")),
        (DataType::Timestamp, scalar) => {
            Err(expected(scalar, "an RFC 3339 string or a whole number of seconds since 1970"))
        }
        (other, _) => Err(format!("join keys of type `{other}` cannot be read")),
    }
}

/// The value of a join key that came as text, as in a query string.
pub(crate) fn convert_text(text: &str, data_type: &DataType) -> Result<Value, String> {
    if let (DataType::Timestamp, Ok(seconds)) = (data_type, text.parse()) {
        return convert(&Scalar::Int(seconds), data_type);
    }
    convert(&Scalar::Text(Cow::Borrowed(text)), data_type)
}

fn integer(scalar: &Scalar<'_>) -> Option<i64> {
    match scalar {
        Scalar::Int(number) => Some(*number),
        Scalar::Text(text) => text.parse().ok(),
        Scalar::Float(number) if number.fract() == 0.0 && number.abs() <= EXACT_IN_FLOAT =>
        {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a whole number within 53 bits was checked above"
            )]
            Some(*number as i64)
        }
        _ => None,
    }
}

fn expected(scalar: &Scalar<'_>, wanted: &str) -> String {
    let found = match scalar {
        Scalar::Null => "null".to_owned(),
        Scalar::Bool(value) => format!("`{value}`"),
        Scalar::Int(number) => format!("the number `{number}`"),
        Scalar::UInt(number) => format!("the number `{number}`"),
        Scalar::Float(number) => format!("the number `{number:?}`"),
        Scalar::Text(text) => format!("the string `{}`", text.chars().take(40).collect::<String>()),
        Scalar::Nested => "a list or an object".to_owned(),
    };
    format!("expected {wanted}, found {found}")
}

#[cfg(test)]
mod tests;
