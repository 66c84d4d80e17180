//! Pauses between attempts at something that failed and is expected to work again.
//!
//! Attempts have no end: the position stays and back-pressure does the rest. One line is logged when the trouble
//! starts and one when it is over.

use std::time::{Duration, Instant};

/// First and longest pause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pauses {
    pub(crate) first: Duration,
    pub(crate) max: Duration,
}

/// The trouble with one dependency, if there is any.
#[derive(Debug)]
pub(crate) struct Retry {
    pauses: Pauses,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    attempts: u32,
    again: Instant,
}

impl Retry {
    /// No trouble.
    pub(crate) fn new(pauses: Pauses) -> Self {
        Self { pauses, trouble: None }
    }

    /// An attempt failed. Returns when to try again, and whether this is the first failure.
    pub(crate) fn failed(&mut self, now: Instant) -> (Instant, bool) {
        let first = self.trouble.is_none();
        let trouble = self.trouble.get_or_insert(Trouble { since: now, attempts: 0, again: now });
        let doubled = self.pauses.first.saturating_mul(1 << trouble.attempts.min(20));
        trouble.attempts += 1;
        trouble.again = now + doubled.min(self.pauses.max);
        (trouble.again, first)
    }

    /// When the next attempt is due, if it is not due yet.
    pub(crate) fn pausing(&self, now: Instant) -> Option<Instant> {
        self.trouble.as_ref().map(|trouble| trouble.again).filter(|again| now < *again)
    }

    /// An attempt worked. Returns how many had failed, and for how long, if any had.
    pub(crate) fn worked(&mut self, now: Instant) -> Option<(u32, Duration)> {
        self.trouble.take().map(|trouble| (trouble.attempts, now - trouble.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut retry =
            Retry::new(Pauses { first: Duration::from_millis(100), max: Duration::from_millis(350) });
        let start = Instant::now();
        let pauses: Vec<u128> = (0..4).map(|_| (retry.failed(start).0 - start).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 350, 350]);
        assert_eq!(retry.pausing(start), Some(start + Duration::from_millis(350)));
        assert_eq!(retry.pausing(start + Duration::from_millis(350)), None);
        assert_eq!(retry.worked(start).map(|(attempts, _)| attempts), Some(4));
        assert_eq!(retry.worked(start), None);
        assert!(retry.failed(start).1);
    }
}
