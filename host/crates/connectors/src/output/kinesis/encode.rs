//! Rows as entries of a PutRecords request: ready to be copied into one, and again into the next if that has to be.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use model::output::Emission;
use sha2::{Digest, Sha256};

use crate::output::record::{Identities, RecordEncoder, append_base64, append_escaped};

/// The most characters that a partition key may have.
const MAX_KEY_CHARACTERS: usize = 256;
/// Before and after the partition key in an entry.
pub(super) const BEFORE_KEY: &[u8] = b"{\"PartitionKey\":\"";
const BEFORE_DATA: &[u8] = b"\",\"Data\":\"";
/// Before the identity in a record's data.
const BEFORE_IDENTITY: &[u8] = b",\"millrace\":\"";

/// Entries, one behind the other.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) bytes: Vec<u8>,
    pub(super) marks: Vec<Mark>,
    /// Bytes of keys and data, before they were made text.
    pub(super) size: usize,
}

/// One entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// Where it ends; it begins where the one before it ends.
    pub(super) end: u32,
    /// A hash of its partition key. Two keys with the same hash wait for each other, which does no harm.
    pub(super) key: u64,
}

/// A record is larger than the stream takes: its data.
pub(super) struct TooLarge<'a>(pub(super) &'a [u8]);

/// Encodes the rows of a batch.
pub(super) struct Encoder<'a> {
    pub(super) record: &'a mut RecordEncoder,
    /// Key and data of the record at hand.
    pub(super) buffer: &'a mut Vec<u8>,
    /// Bytes of key and data that a record may have.
    pub(super) max_record: usize,
}

impl Encoder<'_> {
    /// Appends the entry of a row, unless it is too large.
    pub(super) fn row(
        &mut self,
        emission: &Emission,
        identities: &Identities,
        row: usize,
        out: &mut Entries,
    ) -> Result<(), TooLarge<'_>> {
        let Emission { batch: rows, applied, epoch, .. } = emission;
        let applied = applied.late.is_empty() || applied.is_applied(row);
        let buffer = &mut *self.buffer;
        buffer.clear();
        self.record.key(rows, row, buffer);
        make_partition_key(buffer);
        let key_end = buffer.len();
        self.record.encode(rows, row, applied, *epoch, buffer);
        // The record is an object that has members: one more goes before its end.
        buffer.pop();
        buffer.extend_from_slice(BEFORE_IDENTITY);
        identities.write(rows, row, applied, buffer);
        buffer.extend_from_slice(b"\"}");
        if buffer.len() > self.max_record {
            return Err(TooLarge(&buffer[key_end..]));
        }
        let (key, data) = buffer.split_at(key_end);
        out.append(key, data);
        Ok(())
    }
}

impl Entries {
    pub(super) fn append(&mut self, key: &[u8], data: &[u8]) {
        let bytes = &mut self.bytes;
        bytes.extend_from_slice(BEFORE_KEY);
        append_escaped(bytes, key);
        bytes.extend_from_slice(BEFORE_DATA);
        append_base64(bytes, data);
        bytes.extend_from_slice(b"\"}");
        self.size += key.len() + data.len();
        let end = u32::try_from(bytes.len()).expect("a chunk is far smaller than 4 GiB");
        self.marks.push(Mark { end, key: hash(key) });
    }
}

/// The partition key of an entry, as it was before it was escaped.
pub(super) fn partition_key(entry: &[u8]) -> String {
    let text = entry.get(BEFORE_KEY.len() - 1..).unwrap_or_default();
    let mut texts = serde_json::Deserializer::from_slice(text).into_iter::<String>();
    texts.next().and_then(Result::ok).unwrap_or_default()
}

/// What Kinesis takes for a partition key: 1 to 256 characters, counted as UTF-16 does, which is never too few.
fn make_partition_key(entity: &mut Vec<u8>) {
    let is_long = |entity: &[u8]| {
        entity.len() > MAX_KEY_CHARACTERS
            && str::from_utf8(entity).map_or(entity.len(), |text| text.encode_utf16().count())
                > MAX_KEY_CHARACTERS
    };
    if !entity.is_empty() && !is_long(entity) {
        return;
    }
    let digest = Sha256::digest(entity.as_slice());
    entity.clear();
    for byte in digest {
        for nibble in [byte >> 4, byte & 15] {
            entity.push(b"0123456789abcdef"[usize::from(nibble)]);
        }
    }
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(key);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_key(entity: &str, expected: &str) {
        let mut key = entity.as_bytes().to_vec();
        make_partition_key(&mut key);
        assert_eq!(String::from_utf8(key).unwrap(), expected);
    }

    #[test]
    fn an_entity_that_makes_no_partition_key_is_hashed() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        check_key("", empty);
        check_key("driver 7", "driver 7");
        check_key(&"x".repeat(256), &"x".repeat(256));
        // Two bytes each, and one unit of UTF-16.
        check_key(&"ü".repeat(256), &"ü".repeat(256));
        let mut long = "x".repeat(257).into_bytes();
        make_partition_key(&mut long);
        assert_eq!(long.len(), 64);
        let mut long = "🚚".repeat(129).into_bytes();
        make_partition_key(&mut long);
        assert_eq!(long.len(), 64);
    }

    #[test]
    fn the_partition_key_comes_back_from_an_entry() {
        let mut entries = Entries::default();
        for key in ["a", "say \"hi\"\\\n", "ü"] {
            let start = entries.bytes.len();
            entries.append(key.as_bytes(), b"{}");
            assert_eq!(partition_key(&entries.bytes[start..]), key);
            let entry: serde_json::Value = serde_json::from_slice(&entries.bytes[start..]).unwrap();
            assert_eq!(entry["Data"], "e30=");
        }
    }
}
