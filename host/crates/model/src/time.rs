//! Event time: microseconds since 1970-01-01T00:00:00Z, its text, and the clock that is passed in.

use std::fmt;
use std::time::Duration;

/// An instant in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventTime(pub i64);

impl EventTime {
    /// 2000-01-01T00:00:00Z: earlier event times are taken for a wrong unit unless a setting says otherwise.
    pub const DEFAULT_EARLIEST: Self = Self(946_684_800_000_000);

    /// This instant plus a duration, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// This instant minus a duration, saturating.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }
}

/// A duration in whole microseconds, saturating.
pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC, always with six fraction digits: `2022-06-07T00:36:08.832793Z`.
impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(27);
        write_rfc3339(&mut text, self.0);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Something that knows what time it is. Only the binary reads the real one.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> EventTime;
}

/// Appends an instant as RFC 3339 in UTC with six fraction digits.
///
/// Years outside 0000–9999 get a sign and as many digits as they need.
pub fn write_rfc3339(out: &mut Vec<u8>, micros: i64) {
    let (days, in_day) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    write_date(out, days);
    let (seconds, fraction) = (in_day / 1_000_000, in_day % 1_000_000);
    let mut text = *b"T00:00:00.000000Z";
    put_digits(&mut text[1..3], seconds / 3600);
    put_digits(&mut text[4..6], seconds / 60 % 60);
    put_digits(&mut text[7..9], seconds % 60);
    put_digits(&mut text[10..16], fraction);
    out.extend_from_slice(&text);
}

/// Appends a day, counted from 1970-01-01, as `YYYY-MM-DD`.
pub fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    let mut text = *b"0000-00-00";
    if (0..=9999).contains(&year) {
        put_digits(&mut text[0..4], year);
        put_digits(&mut text[5..7], i64::from(month));
        put_digits(&mut text[8..10], i64::from(day));
        out.extend_from_slice(&text);
    } else {
        out.extend_from_slice(format!("{year:+05}-{month:02}-{day:02}").as_bytes());
    }
}

fn put_digits(text: &mut [u8], mut number: i64) {
    for digit in text.iter_mut().rev() {
        // `number % 10` is 0 to 9 for the non-negative numbers that come here.
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// Why a text is not an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not of the form of RFC 3339.
    #[error("is not an RFC 3339 time such as `2022-06-07T00:36:08.832793Z`")]
    Form,
    /// A field is out of its range, such as month 13.
    #[error("has a field that is out of range")]
    Range,
}

/// Reads RFC 3339: `T`, `t` or a space between day and time; no zone means UTC; digits beyond microseconds are cut off;
/// a leap second counts as the first second of the next minute.
pub fn parse_rfc3339(text: &[u8]) -> Result<i64, TimeError> {
    if text.len() < 19 {
        return Err(TimeError::Form);
    }
    let days = parse_date(&text[..10])?;
    if !matches!(text[10], b'T' | b't' | b' ') || text[13] != b':' || text[16] != b':' {
        return Err(TimeError::Form);
    }
    let (hour, minute, second) = (two(&text[11..13])?, two(&text[14..16])?, two(&text[17..19])?);
    if hour > 23 || minute > 59 || second > 60 {
        return Err(TimeError::Range);
    }
    let mut rest = &text[19..];
    let mut fraction = 0;
    if let Some((b'.', digits)) = rest.split_first() {
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(TimeError::Form);
        }
        // Six digits: what is missing counts as 0, what is beyond is cut off.
        for digit in digits[..count].iter().chain(b"000000").take(6) {
            fraction = fraction * 10 + i64::from(digit - b'0');
        }
        rest = &digits[count..];
    }
    let offset_minutes = match rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let (hours, minutes) = match zone.len() {
                5 if zone[2] == b':' => (two(&zone[..2])?, two(&zone[3..])?),
                4 => (two(&zone[..2])?, two(&zone[2..])?),
                _ => return Err(TimeError::Form),
            };
            if hours > 23 || minutes > 59 {
                return Err(TimeError::Range);
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return Err(TimeError::Form),
    };
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset_minutes * 60;
    Ok(seconds * 1_000_000 + fraction)
}

/// Reads `YYYY-MM-DD` as days since 1970-01-01.
pub fn parse_date(text: &[u8]) -> Result<i64, TimeError> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return Err(TimeError::Form);
    }
    let (year, month, day) =
        (two(&text[..2])? * 100 + two(&text[2..4])?, two(&text[5..7])?, two(&text[8..10])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return Err(TimeError::Range),
    };
    if !(1..=days_in_month).contains(&day) {
        return Err(TimeError::Range);
    }
    Ok(days_from_civil(year, month, day))
}

fn two(text: &[u8]) -> Result<i64, TimeError> {
    match text {
        [high @ b'0'..=b'9', low @ b'0'..=b'9'] => Ok(i64::from(high - b'0') * 10 + i64::from(low - b'0')),
        _ => Err(TimeError::Form),
    }
}

/// Days since 1970-01-01 of a day of the proleptic Gregorian calendar (years that start in March, eras of 400 years).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // Day and month are small and positive by construction.
    (year, u32::try_from(month).unwrap_or(0), u32::try_from(day).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let micros = parse_rfc3339(text.as_bytes()).unwrap();
        assert_eq!(EventTime(micros).to_string(), expected);
    }

    #[test]
    fn texts_of_many_forms_mean_one_instant() {
        check("2022-06-07T00:36:08.832793Z", "2022-06-07T00:36:08.832793Z");
        check("2022-06-07 00:36:08", "2022-06-07T00:36:08.000000Z");
        check("2022-06-07t00:36:08.5z", "2022-06-07T00:36:08.500000Z");
        check("2022-06-07T02:36:08.8327939+02:00", "2022-06-07T00:36:08.832793Z");
        check("2022-06-06T23:06:08-0130", "2022-06-07T00:36:08.000000Z");
        check("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z");
        check("2024-02-29T23:59:60Z", "2024-03-01T00:00:00.000000Z");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "2022-06-07", "2022-06-07T00:36", "2022/06/07T00:36:08Z", "2022-06-07T00:36:08.Z"] {
            assert_eq!(parse_rfc3339(text.as_bytes()), Err(TimeError::Form), "{text}");
        }
        for text in [
            "2022-13-07T00:36:08Z",
            "2023-02-29T00:36:08Z",
            "2022-06-07T24:00:00Z",
            "2022-06-07T00:36:08+24:00",
        ] {
            assert_eq!(parse_rfc3339(text.as_bytes()), Err(TimeError::Range), "{text}");
        }
    }

    #[test]
    fn the_calendar_is_its_own_inverse() {
        for days in (-800_000..2_900_000).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, i64::from(month), i64::from(day)), days);
        }
        assert_eq!(EventTime::DEFAULT_EARLIEST.to_string(), "2000-01-01T00:00:00.000000Z");
    }
}
