//! The wire format of protobuf, as much of it as Feast's messages need: numbers, texts, messages within messages.

/// Bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(in crate::online::redis) struct Malformed(pub(super) &'static str);

/// What follows a tag.
pub(super) const VARINT: u32 = 0;
pub(super) const FIXED64: u32 = 1;
pub(super) const BYTES: u32 = 2;
pub(super) const FIXED32: u32 = 5;

/// The tag of a field.
pub(super) const fn tag(number: u32, wire: u32) -> u64 {
    ((number << 3) | wire) as u64
}

#[inline]
pub(super) fn append_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes that [`append_varint`] takes.
#[inline]
pub(super) fn varint_len(number: u64) -> usize {
    (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends a field of type `int32` or `int64`: negative numbers take ten bytes.
#[inline]
pub(super) fn append_int(number: u32, value: i64, out: &mut Vec<u8>) {
    append_varint(tag(number, VARINT), out);
    append_varint(value.cast_unsigned(), out);
}

#[inline]
pub(super) fn append_bytes(number: u32, value: &[u8], out: &mut Vec<u8>) {
    append_varint(tag(number, BYTES), out);
    append_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Appends a message, or packed numbers, whose content `write` appends.
pub(super) fn append_message(number: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    append_varint(tag(number, BYTES), out);
    // Most are short: one byte is left for the length, and the content moves if it takes more.
    let start = out.len();
    out.push(0);
    write(out);
    let length = out.len() - start - 1;
    let more = varint_len(length as u64) - 1;
    if more > 0 {
        out.resize(out.len() + more, 0);
        out.copy_within(start + 1..start + 1 + length, start + 1 + more);
    }
    let mut rest = length;
    for byte in &mut out[start..=start + more] {
        *byte = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    out[start + more] &= 0x7f;
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed("a number stands where a text or message should")),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    pub(super) fn varint(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(number) => Ok(number),
            _ => Err(Malformed("something else stands where an integer should")),
        }
    }
}

/// Reads the fields of a message, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Message<'a> {
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Number and content of the next field; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = read_varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed("a field's number is out of range"))?;
        let wire = match (tag & 7) as u32 {
            VARINT => Wire::Varint(read_varint(&mut self.rest)?),
            FIXED64 => Wire::Fixed64(*read_array(&mut self.rest)?),
            FIXED32 => Wire::Fixed32(*read_array(&mut self.rest)?),
            BYTES => {
                let length = read_varint(&mut self.rest)?;
                let (bytes, rest) = usize::try_from(length)
                    .ok()
                    .and_then(|length| self.rest.split_at_checked(length))
                    .ok_or(Malformed("a text or message is cut off"))?;
                self.rest = rest;
                Wire::Bytes(bytes)
            }
            _ => return Err(Malformed("a field is of no known wire type")),
        };
        Ok(Some((number, wire)))
    }
}

/// Reads a varint and moves `bytes` behind it.
pub(super) fn read_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Ok(number);
        }
    }
    Err(Malformed("a number is cut off or too long"))
}

/// Reads bytes of a known number and moves `bytes` behind them.
pub(super) fn read_array<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], Malformed> {
    let (array, rest) = bytes.split_first_chunk::<N>().ok_or(Malformed("a number is cut off"))?;
    *bytes = rest;
    Ok(array)
}
