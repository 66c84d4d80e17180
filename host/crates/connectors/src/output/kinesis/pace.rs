//! When to send again what was not taken: pauses that grow, of the whole stream and of single shards.
//!
//! A shard that had too much is *paced*: its records wait apart, and go with one request at a time until it keeps up again.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};

/// The first pause, and the longest; each is twice the one before it, less a random part of up to one half.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A shard's allowance is counted by the second, so longer ones would only leave it unused.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A pause that grows with each failure and shrinks with each success.
#[derive(Debug, Default)]
pub(super) struct Pause {
    failures: u32,
    until: Option<Instant>,
}

impl Pause {
    /// It failed: longer. Those that fail while a pause lasts were under way before it began.
    pub(super) fn fail(&mut self, now: Instant, jitter: &mut Jitter) {
        if self.lasts(now) {
            return;
        }
        // Beyond the longest pause counting on would only make coming back take longer.
        if length(self.failures) < LONGEST_PAUSE {
            self.failures += 1;
        }
        self.again(now, jitter);
    }

    /// It failed in part: once more the same.
    pub(super) fn again(&mut self, now: Instant, jitter: &mut Jitter) {
        let pause = length(self.failures.saturating_sub(1));
        self.until = Some(now + pause.mul_f64(1.0 - jitter.next() / 2.0));
    }

    /// It worked once. Whether that ends it.
    pub(super) fn ease(&mut self) -> bool {
        self.failures = self.failures.saturating_sub(1);
        self.failures == 0
    }

    /// Whether it lasts.
    pub(super) fn lasts(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Whether the last attempt failed.
    pub(super) fn is_on(&self) -> bool {
        self.until.is_some()
    }

    /// Its end.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

fn length(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE)
}

/// A shard that had too much.
#[derive(Debug, Default)]
pub(super) struct PacedShard {
    pub(super) pause: Pause,
    /// Records that wait for it.
    pub(super) waiting: VecDeque<u32>,
    /// A request with some of them is under way.
    pub(super) is_tried: bool,
}

/// Shards that had too much, by name; the empty name stands for all that are not known.
pub(super) type PacedShards = BTreeMap<Arc<str>, PacedShard>;

/// Which keys go to which shard.
#[derive(Debug, Default)]
pub(super) struct ShardMap {
    /// The last hash key of each open shard, in order.
    ranges: Vec<(u128, Arc<str>)>,
}

impl ShardMap {
    /// Of open shards with their greatest hash keys.
    pub(super) fn new<'a>(shards: impl Iterator<Item = (&'a str, u128)>) -> Self {
        let mut ranges: Vec<(u128, Arc<str>)> = shards.map(|(name, end)| (end, Arc::from(name))).collect();
        ranges.sort();
        Self { ranges }
    }

    /// The shard of a partition key; a map that is out of date names one that is not there any more.
    pub(super) fn shard(&self, partition_key: &str) -> Option<&Arc<str>> {
        let hash = u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into());
        let index = self.ranges.partition_point(|(end, _)| *end < hash);
        self.ranges.get(index).map(|(_, name)| name)
    }

    pub(super) fn knows(&self, shard: &str) -> bool {
        self.ranges.iter().any(|(_, name)| **name == *shard)
    }
}

/// The shard that an error message names, such as `… for shard shardId-000000000001 in stream …`.
pub(super) fn named_shard(message: &str) -> Option<&str> {
    let start = message.find("shardId-")?;
    message[start..].split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).next()
}

/// Random numbers that need not be good, so that hosts do not come back at the same moment.
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new() -> Self {
        Self(RandomState::new().build_hasher().finish() | 1)
    }

    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_shard_that_kinesis_gives_them() {
        let map = ShardMap::new([("high", u128::MAX), ("low", 1 << 127)].into_iter());
        // MD5 of `a` begins with 0c, of `b` with 92.
        assert_eq!(map.shard("a").map(|name| &**name), Some("low"));
        assert_eq!(map.shard("b").map(|name| &**name), Some("high"));
        assert_eq!(ShardMap::default().shard("a"), None);
    }

    #[test]
    fn an_error_names_its_shard() {
        let message = "Rate exceeded for shard shardId-000000000007 in stream s under account 1.";
        assert_eq!(named_shard(message), Some("shardId-000000000007"));
        assert_eq!(named_shard("Rate exceeded"), None);
    }

    #[test]
    fn pauses_grow_and_end() {
        let (mut pause, mut jitter) = (Pause::default(), Jitter::new());
        let mut now = Instant::now();
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            pause.fail(now, &mut jitter);
            let until = pause.until().unwrap();
            assert!(pause.lasts(now) && until - now <= LONGEST_PAUSE);
            longest = longest.max(until - now);
            // One that was under way when it began changes nothing.
            pause.fail(now, &mut jitter);
            assert_eq!(pause.until(), Some(until));
            now = until;
        }
        assert!(longest >= LONGEST_PAUSE / 2);
        assert!((0..20).any(|_| pause.ease()));
    }
}
