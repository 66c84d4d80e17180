//! Rows that are past their time go from memory and from disk; others stay.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::position::{Partition, Position, RowVersion};
use model::value::Value;
use model::view::{ViewRef, ViewShape};
use testkit::contract::online::{self, TestRow};

use super::super::{EmbeddedOptions, EmbeddedStore};
use super::{TestClock, options, subject};

const HOUR: i64 = 3_600_000_000;

fn with_ttl(view: &ViewRef, hours: Option<i64>) -> ViewRef {
    Arc::new(ViewShape { ttl_micros: hours.map(|hours| hours * HOUR), ..(**view).clone() })
}

#[test]
fn only_what_is_past_its_time_goes() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let open = || {
        let clock = Arc::clone(&clock);
        EmbeddedStore::open(EmbeddedOptions { clock, ..options(directory.path()) }).unwrap()
    };
    let (old, forever) = (with_ttl(&online::counts_view("old"), Some(10)), online::counts_view("forever"));
    let rows = [TestRow::new(1, 0, 1, 1), TestRow::new(2, HOUR, 2, 2), TestRow::new(3, 2 * HOUR, 3, 3)];
    {
        let store = open();
        store.set_view(Arc::clone(&old));
        let subject = subject(&store);
        subject.write(online::batch(&old, "0", 1, &rows));
        subject.write(online::batch(&forever, "0", 1, &rows));
        let version = RowVersion {
            event_time: HOUR,
            partition: Partition::new("0"),
            position: Position::from_u64(0),
            generation: 1,
            row: 0,
        };
        store.delete(&forever, &[vec![Value::String("u9".into())]], &version).unwrap();
        // TTL of 10 hours, and one hour more: not yet past it.
        clock.0.store(11 * HOUR, Ordering::Relaxed);
        assert_eq!(store.sweep().unwrap(), 0);
        clock.0.store(11 * HOUR + 1, Ordering::Relaxed);
        assert_eq!(store.sweep().unwrap(), 1);
        subject.check_count(&old, 1, None);
        subject.check_count(&old, 2, Some((2, 2)));
        subject.check_count(&forever, 1, Some((1, 1)));
        // A row that arrives again is taken, as nothing newer is known, and goes again.
        assert!(subject.write(online::batch(&old, "0", 1, &rows[..1])).is_empty());
        assert_eq!(store.sweep().unwrap(), 1);
    }
    let store = open();
    let subject = subject(&store);
    // Until a view is there again nobody knows its TTL, and its rows are kept.
    clock.0.store(1000 * HOUR, Ordering::Relaxed);
    assert_eq!(store.sweep().unwrap(), 1, "the tombstone");
    subject.check_count(&old, 1, None);
    subject.check_count(&old, 3, Some((3, 3)));
    store.set_view(with_ttl(&old, Some(2000)));
    assert_eq!(store.sweep().unwrap(), 0);
    store.set_view(Arc::clone(&old));
    assert_eq!(store.sweep().unwrap(), 2);
    subject.check_count(&old, 3, None);
    subject.check_count(&forever, 3, Some((3, 3)));
    assert_eq!(store.statistics().swept_rows, 3);
}

#[test]
fn it_happens_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    clock.0.store(1000 * HOUR, Ordering::Relaxed);
    let view = with_ttl(&online::counts_view("old"), Some(1));
    let options = EmbeddedOptions {
        clock,
        checkpoint_interval: Duration::from_millis(10),
        ..options(directory.path())
    };
    let store = EmbeddedStore::open(options).unwrap();
    let (told, hears) = std::sync::mpsc::sync_channel(100);
    store.on_checkpoint(Box::new(move || {
        let _nobody_listens = told.try_send(());
    }));
    // The walk over an empty disk may have ended before there was a row, and rests then.
    store.core.walk.lock().unwrap().restart();
    subject(&store).write(online::batch(&view, "0", 1, &[TestRow::new(1, 0, 1, 1)]));
    while store.statistics().swept_rows == 0 {
        hears.recv_timeout(Duration::from_secs(60)).unwrap();
        store.core.walk.lock().unwrap().restart();
    }
    subject(&store).check_count(&view, 1, None);
}
