//! Pauses a view whose events all fail.
//!
//! Counts failed events of one work unit in a row, across batches. It decides only; pausing is the unit's part.

use std::ops::Range;

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// Failures in a row at the end of the last batch.
    run: u32,
}

impl Breaker {
    /// Failures in a row so far.
    pub(crate) fn run(&self) -> u32 {
        self.run
    }

    /// Takes a batch into account: `failed` are the raw rows that failed, ascending, out of `rows`.
    ///
    /// Returns the row with which the number of failures in a row reaches `limit` (0 = no limit), in which case the
    /// batch is not counted: it will come again.
    pub(crate) fn count(&mut self, rows: Range<u32>, failed: &[u32], limit: u32) -> Option<u32> {
        let mut run = self.run;
        let mut next = rows.start;
        for row in failed {
            run = if *row == next { run.saturating_add(1) } else { 1 };
            next = row + 1;
            if limit > 0 && limit <= run {
                return Some(*row);
            }
        }
        self.run = if next == rows.end { run } else { 0 };
        None
    }

    /// Forgets failures: there is a new transform.
    pub(crate) fn reset(&mut self) {
        self.run = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(batches: &[(u32, &[u32])], limit: u32, expected: Option<u32>) {
        let mut breaker = Breaker::default();
        let tripped = batches.iter().find_map(|(rows, failed)| breaker.count(0..*rows, failed, limit));
        assert_eq!(tripped, expected);
    }

    #[test]
    fn only_failures_in_a_row_count() {
        check(&[(10, &[0, 1, 2])], 3, Some(2));
        check(&[(10, &[0, 1, 3, 4, 6, 7])], 3, None);
        check(&[(10, &[5, 6, 7])], 3, Some(7));
        check(&[(10, &[0, 1, 2])], 0, None);
    }

    #[test]
    fn runs_go_on_across_batches() {
        check(&[(3, &[2]), (3, &[0, 1])], 3, Some(1));
        check(&[(3, &[2]), (0, &[]), (1, &[0]), (1, &[0])], 3, Some(0));
        check(&[(3, &[1]), (3, &[0, 1])], 3, None);
        check(&[(3, &[2]), (3, &[]), (3, &[0, 1])], 3, None);
    }
}
