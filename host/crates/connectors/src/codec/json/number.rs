//! Numbers: JSON's grammar, integers by hand, floats to the nearest value, decimals exactly.

use super::cursor::Cursor;
use super::problem::{Kind, Problem};

/// Digits that always fit in 64 bits.
pub(super) const SAFE_DIGITS: usize = 19;
/// The greatest power of ten that a `f64` holds exactly.
const EXACT_POWERS: usize = 22;
/// The greatest power of ten that a `f32` holds exactly.
const EXACT_POWERS_F32: usize = 10;
/// Greatest exponent that is told apart when a decimal is read; all beyond are as good as infinite.
const MAX_EXPONENT: i64 = 1_000_000;

pub(super) const POWERS_F64: [f64; EXACT_POWERS + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
const POWERS_F32: [f32; EXACT_POWERS_F32 + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10];
pub(super) const POWERS_U64: [u64; 9] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The text of a number that was stepped over.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberText {
    /// Offset of its first character.
    pub(super) start: usize,
    /// Offset behind it.
    pub(super) end: usize,
}

/// A number without exponent, as far as the exact shortcut needs it.
struct Plain {
    start: usize,
    negative: bool,
    /// All digits as one number; meaningless if there are more than [`SAFE_DIGITS`].
    mantissa: u64,
    digits: usize,
    fraction_digits: usize,
    /// Whether an exponent follows, which was stepped over too.
    exponent: bool,
}

impl Cursor<'_> {
    /// Steps over a number.
    pub(super) fn number_text(&mut self) -> Result<NumberText, Problem> {
        let plain = self.plain_number()?;
        Ok(NumberText { start: plain.start, end: self.at })
    }

    /// Reads an integer: whether it is negative, and its magnitude.
    pub(super) fn integer(&mut self) -> Result<(bool, u64), Problem> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let first = self.peek();
        let (magnitude, digits) = self.digits();
        let leading_zero = first == Some(b'0') && digits > 1;
        let more = matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        if digits == 0 || leading_zero || more || self.at > self.end() {
            return Err(self.again(start, self.depth()).bad_integer());
        }
        if digits > SAFE_DIGITS {
            let text = self.slice(start + usize::from(negative), self.at);
            return long_integer(text)
                .map(|magnitude| (negative, magnitude))
                .ok_or_else(|| Problem::new(start, Kind::Range));
        }
        Ok((negative, magnitude))
    }

    /// Why there is no integer here.
    #[cold]
    fn bad_integer(&mut self) -> Problem {
        let start = self.at;
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => match self.number_text() {
                Ok(_) => Problem::new(start, Kind::NotWhole),
                Err(problem) => problem,
            },
            _ => Problem::new(start, Kind::Type("an integer")),
        }
    }

    /// Reads the number here as the nearest `f64`.
    pub(super) fn float64(&mut self) -> Result<f64, Problem> {
        let plain = self.plain_number()?;
        if !plain.exponent
            && plain.digits <= SAFE_DIGITS
            && plain.mantissa <= 1 << 53
            && plain.fraction_digits <= EXACT_POWERS
        {
            // Both sides are exact, so the one rounding of the division gives the nearest value.
            #[expect(clippy::cast_precision_loss, reason = "at most 2^53, which a f64 holds exactly")]
            let magnitude = plain.mantissa as f64 / POWERS_F64[plain.fraction_digits];
            return Ok(if plain.negative { -magnitude } else { magnitude });
        }
        match fast_float2::parse::<f64, _>(self.slice(plain.start, self.at)) {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(Problem::new(plain.start, Kind::FloatRange)),
        }
    }

    /// Reads the number here as the nearest `f32`.
    pub(super) fn float32(&mut self) -> Result<f32, Problem> {
        let plain = self.plain_number()?;
        if !plain.exponent
            && plain.digits <= SAFE_DIGITS
            && plain.mantissa <= 1 << 24
            && plain.fraction_digits <= EXACT_POWERS_F32
        {
            #[expect(clippy::cast_precision_loss, reason = "at most 2^24, which a f32 holds exactly")]
            let magnitude = plain.mantissa as f32 / POWERS_F32[plain.fraction_digits];
            return Ok(if plain.negative { -magnitude } else { magnitude });
        }
        match fast_float2::parse::<f32, _>(self.slice(plain.start, self.at)) {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(Problem::new(plain.start, Kind::FloatRange)),
        }
    }

    fn plain_number(&mut self) -> Result<Plain, Problem> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let first = self.peek();
        let (mut mantissa, mut digits) = self.digits();
        if digits == 0 || self.at > self.end() {
            return Err(Problem::new(self.at.min(self.end()), Kind::Expected("a digit")));
        }
        if first == Some(b'0') && digits > 1 {
            return Err(Problem::new(start, Kind::Expected("a number without leading zeros")));
        }
        let mut fraction_digits = 0;
        if self.peek() == Some(b'.') {
            self.at += 1;
            let (fraction, count) = self.digits();
            if count == 0 || self.at > self.end() {
                return Err(Problem::new(self.at.min(self.end()), Kind::Expected("a digit")));
            }
            digits += count;
            fraction_digits = count;
            if digits <= SAFE_DIGITS {
                mantissa = mantissa * power_of_ten(count) + fraction;
            }
        }
        let exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            let (_, count) = self.digits();
            if count == 0 || self.at > self.end() {
                return Err(Problem::new(self.at.min(self.end()), Kind::Expected("a digit")));
            }
        }
        Ok(Plain { start, negative, mantissa, digits, fraction_digits, exponent })
    }

    /// Steps over decimal digits; their number wraps around beyond 19 of them. May end behind the event.
    #[inline(always)]
    pub(super) fn digits(&mut self) -> (u64, usize) {
        let start = self.at;
        let mut number: u64 = 0;
        while let Some(word) = self.load8(self.at) {
            let text = word ^ 0x3030_3030_3030_3030;
            let count = digit_count(text);
            if count == 8 {
                number = number.wrapping_mul(POWERS_U64[8]).wrapping_add(eight_digits(text));
                self.at += 8;
                continue;
            }
            if count > 0 {
                let digits = eight_digits(text << (64 - 8 * count));
                number = number.wrapping_mul(POWERS_U64[count]).wrapping_add(digits);
                self.at += count;
            }
            return (number, self.at - start);
        }
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        (number, self.at - start)
    }
}

/// The number that 20 digits or more make, if it fits.
#[cold]
fn long_integer(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0'))))
}

/// How many of eight bytes, from the lowest on, are below 10.
#[inline(always)]
pub(super) fn digit_count(text: u64) -> usize {
    // A byte of 10 or more gets its high bit; a carry can only reach bytes above such a byte.
    let others = (text.wrapping_add(0x7676_7676_7676_7676) | text) & 0x8080_8080_8080_8080;
    others.trailing_zeros() as usize / 8
}

/// The number that eight digits make, the lowest byte first.
#[inline(always)]
pub(super) fn eight_digits(text: u64) -> u64 {
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let pairs = text.wrapping_mul(10).wrapping_add(text >> 8);
    let high = (pairs & PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let low = (pairs >> 16 & PAIRS).wrapping_mul(1 + (10_000 << 32));
    high.wrapping_add(low) >> 32
}

/// Ten to the power of at most 19.
#[inline(always)]
pub(super) fn power_of_ten(exponent: usize) -> u64 {
    if exponent <= 8 {
        POWERS_U64[exponent]
    } else {
        10_u64.pow(u32::try_from(exponent.min(SAFE_DIGITS)).unwrap_or(0))
    }
}

/// The unscaled number of a decimal outside of JSON, such as in a store; `None` if the text is none that fits.
pub(crate) fn decimal_of_text(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    decimal(text, precision, scale).ok()
}

/// The unscaled number of a decimal, from a text that follows JSON's grammar of numbers.
pub(super) fn decimal(text: &[u8], precision: u8, scale: u8) -> Result<i128, Kind> {
    let mut cursor = Cursor::new(text, 0, text.len());
    if cursor.number_text().is_err() || !cursor.is_done() {
        return Err(Kind::DecimalText);
    }
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (number, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], exponent(&text[at + 1..])),
        None => (text, 0),
    };
    // Zeros are held back until a digit follows, so that trailing ones cost no digits.
    let (mut significant, mut zeros, mut shift): (i128, i64, i64) = (0, 0, exponent);
    let mut behind_point = false;
    for byte in number {
        if *byte == b'.' {
            behind_point = true;
            continue;
        }
        shift -= i64::from(behind_point);
        zeros += 1;
        if *byte == b'0' {
            continue;
        }
        for _ in 0..if significant == 0 { 0 } else { zeros } {
            significant = significant.checked_mul(10).ok_or(Kind::DecimalPrecision)?;
        }
        significant = significant.checked_add(i128::from(byte - b'0')).ok_or(Kind::DecimalPrecision)?;
        zeros = 0;
    }
    if significant == 0 {
        return Ok(0);
    }
    let missing = shift + zeros + i64::from(scale);
    if missing < 0 {
        return Err(Kind::DecimalScale);
    }
    let factor = u32::try_from(missing).ok().and_then(|missing| 10_i128.checked_pow(missing));
    let unscaled = factor.and_then(|factor| significant.checked_mul(factor)).ok_or(Kind::DecimalPrecision)?;
    if unscaled >= 10_i128.pow(u32::from(precision)) {
        return Err(Kind::DecimalPrecision);
    }
    Ok(if negative { -unscaled } else { unscaled })
}

fn exponent(text: &[u8]) -> i64 {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] | digits => (1, digits),
    };
    let magnitude = digits
        .iter()
        .fold(0_i64, |sum, digit| (sum * 10 + i64::from(digit.wrapping_sub(b'0'))).min(MAX_EXPONENT));
    sign * magnitude
}
