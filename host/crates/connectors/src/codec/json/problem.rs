//! What can be wrong with an event, cheap to make and turned into words only for the event that is rejected.

use model::codec::{SourceColumn, TimestampUnit};
use model::schema::DataType;
use model::time::TimeError;

/// Characters of a value that a message quotes.
const EXCERPT_CHARS: usize = 40;

/// Something wrong, and where. One pointer, so that results travel in a register.
#[derive(Debug)]
pub(super) struct Problem(Box<Detail>);

#[derive(Debug)]
struct Detail {
    /// Byte offset: of the offending byte for syntax, of the value's first byte otherwise.
    at: usize,
    kind: Kind,
}

/// Kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not JSON: something else should stand here.
    Expected(&'static str),
    /// A character below U+0020 in a text.
    ControlCharacter,
    /// A backslash that is not followed by a known escape.
    Escape,
    /// Half of a surrogate pair.
    LoneSurrogate,
    /// Text that is not UTF-8.
    Utf8,
    /// More levels than allowed.
    Depth,
    /// Bytes behind the object.
    Trailing,
    /// A JSON value of another type than the column needs.
    Type(&'static str),
    /// A number with fraction or exponent for an integer column.
    NotWhole,
    /// An integer outside of the column's range.
    Range,
    /// A float that is too large.
    FloatRange,
    /// A number where the schema says RFC 3339 text.
    NumberForText,
    /// Text where the schema says a number of this unit.
    TextForNumber(TimestampUnit),
    /// Text that is not an instant.
    Time(TimeError),
    /// Text that is not a day.
    Date(TimeError),
    /// Text that is not base64.
    Base64,
    /// Text that is not a number.
    DecimalText,
    /// Digits behind the point that the column cannot hold.
    DecimalScale,
    /// More digits than the column can hold.
    DecimalPrecision,
    /// `null` or nothing in a column that is not nullable.
    Null,
    /// A map whose keys cannot be written in JSON.
    MapKey,
    /// More than 2 GiB of text in one column of one batch.
    TooMuchText,
    /// The expected way gave up; never in a message.
    Unexpected,
}

impl Problem {
    /// A problem at an offset.
    #[cold]
    #[inline(never)]
    pub(super) fn new(at: usize, kind: Kind) -> Self {
        Self(Box::new(Detail { at, kind }))
    }

    /// The same problem at another offset.
    pub(super) fn moved(mut self, at: usize) -> Self {
        self.0.at = at;
        self
    }

    /// A sentence for people: which column, which value, where, and what would be right.
    pub(super) fn describe(&self, payload: &[u8], column: Option<&SourceColumn>) -> String {
        let at = self.0.at;
        let Some(column) = column else {
            return format!("not a JSON object: {} at byte {at}", self.syntax(payload));
        };
        let name = &column.field.name;
        let data_type = &column.field.data_type;
        let value = excerpt(payload, at);
        let what = match self.0.kind {
            Kind::Type(wanted) => format!("needs {wanted}, found `{value}` at byte {at}"),
            Kind::NotWhole => format!(
                "needs a whole number without fraction or exponent, found `{value}` at byte {at}; send it as an integer or declare the column float64"
            ),
            Kind::Range => format!("cannot hold `{value}` at byte {at}: out of range"),
            Kind::FloatRange => format!("cannot hold `{value}` at byte {at}: too large"),
            Kind::NumberForText => format!(
                "needs RFC 3339 text such as \"2022-06-07T00:36:08.832793Z\", found the number `{value}` at byte {at}; declare the column `{}` if it counts {}",
                unit_key(likely_unit(&value)),
                unit_name(likely_unit(&value)),
            ),
            Kind::TextForNumber(unit) => format!(
                "is declared `{}` and needs a whole number of {}, found `{value}` at byte {at}; declare the column `timestamp` if it is RFC 3339 text",
                unit_key(unit),
                unit_name(unit),
            ),
            Kind::Time(error) => format!("`{value}` at byte {at} {error}"),
            Kind::Date(TimeError::Form) => {
                format!("`{value}` at byte {at} is not a day such as \"2022-06-07\"")
            }
            Kind::Date(TimeError::Range) => format!("`{value}` at byte {at} is not a day of the calendar"),
            Kind::Base64 => format!("`{value}` at byte {at} is not base64"),
            Kind::DecimalText => {
                format!("needs a number or text that holds one, found `{value}` at byte {at}")
            }
            Kind::DecimalScale => format!("cannot hold `{value}` at byte {at} without rounding"),
            Kind::DecimalPrecision => format!("cannot hold `{value}` at byte {at}: too many digits"),
            Kind::Null => {
                return format!(
                    "column `{name}` ({data_type}) is not nullable, but its value is missing or null"
                );
            }
            Kind::MapKey => "cannot be read from JSON: keys of a map may not be nested".to_owned(),
            Kind::TooMuchText => "has more than 2 GiB of text in one batch; lower the batch size".to_owned(),
            Kind::Expected(_)
            | Kind::ControlCharacter
            | Kind::Escape
            | Kind::LoneSurrogate
            | Kind::Utf8
            | Kind::Depth
            | Kind::Trailing
            | Kind::Unexpected => format!("{} at byte {at}", self.syntax(payload)),
        };
        format!("column `{name}` ({data_type}): {what}")
    }

    fn syntax(&self, payload: &[u8]) -> String {
        let at = self.0.at;
        match self.0.kind {
            Kind::Expected(wanted) if at >= payload.len() => {
                format!("the payload ends where {wanted} is expected")
            }
            Kind::Expected(wanted) if payload.starts_with(b"\xef\xbb\xbf") && at == 0 => {
                format!("a byte-order mark where {wanted} is expected")
            }
            Kind::Expected(wanted) => format!("`{}` where {wanted} is expected", excerpt(payload, at)),
            Kind::ControlCharacter if at >= payload.len() => "the payload ends within a text".to_owned(),
            Kind::ControlCharacter => "a control character that is not escaped".to_owned(),
            Kind::Escape => "an unknown or incomplete escape".to_owned(),
            Kind::LoneSurrogate => "half of a surrogate pair".to_owned(),
            Kind::Utf8 => "text that is not UTF-8".to_owned(),
            Kind::Depth => "more than 127 levels of nesting".to_owned(),
            Kind::Trailing => format!("`{}` behind the end of the object", excerpt(payload, at)),
            _ => "an unexpected value".to_owned(),
        }
    }
}

/// The first characters of the value at an offset, up to what ends a scalar.
fn excerpt(payload: &[u8], at: usize) -> String {
    let rest = payload.get(at..).unwrap_or_default();
    let end = match rest.first() {
        Some(b'"') => rest.iter().skip(1).position(|byte| *byte == b'"').map_or(rest.len(), |end| end + 2),
        Some(b'{' | b'[' | b',' | b':' | b'}' | b']') => 1,
        _ => rest
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
            .unwrap_or(rest.len())
            .max(1),
    };
    let text = String::from_utf8_lossy(&rest[..end.min(rest.len()).min(4 * EXCERPT_CHARS)]);
    if text.chars().count() <= EXCERPT_CHARS {
        return text.into_owned();
    }
    text.chars().take(EXCERPT_CHARS).chain(['…']).collect()
}

/// The unit that makes a recent time of this number.
fn likely_unit(value: &str) -> TimestampUnit {
    let digits = value.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'-').count();
    match digits {
        0..=11 => TimestampUnit::Seconds,
        12..=14 => TimestampUnit::Millis,
        _ => TimestampUnit::Micros,
    }
}

fn unit_key(unit: TimestampUnit) -> &'static str {
    match unit {
        TimestampUnit::Text => "timestamp",
        TimestampUnit::Seconds => "timestamp_s",
        TimestampUnit::Millis => "timestamp_ms",
        TimestampUnit::Micros => "timestamp_us",
    }
}

fn unit_name(unit: TimestampUnit) -> &'static str {
    match unit {
        TimestampUnit::Text => "text",
        TimestampUnit::Seconds => "seconds",
        TimestampUnit::Millis => "milliseconds",
        TimestampUnit::Micros => "microseconds",
    }
}

/// What a type looks like in JSON, for messages.
pub(super) fn json_form(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Bool => "`true` or `false`",
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => "an integer",
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => "an integer",
        DataType::Float32 | DataType::Float64 => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
        DataType::String => "text",
        DataType::Bytes => "base64 text",
        DataType::Timestamp => "RFC 3339 text",
        DataType::Date => "text such as \"2022-06-07\"",
        DataType::Decimal { .. } => "a number or text that holds one",
        DataType::List(_) => "a list",
        DataType::Struct(_) | DataType::Map(..) => "an object",
    }
}
