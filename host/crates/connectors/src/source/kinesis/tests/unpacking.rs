//! Packed records, bytes in and records out.

use super::packing::{Part, message, pack, put_bytes, put_number, seal};
use crate::source::kinesis::kpl::{PackedRecord, Unpacked, explicit_hash, hash_of, unpack};

#[track_caller]
fn check(data: &[u8], expected: &[Part<'_>]) {
    let Unpacked::Packed(packed) = unpack(data) else { panic!("{:?}", unpack(data)) };
    let seen: Vec<Part<'_>> = packed
        .records
        .iter()
        .map(|PackedRecord { key, hash_key, data }| {
            let text = |bytes| std::str::from_utf8(bytes).unwrap();
            (text(packed.keys[*key]), hash_key.map(|place| text(packed.hash_keys[place])), *data)
        })
        .collect();
    assert_eq!(seen, expected);
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
}

#[test]
fn bytes_that_were_written_by_hand_are_read() {
    // Keys `a` and `b`; `one` under `a`, and `two` under `b` with the explicit hash key 7.
    let message = "0a0161 0a0162 120137 1a07 0800 1a036f6e65 1a09 0801 1000 1a0374776f";
    let sealed = format!("f3899ac2 {message} 24c63fc0e4c3abee5fbeb804f0ddc909");
    let parts: [Part<'_>; 2] = [("a", None, b"one"), ("b", Some("7"), b"two")];
    check(&hex(&sealed), &parts);
}

#[test]
fn what_is_packed_comes_out() {
    let long = vec![b'x'; 70_000];
    let parts: [Part<'_>; 4] = [
        ("driver 1", None, b"{}"),
        ("driver 2", Some("12"), b""),
        ("driver 1", None, &long),
        ("", None, b"\0"),
    ];
    check(&pack(&parts), &parts);
    check(&pack(&[]), &[]);
}

#[test]
fn what_is_not_packed_is_taken_as_it_is() {
    let packed = pack(&[("a", None, b"one")]);
    let mut damaged = packed.clone();
    damaged[8] ^= 1;
    for data in
        [&b""[..], b"{\"a\": 1}", b"\xf3\x89\x9a\xc2", b"\xf3\x89\x9a\xc2 and so on for a while", &damaged]
    {
        assert_eq!(unpack(data), Unpacked::Plain);
    }
    assert_eq!(unpack(&packed[..packed.len() - 1]), Unpacked::Plain, "a record that was cut");
}

#[test]
fn a_message_that_cannot_be_read_is_told_apart() {
    let mut without_key = Vec::new();
    put_bytes(&mut without_key, 3, b"data");
    let mut other_table = Vec::new();
    put_number(&mut other_table, 1, 7);
    put_bytes(&mut other_table, 3, b"data");
    let inner = |record: &[u8]| {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, b"key");
        put_bytes(&mut message, 3, record);
        message
    };
    let mut cut = message(&[("a", None, b"one")]);
    cut.pop();
    for message in [
        inner(&without_key),
        inner(&other_table),
        cut,
        b"\x0b".to_vec(),
        b"\x08\x01".to_vec(),
        vec![0xff; 11],
    ] {
        assert_eq!(unpack(&seal(&message)), Unpacked::Unreadable, "{message:?}");
    }
}

#[test]
fn fields_that_nobody_knows_are_passed_over() {
    let mut extended = message(&[("a", None, b"one")]);
    put_number(&mut extended, 9, u64::MAX);
    put_bytes(&mut extended, 10, b"new");
    extended.extend_from_slice(b"\x59\x01\x02\x03\x04\x05\x06\x07\x08\x65\x01\x02\x03\x04");
    check(&seal(&extended), &[("a", None, b"one")]);
}

#[test]
fn hash_keys_are_numbers() {
    // MD5 of nothing, and of `a`.
    assert_eq!(hash_of(b""), 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
    assert_eq!(hash_of(b"a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    assert_eq!(explicit_hash(b"340282366920938463463374607431768211455"), Some(u128::MAX));
    assert_eq!(explicit_hash(b"340282366920938463463374607431768211456"), None);
    assert_eq!(explicit_hash(b""), None);
}
