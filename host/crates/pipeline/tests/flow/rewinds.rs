//! Deliberate rewinds: everything again from a point on, in a new epoch, whatever happens in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::error::Disposition;
use model::position::{Partition, Position};
use model::source::Point;
use model::status::Control;
use pipeline::setup::ViewSetup;
use testkit::fake::component::{FakeComponent, Reaction};
use testkit::fake::group::MemoryGroup;
use testkit::fake::online::MemoryStore;
use testkit::fake::output::MemoryOutput;
use testkit::fake::source::MemorySource;
use testkit::fake::trouble::{Fuse, Trace};
use testkit::fake::wait::wait_until;

use crate::hosts::{Host, PATIENT, append, positions};
use crate::world::{PARTITION, World, settings};

/// Positions and epochs of a view's records.
fn records(world: &World, view: &str) -> Vec<(u64, u32)> {
    let records = world.output.records();
    records
        .iter()
        .filter(|record| record.view == view)
        .map(|record| (record.position, record.epoch))
        .collect()
}

fn twice(first: u64, again: u64, last: u64) -> Vec<(u64, u32)> {
    (1..=first).map(|at| (at, 0)).chain((again..=last).map(|at| (at, 1))).collect()
}

fn number(partition: &str, number: u64) -> Point {
    Point::Numbers(BTreeMap::from([(Partition::new(partition), number)]))
}

#[test]
fn a_view_takes_its_events_again_and_disturbs_nobody() {
    let world = World::new();
    world.append(1..=100);
    world.start("v", &FakeComponent::identity(1));
    world.start("other", &FakeComponent::identity(2));
    world.wait_emitted("v", 100);
    world.wait_emitted("other", 100);
    let rewound = world.flow.rewind("v", &Point::Earliest).unwrap();
    assert_eq!(rewound.epoch, 1);
    assert_eq!(rewound.partitions, [(Partition::new(PARTITION), None)]);
    world.append(101..=110);
    world.wait_emitted("v", 210);
    world.wait_emitted("other", 110);
    assert_eq!(records(&world, "v"), twice(100, 1, 110));
    world.check_complete("other", 110);
    world.wait_state("v", "running");
    // Rows of the rewind are newer than those of before.
    let generations: Vec<u32> = world.store.rows("v").into_iter().map(|(.., number)| number).collect();
    assert_eq!(generations, [2, 2, 2]);
    let again = world.flow.rewind("v", &Point::Latest).unwrap();
    assert_eq!((again.epoch, again.partitions[0].1), (2, Some(Position::from_u64(110))));
    world.append([111]);
    world.wait_emitted("v", 211);
    assert_eq!(records(&world, "v").last(), Some(&(111, 2)));
}

#[test]
fn what_cannot_be_rewound_goes_on() {
    let world = World::new();
    world.append(1..=10);
    world.start("v", &FakeComponent::identity(1));
    world.wait_emitted("v", 10);
    let refused = world.flow.rewind("v", &Point::Time(0)).unwrap_err();
    assert_eq!(refused.disposition, Disposition::Stop);
    let refused = world.flow.rewind("v", &number("9", 1)).unwrap_err();
    assert!(refused.to_string().contains("does not read partition `9`; it reads 0"), "{refused}");
    assert!(world.flow.rewind("nobody", &Point::Earliest).is_err());
    world.append(11..=12);
    world.wait_emitted("v", 12);
    world.check_complete("v", 12);
}

#[test]
fn a_paused_view_goes_on_from_the_point() {
    let world = World::new();
    let component = FakeComponent::new(1, |row| match row.1 {
        Some(15) => Reaction::Panic,
        _ => Reaction::Rows(vec![row.clone()]),
    });
    world.start("v", &component);
    world.append(1..=10);
    world.wait_emitted("v", 10);
    world.append(11..=20);
    world.wait_state("v", "paused");
    world.flow.rewind("v", &Point::Latest).unwrap();
    world.append(21..=22);
    world.wait_emitted("v", 12);
    assert_eq!(world.output.positions_of("v"), (1..=10).chain(21..=22).collect::<Vec<u64>>());
    world.wait_state("v", "running");
}

#[test]
fn a_view_without_an_output_stream_writes_its_rows_again() {
    let world = World::new();
    world.append(1..=20);
    let component = FakeComponent::identity(1);
    let mut silent = world.view("v", &component);
    silent.output = None;
    world.flow.start_view(silent).unwrap();
    wait_until("it is applied", || world.store.value("v", "k2") == Some(20));
    world.flow.rewind("v", &Point::Earliest).unwrap();
    wait_until("all is written again", || {
        world.store.rows("v").iter().all(|(.., generation)| *generation == 2)
    });
}

#[test]
fn a_source_that_is_shared_knows_of_a_rewind_to_the_beginning_at_once() {
    let group = MemoryGroup::new(&["t-0"]);
    let host = Host::new(&group, 0);
    let setup = host.view("v", &FakeComponent::identity(1));
    host.flow.start_view(ViewSetup { output: None, ..setup }).unwrap();
    append(&group, "t-0", 1..=10);
    host.member.assign(&["t-0"]);
    wait_until("it is applied", || {
        host.marks("v").get("t-0").is_some_and(|(applied, _)| *applied == Some(10))
    });
    host.checkpoint();
    host.member.commit();
    let epochs = || group.committed_view("t-0", "v").map(|progress| progress.epoch);
    assert_eq!(epochs(), Some(0));
    // No checkpoint comes afterwards: nothing of it is durable yet, and all that there is to say is that it has begun.
    host.flow.rewind("v", &Point::Earliest).unwrap();
    host.member.commit();
    assert_eq!(epochs(), Some(1));
}

/// A host that ends after so many operations of a rewind; the next one begins with what is durable.
fn crash_after(operations: i64) -> Option<Vec<(u64, u32)>> {
    let trace = Arc::new(Trace::default());
    let fuse = Fuse::never();
    let store = MemoryStore::traced(&trace).after_crash(&fuse, 1);
    let output = MemoryOutput::traced(&trace).after_crash(&fuse);
    let source = MemorySource::new(&[PARTITION]);
    let world = World::on(settings(), source.clone(), store.clone(), output.clone(), trace);
    let component = FakeComponent::identity(1);
    world.append(1..=20);
    world.start("v", &component);
    world.wait_emitted("v", 20);
    wait_until("all is acknowledged", || {
        let status = model::status::Overview::status(&*world.flow, "v").unwrap();
        status.partitions[0].emitted == Some(Position::from_u64(20))
    });
    fuse.burn(operations);
    let rewound = world.flow.rewind("v", &Point::Earliest);
    let was_told = rewound.is_ok();
    fuse.blow();
    let fuse = Fuse::never();
    let (store, output) = (store.after_crash(&fuse, 1), output.after_crash(&fuse));
    drop(world);
    let world = World::on(settings(), source, store, output, Arc::default());
    world.start("v", &component);
    world.append([21]);
    wait_until("the last event is emitted", || world.output.positions_of("v").last() == Some(&21));
    let records = records(&world, "v");
    if was_told {
        assert!(records.iter().any(|(_, epoch)| *epoch == 1), "it was told that it is done: {records:?}");
    }
    // After the rewind nothing is half done: another one works as ever.
    world.flow.rewind("v", &Point::Latest).unwrap();
    (!was_told).then_some(records)
}

#[test]
fn a_crash_between_any_two_steps_leaves_it_undone_or_has_it_finished() {
    let mut operations = 0;
    let mut outcomes = [0, 0];
    while let Some(records) = crash_after(operations) {
        if records == (1..=21).map(|at| (at, 0)).collect::<Vec<_>>() {
            outcomes[0] += 1;
        } else {
            assert_eq!(records, twice(20, 1, 21), "after {operations} operations");
            outcomes[1] += 1;
        }
        operations += 1;
    }
    // The intent is the first note; the output, its note and the ledger follow.
    assert_eq!(outcomes, [1, 3]);
}

#[test]
fn a_failure_between_any_two_steps_is_got_over() {
    for step in ["intent", "output"] {
        let world = World::new();
        world.append(1..=20);
        world.start("v", &FakeComponent::identity(1));
        world.wait_emitted("v", 20);
        world.store.checkpoint_now();
        match step {
            "intent" => world.store.ledger_failures.fail_next(1, Disposition::Retry),
            _ => world.output.failures.fail_next(3, Disposition::Retry),
        }
        let refused = world.flow.rewind("v", &Point::Earliest).unwrap_err();
        assert!(refused.to_string().starts_with("rewind view `v`: "), "{refused}");
        world.append([21]);
        wait_until("the last event is emitted", || world.output.positions_of("v").last() == Some(&21));
        let expected = match step {
            "intent" => (1..=21).map(|at| (at, 0)).collect(),
            _ => twice(20, 1, 21),
        };
        assert_eq!(records(&world, "v"), expected, "after a failure at the {step}");
        assert_eq!(world.state_name("v"), "running");
    }
}

#[test]
fn only_named_partitions_are_rewound() {
    let group = MemoryGroup::new(&["t-0", "t-1"]);
    let host = Host::new(&group, 0);
    host.start("v");
    append(&group, "t-0", 1..=10);
    append(&group, "t-1", 1..=10);
    host.member.assign(&["t-0", "t-1"]);
    host.wait_marks("v", "t-0", 10);
    host.wait_marks("v", "t-1", 10);
    host.checkpoint();
    host.flow.rewind("v", &number("t-0", 6)).unwrap();
    append(&group, "t-0", [11]);
    append(&group, "t-1", [11]);
    host.wait_marks("v", "t-0", 11);
    host.wait_marks("v", "t-1", 11);
    assert_eq!(positions(&group, "v", "t-0"), (1..=10).chain(6..=11).collect::<Vec<u64>>());
    assert_eq!(positions(&group, "v", "t-1"), (1..=11).collect::<Vec<u64>>());
}

#[test]
fn an_epoch_goes_with_the_partition() {
    let group = MemoryGroup::new(&["t-0"]);
    let (one, other) = (Host::new(&group, 0), Host::new(&group, 1));
    [&one, &other].iter().for_each(|host| host.start("v"));
    append(&group, "t-0", 1..=10);
    // The other has had it, too: what it noted then belongs to the epoch before.
    other.member.assign(&["t-0"]);
    other.wait_marks("v", "t-0", 10);
    other.member.revoke(&["t-0"], PATIENT);
    one.member.assign(&["t-0"]);
    one.wait_marks("v", "t-0", 10);
    one.output.gate.close();
    one.flow.rewind("v", &Point::Earliest).unwrap();
    one.member.lose(&["t-0"]);
    other.member.assign(&["t-0"]);
    append(&group, "t-0", [11]);
    other.wait_marks("v", "t-0", 11);
    let by_other: Vec<_> = group
        .emitted("v", "t-0")
        .into_iter()
        .filter(|(member, ..)| *member == 1)
        .map(|(_, at, epoch)| (at, epoch))
        .collect();
    let first = (1..=10).map(|at| (at, 0));
    assert_eq!(by_other, first.chain((1..=11).map(|at| (at, 1))).collect::<Vec<(u64, u32)>>());
    // Rewound once more by the one that did not know: the epoch goes up from the greatest.
    assert_eq!(other.flow.rewind("v", &Point::Latest).unwrap().epoch, 2);
    assert!(one.flow.rewind("v", &Point::Latest).is_err(), "it has no partition");
}
