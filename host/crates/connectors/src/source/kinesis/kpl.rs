//! Records that the Kinesis Producer Library packed into one.
//!
//! Such a record is four magic bytes, a protobuf message and the MD5 of that message. The message has a table of
//! partition keys (field 1), one of explicit hash keys (2), and records (3) that name places in the tables and bring
//! their data. A record that begins with the magic by chance has no such digest, and is taken as it is; so is one whose
//! message cannot be read. Tags and unknown fields are passed over.

use md5::{Digest, Md5};

/// What a packed record begins with.
const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// Bytes of the digest that it ends with.
const DIGEST_BYTES: usize = 16;

/// The records that one was packed from, in order. Borrows from its data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packed<'a> {
    /// Partition keys, each once.
    pub(super) keys: Vec<&'a [u8]>,
    /// Explicit hash keys, each once: decimal numbers below 2^128.
    pub(super) hash_keys: Vec<&'a [u8]>,
    /// The records; their places are within the tables.
    pub(super) records: Vec<PackedRecord<'a>>,
}

/// One of the records that another was packed from.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) struct PackedRecord<'a> {
    /// Place of its partition key.
    pub(super) key: usize,
    /// Place of its explicit hash key, if it has one.
    pub(super) hash_key: Option<usize>,
    /// Its data.
    pub(super) data: &'a [u8],
}

/// What a record of the stream turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unpacked<'a> {
    /// An event by itself.
    Plain,
    /// Packed, going by magic and digest, but not readable.
    Unreadable,
    /// Packed.
    Packed(Packed<'a>),
}

/// Unpacks a record's data, if it is packed.
pub(super) fn unpack(data: &[u8]) -> Unpacked<'_> {
    let Some(rest) = data.strip_prefix(&MAGIC) else { return Unpacked::Plain };
    let Some((message, digest)) = rest.split_last_chunk::<DIGEST_BYTES>() else { return Unpacked::Plain };
    if Md5::digest(message)[..] != digest[..] {
        return Unpacked::Plain;
    }
    Packed::read(message).map_or(Unpacked::Unreadable, Unpacked::Packed)
}

/// The number that decides on the shard of a partition key.
pub(super) fn hash_of(key: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(key).into())
}

/// The number that an explicit hash key stands for; `None` if it is none below 2^128.
pub(super) fn explicit_hash(text: &[u8]) -> Option<u128> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl<'a> Packed<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let mut packed = Self { keys: Vec::new(), hash_keys: Vec::new(), records: Vec::new() };
        let mut fields = Fields { rest: message };
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Bytes(key)) => packed.keys.push(key),
                (2, Value::Bytes(key)) => packed.hash_keys.push(key),
                (3, Value::Bytes(record)) => packed.records.push(PackedRecord::read(record)?),
                (1..=3, Value::Other | Value::Number(_)) => return None,
                _ => {}
            }
        }
        let is_sound = packed.records.iter().all(|record| {
            record.key < packed.keys.len()
                && record.hash_key.is_none_or(|place| place < packed.hash_keys.len())
        });
        is_sound.then_some(packed)
    }
}

impl<'a> PackedRecord<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let (mut key, mut hash_key, mut data) = (None, None, None);
        let mut fields = Fields { rest: message };
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Number(place)) => key = Some(usize::try_from(place).ok()?),
                (2, Value::Number(place)) => hash_key = Some(usize::try_from(place).ok()?),
                (3, Value::Bytes(bytes)) => data = Some(bytes),
                (1..=3, _) => return None,
                _ => {}
            }
        }
        Some(Self { key: key?, hash_key, data: data? })
    }
}

/// The value of a protobuf field, as far as we care.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A number of fixed width.
    Other,
}

/// The fields of a protobuf message.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Number and value of the next field; `Some(None)` at the end, `None` where the message is not readable.
    #[expect(
        clippy::option_option,
        reason = "the outer one is for `?`: a message that is broken has no next field"
    )]
    fn next(&mut self) -> Option<Option<(u64, Value<'a>)>> {
        if self.rest.is_empty() {
            return Some(None);
        }
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.bytes(8).map(|_| Value::Other)?,
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.bytes(length)?)
            }
            5 => self.bytes(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some(Some((tag >> 3, value)))
    }

    /// A number of variable width: seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit only.
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }
}
