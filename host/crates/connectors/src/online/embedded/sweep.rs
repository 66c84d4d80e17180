//! Finds rows that nobody will read any more: long past their TTL, and tombstones that have done their work.
//!
//! A row is served with status `OUTSIDE_MAX_AGE` after its TTL, so it is kept for a margin longer. The disk is walked in
//! small slices, one with each checkpoint, which also removes what was found. Rows that are only in memory reach the disk
//! within one checkpoint and are found there.

use std::time::{Duration, Instant};

use model::error::Failure;
use model::time::micros;

use super::disk::{Disk, META};
use super::record;
use super::table::Table;
use super::views::Views;

/// Rows that are looked at with one checkpoint: about 5 ms of work.
const SLICE_ROWS: usize = 5_000;
/// Between one walk over the disk and the next.
const REST: Duration = Duration::from_secs(600);
/// How long a tombstone is kept after its event time. A source that replays farther back could bring the entity back.
const TOMBSTONE_KEPT: Duration = Duration::from_secs(24 * 3600);
/// The least time for which a row is kept after its TTL, so that readers learn that it is too old and not that it is gone.
const LEAST_MARGIN: Duration = Duration::from_secs(3600);
/// The margin as a part of the TTL: one tenth.
const MARGIN_PART: i64 = 10;

/// Where the walk over the disk stands.
#[derive(Default)]
pub(super) struct Walk {
    /// Empty = at the beginning.
    next: Vec<u8>,
    rests_until: Option<Instant>,
}

impl Walk {
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_resting(&self) -> bool {
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }

    /// Looks at the rows that come next. Returns the keys to remove from disk, ascending, and removes them from memory.
    pub(super) fn slice(
        &mut self,
        now: i64,
        disk: &Disk,
        views: &Views,
        table: &Table,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        if self.next.is_empty() {
            // The first row set comes behind what is known of views.
            self.next = (u32::from_be_bytes(META) + 1).to_be_bytes().to_vec();
        }
        let ttls: Vec<Option<i64>> = views.row_sets().iter().map(|row_set| row_set.ttl_micros()).collect();
        let ttl_of = |key: &[u8]| {
            let number = key.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
            (number as usize).checked_sub(1).and_then(|index| ttls.get(index).copied().flatten())
        };
        let (mut seen, mut found) = (0, Vec::new());
        let mut next = None;
        let scanned = disk.scan(&self.next, |key, value| {
            if seen == SLICE_ROWS {
                next = Some(key.to_vec());
                return false;
            }
            seen += 1;
            let event_time = record::event_time(value);
            if event_time.is_some_and(|time| is_over(time, record::is_tombstone(value), ttl_of(key), now)) {
                found.push(key.to_vec());
            }
            true
        });
        // After a failure too: what cannot be read now will not be readable at once.
        self.rests_until = next.is_none().then(|| Instant::now() + REST);
        self.next = next.unwrap_or_default();
        scanned?;
        found.retain(|key| {
            let hash = table.hash(key);
            let mut shard = table.lock(hash.shard());
            let gone = shard.remove_unless(hash.tag(), key, |record| {
                !is_over(record.event_time, record.is_tombstone(), ttl_of(key), now)
            });
            table.publish(&mut shard);
            gone
        });
        Ok(found)
    }
}

/// Whether a row may go. Times are microseconds.
fn is_over(event_time: i64, is_tombstone: bool, ttl: Option<i64>, now: i64) -> bool {
    let age = now.saturating_sub(event_time);
    if is_tombstone {
        return age > micros(TOMBSTONE_KEPT);
    }
    ttl.is_some_and(|ttl| age > ttl.saturating_add((ttl / MARGIN_PART).max(micros(LEAST_MARGIN))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[track_caller]
    fn check(age_hours: i64, is_tombstone: bool, ttl_hours: Option<i64>, expected: [bool; 2]) {
        let ttl = ttl_hours.map(|hours| hours * HOUR);
        let over = |age| is_over(1_000, is_tombstone, ttl, 1_000 + age);
        assert_eq!(
            [over(age_hours * HOUR), over(age_hours * HOUR + 1)],
            expected,
            "at and just after {age_hours} h"
        );
    }

    #[test]
    fn rows_go_after_ttl_and_margin_and_not_at_them() {
        check(2, false, Some(1), [false, true]);
        check(110, false, Some(100), [false, true]);
        check(1_000_000, false, None, [false, false]);
        check(24, true, None, [false, true]);
        check(24, true, Some(1), [false, true]);
        check(0, false, Some(i64::MAX / HOUR), [false, false]);
    }
}
