//! What guests say reaches the log, filtered and bounded.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use model::transform::Limits;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use crate::support::{call, generous};

/// Runs with a subscriber of its own and gives the events of target `guest`: level, view, text.
fn logged(action: &str, limits: Limits, level: tracing::Level) -> Vec<String> {
    let events = Arc::new(Mutex::new(Vec::new()));
    let subscriber = Registry::default()
        .with(tracing_subscriber::filter::LevelFilter::from_level(level))
        .with(Collect(Arc::clone(&events)));
    tracing::subscriber::with_default(subscriber, || call(action, limits, 2).map(drop).unwrap_or_default());
    std::mem::take(&mut *events.lock().unwrap())
}

struct Collect(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Collect {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "guest" {
            let mut text = event.metadata().level().to_string();
            event.record(&mut Text(&mut text));
            self.0.lock().unwrap().push(text);
        }
    }
}

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

#[test]
fn messages_carry_level_and_view() {
    let events = logged("log", generous(), tracing::Level::INFO);
    assert_eq!(
        events,
        [r#"INFO message=batch 00000000000000ff of clicks view="clicks" component="hostile.wasm""#]
    );
    assert_eq!(logged("log", generous(), tracing::Level::TRACE).len(), 2);
    assert_eq!(logged("log", generous(), tracing::Level::ERROR), Vec::<String>::new());
}

#[test]
fn volume_is_limited_and_what_is_dropped_is_counted() {
    let events = logged("log flood", Limits { log: 10_000, ..generous() }, tracing::Level::INFO);
    assert!(events.len() < 5_000, "{} of 20,000 messages went through", events.len());
    let last = events.last().unwrap();
    assert!(last.contains("messages dropped: more than 10000 bytes a second (`limits.log`)"), "{last}");
}

#[test]
fn long_messages_are_cut() {
    let events = logged("log huge", generous(), tracing::Level::INFO);
    assert_eq!(events.len(), 1);
    assert!(events[0].len() < 5_000);
}
