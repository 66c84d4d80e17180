//! The table stays within its bound; what is forgotten is found again on disk; writers wait when nothing can be forgotten.

use testkit::contract::online::{self, TestRow};

use super::super::{EmbeddedOptions, EmbeddedStore};
use super::{options, set_tables, subject};

const LIMIT: usize = 8 << 20;

fn row(entity: u32, version: u32) -> TestRow {
    TestRow::new(entity, version.into(), version.into(), i64::from(entity) * 1000 + i64::from(version))
}

#[test]
fn forgotten_rows_are_found_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store =
        EmbeddedStore::open(EmbeddedOptions { memory_bytes: LIMIT, ..options(directory.path()) }).unwrap();
    set_tables(&store, true);
    let subject = subject(&store);
    let view = online::counts_view("counts");
    // Several times what the table holds: 48 bytes and an allocation of at least 32 for each entity.
    let entities = 120_000u32;
    for version in [5, 6] {
        for first in (0..entities).step_by(10_000) {
            let rows: Vec<_> = (first..first + 10_000).map(|entity| row(entity, version)).collect();
            assert!(subject.write(online::batch(&view, "0", 1, &rows)).is_empty());
            let memory = store.statistics().memory_bytes;
            assert!(memory <= LIMIT + LIMIT / 4, "{memory} bytes after entity {first}");
        }
    }
    subject.checkpoint();
    let statistics = store.statistics();
    assert!(statistics.memory_bytes <= LIMIT, "{statistics:?}");
    assert!(statistics.entities < entities as usize * 3 / 4, "{statistics:?}");
    assert!(statistics.checkpoints > 2, "rows that cannot be forgotten make checkpoints: {statistics:?}");
    for entity in (0..entities).step_by(1009) {
        subject.check_count(&view, entity, Some((6, i64::from(entity) * 1000 + 6)));
    }
    // Older versions lose against the disk too, equal ones are no news.
    let rows: Vec<_> =
        (0..100).map(|number| row(number * 1103, if number % 2 == 0 { 4 } else { 6 })).collect();
    let late = subject.write(online::batch(&view, "0", 1, &rows));
    assert_eq!(late, (0..100).filter(|number| number % 2 == 0).collect::<Vec<_>>());
    assert!(store.statistics().memory_bytes <= LIMIT);
}

#[test]
fn writers_wait_for_the_disk_and_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        EmbeddedOptions { memory_bytes: LIMIT, checkpoint_bytes: 64 << 10, ..options(directory.path()) };
    let store = EmbeddedStore::open(options).unwrap();
    let subject = subject(&store);
    let view = online::counts_view("counts");
    for version in 0..400u32 {
        let first = version % 10 * 500;
        let rows: Vec<_> = (first..first + 500).map(|entity| row(entity, version)).collect();
        subject.write(online::batch(&view, "0", 1, &rows));
        let pinned = store.statistics().pinned_bytes;
        assert!(pinned <= 2 * (64 << 10) + 500 * 200, "{pinned} bytes are not on disk");
    }
    assert!(store.statistics().checkpoints >= 1);
    subject.check_count(&view, 4999, Some((399, 4_999_399)));
}

/// Ten million entities; prints what the process occupies. `cargo test --release -p connectors ten_million -- --ignored
/// --nocapture`
#[test]
#[ignore = "writes 2 GB and takes minutes without optimization"]
fn ten_million_entities_stay_within_the_bound() {
    let directory = tempfile::tempdir_in(".").unwrap();
    let memory_bytes = 256 << 20;
    let store = EmbeddedStore::open(EmbeddedOptions {
        memory_bytes,
        checkpoint_bytes: 64 << 20,
        checkpoint_interval: std::time::Duration::from_secs(2),
        ..options(directory.path())
    })
    .unwrap();
    let subject = subject(&store);
    let view = online::counts_view("counts");
    let begun = std::time::Instant::now();
    for version in [1, 2] {
        for first in (0..10_000_000).step_by(10_000) {
            let rows: Vec<_> = (first..first + 10_000).map(|entity| row(entity, version)).collect();
            subject.write(online::batch(&view, "0", 1, &rows));
            assert!(store.statistics().memory_bytes <= memory_bytes + memory_bytes / 16);
        }
        subject.checkpoint();
        println!(
            "{:?} rss {} MiB, peak {} MiB, {:?}",
            begun.elapsed(),
            status("VmRSS"),
            status("VmHWM"),
            store.statistics()
        );
    }
    for what in ["on disk", "in memory"] {
        let begun = std::time::Instant::now();
        for entity in (0..1_000_000).step_by(1_003) {
            subject.check_count(&view, entity, Some((2, i64::from(entity) * 1000 + 2)));
        }
        println!("reads {what}: {:?} each", begun.elapsed() / 998);
    }
    // What comes on top: the engine's block cache, filters, indexes and memtables, buffers of one commit, and what the
    // allocator adds to small allocations.
    assert!(status("VmHWM") < (memory_bytes >> 20) + 320, "peak {} MiB", status("VmHWM"));
}

/// A line of `/proc/self/status` in MiB.
fn status(name: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() >> 10
}
