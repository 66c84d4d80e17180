//! When checkpoints are made, and who waits for them: one thread, one list of wishes, one result that all can see.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use model::error::{Disposition, Failure};
use tokio::sync::watch;

use super::core::Core;

/// After a failed checkpoint, before the next.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Control {
    wishes: Mutex<Wishes>,
    wake: Condvar,
    outcome: watch::Sender<Outcome>,
}

#[derive(Default)]
struct Wishes {
    /// The last ticket that was given to somebody who waits.
    requested: u64,
    /// The last ticket whose checkpoint has begun.
    begun: u64,
    /// There are more changed rows than there should be.
    hurry: bool,
    stop: bool,
}

/// What became of checkpoints so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    /// The last ticket whose checkpoint has ended.
    pub(super) attempted: u64,
    /// The last ticket whose checkpoint was made.
    pub(super) succeeded: u64,
    /// Why the last checkpoint failed; `None` if it was made.
    pub(super) failure: Option<(Disposition, String)>,
    /// The store takes no more.
    pub(super) closed: bool,
}

impl Outcome {
    /// The failure of the last checkpoint, to be told to a writer.
    pub(super) fn to_failure(&self) -> Option<Failure> {
        self.failure.as_ref().map(|(disposition, message)| Failure {
            disposition: *disposition,
            message: message.clone(),
            source: None,
        })
    }
}

impl Control {
    pub(super) fn new() -> Self {
        Self { wishes: Mutex::default(), wake: Condvar::new(), outcome: watch::Sender::default() }
    }

    /// Asks for a checkpoint that begins after this call.
    pub(super) fn request(&self) -> u64 {
        let mut wishes = self.lock();
        wishes.requested += 1;
        self.wake.notify_all();
        wishes.requested
    }

    /// Asks for a checkpoint soon, without waiting for it.
    pub(super) fn hurry(&self) {
        let mut wishes = self.lock();
        if !wishes.hurry {
            wishes.hurry = true;
            self.wake.notify_all();
        }
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_all();
    }

    /// Lets nobody wait any longer.
    pub(super) fn close(&self) {
        self.outcome.send_modify(|outcome| outcome.closed = true);
    }

    pub(super) fn outcome(&self) -> watch::Receiver<Outcome> {
        self.outcome.subscribe()
    }

    /// Waits until there is a reason for a checkpoint and returns the ticket that it answers; `None` = stop.
    fn next(&self, core: &Core, last: Instant, failed: bool) -> Option<u64> {
        let mut wishes = self.lock();
        loop {
            if wishes.stop {
                return None;
            }
            let due = if failed { last + RETRY_PAUSE } else { last + core.checkpoint_interval };
            let now = Instant::now();
            if wishes.requested > wishes.begun || (wishes.hurry && !failed) || now >= due {
                wishes.begun = wishes.requested;
                wishes.hurry = false;
                return Some(wishes.begun);
            }
            let (again, _) = self.wake.wait_timeout(wishes, due - now).expect(UNBROKEN);
            wishes = again;
        }
    }

    fn ended(&self, ticket: u64, failure: Option<(Disposition, String)>) {
        self.outcome.send_modify(|outcome| {
            outcome.attempted = ticket;
            if failure.is_none() {
                outcome.succeeded = ticket;
            }
            outcome.failure = failure;
        });
    }

    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().expect(UNBROKEN)
    }
}

const UNBROKEN: &str = "nothing panics while it changes wishes";

/// Makes checkpoints until [`Control::stop`]. Runs on a thread of its own, as a commit may block.
pub(super) fn run(core: &Core) {
    let (mut last, mut failed) = (Instant::now(), false);
    while let Some(ticket) = core.control.next(core, last, failed) {
        // A panic in the engine or in a callback must not leave writers waiting for ever.
        let result = catch_unwind(AssertUnwindSafe(|| core.checkpoint()));
        let failure = match result {
            Ok(Ok(_)) => None,
            Ok(Err(failure)) => Some((failure.disposition, failure.to_string())),
            Err(_) => Some((
                Disposition::Stop,
                "write a checkpoint: something in it panicked, see the log; restart the host, which replays what was not yet durable"
                    .to_owned(),
            )),
        };
        // One line when it begins and one when it ends: a full disk fails an attempt each second.
        match &failure {
            Some((_, message)) if !failed => {
                tracing::error!(error = message, "checkpoint failed; trying again")
            }
            None if failed => tracing::info!("checkpoints work again"),
            _ => {}
        }
        failed = failure.is_some();
        core.control.ended(ticket, failure);
        last = Instant::now();
    }
}
