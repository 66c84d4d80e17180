//! Whether this writer has the claim of a view. The protocol stands in [`super`].

use std::time::{Duration, Instant};

use crate::online::redis::random::random_hex;

/// How long all others have to have been quiet before a claim is taken, in seconds of Redis' clock.
pub(super) const QUIET_SECONDS: u64 = 30;
/// How long to wait before a claim that was not granted, or was lost, is asked for again.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a writer knows of its claim of a view.
pub(super) struct Claim {
    instance: String,
    /// Names this tenure and no other: the instance, ':' and 32 random digits.
    token: String,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is not ours; it may be asked for from then on (`None` = now).
    None(Option<Instant>),
    /// It was asked for, and the answer is on its way.
    Asked,
    /// It was granted, and nothing has said that it is broken.
    Granted,
}

impl Claim {
    pub(super) fn new(instance: &str) -> Self {
        Self { instance: instance.to_owned(), token: String::new(), state: State::None(None) }
    }

    /// What names this tenure in Redis; empty = there is none.
    pub(super) fn token(&self) -> &str {
        match self.state {
            State::None(_) => "",
            State::Asked | State::Granted => &self.token,
        }
    }

    /// Who claims.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// Whether the claim was granted.
    pub(super) fn is_granted(&self) -> bool {
        self.state == State::Granted
    }

    /// Begins a tenure, if it is time to: returns whether to ask Redis for it.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        match self.state {
            State::None(from) if from.is_none_or(|from| from <= now) => {
                self.token = format!("{}:{}", self.instance, random_hex());
                self.state = State::Asked;
                true
            }
            _ => false,
        }
    }

    /// Redis has granted it.
    pub(super) fn grant(&mut self) {
        if self.state == State::Asked {
            self.state = State::Granted;
        }
    }

    /// It is not ours, or no longer.
    pub(super) fn lose(&mut self, now: Instant, pause: Duration) {
        self.state = State::None(now.checked_add(pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenure_has_a_name_of_its_own() {
        let (mut claim, now) = (Claim::new("a:1"), Instant::now());
        assert_eq!(claim.token(), "");
        assert!(claim.ask(now));
        let first = claim.token().to_owned();
        assert_eq!(first.len(), "a:1".len() + 33);
        assert!(!claim.ask(now), "the answer is on its way");
        assert!(!claim.is_granted());
        claim.grant();
        assert!(claim.is_granted());
        claim.lose(now, ASK_AGAIN);
        assert_eq!(claim.token(), "");
        assert!(!claim.ask(now), "it was just lost");
        claim.grant();
        assert!(!claim.is_granted(), "an answer that comes late grants nothing");
        assert!(claim.ask(now + ASK_AGAIN));
        assert_ne!(claim.token(), first);
    }
}
