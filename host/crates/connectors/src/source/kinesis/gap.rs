//! A record that is not there any more: retention has passed it, or the stream was made anew.
//!
//! A reader that goes on from a record asks for that record itself, so that it sees whether the shard still has it. If
//! it has, nothing is missing. If not, records behind it may have gone with it, unless somebody had read everything at
//! a time from which on all records are still there.

use std::time::Duration;

use model::position::Position;
use model::time::{EventTime, micros};

use crate::kinesis::lease::Tip;
use crate::source::OutOfRange;

/// How a reader goes on whose record is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoOn {
    /// Nothing is missing.
    Whole,
    /// With what is there: records are missing.
    Here,
    /// Behind the last record that there is: records are missing.
    AtTip,
    /// Not at all: records are missing.
    Stop,
}

/// How to go on behind `wanted`, a record that the shard has no more although it has younger ones.
pub(super) fn decide(
    policy: OutOfRange,
    wanted: &Position,
    tip: Option<Tip>,
    now: EventTime,
    retention: Duration,
) -> GoOn {
    let kept_since = now.0.saturating_sub(micros(retention));
    let is_whole = tip.is_some_and(|tip| {
        let was_behind = tip.last.is_some_and(|last| *wanted < last);
        kept_since < tip.at && !was_behind
    });
    match policy {
        _ if is_whole => GoOn::Whole,
        OutOfRange::Stop => GoOn::Stop,
        OutOfRange::Earliest => GoOn::Here,
        OutOfRange::Latest => GoOn::AtTip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::position;

    const DAY: Duration = Duration::from_secs(86_400);
    const NOW: EventTime = EventTime(1_700_000_000_000_000);

    #[track_caller]
    fn check(policy: OutOfRange, tip: Option<(u64, Option<&str>)>, expected: GoOn) {
        let wanted =
            position::of_record("49590338271490256608559692538361571095921575989136588898", 2).unwrap();
        let tip = tip.map(|(hours_ago, last)| Tip {
            at: NOW.minus(Duration::from_secs(hours_ago * 3600)).0,
            last: last.map(|sequence| position::of_record(sequence, 0).unwrap()),
        });
        assert_eq!(decide(policy, &wanted, tip, NOW, DAY), expected);
    }

    #[test]
    fn a_gap_is_one_only_if_nobody_had_read_everything() {
        let before = Some("49590338271490256608559692538361571095921575989136588897");
        let behind = Some("49590338271490256608559692538361571095921575989136588899");
        for (policy, missing) in [
            (OutOfRange::Stop, GoOn::Stop),
            (OutOfRange::Earliest, GoOn::Here),
            (OutOfRange::Latest, GoOn::AtTip),
        ] {
            check(policy, None, missing);
            check(policy, Some((1, None)), GoOn::Whole);
            check(policy, Some((23, before)), GoOn::Whole);
            check(policy, Some((25, before)), missing);
            check(policy, Some((1, behind)), missing);
        }
    }
}
