//! Single values, read with all checks.

use model::codec::TimestampUnit;
use model::time::{parse_date, parse_rfc3339};

use super::cursor::Cursor;
use super::number;
use super::problem::{Kind, Problem};

/// Reads an integer.
pub(super) fn signed<T: TryFrom<i64>>(cursor: &mut Cursor<'_>) -> Result<T, Problem> {
    let at = cursor.at;
    let (negative, magnitude) = cursor.integer()?;
    let value = if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() };
    value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| Problem::new(at, Kind::Range))
}

/// Reads an integer that is not negative.
pub(super) fn unsigned(cursor: &mut Cursor<'_>) -> Result<u64, Problem> {
    let at = cursor.at;
    match cursor.integer()? {
        (true, 1..) => Err(Problem::new(at, Kind::Range)),
        (_, magnitude) => Ok(magnitude),
    }
}

/// Reads an integer into a narrower type.
pub(super) fn narrow<W, T: TryFrom<W>>(
    cursor: &mut Cursor<'_>,
    read: impl Fn(&mut Cursor<'_>) -> Result<W, Problem>,
) -> Result<T, Problem> {
    let at = cursor.at;
    T::try_from(read(cursor)?).map_err(|_| Problem::new(at, Kind::Range))
}

/// Reads `true` or `false`.
pub(super) fn boolean(cursor: &mut Cursor<'_>) -> Result<bool, Problem> {
    match cursor.peek() {
        Some(b't') => cursor.literal("true").map(|()| true),
        Some(b'f') => cursor.literal("false").map(|()| false),
        _ => Err(cursor.problem(Kind::Type("`true` or `false`"))),
    }
}

/// Reads a number, or the name of one that JSON lacks.
pub(super) fn float64(cursor: &mut Cursor<'_>, form: &'static str) -> Result<f64, Problem> {
    match cursor.peek() {
        Some(b'-' | b'0'..=b'9') => cursor.float64(),
        _ => special_float(cursor, form),
    }
}

/// Like [`float64`], rounded once.
pub(super) fn float32(cursor: &mut Cursor<'_>, form: &'static str) -> Result<f32, Problem> {
    match cursor.peek() {
        Some(b'-' | b'0'..=b'9') => cursor.float32(),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "not a number and the infinities are themselves in f32"
        )]
        _ => special_float(cursor, form).map(|value| value as f32),
    }
}

fn special_float(cursor: &mut Cursor<'_>, form: &'static str) -> Result<f64, Problem> {
    let mut scratch = Vec::new();
    let at = text_of(cursor, &mut scratch, form)?;
    match scratch.as_slice() {
        b"NaN" => Ok(f64::NAN),
        b"Infinity" => Ok(f64::INFINITY),
        b"-Infinity" => Ok(f64::NEG_INFINITY),
        _ => Err(Problem::new(at, Kind::Type(form))),
    }
}

/// Reads the text here into `scratch`; returns where it begins.
pub(super) fn text_of(
    cursor: &mut Cursor<'_>,
    scratch: &mut Vec<u8>,
    form: &'static str,
) -> Result<usize, Problem> {
    if cursor.peek() != Some(b'"') {
        return Err(cursor.problem(Kind::Type(form)));
    }
    let at = cursor.at;
    scratch.clear();
    cursor.text_into(scratch)?;
    Ok(at)
}

/// Reads RFC 3339 text.
pub(super) fn instant(cursor: &mut Cursor<'_>) -> Result<i64, Problem> {
    if let Some(b'-' | b'0'..=b'9') = cursor.peek() {
        return Err(cursor.problem(Kind::NumberForText));
    }
    let mut scratch = Vec::new();
    let at = text_of(cursor, &mut scratch, "RFC 3339 text")?;
    parse_rfc3339(&scratch).map_err(|error| Problem::new(at, Kind::Time(error)))
}

/// Reads a whole number of a unit as microseconds.
pub(super) fn counted_instant(cursor: &mut Cursor<'_>, unit: TimestampUnit) -> Result<i64, Problem> {
    let at = cursor.at;
    if !matches!(cursor.peek(), Some(b'-' | b'0'..=b'9')) {
        return Err(Problem::new(at, Kind::TextForNumber(unit)));
    }
    let factor = match unit {
        TimestampUnit::Seconds => 1_000_000,
        TimestampUnit::Millis => 1_000,
        TimestampUnit::Micros | TimestampUnit::Text => 1,
    };
    signed::<i64>(cursor)?.checked_mul(factor).ok_or_else(|| Problem::new(at, Kind::Range))
}

/// Reads a day.
pub(super) fn date(cursor: &mut Cursor<'_>, form: &'static str) -> Result<i32, Problem> {
    let mut scratch = Vec::new();
    let at = text_of(cursor, &mut scratch, form)?;
    let days = parse_date(&scratch).map_err(|error| Problem::new(at, Kind::Date(error)))?;
    i32::try_from(days).map_err(|_| Problem::new(at, Kind::Range))
}

/// Reads a number, or text that holds one, without rounding.
pub(super) fn decimal(
    cursor: &mut Cursor<'_>,
    precision: u8,
    scale: u8,
    form: &'static str,
) -> Result<i128, Problem> {
    let at = cursor.at;
    let unscaled = if let Some(b'-' | b'0'..=b'9') = cursor.peek() {
        let text = cursor.number_text()?;
        number::decimal(cursor.slice(text.start, text.end), precision, scale)
    } else {
        let mut scratch = Vec::new();
        text_of(cursor, &mut scratch, form)?;
        number::decimal(&scratch, precision, scale)
    };
    unscaled.map_err(|kind| Problem::new(at, kind))
}
