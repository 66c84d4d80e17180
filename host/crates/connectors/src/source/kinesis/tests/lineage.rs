//! Splits, merges, and shards that end.

use std::time::Duration;

use model::source::{ReadEvent, Reader};

use super::fake::at;
use super::{AMPLE, Rig, lines_until, next};
use crate::kinesis::position;

#[test]
fn children_wait_until_their_parents_are_finished() {
    let rig = Rig::new(&["s-0"]);
    rig.fake.put("s-0", "k", b"old");
    rig.fake.reshard(&["s-0"], &["s-1", "s-2"]);
    rig.fake.put("s-1", "k", b"left");
    rig.fake.put("s-2", "k", b"right");
    let mut reader = rig.reader(&["s-0", "s-1", "s-2"], &[]);
    let lines = lines_until(&mut reader, "s-0", position::end());
    assert_eq!(lines, ["s-0: old", "s-0:  end tip"]);
    assert_eq!(rig.fake.ended(), ["s-0"]);
    // Read, but not delivered yet.
    let early = reader.next(AMPLE, Duration::from_millis(120)).unwrap();
    assert!(matches!(early, ReadEvent::Idle), "{early:?}");
    rig.fake.finish("s-0");
    let mut lines: Vec<String> = (0..4).map(|_| format!("{:?}", line(&mut reader))).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            r#"("s-1", ["left"], false)"#,
            r#"("s-1", [], true)"#,
            r#"("s-2", ["right"], false)"#,
            r#"("s-2", [], true)"#
        ]
    );
}

fn line(reader: &mut dyn Reader) -> (String, Vec<String>, bool) {
    let batch = next(reader, AMPLE).unwrap();
    let payloads = super::events(&batch).into_iter().map(|(_, payload, _)| payload).collect();
    (batch.partition.to_string(), payloads, batch.attributes.at_end)
}

#[test]
fn a_merge_waits_for_both() {
    let rig = Rig::new(&["s-0", "s-1"]);
    rig.fake.reshard(&["s-0", "s-1"], &["s-2"]);
    let last = rig.fake.put("s-2", "k", b"merged");
    let mut reader = rig.reader(&["s-2"], &[]);
    for parent in ["s-0", "s-1"] {
        assert!(matches!(reader.next(AMPLE, Duration::from_millis(80)).unwrap(), ReadEvent::Idle));
        rig.fake.finish(parent);
    }
    assert_eq!(lines_until(&mut reader, "s-2", at(&last, 0)), ["s-2: merged"]);
}

#[test]
fn generations_come_one_after_the_other() {
    let rig = Rig::new(&["a"]);
    rig.fake.put("a", "k", b"1");
    // Split, split again, and one half of each merged; some never had a record.
    rig.fake.reshard(&["a"], &["b", "c"]);
    rig.fake.put("c", "k", b"2");
    rig.fake.reshard(&["c"], &["d", "e"]);
    rig.fake.put("e", "k", b"3");
    rig.fake.reshard(&["b", "d"], &["f"]);
    let last = rig.fake.put("f", "k", b"4");
    let mut reader = rig.reader(&["a", "b", "c", "d", "e", "f"], &[]);
    let mut seen = Vec::new();
    loop {
        let batch = next(&mut reader, AMPLE).unwrap();
        let shard = batch.partition.to_string();
        seen.extend(super::events(&batch).into_iter().map(|(_, payload, _)| format!("{shard} {payload}")));
        if batch.covers.through == position::end() {
            seen.push(format!("{shard} end"));
            rig.fake.finish(&shard);
        }
        if at(&last, 0) <= batch.covers.through && shard == "f" {
            break;
        }
    }
    let place =
        |what: &str| seen.iter().position(|seen| seen == what).unwrap_or_else(|| panic!("{what}: {seen:?}"));
    for (before, behind) in [
        ("a 1", "a end"),
        ("a end", "b end"),
        ("a end", "c 2"),
        ("c 2", "c end"),
        ("c end", "d end"),
        ("b end", "f 4"),
        ("d end", "f 4"),
    ] {
        assert!(place(before) < place(behind), "{before}, {behind}: {seen:?}");
    }
}

#[test]
fn a_parent_that_is_read_again_comes_first() {
    let rig = Rig::new(&["s-0"]);
    rig.fake.put("s-0", "k", b"old");
    rig.fake.reshard(&["s-0"], &["s-1"]);
    let last = rig.fake.put("s-1", "k", b"new");
    rig.fake.finish("s-0");
    // The table says that the parent is finished, but this reader begins before it.
    let mut reader = rig.reader(&["s-1", "s-0"], &[]);
    let lines = lines_until(&mut reader, "s-1", at(&last, 0));
    assert_eq!(lines, ["s-0: old", "s-0:  end tip", "s-1: new"]);
}

#[test]
fn a_parent_that_is_gone_is_waited_for_no_more() {
    let rig = Rig::new(&["s-0"]);
    rig.fake.reshard(&["s-0"], &["s-1"]);
    let last = rig.fake.put("s-1", "k", b"new");
    rig.fake.forget("s-0");
    assert_eq!(lines_until(&mut rig.reader(&["s-1"], &[]), "s-1", at(&last, 0)), ["s-1: new"]);
}

#[test]
fn a_shard_that_was_read_to_its_end_says_only_so() {
    let rig = Rig::new(&["s-0"]);
    rig.fake.put("s-0", "k", b"old");
    rig.fake.reshard(&["s-0"], &["s-1"]);
    let mut reader = rig.reader(&["s-0"], &[("s-0", position::end())]);
    assert_eq!(lines_until(&mut reader, "s-0", position::end()), ["s-0:  end tip"]);
    assert!(matches!(reader.next(AMPLE, Duration::from_millis(20)).unwrap(), ReadEvent::Idle));
    assert_eq!(rig.fake.asked(), [""; 0]);
}
