//! Load beside a test: events are written in order until the test tells it to stop, and what was acknowledged is noted.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Where a load writes.
pub(crate) trait Target: Sync {
    /// What is known of an event that was acknowledged.
    type Event: Clone + Send;

    /// Events in one write.
    const ROWS: u64;

    /// How long to wait after each write.
    fn pause(&self) -> Duration;

    /// Something that writes the events of these numbers in order, in the thread that asks for it.
    fn writer(&self) -> impl FnMut(Range<u64>) -> Vec<Self::Event>;
}

/// The load of one target.
pub(crate) struct Load<'a, T: Target> {
    target: &'a T,
    stop: AtomicBool,
    events: Mutex<Vec<T::Event>>,
}

impl<'a, T: Target> Load<'a, T> {
    pub(crate) fn new(target: &'a T) -> Self {
        Self { target, stop: AtomicBool::new(false), events: Mutex::default() }
    }

    /// Runs the load while something is done. A further one goes on where the last has ended.
    pub(crate) fn during<R>(&self, something: impl FnOnce() -> R) -> R {
        self.stop.store(false, Ordering::Release);
        thread::scope(|scope| {
            let _end = EndLoad(&self.stop);
            scope.spawn(|| self.write());
            something()
        })
    }

    fn write(&self) {
        let mut write = self.target.writer();
        while !self.stop.load(Ordering::Acquire) {
            let from = u64::try_from(self.events.lock().unwrap().len()).unwrap();
            let written = write(from..from + T::ROWS);
            self.events.lock().unwrap().extend(written);
            thread::park_timeout(self.target.pause());
        }
    }

    /// What was acknowledged, in order.
    pub(crate) fn events(&self) -> Vec<T::Event> {
        self.events.lock().unwrap().clone()
    }
}

/// Pushes requests to a host until told to stop: in order, each until it is acknowledged, under one producer's name, so
/// that a repeat is recognized. `acknowledged` counts them, and says where to begin; after each it waits for `pause`.
pub(crate) fn push_in_order(
    url: &str,
    source: &str,
    stop: &AtomicBool,
    acknowledged: &AtomicU64,
    pause: Duration,
    request: impl Fn(u64) -> String,
) {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)));
    let agent: ureq::Agent = config.build().into();
    while !stop.load(Ordering::Acquire) {
        let number = acknowledged.load(Ordering::Relaxed);
        let response = agent
            .post(format!("{url}/v1/push/{source}"))
            .header("Millrace-Producer", "load")
            .header("Millrace-Sequence", (number + 1).to_string())
            .send(request(number));
        // Without an answer nothing is known: it is sent again, to this host or the next.
        let Ok(mut response) = response else { continue };
        if response.status() == 200 && response.body_mut().read_to_string().is_ok() {
            acknowledged.store(number + 1, Ordering::Release);
            thread::park_timeout(pause);
        }
    }
}

/// Ends the load of a test when it goes, also by a panic: a scope would wait for the thread that makes it for ever.
pub(crate) struct EndLoad<'a>(pub(crate) &'a AtomicBool);

impl Drop for EndLoad<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
