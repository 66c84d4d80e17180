//! The store as a whole: the contract, and what is its own (memory, crashes, sweeping, full disks).

mod concurrent;
mod crash;
mod failing;
mod memory;
mod sweep;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::time::{Clock, EventTime};
use tempfile::TempDir;
use testkit::contract::online::{self, Place, Subject};

use super::{EmbeddedOptions, EmbeddedStore};

/// A clock that stands until it is set.
#[derive(Default)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> EventTime {
        EventTime(self.0.load(Ordering::Relaxed))
    }
}

fn options(directory: impl Into<PathBuf>) -> EmbeddedOptions {
    EmbeddedOptions {
        // Checkpoints are made when a test says so.
        checkpoint_interval: Duration::from_secs(3600),
        memory_bytes: 16 << 20,
        ..EmbeddedOptions::new(directory, Arc::new(TestClock::default()))
    }
}

struct Directory(TempDir);

impl Place for Directory {
    fn open(&self) -> Subject {
        subject(&EmbeddedStore::open(options(self.0.path())).unwrap())
    }
}

fn subject(store: &Arc<EmbeddedStore>) -> Subject {
    let deleting = Arc::clone(store);
    Subject {
        store: Arc::clone(store) as _,
        reader: Arc::clone(store) as _,
        ledger: Some(Arc::clone(store) as _),
        delete: Some(Box::new(move |view, keys, version| deleting.delete(view, keys, version))),
    }
}

fn fresh() -> Box<dyn Place> {
    Box::new(Directory(tempfile::tempdir().unwrap()))
}

macro_rules! contract {
    ($($name:ident),*) => {
        $(#[test] fn $name() { online::$name(&*fresh()); })*
    };
}

contract!(
    newer_wins,
    replay,
    late_rows,
    tombstones,
    all_types,
    nulls,
    many_keys,
    schema_evolution,
    other_join_keys,
    reopen,
    empty_batch,
    advance_without_rows,
    generations,
    rewind,
    set_back
);

/// Every commit as tables, or every commit through the journal.
fn set_tables(store: &EmbeddedStore, tables: bool) {
    store.core.disk.tables_from.store(if tables { 1 } else { usize::MAX }, Ordering::Relaxed);
}

#[test]
fn both_ways_of_committing_mix() {
    let directory = tempfile::tempdir().unwrap();
    let view = online::counts_view("counts");
    let mut written = 0;
    for round in 0..4 {
        let store = EmbeddedStore::open(options(directory.path())).unwrap();
        let subject = subject(&store);
        for step in 0..6u64 {
            set_tables(&store, (round + step) % 3 != 0);
            // Entities 0 to 9 change each time, others come once; the last entity is deleted and comes back.
            let rows: Vec<_> = (0..10)
                .map(|entity| online::TestRow::new(entity, written, written.unsigned_abs(), written))
                .chain([online::TestRow::new(1000 + u32::try_from(written).unwrap(), 1, 1, written)])
                .collect();
            assert!(subject.write(online::batch(&view, "0", 1, &rows)).is_empty());
            subject.checkpoint();
            written += 1;
        }
        for entity in 0..10 {
            subject.check_count(&view, entity, Some((written.unsigned_abs() - 1, written - 1)));
        }
    }
    let store = EmbeddedStore::open(options(directory.path())).unwrap();
    for seen in 0..written {
        subject(&store).check_count(&view, 1000 + u32::try_from(seen).unwrap(), Some((1, seen)));
    }
    assert_eq!(
        store.core.ledger.durable("counts", &model::position::Partition::new("0")).unwrap().as_u64(),
        Some(23)
    );
}

#[test]
fn a_second_store_on_the_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(options(directory.path())).unwrap();
    let failure = EmbeddedStore::open(options(directory.path())).err().unwrap();
    assert!(failure.to_string().contains(&format!("process {}", std::process::id())), "{failure}");
    drop(store);
    EmbeddedStore::open(options(directory.path())).unwrap();
}

#[test]
fn closing_makes_a_last_checkpoint_and_ends_writing() {
    let directory = tempfile::tempdir().unwrap();
    let view = online::counts_view("counts");
    {
        let store = EmbeddedStore::open(options(directory.path())).unwrap();
        let subject = subject(&store);
        let batch = || online::batch(&view, "0", 1, &[online::TestRow::new(1, 1, 1, 1)]);
        subject.write(batch());
        store.close().unwrap();
        store.close().unwrap();
        assert!(online::block_on(subject.store.write(batch())).unwrap_err().to_string().contains("closed"));
        assert!(online::block_on(subject.store.checkpoint()).is_err());
        subject.check_count(&view, 1, Some((1, 1)));
    }
    let store = EmbeddedStore::open(options(directory.path())).unwrap();
    subject(&store).check_count(&view, 1, Some((1, 1)));
}

#[test]
fn changes_become_durable_by_themselves_and_callers_hear_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let view = online::counts_view("counts");
    let options =
        EmbeddedOptions { checkpoint_interval: Duration::from_millis(20), ..options(directory.path()) };
    let store = EmbeddedStore::open(options).unwrap();
    let (told, hears) = std::sync::mpsc::sync_channel(100);
    let durable = Arc::downgrade(&store);
    store.on_checkpoint(Box::new(move || {
        let partition = model::position::Partition::new("0");
        let position = durable.upgrade().and_then(|store| store.core.ledger.durable("counts", &partition));
        // Nobody listens any more when the test ends.
        let _nobody_listens = told.try_send(position);
    }));
    subject(&store).write(online::batch(&view, "0", 1, &[online::TestRow::new(1, 1, 77, 1)]));
    let hear = || hears.recv_timeout(Duration::from_secs(60)).unwrap();
    while hear().and_then(|position| position.as_u64()) != Some(77) {}
    // Nothing has changed since, so nothing is written; who waits is called all the same.
    assert_eq!(hear().and_then(|position| position.as_u64()), Some(77));
    assert_eq!(store.statistics().checkpoints, 1);
    assert_eq!(store.statistics().dirty_rows, 0);
}
