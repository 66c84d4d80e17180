//! Guests whose toolchain insists on WASI: everything is empty, denied or fixed, and the same in each instance.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use model::transform::{Component, Fault, FaultKind, TransformOptions};

use crate::support::{context, generous, load};

/// What a guest without input columns reports for one row.
fn report(component: &dyn Component, action: &str) -> Result<Vec<u64>, Fault> {
    let mut transform = component.transform(&TransformOptions {
        view: Arc::from("clicks"),
        params: format!(r#"{{"do": "{action}"}}"#),
        limits: generous(),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).unwrap();
    let output = transform.process(&row, &context())?;
    Ok(output.columns.column(0).as_primitive::<UInt64Type>().values().to_vec())
}

#[track_caller]
fn check(action: &str, expected: &[u64]) {
    let component = load("wasi");
    assert_eq!(report(&*component, action).unwrap(), expected);
    // A fresh instance sees the same.
    assert_eq!(report(&*component, action).unwrap(), expected);
}

#[test]
fn clocks_are_fixed_and_sleeping_takes_no_time() {
    let hour = 3_600_000_000_000;
    check("clocks", &[1_000, hour + 3_000, 946_684_800 + 3_600, 2_000]);
}

#[test]
fn there_is_nothing_around() {
    check("surroundings", &[0, 0, 0]);
}

#[test]
fn random_numbers_are_the_same_in_each_instance() {
    let component = load("wasi");
    let first = report(&*component, "random").unwrap();
    assert_ne!(first[0], first[2]);
    assert_eq!(report(&*component, "random").unwrap(), first);
}

#[test]
fn printing_more_than_the_log_takes_is_no_error() {
    check("print much", &[]);
}

#[test]
fn what_is_printed_is_logged() {
    let lines = Arc::new(Mutex::new(String::new()));
    let subscriber = Lines(Arc::clone(&lines));
    tracing::subscriber::with_default(subscriber, || check("print", &[]));
    assert_eq!(*lines.lock().unwrap(), "printed in; two lines;printed in; two lines;");
}

#[test]
fn a_trap_brings_what_was_printed_last() {
    let fault = report(&*load("wasi"), "print and trap").unwrap_err();
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(fault.message.contains(": fatal: out of cheese\n  at "), "{fault}");
}

#[test]
fn leaving_is_a_trap() {
    let fault = report(&*load("wasi"), "exit").unwrap_err();
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(fault.message.contains("ended itself with exit code 1"), "{fault}");
}

#[test]
fn objects_of_the_host_are_limited() {
    let fault = report(&*load("wasi"), "hoard").unwrap_err();
    assert_eq!(fault.kind, FaultKind::Trap);
}

#[test]
fn preview_1_is_answered_within_the_component() {
    let loaded = load("preview1");
    let numbers = report(&*loaded, "").unwrap();
    let hour = 3_600_000_000_000;
    assert_eq!(numbers[..4], [1_001_000, 1_002_000, 771, hour + 1_003_000]);
    assert_ne!(numbers[4], 0);
    assert_eq!(numbers[5..], [13, 0, 8, 44, 8]);
    assert_eq!(report(&*loaded, "").unwrap(), numbers);
}

/// Keeps the texts of events of target `guest`.
struct Lines(Arc<Mutex<String>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target() == "guest" {
            event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                if field.name() == "message" {
                    write!(self.0.lock().unwrap(), "{value:?};").unwrap();
                }
            });
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
