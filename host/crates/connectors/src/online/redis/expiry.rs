//! How long the hash of an entity lives at least. What may be served is decided by event times when rows are read; this
//! only keeps Redis from filling up with entities that nobody may see any more.
//!
//! The hash is shared by all views of the entity, so it lives as long as the view that lives longest: a view without TTL
//! makes it permanent, one with TTL prolongs what is not. A deadline is set generously and moved only when it no longer
//! suffices, not with each row.
//!
//! Deadlines of rows come from the clock of this host, deletions' from Redis' own (`row.lua`): a deletion has nothing but its
//! deadline to keep older rows away.

use model::view::ViewShape;

/// A TTL of so many years is none: Redis' clock ends.
const FOREVER_MICROS: i64 = 100 * 365 * DAY_MICROS;
const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// A deadline lies at least so far behind what is needed.
const LEAST_SLACK_MICROS: i64 = 60 * 1_000_000;
/// And at least this part of the TTL.
const SLACK_PART: i64 = 10;
/// The deadline of a hash of which nothing is known: its next row is compared, which looks after the deadline too.
pub(super) const NOTHING_KNOWN: i64 = 0;

/// How long rows of a view live. Instants are milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifetime {
    ttl_micros: Option<i64>,
}

impl Lifetime {
    pub(super) fn of(view: &ViewShape) -> Self {
        Self { ttl_micros: view.ttl_micros.filter(|ttl| *ttl <= FOREVER_MICROS) }
    }

    /// Whether rows expire.
    pub(super) fn is_limited(self) -> bool {
        self.ttl_micros.is_some()
    }

    /// Whether a hash with this deadline lives long enough for a row that is written without looking, both times in
    /// microseconds. Not if it may be gone by now: it would be made anew, and nobody would give it a deadline.
    #[inline]
    pub(super) fn suffices(self, deadline: i64, event_time: i64, now: i64) -> bool {
        let needed = |ttl| {
            let (row, hash) = (event_time.saturating_add(ttl), now.saturating_add(LEAST_SLACK_MICROS / 2));
            to_millis(row.max(hash))
        };
        deadline >= self.ttl_micros.map_or(i64::MAX, needed)
    }

    /// The deadline that is set, both times in microseconds: later than needed, so that the next rows of the entity need not
    /// move it; and never in the past, as a row that went at once could not keep older ones away.
    pub(super) fn deadline(self, event_time: i64, now: i64) -> i64 {
        self.ttl_micros.map_or(i64::MAX, |ttl| {
            let slack = (ttl / SLACK_PART).max(LEAST_SLACK_MICROS);
            to_millis(event_time.max(now).saturating_add(ttl).saturating_add(slack))
        })
    }

    /// The deadline of a hash that holds the very row that was to be written. `row.lua` has made it permanent if rows of
    /// the view do not expire; else nothing is known.
    pub(super) fn of_same(self) -> i64 {
        if self.is_limited() { NOTHING_KNOWN } else { i64::MAX }
    }

    /// The deadline of a hash that holds nothing but a deletion: long enough for what was on its way. `row.lua` sees to it
    /// that it lies as far ahead by Redis' clock.
    pub(super) fn of_deletion(event_time: i64, now: i64) -> i64 {
        to_millis(event_time.max(now).saturating_add(DAY_MICROS))
    }
}

/// Rounded up.
fn to_millis(micros: i64) -> i64 {
    micros.saturating_add(999).div_euclid(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_suffice_and_lie_ahead() {
        let hour = 3_600_000_000;
        let lifetime = Lifetime { ttl_micros: Some(hour) };
        assert!(lifetime.suffices(3_600_001, 1, 0) && !lifetime.suffices(3_600_000, 1, 0));
        assert!(!lifetime.suffices(3_600_001, 1, hour), "the hash may be gone");
        assert!(lifetime.suffices(3_600_000 + 30_000, 0, hour));
        assert!(lifetime.of_same() == NOTHING_KNOWN && !lifetime.suffices(NOTHING_KNOWN, -hour, 0));
        assert_eq!(lifetime.deadline(0, 0), 3_600_000 + 360_000);
        assert_eq!(lifetime.deadline(0, hour), 7_200_000 + 360_000);
        assert_eq!(Lifetime { ttl_micros: Some(0) }.deadline(0, 0), 60_000);
        let forever = Lifetime { ttl_micros: None };
        assert_eq!((forever.of_same(), forever.deadline(5, 5)), (i64::MAX, i64::MAX));
        assert!(forever.suffices(i64::MAX, 5, 5) && !forever.suffices(NOTHING_KNOWN, 5, 5));
        assert_eq!(Lifetime::of_deletion(0, 5_000), 86_400_005);
        assert!(lifetime.suffices(i64::MAX / 1_000, i64::MAX, 0));
    }
}
