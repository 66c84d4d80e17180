//! Order, positions, keys, identities, room.

use model::position::{Partition, Position};

use super::{Rig, emission, wide};

#[test]
fn records_have_key_value_and_identity() {
    let rig = Rig::new(&[]);
    let mut late = emission("events-0", 7, 9, [7, 9].into_iter());
    late.applied.late = vec![1];
    late.epoch = 3;
    rig.emit(late).unwrap();
    let mut records = rig.records();
    records.sort_by(|left, right| left.key.cmp(&right.key));
    let identities: Vec<&str> = records.iter().map(|record| record.identity.as_str()).collect();
    assert_eq!(
        identities,
        [
            "1;3;events;events-0;0000000000000007;0;1;abababababababab;true",
            "1;3;events;events-0;0000000000000009;0;1;abababababababab;false",
        ]
    );
    assert_eq!(records[0].key, "7");
    assert!(records[0].value.ends_with(r#""entity_keys":{"id":"7"},"feature_values":{"f":"x"}}"#));
    assert_eq!(rig.position("events-0"), Some(9));
}

#[test]
fn rows_it_has_are_skipped_and_empty_batches_move_the_position() {
    let rig = Rig::new(&[]);
    rig.emit(emission("p-0", 0, 4, 0..5)).unwrap();
    rig.emit(emission("p-0", 0, 4, 0..5)).unwrap();
    rig.emit(emission("p-0", 3, 6, 3..7)).unwrap();
    rig.emit(emission("p-0", 7, 20, 0..0)).unwrap();
    assert_eq!(rig.position("p-0"), Some(20));
    assert_eq!(rig.position("p-1"), None);
    assert_eq!(rig.all(), (0..7).collect::<Vec<_>>());
}

#[test]
fn batches_handed_over_together_stay_in_order() {
    let rig = Rig::new(&[]);
    let batches = (0..40).map(|batch| {
        rig.stream.emit(emission("p-0", batch * 50, batch * 50 + 49, batch * 50..batch * 50 + 50))
    });
    let batches: Vec<_> = batches.collect();
    for (number, batch) in batches.into_iter().enumerate() {
        rig.wait(batch).unwrap();
        assert!(rig.position("p-0") >= Some(number as u64 * 50 + 49));
    }
    let numbers = rig.numbers();
    assert!(numbers.iter().all(|numbers| numbers.is_sorted()), "{numbers:?}");
    assert_eq!(rig.all(), (0..2_000).collect::<Vec<_>>());
}

#[test]
fn a_full_queue_makes_futures_wait_and_keeps_the_order() {
    let rig = Rig::new(&[("queue.buffering.max.messages", "7")]);
    let batches = (0..4).map(|batch| {
        rig.stream.emit(emission("p-0", batch * 50, batch * 50 + 49, batch * 50..batch * 50 + 50))
    });
    let other = rig.stream.emit(emission("p-1", 1_000, 1_049, 1_000..1_050));
    let batches: Vec<_> = batches.chain([other]).collect();
    rig.wait(futures_util::future::join_all(batches)).into_iter().collect::<Result<(), _>>().unwrap();
    for numbers in rig.numbers() {
        let (first, second): (Vec<u64>, Vec<u64>) = numbers.iter().partition(|number| **number < 1_000);
        assert!(first.is_sorted() && second.is_sorted(), "{numbers:?}");
    }
    assert_eq!(rig.all(), (0..200).chain(1_000..1_050).collect::<Vec<_>>());
    assert_eq!((rig.position("p-0"), rig.position("p-1")), (Some(199), Some(1_049)));
}

#[test]
fn what_is_dropped_unfinished_goes_out_with_the_next() {
    let rig = Rig::new(&[("queue.buffering.max.messages", "7")]);
    drop(rig.stream.emit(emission("p-0", 0, 49, 0..50)));
    rig.emit(emission("p-0", 50, 99, 50..100)).unwrap();
    assert_eq!(rig.all(), (0..100).collect::<Vec<_>>());
    assert_eq!(rig.position("p-0"), Some(99));
}

#[test]
fn too_large_a_record_is_put_aside_and_the_rest_goes_on() {
    let rig = Rig::new(&[("message.max.bytes", "2000")]);
    rig.emit(emission("p-0", 0, 1, 0..2)).unwrap();
    rig.emit(wide("p-0", 2, 2, 2..3, 3_000)).unwrap();
    rig.emit(emission("p-0", 3, 3, 3..4)).unwrap();
    assert_eq!(rig.all(), [0, 1, 3]);
    let letters = rig.letters();
    assert_eq!((letters.len(), letters[0].0.as_str(), letters[0].1), (1, "record_too_large", 2));
    assert!(letters[0].2 > 3_000);
    assert_eq!(rig.position("p-0"), Some(3));
}

#[test]
fn a_rewind_emits_again() {
    let rig = Rig::new(&[]);
    rig.emit(emission("p-0", 0, 4, 0..5)).unwrap();
    rig.stream.rewind(&Partition::new("p-0"), Some(Position::from_u64(2)), 1).unwrap();
    rig.emit(emission("p-0", 3, 4, 3..5)).unwrap();
    assert_eq!(rig.all(), [0, 1, 2, 3, 3, 4, 4]);
}
