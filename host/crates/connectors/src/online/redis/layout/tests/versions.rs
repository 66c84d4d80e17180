//! Versions, and event times.

use std::cmp::Ordering;

use model::position::{Partition, Position, RowVersion};
use proptest::prelude::*;

use super::super::timestamp::{append_timestamp, parse_timestamp};
use super::super::version::{Held, TOMBSTONE, Version, held, parse};
use super::{bytes, hex};

/// Where the bytes begin that are in order.
const ORDERED: usize = 1;

fn encode(version: &RowVersion, tombstone: bool) -> Vec<u8> {
    let mut out = Vec::new();
    Version::from(version).append(tombstone, &mut out);
    out
}

fn any_version() -> impl Strategy<Value = RowVersion> {
    let time = prop_oneof![-2..2_i64, any::<i64>()];
    let partition = prop_oneof![Just(""), Just("0"), Just("1"), Just("10"), Just("\u{1}"), Just("shardId-é")];
    // Widths on both sides of the groups' ends, and bytes that meet what fills groups up.
    let byte = prop_oneof![Just(0_u8), Just(1), Just(9), Just(255)];
    let position = proptest::collection::vec(byte, 0..=32);
    let number = || prop_oneof![0..2_u32, any::<u32>()];
    (time, partition, position, number(), number()).prop_map(
        |(event_time, partition, position, generation, row)| RowVersion {
            event_time,
            partition: Partition::new(partition),
            position: Position::from_bytes(&position).unwrap(),
            generation,
            row,
        },
    )
}

#[test]
fn the_ends_of_time_are_read_back() {
    for micros in [i64::MIN, i64::MAX] {
        let mut out = Vec::new();
        append_timestamp(micros, &mut out);
        assert_eq!(parse_timestamp(&out), Ok(micros));
    }
}

proptest! {
    #[test]
    fn the_order_of_bytes_is_that_of_versions(left in any_version(), right in any_version()) {
        let (left_bytes, right_bytes) = (encode(&left, true), encode(&right, false));
        prop_assert_eq!(left_bytes[ORDERED..].cmp(&right_bytes[ORDERED..]), left.cmp(&right));
    }

    /// Neighbors in one partition, whose bytes differ late.
    #[test]
    fn so_it_is_for_neighbors(version in any_version(), position in proptest::collection::vec(any::<u8>(), 0..=32), other in 0..4_u32) {
        let mut neighbor = version.clone();
        match other {
            0 => neighbor.position = Position::from_bytes(&position).unwrap(),
            1 => neighbor.generation = neighbor.generation.wrapping_add(1),
            2 => neighbor.row = neighbor.row.wrapping_add(1),
            _ => {
                let mut longer = version.position.as_bytes().to_vec();
                longer.truncate(31);
                longer.push(0);
                neighbor.position = Position::from_bytes(&longer).unwrap();
            }
        }
        let order = encode(&version, false)[ORDERED..].cmp(&encode(&neighbor, false)[ORDERED..]);
        prop_assert_eq!(order, version.cmp(&neighbor));
    }

    #[test]
    fn versions_are_read_back(version in any_version(), deleted in any::<bool>()) {
        let bytes = encode(&version, deleted);
        for end in 0..bytes.len() {
            prop_assert!(parse(&bytes[..end]).is_err(), "cut to {}", end);
        }
        prop_assert_eq!(bytes[0] & TOMBSTONE != 0, deleted);
        prop_assert_eq!(parse(&bytes).unwrap(), Held { version, deleted });
    }

    #[test]
    fn hostile_versions_are_refused(mut bytes in proptest::collection::vec(prop_oneof![Just(0_u8), 0..10_u8, any::<u8>()], 0..80)) {
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        if let Ok(held) = parse(&bytes) {
            prop_assert_eq!(encode(&held.version, held.deleted), bytes, "one version has one form");
        }
    }

    #[test]
    fn event_times_are_read_back(micros in any::<i64>()) {
        let mut out = Vec::new();
        append_timestamp(micros, &mut out);
        prop_assert_eq!(parse_timestamp(&out), Ok(micros));
    }
}

#[test]
fn a_version_is_as_described() {
    let version = RowVersion {
        event_time: 1,
        partition: Partition::new("0"),
        position: Position::from_u64(258),
        generation: 3,
        row: 4,
    };
    assert_eq!(
        hex(&encode(&version, true)),
        ["81", "8000000000000001", "3000", "000000000000010208", "00000003", "00000004"].concat()
    );
}

#[track_caller]
fn check_time(micros: i64, expected: &str) {
    let mut out = Vec::new();
    append_timestamp(micros, &mut out);
    assert_eq!(hex(&out), expected);
    assert_eq!(parse_timestamp(&out), Ok(micros));
}

#[test]
fn event_times_are_those_of_feast() {
    check_time(1_795_161_600_123_456, "0880fcffd706108094ef3a");
    check_time(1_772_600_767_123_456, "08bffb9ecd06108094ef3a");
    check_time(1_772_600_767_000_000, "08bffb9ecd06");
    check_time(0, "");
    check_time(-1, "08ffffffffffffffffff0110988cebdc03");
    for damaged in ["08", "0880", "0a00", "1080c8afa025", "08ffffffffffffffff7f"] {
        assert!(parse_timestamp(&bytes(damaged)).is_err(), "{damaged}");
    }
}

#[test]
fn whoever_wrote_last_decides_what_is_held() {
    let ours = |event_time: i64| RowVersion {
        event_time,
        partition: Partition::new("7"),
        position: Position::from_u64(9),
        generation: 1,
        row: 0,
    };
    let feast = |event_time: i64| RowVersion::from(Version::of_feast(event_time));
    let check = |version: Option<(i64, bool)>, time: Option<i64>, expected: Option<(RowVersion, bool)>| {
        let version = version.map(|(event_time, deleted)| encode(&ours(event_time), deleted));
        let time = time.map(|micros| {
            let mut out = Vec::new();
            append_timestamp(micros, &mut out);
            out
        });
        let found = held(version.as_deref(), time.as_deref()).unwrap();
        assert_eq!(found.map(|held| (held.version, held.deleted)), expected);
    };
    check(None, None, None);
    check(None, Some(5), Some((feast(5), false)));
    check(Some((5, false)), Some(5), Some((ours(5), false)));
    check(Some((5, false)), Some(6), Some((feast(6), false)));
    check(Some((5, false)), Some(4), Some((feast(4), false)));
    // Feast has deleted the row.
    check(Some((5, false)), None, None);
    check(Some((5, true)), None, Some((ours(5), true)));
    check(Some((5, true)), Some(5), Some((ours(5), true)));
    check(Some((5, true)), Some(6), Some((feast(6), false)));
    assert!(held(Some(b"?"), None).is_err());
    assert_eq!(feast(5).cmp(&ours(5)), Ordering::Less);
}
