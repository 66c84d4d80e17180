//! Waiting for conditions instead of for time.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Generous: it is met only by failures.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Lets time pass in which nothing may happen.
pub fn pass(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

/// Repeats until there is an answer. Panics with `what` if none comes within [`LIMIT`].
#[track_caller]
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = attempt() {
            return answer;
        }
        assert!(started.elapsed() < LIMIT, "waited {} s for: {what}", LIMIT.as_secs());
        thread::park_timeout(Duration::from_millis(5));
    }
}
