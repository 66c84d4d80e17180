//! Appends scalars as text, and texts as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::time::{write_date, write_rfc3339};

#[cfg(test)]
mod tests;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Bytes that are turned into hex at once: those of the usual position.
const HEX_CHUNK: usize = 8;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends an integer in decimal.
#[inline]
pub(super) fn integer<I: itoa::Integer>(out: &mut Vec<u8>, number: I) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a float in the shortest form that reads back as the same: `1.0`, `NaN`, `Infinity`.
#[inline]
pub(super) fn float<F: zmij::Float + Into<f64> + Copy>(out: &mut Vec<u8>, number: F) {
    let wide: f64 = number.into();
    if wide.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
    } else {
        out.extend_from_slice(match wide {
            f64::INFINITY => b"Infinity",
            f64::NEG_INFINITY => b"-Infinity",
            _ => b"NaN",
        });
    }
}

/// Appends a decimal at its scale.
pub(crate) fn decimal(out: &mut Vec<u8>, unscaled: i128, scale: usize) {
    if unscaled < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(unscaled.unsigned_abs()).as_bytes();
    let whole = digits.len().saturating_sub(scale);
    if whole == 0 {
        out.push(b'0');
    } else {
        out.extend_from_slice(&digits[..whole]);
    }
    if scale > 0 {
        out.push(b'.');
        out.resize(out.len() + scale - (digits.len() - whole), b'0');
        out.extend_from_slice(&digits[whole..]);
    }
}

/// Appends bytes as base64.
pub(crate) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    // Four characters for each three bytes begun: the exact length, so encoding cannot run out of room.
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

/// Appends a day as `YYYY-MM-DD`.
pub(super) fn date(out: &mut Vec<u8>, days: i32) {
    write_date(out, i64::from(days));
}

/// Appends bytes in hex.
pub(super) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.chunks(HEX_CHUNK) {
        let mut text = [0; 2 * HEX_CHUNK];
        for (digits, byte) in text.chunks_exact_mut(2).zip(chunk) {
            digits.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        out.extend_from_slice(&text[..2 * chunk.len()]);
    }
}

/// Appends a text with all but unreserved characters percent-encoded, byte by byte.
pub(super) fn percent_encoded(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            out.push(b'%');
            out.extend_from_slice(
                &[byte >> 4, byte & 15].map(|nibble| HEX[usize::from(nibble)].to_ascii_uppercase()),
            );
        }
    }
}

/// Writes instants; remembers the text of the last day, since rows of a stream lie close together.
#[derive(Debug, Clone)]
pub(super) struct Instants {
    day: i64,
    /// `YYYY-MM-DDT`
    text: [u8; 11],
}

impl Instants {
    pub(super) fn new() -> Self {
        Self { day: 0, text: *b"1970-01-01T" }
    }

    /// Appends an instant as [`write_rfc3339`] does.
    #[inline]
    pub(super) fn write(&mut self, out: &mut Vec<u8>, micros: i64) {
        let (day, in_day) =
            (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY).cast_unsigned());
        if day != self.day {
            let start = out.len();
            write_rfc3339(out, micros);
            if let Some(text) = out[start..].first_chunk::<11>().filter(|text| text[10] == b'T') {
                (self.day, self.text) = (day, *text);
            }
            return;
        }
        let (seconds, fraction) = (in_day / 1_000_000, in_day % 1_000_000);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        text[..11].copy_from_slice(&self.text);
        let mut put = |at: usize, number: u64| text[at..at + 2].copy_from_slice(&two_digits(number));
        put(11, seconds / 3600);
        put(14, seconds / 60 % 60);
        put(17, seconds % 60);
        put(20, fraction / 10_000);
        put(22, fraction / 100 % 100);
        put(24, fraction % 100);
        out.extend_from_slice(&text);
    }
}

/// The digits of a number below 100.
#[inline]
fn two_digits(number: u64) -> [u8; 2] {
    // Both digits at once: the tens in the low byte, the units in the high one.
    let tens = (number * 103) >> 10;
    let digits = tens | (number - tens * 10) << 8;
    let text = (digits | 0x3030).to_le_bytes();
    [text[0], text[1]]
}

/// Appends the inside of a JSON text: everything but the quotes around it.
#[inline]
pub(crate) fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    if !needs_escape(text) {
        out.extend_from_slice(text);
        return;
    }
    let mut done = 0;
    for (at, byte) in text.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..=0x1f => b'u',
            _ => continue,
        };
        out.extend_from_slice(&text[done..at]);
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            out.extend_from_slice(b"00");
            hex(out, &[*byte]);
        }
        done = at + 1;
    }
    out.extend_from_slice(&text[done..]);
}

/// Whether a text has a quote, a backslash or a control character.
#[inline]
fn needs_escape(text: &[u8]) -> bool {
    let needs = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    // Without an early exit within 16 bytes the compiler compares all of them at once.
    let (blocks, rest) = text.as_chunks::<16>();
    blocks.iter().any(|block| block.iter().fold(false, |found, byte| found | needs(byte)))
        || rest.iter().fold(false, |found, byte| found | needs(byte))
}
