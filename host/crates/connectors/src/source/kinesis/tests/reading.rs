//! What a reader makes of records.

use std::time::Duration;

use model::batch::Attributes;
use model::position::{Covers, Partition, Position};
use model::source::{ReadEvent, Reader};

use super::fake::{DAWN, at};
use super::packing::pack;
use super::{AMPLE, Rig, events, lines_until, next, next_events};
use crate::kinesis::position;

#[test]
fn records_come_with_what_is_known_of_them() {
    let rig = Rig::new(&["s-0"]);
    let sequence = rig.fake.put("s-0", "driver 1", b"plain");
    let mut reader = rig.reader(&["s-0"], &[]);
    let batch = next(&mut reader, AMPLE).unwrap();
    assert_eq!(events(&batch), [(at(&sequence, 0), "plain".to_owned(), Some("driver 1".to_owned()))]);
    assert_eq!(batch.ingest_time(0), DAWN * 1000 + 2_000);
    assert_eq!(batch.covers, Covers { first: at(&sequence, 0), through: at(&sequence, 0) });
    assert_eq!(batch.positions.width(), 32);
}

#[test]
fn the_tip_is_told_once() {
    let rig = Rig::new(&["s-0", "s-1"]);
    let sequence = rig.fake.put("s-0", "k", b"one");
    let mut reader = rig.reader(&["s-0"], &[]);
    next_events(&mut reader);
    let tip = next(&mut reader, AMPLE).unwrap();
    assert!(tip.is_empty() && tip.attributes == Attributes { at_end: true, ..Attributes::default() });
    assert_eq!(tip.covers, Covers { first: at(&sequence, 0), through: at(&sequence, 0) });
    rig.fake.put("s-0", "k", b"two");
    let batch = next(&mut reader, AMPLE).unwrap();
    assert_eq!((batch.payload(0), batch.attributes.at_end), (&b"two"[..], false));
    let more = reader.next(AMPLE, Duration::from_millis(20)).unwrap();
    assert!(matches!(more, ReadEvent::Idle), "{more:?}");
    assert!(rig.fake.seen_at("s-0").is_some());

    // Where nothing was read, nothing is covered but the beginning, or the time that it is read from.
    let from = position::from_time(DAWN * 1000);
    for (after, through) in [(vec![], position::from_time(0)), (vec![("s-1", from)], from)] {
        let tip = next(&mut rig.reader(&["s-1"], &after), AMPLE).unwrap();
        assert_eq!((tip.len(), tip.attributes.at_end, tip.covers.through), (0, true, through));
    }
}

#[test]
fn a_shard_that_is_far_behind_has_no_tip_yet() {
    let rig = Rig::new(&["s-0"]);
    rig.fake.give_at_most(1);
    for event in ["one", "two", "three"] {
        rig.fake.put("s-0", "k", event.as_bytes());
    }
    let last = rig.fake.put("s-0", "k", b"four");
    let mut reader = rig.reader(&["s-0"], &[]);
    let lines = lines_until(&mut reader, "s-0", at(&last, 0));
    assert_eq!(lines, ["s-0: one", "s-0: two", "s-0: three", "s-0: four"]);
    assert!(next(&mut reader, AMPLE).unwrap().attributes.at_end);
}

#[test]
fn reading_begins_behind_a_position() {
    let rig = Rig::new(&["s-0"]);
    let first = rig.fake.put("s-0", "k", b"one");
    rig.fake.put("s-0", "k", b"two");
    let begins = |after: Position| next_events(&mut rig.reader(&["s-0"], &[("s-0", after)])).remove(0).1;
    assert_eq!(begins(at(&first, 0)), "two");
    assert_eq!(begins(position::from_time(0)), "one");
    assert_eq!(begins(position::from_time((DAWN + 2) * 1000)), "one");
    assert_eq!(begins(position::from_time((DAWN + 2) * 1000 + 1)), "two", "times are rounded up");
}

#[test]
fn packed_records_have_positions_of_their_own() {
    let rig = Rig::new(&["s-0"]);
    let packed =
        rig.fake.put("s-0", "x", &pack(&[("a", None, b"one"), ("b", None, b"two"), ("b", None, b"three")]));
    let empty = rig.fake.put("s-0", "x", &pack(&[]));
    let mut reader = rig.reader(&["s-0"], &[]);
    let batch = next(&mut reader, AMPLE).unwrap();
    let event = |sub, payload: &str, key: &str| (at(&packed, sub), payload.to_owned(), Some(key.to_owned()));
    let expected = [event(0, "one", "a"), event(1, "two", "b"), event(2, "three", "b")];
    assert_eq!(events(&batch), expected);
    assert_eq!(
        batch.covers,
        Covers { first: at(&packed, 0), through: at(&empty, 0) },
        "an empty one is covered"
    );
    // From within.
    let again = next(&mut rig.reader(&["s-0"], &[("s-0", at(&packed, 0))]), AMPLE).unwrap();
    assert_eq!(events(&again), expected[1..]);
    assert_eq!(again.covers.first, at(&packed, 1));
    // An empty one by itself moves the position.
    let rest = next(&mut rig.reader(&["s-0"], &[("s-0", at(&packed, 2))]), AMPLE).unwrap();
    assert_eq!((rest.len(), rest.covers.through), (0, at(&empty, 0)));
}

#[test]
fn packed_records_of_another_shard_are_left_out() {
    let rig = Rig::new(&[]);
    // `a` hashes to 0x0cc1…, `b` to 0x92eb….
    let half = 1_u128 << 127;
    rig.fake.add("low", &[], (0, half - 1));
    rig.fake.add("high", &[], (half, u128::MAX));
    let parts: [super::packing::Part<'_>; 4] = [
        ("a", None, b"one"),
        ("b", None, b"two"),
        ("a", Some("340282366920938463463374607431768211455"), b"three"),
        ("b", Some("0"), b"four"),
    ];
    for (shard, expected) in [("low", [(0, "one"), (3, "four")]), ("high", [(1, "two"), (2, "three")])] {
        let sequence = rig.fake.put(shard, "x", &pack(&parts));
        let batch = next(&mut rig.reader(&[shard], &[]), AMPLE).unwrap();
        let seen: Vec<_> =
            events(&batch).into_iter().map(|(position, payload, _)| (position, payload)).collect();
        assert_eq!(seen, expected.map(|(sub, payload)| (at(&sequence, sub), payload.to_owned())));
        assert_eq!(batch.covers.through, at(&sequence, 3), "what is left out is covered");
    }
}

#[test]
fn shards_take_turns() {
    let rig = Rig::new(&["s-0", "s-1", "s-2"]);
    rig.fake.give_at_most(10);
    for _ in 0..100 {
        for shard in ["s-0", "s-1", "s-2"] {
            rig.fake.put(shard, "k", b"event");
        }
    }
    let mut reader = rig.reader(&["s-0", "s-1", "s-2"], &[]);
    let mut counts = std::collections::BTreeMap::<Partition, usize>::new();
    let mut batches = 0;
    while counts.values().sum::<usize>() < 300 {
        let batch = next(&mut reader, AMPLE).unwrap();
        *counts.entry(batch.partition.clone()).or_default() += batch.len();
        batches += 1;
        assert!(batches < 1_000);
    }
    assert!(counts.values().all(|count| *count == 100), "{counts:?}");
}

#[test]
fn a_shard_whose_lease_may_have_run_out_gives_nothing() {
    let rig = Rig::new(&["s-0", "s-1"]);
    rig.fake.take_away("s-0");
    rig.fake.put("s-0", "k", b"zero");
    rig.fake.put("s-1", "k", b"one");
    let mut reader = rig.reader(&["s-0", "s-1"], &[]);
    assert_eq!(next_events(&mut reader).remove(0).1, "one");
    assert!(next(&mut reader, AMPLE).unwrap().attributes.at_end);
    assert!(matches!(reader.next(AMPLE, Duration::from_millis(20)).unwrap(), ReadEvent::Idle));
    rig.fake.give_back("s-0");
    assert_eq!(next_events(&mut reader).remove(0).1, "zero");
}

#[test]
fn a_position_that_is_none_is_refused() {
    let rig = Rig::new(&["s-0"]);
    let open = |shard: &str, at: Position| {
        let partition = Partition::new(shard);
        let after = [(partition.clone(), at)].into();
        super::KinesisReader::new(rig.core.clone(), rig.runtime.handle(), &[partition], &after).map(drop)
    };
    let failure = open("s-0", Position::from_u64(7)).unwrap_err().to_string();
    assert!(failure.contains("partition `s-0` of source `clicks`: position 0000000000000007"), "{failure}");
    let failure = open("no shard", position::end()).unwrap_err().to_string();
    assert!(failure.contains("no name of a shard"), "{failure}");
}
