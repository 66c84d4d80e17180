//! Values in their usual form, read in line.
//!
//! Each of these answers `None` for anything unusual, wherever the cursor stands then: the caller goes back and reads the
//! value again with all checks. They may run past the end of the event, up to the end of the allocation; what follows a
//! value is checked against the end, so such a value never counts.

use super::cursor::Cursor;
use super::number::{POWERS_F64, POWERS_U64, SAFE_DIGITS, digit_count, eight_digits, power_of_ten};
use super::scan;

/// `0` in each byte.
const ZEROS: u64 = 0x3030_3030_3030_3030;

impl Cursor<'_> {
    /// An integer of at most 15 digits.
    #[inline(always)]
    pub(super) fn fast_integer(&mut self) -> Option<i64> {
        let word = self.load8(self.at)?;
        let negative = word & 0xff == u64::from(b'-');
        self.at += usize::from(negative);
        let text = if negative { self.load8(self.at)? } else { word } ^ ZEROS;
        let count = digit_count(text);
        if count.wrapping_sub(1) < 7 {
            if text & 0xff == 0 && count > 1 {
                return None;
            }
            self.at += count;
            let magnitude = eight_digits(text << (64 - 8 * count)).cast_signed();
            return Some(if negative { -magnitude } else { magnitude });
        }
        let more = self.load8(self.at + 8)? ^ ZEROS;
        let more_count = digit_count(more);
        if count != 8 || text & 0xff == 0 || more_count == 8 {
            return None;
        }
        self.at += 8 + more_count;
        let tail = if more_count == 0 { 0 } else { eight_digits(more << (64 - 8 * more_count)) };
        let magnitude = (eight_digits(text) * POWERS_U64[more_count] + tail).cast_signed();
        Some(if negative { -magnitude } else { magnitude })
    }

    /// A float without exponent whose digits make a number that a `f64` holds exactly.
    #[inline(always)]
    pub(super) fn fast_float(&mut self) -> Option<f64> {
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let first = self.peek();
        let (mut mantissa, mut digits) = self.digits();
        if digits == 0 || (first == Some(b'0') && digits > 1) {
            return None;
        }
        let mut fraction_digits = 0;
        if self.peek() == Some(b'.') {
            self.at += 1;
            let fraction;
            (fraction, fraction_digits) = self.digits();
            digits += fraction_digits;
            if fraction_digits == 0 || digits > SAFE_DIGITS {
                return None;
            }
            mantissa = mantissa * power_of_ten(fraction_digits) + fraction;
        }
        if digits > SAFE_DIGITS || mantissa > 1 << 53 || matches!(self.peek(), Some(b'e' | b'E')) {
            return None;
        }
        // Both sides are exact, so the one rounding of the division gives the nearest value.
        #[expect(clippy::cast_precision_loss, reason = "at most 2^53, which a f64 holds exactly")]
        let magnitude = mantissa as f64 / POWERS_F64[fraction_digits];
        Some(if negative { -magnitude } else { magnitude })
    }

    /// `true` or `false`.
    #[inline(always)]
    pub(super) fn fast_boolean(&mut self) -> Option<bool> {
        const TRUE: u64 = u32::from_le_bytes(*b"true") as u64;
        const FALSE: u64 = u64::from_le_bytes(*b"false\0\0\0");
        let word = self.load8(self.at)?;
        // Which of the two comes is often a coin toss, so it is computed with and never branched on.
        let is_true = u64::from(word & 0xff == u64::from(b't'));
        let expected = FALSE ^ ((FALSE ^ TRUE) & is_true.wrapping_neg());
        if word & (0xff_ffff_ffff >> (8 * is_true)) != expected {
            return None;
        }
        self.at += if is_true == 1 { 4 } else { 5 };
        Some(is_true == 1)
    }

    /// Appends a text of ASCII characters without escapes to `out`. If there is none, `out` may hold a part of it.
    #[inline(always)]
    pub(super) fn fast_text_into(&mut self, out: &mut Vec<u8>) -> Option<()> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let (data, end) = (self.data(), self.end());
        let stop = scan::copy_plain_text(data, self.at + 1, end, out);
        self.at = stop.at + 1;
        (stop.ascii && data.get(stop.at) == Some(&b'"')).then_some(())
    }
}
