//! Questions that are refused.

use std::time::Duration;

use model::error::Disposition;
use testkit::fake::wait::wait_until;

use super::fake::{DAWN, Fake, at, away, coded};
use super::{AMPLE, Rig, lines_until, next, next_events, next_failure};
use crate::kinesis::{Trouble, position};
use crate::source::kinesis::fetcher::PAUSES;
use crate::source::kinesis::setback::pause;

const THROTTLED: &str = "ProvisionedThroughputExceededException";

#[test]
fn what_passes_by_itself_is_waited_for() {
    let rig = Rig::new(&["s-0"]);
    rig.fake.refuse_iterators([coded(THROTTLED), away(), coded("InternalFailure")]);
    rig.fake.refuse_records([
        coded(THROTTLED),
        coded("ExpiredTokenException"),
        away(),
        coded("LimitExceededException"),
    ]);
    let last = rig.fake.put("s-0", "k", b"one");
    let mut reader = rig.reader(&["s-0"], &[]);
    assert_eq!(lines_until(&mut reader, "s-0", at(&last, 0)), ["s-0: one"]);
    assert_eq!(rig.core.metrics.throttles.get(), 3);
    let asked = rig.fake.asked();
    assert_eq!(asked, ["s-0 Beginning"; 4], "an iterator outlives what is not about it");
}

#[test]
fn an_iterator_that_expired_is_made_anew_from_the_last_record() {
    let rig = Rig::new(&["s-0"]);
    let first = rig.fake.put("s-0", "k", b"one");
    let mut reader = rig.reader(&["s-0"], &[]);
    next_events(&mut reader);
    assert!(next(&mut reader, AMPLE).unwrap().attributes.at_end);
    rig.fake.expire();
    let asked = format!("s-0 At({first:?})");
    wait_until("another iterator is asked for", || rig.fake.asked().contains(&asked));
    rig.fake.put("s-0", "k", b"two");
    assert_eq!(next_events(&mut reader).remove(0).1, "two");
    assert_eq!(rig.core.metrics.expired_iterators.get(), 1);
    assert_eq!(rig.core.metrics.gaps.get(), 0);
}

#[test]
fn an_iterator_that_is_not_taken_for_one_is_made_anew() {
    let rig = Rig::new(&["s-0"]);
    rig.fake.refuse_records([coded("InvalidArgumentException")]);
    rig.fake.put("s-0", "k", b"one");
    assert_eq!(next_events(&mut rig.reader(&["s-0"], &[])).remove(0).1, "one");
    assert_eq!(rig.fake.asked(), ["s-0 Beginning"; 2]);
}

#[track_caller]
fn check_told_in_time(code: &str) {
    let rig = Rig::new(&["s-0"]);
    rig.fake.refuse_records([coded(code), coded(code)]);
    rig.fake.put("s-0", "k", b"one");
    let mut reader = rig.reader(&["s-0"], &[]);
    assert_eq!(next_events(&mut reader).remove(0).1, "one", "what passes is not worth a word");
    rig.fake.refuse_records((0..3).map(|_| coded(code)));
    let failure = next_failure(&mut reader);
    assert_eq!(failure.disposition, Disposition::Retry);
    assert!(failure.to_string().contains(code), "{failure}");
    let last = rig.fake.put("s-0", "k", b"two");
    lines_until(&mut reader, "s-0", at(&last, 0));
}

#[test]
fn what_does_not_pass_is_told() {
    check_told_in_time("InvalidArgumentException");
    check_told_in_time("ResourceInUseException");
    check_told_in_time("SomethingNew");
}

#[test]
fn a_clock_that_is_ahead_does_no_harm() {
    let rig = Rig::new(&["s-0"]);
    rig.fake.put("s-0", "k", b"before");
    let now = position::from_time((DAWN + 5) * 1000);
    let mut reader = rig.reader(&["s-0"], &[("s-0", now)]);
    assert!(next(&mut reader, AMPLE).unwrap().attributes.at_end);
    assert_eq!(rig.fake.asked(), [format!("s-0 Time({})", (DAWN + 5) * 1000), "s-0 Latest".to_owned()]);
    for _ in 0..4 {
        rig.fake.put("s-0", "k", b"behind");
    }
    assert_eq!(next_events(&mut reader)[0].1, "behind");
}

#[test]
fn a_time_that_is_past_is_no_reason_to_leave_anything_out() {
    let rig = Rig::new(&["s-0"]);
    let last = rig.fake.put("s-0", "k", b"one");
    rig.clock.set(DAWN * 1000 + 3_600_000_000);
    rig.fake.refuse_iterators([coded("InvalidArgumentException")]);
    let mut reader = rig.reader(&["s-0"], &[("s-0", position::from_time(DAWN * 1000))]);
    let failure = next_failure(&mut reader);
    assert_eq!(failure.disposition, Disposition::Retry);
    assert!(failure.to_string().contains("InvalidArgumentException"), "{failure}");
    assert_eq!(lines_until(&mut reader, "s-0", at(&last, 0)), ["s-0: one"]);
}

#[track_caller]
fn check_told(trouble: fn() -> Trouble, expected: &str) {
    let rig = Rig::new(&["s-0"]);
    rig.fake.refuse_iterators([trouble()]);
    rig.fake.put("s-0", "k", b"one");
    let mut reader = rig.reader(&["s-0"], &[]);
    let failure = next_failure(&mut reader);
    assert_eq!(failure.disposition, Disposition::Retry);
    let message = failure.to_string();
    assert!(
        message.contains("read partition `s-0` of source `clicks` through connection `aws`"),
        "{message}"
    );
    assert!(message.contains(expected), "{message}");
    // And it goes on by itself.
    let last = rig.fake.put("s-0", "k", b"two");
    lines_until(&mut reader, "s-0", at(&last, 0));
}

#[test]
fn what_somebody_has_to_mend_is_told() {
    check_told(|| coded("AccessDeniedException"), "kinesis:GetRecords");
    check_told(
        || Trouble::coded("ResourceNotFoundException", "Stream drivers not found", 400),
        "Stream drivers not found",
    );
}

#[test]
fn a_stream_that_does_not_know_the_record_was_made_anew() {
    let rig = Rig::new(&["s-0"]);
    let record = rig.fake.put("s-0", "k", b"one");
    rig.fake.refuse_iterators([coded("InvalidArgumentException")]);
    let mut reader = rig.reader(&["s-0"], &[("s-0", at(&record, 0))]);
    for _ in 0..2 {
        let failure = next_failure(&mut reader);
        assert_eq!(failure.disposition, Disposition::Stop);
        let message = failure.to_string();
        assert!(
            message.contains("the stream was made anew") && message.contains("`host rewind"),
            "{message}"
        );
    }
}

#[test]
fn a_position_before_the_shard_means_that_it_was_made_anew() {
    let old = Fake::new(&["s-0"]).put("s-0", "k", b"old");
    let rig = Rig::new(&["x", "y", "s-0"]);
    rig.fake.put("s-0", "k", b"new");
    let failure = next_failure(&mut rig.reader(&["s-0"], &[("s-0", at(&old, 0))]));
    assert_eq!(failure.disposition, Disposition::Stop);
    let message = failure.to_string();
    assert!(message.contains("the shard begins behind record") && message.contains("made anew"), "{message}");
}

#[test]
fn pauses_grow_and_differ() {
    let mut before = Duration::ZERO;
    for failures in 1..40 {
        let pause = pause(PAUSES, failures);
        assert!(PAUSES.first / 2 <= pause && pause <= PAUSES.most * 2, "{pause:?}");
        if failures < 5 {
            assert!(before < pause, "{pause:?} is not longer than {before:?}");
        }
        before = pause;
    }
    let ten: std::collections::BTreeSet<Duration> = (0..10).map(|_| pause(PAUSES, 3)).collect();
    assert!(1 < ten.len());
}
