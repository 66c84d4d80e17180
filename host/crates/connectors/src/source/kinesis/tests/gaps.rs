//! Records that are gone before they were read.

use std::time::Duration;

use model::error::Disposition;
use model::position::Position;
use model::time::Clock;

use super::fake::at;
use super::{AMPLE, Rig, lines_until, next, next_events, next_failure};
use crate::kinesis::lease::Tip;
use crate::kinesis::position;
use crate::source::OutOfRange;

/// A shard that has lost the first two of four records; the position of the first, and of the last.
fn cut(policy: OutOfRange) -> (Rig, Position, Position) {
    let rig = Rig::with_policy(&["s-0"], policy);
    let positions: Vec<Position> = ["one", "two", "three", "four"]
        .map(|event| at(&rig.fake.put("s-0", "k", event.as_bytes()), 0))
        .into();
    rig.fake.trim("s-0", 2);
    (rig, positions[0], positions[3])
}

#[test]
fn a_gap_stops_the_source() {
    let (rig, first, _) = cut(OutOfRange::Stop);
    let mut reader = rig.reader(&["s-0"], &[("s-0", first)]);
    for _ in 0..2 {
        let failure = next_failure(&mut reader);
        assert_eq!(failure.disposition, Disposition::Stop);
        let message = failure.to_string();
        assert!(message.starts_with("read partition `s-0` of source `clicks`: record "), "{message}");
        for part in [
            "is gone",
            "arrived at 2023-11-14T22:13:20.004000Z",
            "24 hours",
            "`out_of_range`",
            "`host rewind`",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn a_gap_is_passed_over_and_counted() {
    let (rig, first, last) = cut(OutOfRange::Earliest);
    let mut reader = rig.reader(&["s-0"], &[("s-0", first)]);
    assert_eq!(lines_until(&mut reader, "s-0", last), ["s-0: three four"]);
    assert_eq!(rig.core.metrics.gaps.get(), 1);

    let (rig, first, _) = cut(OutOfRange::Latest);
    let mut reader = rig.reader(&["s-0"], &[("s-0", first)]);
    assert!(next(&mut reader, AMPLE).unwrap().attributes.at_end);
    rig.fake.put("s-0", "k", b"five");
    assert_eq!(next_events(&mut reader)[0].1, "five");
    assert_eq!(rig.core.metrics.gaps.get(), 1);
}

#[test]
fn what_was_read_to_its_tip_may_go() {
    let (rig, first, last) = cut(OutOfRange::Stop);
    let seen = |hours: u64, last| {
        rig.fake
            .set_seen("s-0", Tip { at: rig.clock.now().minus(Duration::from_secs(hours * 3600)).0, last });
    };
    seen(25, Some(first));
    next_failure(&mut rig.reader(&["s-0"], &[("s-0", first)]));
    // A view that stood still while others read on, before this host was started.
    seen(23, Some(last));
    next_failure(&mut rig.reader(&["s-0"], &[("s-0", first)]));
    seen(23, Some(first));
    assert_eq!(lines_until(&mut rig.reader(&["s-0"], &[("s-0", first)]), "s-0", last), ["s-0: three four"]);
    // But somebody else was further then.
    next_failure(&mut rig.reader(&["s-0"], &[("s-0", first)]));
}

#[test]
fn who_wants_the_beginning_takes_it_where_it_is() {
    let (rig, _, last) = cut(OutOfRange::Stop);
    for after in [position::from_time(0), position::from_time(1)] {
        assert_eq!(
            lines_until(&mut rig.reader(&["s-0"], &[("s-0", after)]), "s-0", last),
            ["s-0: three four"]
        );
    }
    assert_eq!(lines_until(&mut rig.reader(&["s-0"], &[]), "s-0", last), ["s-0: three four"]);
}

#[test]
fn a_record_that_was_the_last_may_go() {
    let (rig, _, last) = cut(OutOfRange::Stop);
    rig.fake.trim("s-0", 4);
    let mut reader = rig.reader(&["s-0"], &[("s-0", last)]);
    assert!(next(&mut reader, AMPLE).unwrap().attributes.at_end);
    rig.fake.put("s-0", "k", b"five");
    assert_eq!(next_events(&mut reader)[0].1, "five");
}

#[test]
fn a_shard_that_is_gone_ends() {
    let (rig, first, _) = cut(OutOfRange::Earliest);
    rig.fake.forget("s-0");
    let mut reader = rig.reader(&["s-0"], &[("s-0", first)]);
    assert_eq!(lines_until(&mut reader, "s-0", position::end()), ["s-0:  end tip"]);
    assert_eq!(rig.core.metrics.gaps.get(), 1);
    let mut reader = rig.reader(&["s-0"], &[]);
    assert_eq!(lines_until(&mut reader, "s-0", position::end()), ["s-0:  end tip"]);
    assert_eq!(rig.core.metrics.gaps.get(), 1, "nobody had begun with it");
}

#[test]
fn a_shard_that_is_gone_stops_the_source() {
    let (rig, first, _) = cut(OutOfRange::Stop);
    rig.fake.forget("s-0");
    let failure = next_failure(&mut rig.reader(&["s-0"], &[("s-0", first)]));
    assert_eq!(failure.disposition, Disposition::Stop);
    assert!(failure.to_string().contains("the shard is gone"), "{failure}");
}
