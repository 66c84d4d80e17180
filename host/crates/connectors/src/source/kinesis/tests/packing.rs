//! Packs records as the Kinesis Producer Library does. Shares nothing with what unpacks them.

use md5::{Digest, Md5};

/// A record to pack: partition key, explicit hash key, data.
pub(super) type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

/// One record of these.
pub(super) fn pack(parts: &[Part<'_>]) -> Vec<u8> {
    seal(&message(parts))
}

/// Magic, message, digest.
pub(super) fn seal(message: &[u8]) -> Vec<u8> {
    [&[0xf3, 0x89, 0x9a, 0xc2], message, &Md5::digest(message)[..]].concat()
}

/// The protobuf message: both tables, then the records.
pub(super) fn message(parts: &[Part<'_>]) -> Vec<u8> {
    let (mut keys, mut hash_keys) = (Vec::new(), Vec::new());
    let mut records = Vec::new();
    for (key, hash_key, data) in parts {
        let mut record = Vec::new();
        put_number(&mut record, 1, place(&mut keys, key));
        if let Some(hash_key) = hash_key {
            put_number(&mut record, 2, place(&mut hash_keys, hash_key));
        }
        put_bytes(&mut record, 3, data);
        // A tag, which nobody reads: name and value.
        let mut tag = Vec::new();
        put_bytes(&mut tag, 1, b"name");
        put_bytes(&mut tag, 2, b"value");
        put_bytes(&mut record, 4, &tag);
        records.push(record);
    }
    let mut message = Vec::new();
    keys.iter().for_each(|key| put_bytes(&mut message, 1, key.as_bytes()));
    hash_keys.iter().for_each(|key| put_bytes(&mut message, 2, key.as_bytes()));
    records.iter().for_each(|record| put_bytes(&mut message, 3, record));
    message
}

pub(super) fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, field << 3);
    put_varint(out, number);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while 0x80 <= number {
        out.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap());
}

fn place<'a>(table: &mut Vec<&'a str>, key: &'a str) -> u64 {
    let found = table.iter().position(|known| *known == key);
    let place = found.unwrap_or_else(|| {
        table.push(key);
        table.len() - 1
    });
    place as u64
}
