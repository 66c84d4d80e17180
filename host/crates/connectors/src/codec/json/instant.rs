//! Instants in the form that nearly all producers write, eight characters at a time.
//!
//! Whatever does not look like `YYYY-MM-DDTHH:MM:SS[.f…]Z` with one to six fraction digits is left to
//! [`model::time::parse_rfc3339`], which also finds the words for what is wrong.

use model::time::parse_date;

use super::cursor::Cursor;
use super::number::{digit_count, eight_digits};

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// What a fraction of so many digits is multiplied with to become microseconds.
const FRACTION_UNITS: [u64; 7] = [0, 100_000, 10_000, 1_000, 100, 10, 1];
/// `0` in each byte.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The last day that was seen: events of a stream lie close together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day {
    /// `YYYY-MM-`
    year_and_month: u64,
    /// `DDT`
    day: u64,
    micros: i64,
}

impl Default for Day {
    fn default() -> Self {
        Self {
            year_and_month: u64::from_le_bytes(*b"1970-01-"),
            day: u64::from_le_bytes(*b"01T\0\0\0\0\0"),
            micros: 0,
        }
    }
}

impl Cursor<'_> {
    /// Reads the text here if it has the usual form. Like all of [`super::fast`], may end behind the event.
    #[inline(always)]
    pub(super) fn fast_instant(&mut self, last: &mut Day) -> Option<i64> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let text = self.at + 1;
        // The farthest first: after this load the others need no checks of their own.
        let tail = self.load8(text + 19)?;
        let (year_and_month, day) = (self.load8(text)?, self.load8(text + 8)? & 0xff_ffff);
        let clock = self.load8(text + 11)? ^ u64::from_le_bytes(*b"00:00:00");
        if clock & 0x0000_ff00_00ff_0000 != 0 || digit_count(clock) != 8 {
            return None;
        }
        // Pairs of digits become numbers in bytes 0, 3 and 6.
        let clock = clock.wrapping_mul(10).wrapping_add(clock >> 8);
        let (hours, minutes, seconds) = (clock & 0xff, clock >> 24 & 0xff, clock >> 48 & 0xff);
        if (hours > 23) | (minutes > 59) | (seconds > 59) {
            return None;
        }
        let (fraction, length) = fraction(tail)?;
        let end = text + 19 + length;
        if self.data().get(end) != Some(&b'"') {
            return None;
        }
        if year_and_month != last.year_and_month || day != last.day {
            *last = self.other_day(text, year_and_month, day)?;
        }
        self.at = end + 1;
        let in_day = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction;
        Some(last.micros + in_day.cast_signed())
    }

    #[cold]
    fn other_day(&self, text: usize, year_and_month: u64, day: u64) -> Option<Day> {
        if day >> 16 != u64::from(b'T') {
            return None;
        }
        let days = parse_date(self.data().get(text..text + 10)?).ok()?;
        Some(Day { year_and_month, day, micros: days * MICROS_PER_DAY })
    }
}

/// Microseconds in `.ffffffZ`, `.fffZ` and so on down to `Z`, and the length of that text.
#[inline(always)]
fn fraction(tail: u64) -> Option<(u64, usize)> {
    let digits = (tail ^ ZEROS) >> 8;
    if tail & 0xff == u64::from(b'.') && digit_count(digits) >= 6 && tail >> 56 == u64::from(b'Z') {
        return Some((eight_digits(digits << 16), 8));
    }
    shorter_fraction(tail)
}

fn shorter_fraction(tail: u64) -> Option<(u64, usize)> {
    if tail & 0xff == u64::from(b'Z') {
        return Some((0, 1));
    }
    let digits = (tail ^ ZEROS) >> 8;
    let count = digit_count(digits).min(6);
    if tail & 0xff != u64::from(b'.') || count == 0 || tail >> (8 * (count + 1)) & 0xff != u64::from(b'Z') {
        return None;
    }
    Some((eight_digits(digits << (64 - 8 * count)) * FRACTION_UNITS[count], count + 2))
}
