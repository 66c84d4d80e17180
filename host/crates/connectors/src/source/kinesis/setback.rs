//! What a fetcher does when a question was refused: wait and ask again, tell, end, or stop.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use model::error::Failure;

use super::calls::{Refusal, Start};
use super::fetcher::{Fetcher, Outcome, Pauses, sequence_of};
use crate::kinesis::position::{ShardPosition, parse};
use crate::kinesis::{Class, Trouble};
use crate::source::OutOfRange;

/// Times in a row that something may go wrong that mostly passes by itself, before it is believed and told: a shard that
/// was just made is not known everywhere at once.
const PATIENCE: u32 = 3;

/// How far our clock may be ahead of Kinesis's, which refuses signatures that are off by more than five minutes. Longer, and
/// a time that is refused for another reason is taken for one in the future, and what came since is left out.
const MOST_AHEAD: Duration = Duration::from_secs(600);

/// What to do about a position that is none of this stream's.
pub(super) const MADE_ANEW: &str = "the stream was made anew: take its events from the beginning with \
    `host rewind VIEW --to earliest`, for each view of this source";

/// Why a round came to nothing.
#[derive(Debug)]
pub(super) enum Setback {
    /// A question was refused.
    Refused(Asked, Refusal),
    /// Only an operator can mend it.
    Stop(String),
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Iterator,
    Records,
    Retention,
}

/// Whether the iterator is as good as before.
pub(super) fn keeps_iterator(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Settings(_) => true,
        Refusal::Trouble(trouble) => match trouble.class {
            Class::Throttled
            | Class::Limit
            | Class::Credentials
            | Class::AccessDenied
            | Class::InUse
            | Class::Service
            | Class::Away => true,
            Class::IteratorExpired | Class::NotFound | Class::Invalid | Class::Other => false,
        },
    }
}

/// How long to wait after so many failures in a row: about twice as long each time.
pub(super) fn pause(pauses: Pauses, failures: u32) -> Duration {
    let doubled = pauses.first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    // Between three and five quarters of that, so that shards and hosts do not come back all at the same moment.
    let random = RandomState::new().hash_one(failures) % 512;
    doubled.min(pauses.most).mul_f64(0.75 + f64::from(u16::try_from(random).unwrap_or(0)) / 1024.0)
}

impl Fetcher {
    /// Try again after a pause, end here, or stop with words.
    pub(super) fn fall_back(&mut self, setback: Setback) -> Result<Outcome, String> {
        if self.iterator.is_none() {
            self.from_tip = false;
        }
        let (asked, trouble) = match setback {
            Setback::Stop(message) => return Err(message),
            Setback::Refused(_, Refusal::Settings(failure)) => {
                self.inbox.fail(Failure::retry(failure.to_string()));
                return Ok(Outcome::GoOn);
            }
            Setback::Refused(asked, Refusal::Trouble(trouble)) => (asked, trouble),
        };
        match trouble.class {
            Class::Throttled | Class::Limit => {
                self.core.metrics.throttles.inc();
            }
            Class::IteratorExpired => {
                self.core.metrics.expired_iterators.inc();
            }
            Class::NotFound if trouble.text.contains(self.partition.as_str()) => {
                return self.shard_is_gone(&trouble);
            }
            // Also an iterator of ours that is not taken for one. Another one will be.
            Class::Invalid if asked == Asked::Records && self.failures < PATIENCE => {}
            Class::InUse | Class::Other if self.failures < PATIENCE => {}
            Class::Invalid if asked == Asked::Iterator => return self.start_is_refused(&trouble),
            // The stream may come into being, and rights be given.
            Class::NotFound | Class::AccessDenied | Class::Invalid | Class::InUse | Class::Other => {
                self.tell(&trouble);
            }
            // Those who watch the connection have heard of it.
            Class::Credentials | Class::Service | Class::Away => {}
        }
        Ok(Outcome::GoOn)
    }

    /// Kinesis holds the place where an iterator should begin for nonsense.
    fn start_is_refused(&mut self, trouble: &Trouble) -> Result<Outcome, String> {
        match self.start() {
            // A time in the future: our clock is ahead of theirs. Until theirs has come to that time nothing is left out
            // by beginning behind the last record. A time that is past for whatever clock was refused for another reason.
            Ok(Start::Time(time)) if self.core.clock.now().minus(MOST_AHEAD).0 < time => self.from_tip = true,
            Ok(Start::At(sequence)) => {
                return Err(format!(
                    "record {sequence} is unknown there ({}), so that {MADE_ANEW}",
                    trouble.text
                ));
            }
            _ => self.tell(trouble),
        }
        Ok(Outcome::GoOn)
    }

    /// Kinesis does not know the shard.
    fn shard_is_gone(&mut self, trouble: &Trouble) -> Result<Outcome, String> {
        if self.failures < PATIENCE {
            return Ok(Outcome::GoOn);
        }
        let record = self.at.filter(|at| matches!(parse(at), Some(ShardPosition::Record { .. })));
        let Some(record) = record else {
            // Nobody had begun with it.
            tracing::warn!(source = self.core.name, partition = %self.partition, "the shard is gone: {trouble}");
            return Ok(Outcome::Ended);
        };
        let sequence = sequence_of(&record);
        if self.core.out_of_range == OutOfRange::Stop {
            return Err(format!(
                "the shard is gone ({trouble}), and what it had behind record {sequence} is lost; set `out_of_range` \
                 of the source to `earliest` or `latest` to go on without it, or choose a place with `host rewind`"
            ));
        }
        self.core.metrics.gaps.inc();
        tracing::warn!(
            source = self.core.name,
            partition = %self.partition,
            behind = sequence,
            "the shard is gone with records that were not read: going on without them"
        );
        Ok(Outcome::Ended)
    }

    /// Says what is wrong; it may mend itself.
    fn tell(&self, trouble: &Trouble) {
        let failure = trouble.failure(&self.core.connection, &self.doing());
        self.inbox.fail(Failure::retry(failure.to_string()));
    }
}
