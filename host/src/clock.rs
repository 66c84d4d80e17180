//! The real clock: the only place that reads it.

use std::time::{SystemTime, UNIX_EPOCH};

use model::time::{Clock, EventTime};

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is given")]
    fn now(&self) -> EventTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        EventTime(model::time::micros(since))
    }
}
