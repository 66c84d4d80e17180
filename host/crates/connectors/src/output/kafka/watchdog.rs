//! Calls that may never return: made on a thread that can be given up.
//!
//! Some calls of a transaction ignore their timeout while a coordinator is away. Whoever waits for one here waits for as
//! long as it says and no longer; then the thread is left to itself, with everything that it was given, and ends when the
//! call does.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use model::error::Failure;

type Call = Box<dyn FnOnce() + Send>;

/// A thread that makes calls, one at a time.
pub(super) struct Watchdog {
    calls: SyncSender<Call>,
}

/// The call did not return in time.
#[derive(Debug)]
pub(super) struct Hangs;

impl Watchdog {
    pub(super) fn start() -> Result<Self, Failure> {
        let (calls, next): (SyncSender<Call>, Receiver<Call>) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("kafka-transaction".to_owned())
            .spawn(move || next.into_iter().for_each(|call| call()))
            .map_err(|error| Failure::retry("start a thread for Kafka transactions").caused_by(error))?;
        Ok(Self { calls })
    }

    /// Makes a call and waits for its answer. After [`Hangs`] this watchdog is of no more use.
    pub(super) fn call<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hangs> {
        let (answer, answered) = mpsc::sync_channel(1);
        let call: Call = Box::new(move || {
            // Nobody listens after the limit.
            let _ = answer.send(call());
        });
        self.calls.try_send(call).map_err(|_| Hangs)?;
        // A call that panicked never answers either.
        answered.recv_timeout(limit).map_err(|_| Hangs)
    }

    /// Makes a last call that nobody waits for; one that hangs already is left to itself.
    pub(super) fn leave(&self, call: impl FnOnce() + Send + 'static) {
        // A full queue means that the thread is stuck: what the call held goes here instead.
        drop(self.calls.try_send(Box::new(call)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_is_given_up() {
        let watchdog = Watchdog::start().unwrap();
        assert_eq!(watchdog.call(Duration::from_secs(30), || 7).unwrap(), 7);
        let (release, released) = mpsc::sync_channel::<()>(0);
        watchdog.call(Duration::from_millis(1), move || released.recv()).unwrap_err();
        drop(release);
    }
}
