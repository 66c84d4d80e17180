//! What guests say: filtered by level, bounded in volume, sent on as `tracing` events of target `guest`.
//!
//! The last words of a guest are kept for the message of a trap: a panic's text has no other way out.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::Level as TracingLevel;

use crate::bindings::millrace::transform::log::Level;
use crate::engine::Engine;

/// Bytes of one message at most; the rest is cut off.
const MAX_MESSAGE: usize = 4 << 10;
/// Bytes of a guest's last words that go into the message of a trap.
const MAX_LAST_WORDS: usize = 4 << 10;
/// What a message costs beside its bytes, so that empty ones are not free.
const MESSAGE_COST: f64 = 32.0;

/// Takes the messages of one transform's guests.
pub(crate) struct LogSink {
    view: Arc<str>,
    component: Arc<str>,
    engine: Engine,
    /// Bytes a second, and the most that can be saved up.
    rate: f64,
    rate_text: usize,
    state: Mutex<State>,
}

struct State {
    level: Level,
    tokens: f64,
    filled: Instant,
    /// Messages dropped since the last report.
    dropped: u64,
    last_words: String,
}

impl LogSink {
    pub(crate) fn new(
        engine: &Engine,
        view: &Arc<str>,
        component: &Arc<str>,
        bytes_per_second: usize,
    ) -> Self {
        // Precision does not matter here: a bucket of more than 2^52 bytes is no limit.
        #[expect(clippy::cast_precision_loss, reason = "a bucket's size needs no exact arithmetic")]
        let rate = bytes_per_second as f64;
        let state = State {
            level: Level::Info,
            tokens: rate,
            filled: Instant::now(),
            dropped: 0,
            last_words: String::new(),
        };
        Self {
            view: Arc::clone(view),
            component: Arc::clone(component),
            engine: engine.clone(),
            rate,
            rate_text: bytes_per_second,
            state: Mutex::new(state),
        }
    }

    /// The least important level that anybody listens to now; from here on others are dropped.
    pub(crate) fn choose_level(&self) -> Level {
        let level = if tracing::enabled!(target: "guest", TracingLevel::TRACE) {
            Level::Trace
        } else if tracing::enabled!(target: "guest", TracingLevel::DEBUG) {
            Level::Debug
        } else if tracing::enabled!(target: "guest", TracingLevel::INFO) {
            Level::Info
        } else if tracing::enabled!(target: "guest", TracingLevel::WARN) {
            Level::Warn
        } else {
            Level::Error
        };
        self.state().level = level;
        level
    }

    /// Takes one message.
    pub(crate) fn write(&self, level: Level, message: &str) {
        let message = cut(message, MAX_MESSAGE);
        let mut state = self.state();
        if matches!(level, Level::Error) {
            state.remember(message);
        }
        if level as u8 > state.level as u8 {
            return;
        }
        // Lengths are at most MAX_MESSAGE.
        #[expect(clippy::cast_precision_loss, reason = "messages have at most a few thousand bytes")]
        let cost = message.len() as f64 + MESSAGE_COST;
        if !state.take(cost, self.rate) {
            state.dropped += 1;
            self.engine.counters().dropped_messages.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let dropped = std::mem::take(&mut state.dropped);
        drop(state);
        self.report(dropped);
        self.emit(level, message);
    }

    /// Forgets what was said before this call.
    pub(crate) fn begin_call(&self) {
        self.state().last_words.clear();
    }

    /// What the guest said last at level `error` or on standard error.
    pub(crate) fn last_words(&self) -> String {
        std::mem::take(&mut self.state().last_words)
    }

    /// Keeps a line for the message of a trap without logging it twice.
    pub(crate) fn remember(&self, line: &str) {
        self.state().remember(line);
    }

    /// Says how many messages were dropped, if any were.
    pub(crate) fn settle(&self) {
        let dropped = std::mem::take(&mut self.state().dropped);
        self.report(dropped);
    }

    fn report(&self, dropped: u64) {
        if dropped > 0 {
            tracing::warn!(
                target: "guest", view = &*self.view, component = &*self.component, dropped,
                "{dropped} messages dropped: more than {} bytes a second (`limits.log`)", self.rate_text
            );
        }
    }

    fn emit(&self, level: Level, message: &str) {
        let (view, component) = (&*self.view, &*self.component);
        match level {
            Level::Error => tracing::error!(target: "guest", view, component, "{message}"),
            Level::Warn => tracing::warn!(target: "guest", view, component, "{message}"),
            Level::Info => tracing::info!(target: "guest", view, component, "{message}"),
            Level::Debug => tracing::debug!(target: "guest", view, component, "{message}"),
            Level::Trace => tracing::trace!(target: "guest", view, component, "{message}"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is valid after each statement: a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        self.settle();
    }
}

impl State {
    /// Takes from the bucket, which refills with time.
    fn take(&mut self, cost: f64, rate: f64) -> bool {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + elapsed * rate).min(rate);
        if self.tokens < cost {
            return false;
        }
        self.tokens -= cost;
        true
    }

    /// Appends a line to the last words and drops the oldest lines that no longer fit.
    fn remember(&mut self, line: &str) {
        if !self.last_words.is_empty() {
            self.last_words.push('\n');
        }
        self.last_words.push_str(line);
        while self.last_words.len() > MAX_LAST_WORDS {
            match self.last_words.find('\n') {
                Some(end) => drop(self.last_words.drain(..=end)),
                None => self.last_words.truncate(cut(&self.last_words, MAX_LAST_WORDS).len()),
            }
        }
    }
}

/// The beginning of a text, at most this many bytes, cut between characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
