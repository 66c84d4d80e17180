//! What is noted, without a server.

use std::sync::atomic::{AtomicI64, Ordering};

use model::online::GenerationEntry;
use model::time::{Clock, EventTime};
use model::view::{Digest, Generation};
use testkit::contract::online::{batch, counts_view};

use super::*;
use crate::online::embedded::{EmbeddedOptions, EmbeddedStore};

struct Still(AtomicI64);

impl Clock for Still {
    fn now(&self) -> EventTime {
        EventTime(self.0.load(Ordering::Relaxed))
    }
}

struct Rig {
    directory: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> (Notes, Arc<EmbeddedStore>) {
        let options = EmbeddedOptions {
            checkpoint_interval: Duration::from_secs(3600),
            ..EmbeddedOptions::new(self.directory.path().join("ledger"), Arc::new(Still(AtomicI64::new(0))))
        };
        let ledger = EmbeddedStore::open(options).unwrap();
        let notes =
            Notes::open(self.directory.path(), "cache", Arc::clone(&ledger) as _, RedisMetrics::detached());
        (notes.unwrap(), ledger)
    }
}

/// A batch that covers `first` through `through` of partition 0.
fn covering(first: u64, through: u64) -> FeatureBatch {
    let mut batch = Arc::into_inner(batch(&counts_view("counts"), "0", 1, &[])).unwrap();
    batch.covers.first = Position::from_u64(first);
    batch.covers.through = Position::from_u64(through);
    batch
}

fn note(notes: &Notes, first: u64, through: u64, mark: u64) {
    let era = notes.check("counts", &Partition::new("0")).unwrap();
    notes.acknowledge(&covering(first, through), &[("mark".into(), mark)], era, || false).unwrap();
}

fn lost(notes: &Notes) -> Vec<(String, Option<u64>)> {
    let state = notes.lock();
    let lost = state.contents.lost.iter();
    lost.map(|(lane, to)| (lane.partition.to_string(), to.map(|to| to.as_u64().unwrap()))).collect()
}

fn reached(notes: &Notes) -> Option<u64> {
    let state = notes.lock();
    state.contents.reached.values().next().map(|reached| reached.through.as_u64().unwrap())
}

fn loss(to: Option<u64>) -> Loss {
    Loss { view: "counts".into(), partition: Partition::new("0"), to: to.map(Position::from_u64) }
}

#[test]
fn a_loss_goes_back_to_the_batch_before() {
    let rig = Rig::new();
    let (notes, ledger) = rig.open();
    for number in 1..=5 {
        note(&notes, number * 10, number * 10 + 9, number);
    }
    block(&ledger);
    assert_eq!(ledger.durable("counts", &Partition::new("0")), Some(Position::from_u64(59)));
    notes.lose("mark", 5);
    assert_eq!(lost(&notes), []);
    notes.lose("mark", 3);
    assert_eq!(lost(&notes), [("0".into(), Some(39))]);
    assert!(notes.acknowledge(&covering(60, 69), &[("mark".into(), 6)], 0, || false).is_err());
    // It gets worse before anybody has done anything: what was accepted meanwhile is not enough.
    notes.lose("mark", 1);
    assert_eq!(lost(&notes), [("0".into(), Some(19))]);
    notes.accept(&[loss(Some(39))]);
    notes.check("counts", &Partition::new("0")).unwrap_err();
    notes.check("counts", &Partition::new("1")).unwrap();
    notes.accept(&[loss(Some(19))]);
    notes.check("counts", &Partition::new("0")).unwrap();
    // A batch that was on its way all the time: its source has gone back behind what lies in front of it.
    notes.acknowledge(&covering(60, 69), &[("mark".into(), 6)], 0, || false).unwrap_err();
    assert_eq!(notes.marks(), [("mark".to_owned(), 1)]);
    assert_eq!(reached(&notes), Some(19), "it counts for nothing");
    note(&notes, 20, 29, 7);
    notes.lose("mark", 0);
    assert_eq!(lost(&notes), [("0".into(), None)], "the first batch had nothing before it");
}

/// On a cluster a batch stands before the marks of all masters.
#[test]
fn of_losses_at_two_masters_the_greater_counts() {
    for first in ["a", "b"] {
        let rig = Rig::new();
        let (notes, _ledger) = rig.open();
        for number in 1..=5 {
            let batch = covering(number * 10, number * 10 + 9);
            let marks = ["a", "b"].map(|key| (key.to_owned(), number));
            notes.acknowledge(&batch, &marks, 0, || false).unwrap();
        }
        let second = if first == "a" { "b" } else { "a" };
        notes.lose(first, 1);
        notes.lose(second, 3);
        assert_eq!((lost(&notes), reached(&notes)), (vec![("0".into(), Some(19))], Some(19)));
    }
}

#[test]
fn after_a_rewind_the_last_position_is_no_place_to_go_back_to() {
    let rig = Rig::new();
    let (notes, ledger) = rig.open();
    note(&notes, 10, 99, 1);
    block(&ledger);
    let to = [(Partition::new("0"), Some(Position::from_u64(30)))].into();
    let generation = Generation { number: 2, digest: Digest([2; 32]) };
    ledger.rewind("counts", &to, &GenerationEntry { generation, after: BTreeMap::new() }, 1).unwrap();
    note(&notes, 31, 40, 2);
    notes.lose("mark", 1);
    assert_eq!(lost(&notes), [("0".into(), Some(30))]);
}

#[test]
fn a_rewind_is_not_undone_by_what_the_file_says() {
    let rig = Rig::new();
    {
        let (notes, ledger) = rig.open();
        note(&notes, 10, 99, 1);
        notes.flush().unwrap();
        let to = [(Partition::new("0"), Some(Position::from_u64(500)))].into();
        let generation = Generation { number: 2, digest: Digest([2; 32]) };
        ledger.rewind("counts", &to, &GenerationEntry { generation, after: BTreeMap::new() }, 1).unwrap();
    }
    let (_, ledger) = rig.open();
    assert_eq!(ledger.durable("counts", &Partition::new("0")), Some(Position::from_u64(500)));
}

#[test]
fn another_store_is_told_from_the_right_one() {
    let rig = Rig::new();
    let (notes, _) = rig.open();
    notes.examine(Some("a"), &[]).unwrap();
    note(&notes, 0, 9, 4);
    notes.flush().unwrap();
    assert!(notes.examine(None, &[]).unwrap_err().message.contains("emptied"));
    assert!(notes.examine(Some("b"), &[]).unwrap_err().message.contains("another"));
    notes.check_store().unwrap_err();
    notes.examine(Some("a"), &[]).unwrap();
    notes.check_store().unwrap();
    assert_eq!(notes.marks(), [("mark".to_owned(), 4)]);
    let found = |found| [FoundMark { key: "mark".into(), acknowledged: 4, found }];
    notes.examine(Some("a"), &found(9)).unwrap();
    assert_eq!(lost(&notes), []);
    notes.examine(Some("a"), &found(3)).unwrap();
    assert_eq!(lost(&notes), [("0".into(), None)]);
    notes.examine(None, &[]).unwrap_err();
    std::fs::remove_file(&notes.path).unwrap();
    notes.examine(Some("c"), &[]).unwrap();
    assert_eq!((lost(&notes), notes.store()), (Vec::new(), Some("c".to_owned())));
}

#[test]
fn a_loss_stands_in_the_file_before_anything_is_written_again() {
    let rig = Rig::new();
    let found = |found| [FoundMark { key: "mark".into(), acknowledged: 5, found }];
    for is_found_by_writing in [false, true] {
        let (notes, ledger) = rig.open();
        notes.examine(Some("a"), &[]).unwrap();
        for number in 1..=5 {
            note(&notes, number * 10, number * 10 + 9, number);
        }
        notes.flush().unwrap();
        // The disk is full: nobody may go on.
        let beside = notes.path.with_extension("json.new");
        std::fs::create_dir(&beside).unwrap();
        let marks = if is_found_by_writing {
            notes.lose("mark", 3);
            Vec::new()
        } else {
            found(3).to_vec()
        };
        notes.examine(Some("a"), &marks).unwrap_err();
        notes.examine(Some("a"), &[]).unwrap_err();
        std::fs::remove_dir(&beside).unwrap();
        notes.examine(Some("a"), &[]).unwrap();
        // As after a crash: a higher mark may stand in Redis by now.
        drop((notes, ledger));
        let (notes, _ledger) = rig.open();
        assert_eq!(lost(&notes), [("0".into(), Some(39))]);
        notes.accept(&[loss(Some(39))]);
        notes.flush().unwrap();
    }
}

#[test]
fn a_partition_is_in_the_file_before_its_first_position_counts() {
    let rig = Rig::new();
    let (notes, ledger) = rig.open();
    note(&notes, 10, 19, 7);
    // As after a crash: nothing else has written the file.
    drop((notes, ledger));
    let (notes, _ledger) = rig.open();
    assert_eq!((reached(&notes), notes.marks()), (Some(19), vec![("mark".to_owned(), 7)]));
}

#[test]
fn a_batch_that_nobody_waits_for_moves_no_position() {
    let rig = Rig::new();
    let (notes, ledger) = rig.open();
    note(&notes, 10, 19, 1);
    notes.acknowledge(&covering(20, 29), &[("mark".into(), 2)], 0, || true).unwrap();
    // Given up while the file was written.
    let asked = std::cell::Cell::new(0);
    let is_abandoned = || asked.replace(asked.get() + 1) > 0;
    notes.acknowledge(&covering(20, 29), &[("mark".into(), 3)], 0, is_abandoned).unwrap();
    block(&ledger);
    assert_eq!(ledger.durable("counts", &Partition::new("0")), Some(Position::from_u64(19)));
}

fn block(ledger: &Arc<EmbeddedStore>) {
    use model::online::OnlineStore;
    testkit::contract::online::block_on(ledger.checkpoint()).unwrap();
}
