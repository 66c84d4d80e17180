//! After a crash the store is what some checkpoint made: every row that a durable position covers is there.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use model::online::Ledger;
use model::position::Partition;
use testkit::contract::online::{self, TestRow};

use super::super::EmbeddedStore;
use super::{options, set_tables, subject};

const DIRECTORY: &str = "MILLRACE_TEST_CRASH_DIRECTORY";
const ENTITIES: u64 = 97;
const ROWS_PER_BATCH: u64 = 50;

/// The row at a position: entities in turn, event times that rise.
fn row_at(position: u64) -> TestRow {
    let number = i64::try_from(position).unwrap();
    TestRow::new(u32::try_from(position % ENTITIES).unwrap(), number, position, number * 3)
}

fn durable(store: &EmbeddedStore) -> Option<u64> {
    store.durable("counts", &Partition::new("0")).and_then(|position| position.as_u64())
}

/// Not a test: what is killed. Writes onward from where the store stands, and says which positions are durable.
#[test]
#[ignore = "started by `killed_at_any_moment`"]
fn writer_that_is_killed() {
    let directory = std::env::var_os(DIRECTORY).unwrap();
    let store = EmbeddedStore::open(options(directory)).unwrap();
    let subject = subject(&store);
    let view = online::counts_view("counts");
    let mut next = durable(&store).map_or(0, |through| through + 1);
    for round in 0.. {
        for _ in 0..20 {
            let rows: Vec<_> = (next..next + ROWS_PER_BATCH).map(row_at).collect();
            subject.write(online::batch(&view, "0", 1, &rows));
            next += ROWS_PER_BATCH;
        }
        set_tables(&store, round % 2 == 0);
        // The next rows are written while the checkpoint is.
        let checkpoint = subject.store.checkpoint();
        let rows: Vec<_> = (next..next + ROWS_PER_BATCH).map(row_at).collect();
        subject.write(online::batch(&view, "0", 1, &rows));
        next += ROWS_PER_BATCH;
        online::block_on(checkpoint).unwrap();
        println!("durable {}", durable(&store).unwrap());
    }
}

/// Checks that rows and position belong together; returns the position.
#[track_caller]
fn check(directory: &Path, at_least: u64) -> u64 {
    let store = EmbeddedStore::open(options(directory)).unwrap();
    let subject = subject(&store);
    let view = online::counts_view("counts");
    let through = durable(&store).expect("a checkpoint was made");
    assert!(through >= at_least, "position {through} is behind {at_least}, which was durable");
    for entity in 0..ENTITIES {
        let newest = through - (through + ENTITIES - entity) % ENTITIES;
        let (version, value) =
            subject.get_count(&view, u32::try_from(entity).unwrap()).expect("its row is covered");
        let position = version.position.as_u64().unwrap();
        assert!(position >= newest, "u{entity} stands at {position}, the position covers {newest}");
        assert_eq!(position % ENTITIES, entity);
        assert_eq!(value, model::value::Value::Int(i64::try_from(position).unwrap() * 3));
    }
    through
}

#[test]
fn killed_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let mut through = 0;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "online::embedded::tests::crash::writer_that_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.map_while(Result::ok).filter_map(|line| {
            line.rsplit_once("durable ").and_then(|(_, number)| number.parse::<u64>().ok())
        });
        // Right after a checkpoint is as good a moment as any: the writer has gone on by the time the signal arrives.
        let last = said.take(2 + round * 3).last().expect("the writer makes checkpoints");
        child.kill().unwrap();
        child.wait().unwrap();
        through = check(directory.path(), last.max(through));
    }
}

#[test]
fn copied_at_any_moment() {
    let (directory, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = EmbeddedStore::open(options(directory.path())).unwrap();
    let subject = subject(&store);
    let view = online::counts_view("counts");
    let mut next = 0;
    for round in 0..4 {
        set_tables(&store, false);
        for _ in 0..10 {
            let rows: Vec<_> = (next..next + ROWS_PER_BATCH).map(row_at).collect();
            subject.write(online::batch(&view, "0", 1, &rows));
            next += ROWS_PER_BATCH;
        }
        subject.checkpoint();
        let known = durable(&store).unwrap();
        subject.write(online::batch(&view, "0", 1, &[row_at(next)]));
        next += 1;
        let copy = copies.path().join(round.to_string());
        copy_directory(directory.path(), &copy);
        assert_eq!(check(&copy, known), known, "what no checkpoint has is not there");
    }
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
