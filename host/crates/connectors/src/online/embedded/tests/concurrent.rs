//! Writers, readers, checkpoints and forgetting at once end in the same rows as one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::online::{GenerationEntry, Ledger, Starts};
use model::position::{Partition, Position};
use model::source::Positions;
use model::view::{Digest, Generation};
use testkit::contract::online::{self, TestRow};

use super::super::table::SHARDS;
use super::super::{EmbeddedOptions, EmbeddedStore};
use super::{options, set_tables, subject};

const ENTITIES: u64 = 60_000;
const BATCHES: u64 = 400;
const ROWS: u64 = 300;

/// A fixed sequence of rows for each writer; entities are shared between writers.
fn row(writer: u64, number: u64) -> TestRow {
    let random = (number * 2 + writer).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let entity = u32::try_from((random >> 20) % ENTITIES).unwrap();
    let time = i64::try_from((random >> 7) % 1000).unwrap();
    TestRow::new(entity, time, number, time * 1_000_000 + i64::try_from(number).unwrap())
}

#[test]
fn everybody_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        memory_bytes: 8 << 20,
        checkpoint_bytes: 1 << 20,
        checkpoint_interval: std::time::Duration::from_millis(20),
        ..options(directory.path())
    };
    let store = EmbeddedStore::open(options).unwrap();
    let view = online::counts_view("counts");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers = [0, 1].map(|writer| {
            let (store, view) = (Arc::clone(&store), Arc::clone(&view));
            scope.spawn(move || {
                let subject = subject(&store);
                for batch in 0..BATCHES {
                    let rows: Vec<_> =
                        (batch * ROWS..(batch + 1) * ROWS).map(|number| row(writer, number)).collect();
                    subject.write(online::batch(&view, &writer.to_string(), 1, &rows));
                    set_tables(&store, batch % 7 < 3);
                }
            })
        });
        let reader = scope.spawn(|| {
            let subject = subject(&store);
            let mut newest = vec![None; 100];
            while !done.load(Ordering::Relaxed) {
                for (entity, newest) in (0..).step_by(599).zip(&mut newest) {
                    let version = subject.get_count(&view, entity).map(|(version, _)| version);
                    assert!(version >= *newest, "u{entity} went back from {newest:?} to {version:?}");
                    *newest = version;
                }
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    subject(&store).checkpoint();
    let mut newest = vec![None; usize::try_from(ENTITIES).unwrap()];
    for writer in 0..2 {
        for row in (0..BATCHES * ROWS).map(|number| row(writer, number)) {
            let held = &mut newest[row.entity as usize];
            *held = (*held).max(Some((row.event_time, writer, row.position, row.value.unwrap())));
        }
    }
    for (entity, expected) in (0..).zip(newest) {
        subject(&store).check_count(&view, entity, expected.map(|(_, _, position, value)| (position, value)));
    }
}

/// Whatever is written while a checkpoint is made: what a durable position covers is on disk, not only in memory.
#[test]
fn positions_do_not_overtake_rows() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(options(directory.path())).unwrap();
    let view = online::counts_view("counts");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let subject = subject(&store);
            for position in 0..u32::MAX {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                // Each entity comes once, in some shard.
                subject.write(online::batch(&view, "0", 1, &[TestRow::new(position, 0, position.into(), 0)]));
            }
        });
        for _ in 0..40 {
            subject(&store).checkpoint();
            let Some(through) = store.durable("counts", &Partition::new("0")) else { continue };
            let key =
                [&1u32.to_be_bytes()[..], format!("u{}", through.as_u64().unwrap()).as_bytes()].concat();
            let found = store.core.disk.get(&key).unwrap().is_some();
            done.fetch_or(!found, Ordering::Relaxed);
            assert!(found, "the row at {through} is not on disk");
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// A look-up on disk that was overtaken: the entity was written, made durable and forgotten before its result was used.
#[test]
fn an_old_look_up_decides_nothing() {
    for reading in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(options(directory.path())).unwrap();
        let view = online::counts_view("counts");
        let write = |time: i64| {
            let row = TestRow::new(1, time, time.unsigned_abs(), time);
            subject(&store).write(online::batch(&view, "0", 1, &[row]))
        };
        write(1);
        subject(&store).checkpoint();
        forget_everything(&store);
        let (other, view_of_other) = (Arc::clone(&store), Arc::clone(&view));
        *store.core.meanwhile.lock().unwrap() = Some(Box::new(move || {
            let batch = online::batch(&view_of_other, "0", 1, &[TestRow::new(1, 3, 3, 3)]);
            assert!(subject(&other).write(batch).is_empty());
            subject(&other).checkpoint();
            forget_everything(&other);
        }));
        if reading {
            // The reader may answer what was there when it began, but must not leave it in memory.
            assert!(subject(&store).get_count(&view, 1).is_some());
        } else {
            assert_eq!(write(2), [0]);
        }
        subject(&store).check_count(&view, 1, Some((3, 3)));
    }
}

fn forget_everything(store: &EmbeddedStore) {
    for number in 0..SHARDS {
        let mut shard = store.core.table.lock(number);
        shard.evict(usize::MAX, |key| store.core.views.note_forgotten(key));
        store.core.table.publish(&mut shard);
    }
    assert_eq!(store.statistics().entities, 0);
}

#[test]
fn a_checkpoint_on_its_way_does_not_undo_a_rewind() {
    let directory = tempfile::tempdir().unwrap();
    let partition = Partition::new("0");
    let position = Position::from_u64;
    let entry = |number: u32| GenerationEntry {
        generation: Generation { number, digest: Digest([1; 32]) },
        after: Positions::new(),
    };
    let rounds = 100;
    {
        let store = EmbeddedStore::open(options(directory.path())).unwrap();
        for round in 1..=rounds {
            store.advance("counts", &partition, &position(1_000 + u64::from(round)));
            let to = Starts::from([(partition.clone(), Some(position(u64::from(round))))]);
            std::thread::scope(|scope| {
                scope.spawn(|| store.core.checkpoint().unwrap());
                store.rewind("counts", &to, &entry(round), round).unwrap();
            });
            store.core.checkpoint().unwrap();
            assert_eq!(store.durable("counts", &partition), Some(position(u64::from(round))));
        }
    }
    let store = EmbeddedStore::open(options(directory.path())).unwrap();
    let ledger = store.view("counts").unwrap();
    assert_eq!(ledger.online.get(&partition), Some(&position(u64::from(rounds))));
    assert_eq!((ledger.epoch, ledger.generations), (rounds, vec![entry(rounds)]));
}
