//! Who may ask a shard for records, and when: a shard answers five times a second, whoever asks, and two megabytes a
//! second.
//!
//! One table for all readers of a source: those that catch up share each shard's turns with the one that is at the tip.
//! What other consumers of the stream take is not known here; the shard throttles then, and readers fall back.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::position::Partition;

/// After which time a shard is forgotten that nobody asks: longer than any answer makes it rest.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// How fast shards may be asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Time between two questions. Shorter, and the shard throttles; longer, and events wait.
    pub(super) between: Duration,
    /// Bytes that a shard gives in a second.
    pub(super) bytes_per_second: f64,
}

/// What Kinesis grants: five questions and two megabytes a second. An answer of ten megabytes is followed by five
/// seconds in which the shard refuses.
pub(super) const GRANTED: Pace = Pace { between: Duration::from_millis(200), bytes_per_second: 2_000_000.0 };

/// When each shard may be asked again.
#[derive(Debug)]
pub(super) struct Turns {
    pace: Pace,
    next: Mutex<HashMap<Partition, Instant>>,
}

impl Turns {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, next: Mutex::default() }
    }

    /// When the next turn at a shard is, if it is not now.
    pub(super) fn next(&self, shard: &Partition) -> Option<Instant> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).get(shard).copied()
    }

    /// Takes the next turn at a shard: when it is.
    pub(super) fn take(&self, shard: &Partition, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = next.get_mut(shard) {
            let turn = now.max(*at);
            *at = turn + self.pace.between;
            return turn;
        }
        next.retain(|_, at| now < *at + FORGET_AFTER);
        next.insert(shard.clone(), now + self.pace.between);
        now
    }

    /// The shard has given that many bytes: it rests for as long as they are more than its share.
    pub(super) fn gave(&self, shard: &Partition, bytes: usize, now: Instant) {
        #[expect(clippy::cast_precision_loss, reason = "an answer has at most some ten million bytes")]
        let rest = Duration::from_secs_f64(bytes as f64 / self.pace.bytes_per_second);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = next.get_mut(shard) {
            *at = (*at).max(now + rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(turns: &Turns, shard: &str, began: Instant, now: u64) -> u128 {
        let turn = turns.take(&Partition::new(shard), began + Duration::from_millis(now));
        (turn - began).as_millis()
    }

    #[test]
    fn readers_of_a_shard_share_its_turns() {
        let (turns, began) = (Turns::new(GRANTED), Instant::now());
        assert_eq!(milliseconds(&turns, "a", began, 0), 0);
        assert_eq!(milliseconds(&turns, "a", began, 0), 200);
        assert_eq!(milliseconds(&turns, "b", began, 0), 0, "each shard has its own");
        assert_eq!(milliseconds(&turns, "a", began, 50), 400);
        assert_eq!(milliseconds(&turns, "a", began, 5_000), 5_000, "turns that nobody took are gone");
    }

    #[test]
    fn a_large_answer_makes_the_shard_rest() {
        let (turns, began) = (Turns::new(GRANTED), Instant::now());
        let shard = Partition::new("a");
        assert_eq!(milliseconds(&turns, "a", began, 0), 0);
        turns.gave(&shard, 1_000, began);
        assert_eq!(milliseconds(&turns, "a", began, 0), 200, "a small one does not");
        turns.gave(&shard, 10_000_000, began + Duration::from_millis(300));
        assert_eq!(milliseconds(&turns, "a", began, 300), 5_300);
    }

    #[test]
    fn shards_that_nobody_asks_are_forgotten() {
        let (turns, began) = (Turns::new(GRANTED), Instant::now());
        milliseconds(&turns, "a", began, 0);
        milliseconds(&turns, "b", began, 120_000);
        assert_eq!(turns.next.lock().unwrap().len(), 1);
    }
}
