//! Rows that the online store has lost are made again, and nothing is emitted again. And: when a view that takes in
//! again what a crash cost is done, where the source cannot say where it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::online::Ledger;
use model::position::{Partition, Position};
use pipeline::LostRows;
use pipeline::setup::ViewSetup;
use testkit::fake::component::FakeComponent;
use testkit::fake::group::MemoryGroup;
use testkit::fake::online::MemoryStore;
use testkit::fake::output::MemoryOutput;
use testkit::fake::source::MemorySource;
use testkit::fake::trouble::Trace;
use testkit::fake::wait::wait_until;

use crate::hosts::{Host, append, positions};
use crate::world::{PARTITION, World, settings};

fn lost(view: &str, to: Option<u64>) -> LostRows {
    let to = BTreeMap::from([(Partition::new(PARTITION), to.map(Position::from_u64))]);
    LostRows { view: view.to_owned(), to }
}

#[test]
fn lost_rows_are_made_again_and_nothing_is_emitted_again() {
    let world = World::new();
    world.append(1..=100);
    world.start("v", &FakeComponent::identity(1));
    world.start("other", &FakeComponent::identity(2));
    world.wait_emitted("v", 100);
    world.wait_emitted("other", 100);
    let rows = world.store.rows("v");
    world.store.checkpoint_now();
    world.store.lose_behind("v", Position::from_u64(40));
    assert_ne!(world.store.rows("v"), rows);
    // From before the loss was noticed until the writes are taken again, the store refuses them.
    let ready = std::cell::Cell::new(false);
    world.flow.repair(&lost("v", Some(40)), || ready.set(true)).unwrap();
    assert!(ready.get());
    wait_until("the rows are there again", || world.store.rows("v") == rows);
    world.wait_state("v", "running");
    world.append(101..=110);
    world.wait_emitted("v", 110);
    world.check_complete("v", 110);
    world.check_complete("other", 110);
    assert_eq!(world.store.view("v").unwrap().epoch, 0);
}

#[test]
fn reads_say_that_the_view_recovers_until_lost_rows_are_there_again() {
    let world = World::new();
    world.append(1..=10);
    world.start("v", &FakeComponent::identity(1));
    world.wait_emitted("v", 10);
    world.store.lose_behind("v", Position::from_u64(3));
    world.store.gate.close();
    world.flow.repair(&lost("v", Some(3)), || {}).unwrap();
    assert_eq!(world.state_name("v"), "recovering");
    world.store.gate.open();
    world.wait_state("v", "running");
    world.check_complete("v", 10);
}

#[test]
fn a_view_that_does_not_run_is_set_back() {
    let world = World::new();
    world.append(1..=10);
    world.start("v", &FakeComponent::identity(1));
    world.wait_emitted("v", 10);
    world.store.checkpoint_now();
    world.flow.stop_view("v", true);
    assert!(world.flow.wait_stopped("v", std::time::Duration::from_secs(20)));
    world.flow.repair(&lost("v", Some(3)), || {}).unwrap();
    let durable = world.store.durable("v", &Partition::new(PARTITION));
    assert_eq!(durable, Some(Position::from_u64(3)));
    // What was never there cannot be lost, and a position does not go forward.
    world.flow.repair(&lost("nobody", None), || {}).unwrap();
    world.flow.repair(&lost("v", Some(7)), || {}).unwrap();
    assert_eq!(world.store.durable("v", &Partition::new(PARTITION)), durable);
}

/// Starts a view whose rows all hosts share.
fn sharing(host: Host) -> Host {
    let setup = ViewSetup { rows_are_shared: true, ..host.view("v", &FakeComponent::identity(1)) };
    host.flow.start_view(setup).unwrap();
    host.member.assign(&["t-0"]);
    host
}

/// That a loss is made good although the group says that the view is further, whatever happens in between.
#[track_caller]
fn check_shared(repair_while_running: bool, crash_after_repair: bool) {
    let group = MemoryGroup::new(&["t-0"]);
    let first = sharing(Host::new(&group, 0));
    append(&group, "t-0", 1..=50);
    first.wait_marks("v", "t-0", 50);
    let rows = first.store.rows("v");
    first.checkpoint();
    let lost = LostRows {
        view: "v".to_owned(),
        to: BTreeMap::from([(Partition::new("t-0"), Some(Position::from_u64(20)))]),
    };
    let repair = |host: &Host| {
        host.store.lose_behind("v", Position::from_u64(20));
        assert_ne!(host.store.rows("v"), rows);
        host.flow.repair(&lost, || {}).unwrap();
    };
    let running = if repair_while_running {
        repair(&first);
        first
    } else {
        // Nobody has begun there when the loss is found.
        let second = first.crash(&group, 1);
        repair(&second);
        sharing(second)
    };
    let running = if crash_after_repair { sharing(running.crash(&group, 2)) } else { running };
    wait_until("the rows are there again", || running.store.rows("v") == rows);
    append(&group, "t-0", 51..=60);
    running.wait_marks("v", "t-0", 60);
    let emitted = positions(&group, "v", "t-0");
    assert_eq!(emitted.iter().collect::<BTreeSet<_>>().len(), 60);
    // A crash repeats what was not committed, a repair nothing.
    if repair_while_running && !crash_after_repair {
        assert_eq!(emitted.len(), 60);
    }
}

#[test]
fn what_the_group_knows_does_not_hide_a_loss() {
    check_shared(true, false);
    check_shared(true, true);
    check_shared(false, false);
    check_shared(false, true);
}

#[test]
fn recovery_ends_where_the_reader_says_that_the_source_ends() {
    let source = MemorySource::hiding_its_end(&[PARTITION]);
    let trace = Arc::new(Trace::default());
    let (store, output) = (MemoryStore::traced(&trace), MemoryOutput::traced(&trace));
    let world = World::on(settings(), source, store, output, trace);
    world.append(1..=20);
    world.start("v", &FakeComponent::identity(1));
    world.wait_emitted("v", 20);
    world.store.checkpoint_now();
    world.append(21..=30);
    world.wait_emitted("v", 30);
    let world = world.crash();
    world.store.gate.close();
    world.start("v", &FakeComponent::identity(1));
    assert_eq!(world.state_name("v"), "recovering");
    world.store.gate.open();
    world.wait_state("v", "running");
    world.check_complete("v", 30);
    // With nothing to take in again it ends as well.
    world.store.checkpoint_now();
    let world = world.crash();
    world.start("v", &FakeComponent::identity(1));
    world.wait_state("v", "running");
    world.check_complete("v", 30);
}
