//! Waiting for an online write.

use std::time::Duration;

use model::position::{Partition, Position};
use model::status::{Overview, WaitError};
use testkit::fake::component::{FakeComponent, Reaction};
use testkit::fake::wait::{LIMIT, block_on, wait_until};

use crate::world::{PARTITION, SOURCE, World, offline};

fn wait(world: &World, through: Position, timeout: Duration) -> Result<(), WaitError> {
    block_on(world.flow.wait_applied(SOURCE, &Partition::new(PARTITION), through, timeout))
}

#[test]
fn a_wait_ends_when_every_view_has_the_event() {
    let world = World::new();
    world.start("a", &FakeComponent::identity(1));
    world.start("b", &FakeComponent::identity(2));
    for value in 1..=200 {
        let through = world.append([value]);
        wait(&world, through, LIMIT).unwrap();
        let key = format!("k{}", value % 3);
        assert_eq!(world.store.value("a", &key), Some(value));
        assert_eq!(world.store.value("b", &key), Some(value));
    }
    // Long past, and of a source without views.
    wait(&world, Position::from_u64(1), Duration::ZERO).unwrap();
    let other = world.flow.wait_applied("other", &Partition::new("0"), Position::from_u64(9), LIMIT);
    block_on(other).unwrap();
}

#[test]
fn a_wait_ends_when_time_is_up() {
    let world = World::new();
    world.store.gate.close();
    world.start("v", &FakeComponent::identity(1));
    let through = world.append([1]);
    let error = wait(&world, through, Duration::from_millis(10)).unwrap_err();
    assert_eq!(error, WaitError::TimedOut { view: "v".to_owned() });
    world.store.gate.open();
    wait(&world, through, LIMIT).unwrap();
}

#[test]
fn a_wait_ends_when_a_view_does_not_run() {
    let world = World::new();
    world.start("good", &FakeComponent::identity(1));
    let failing = FakeComponent::new(2, |_| Reaction::Reject("no"));
    let mut setup = world.view("v", &failing);
    setup.failures_to_pause = 1;
    world.flow.start_view(setup).unwrap();
    let through = world.append([1]);
    let error = wait(&world, through, LIMIT).unwrap_err();
    assert_eq!(error, WaitError::NotRunning { view: "v".to_owned(), state: "paused" });
}

#[test]
fn nobody_waits_for_a_view_without_online_rows() {
    let world = World::new();
    let stuck = FakeComponent::identity(1);
    stuck.counts().close();
    world.flow.start_view(offline(world.view("v", &stuck))).unwrap();
    let through = world.append([1]);
    wait(&world, through, LIMIT).unwrap();
    stuck.counts().open();
}

#[test]
fn events_of_which_nothing_is_left_count_as_applied() {
    let world = World::new();
    world.start("v", &FakeComponent::new(1, |_| Reaction::Reject("no")));
    let through = world.source.append(PARTITION, ["nonsense", "a,1,1"]);
    wait(&world, through, LIMIT).unwrap();
    wait_until("both are put aside", || world.dead.codes() == [(1, "decode"), (2, "rejected")]);
}

#[test]
fn nobody_waits_for_a_view_that_was_taken_away() {
    let world = World::new();
    world.start("good", &FakeComponent::identity(1));
    world.start("gone", &FakeComponent::identity(2));
    world.flow.stop_view("gone", true);
    assert!(world.flow.wait_stopped("gone", LIMIT));
    let through = world.append([1]);
    wait(&world, through, LIMIT).unwrap();
}

#[test]
fn whoever_waits_while_the_host_stops_is_told() {
    let world = World::new();
    let stuck = FakeComponent::identity(1);
    world.start("v", &stuck);
    stuck.counts().close();
    let through = world.append([1]);
    wait_until("the guest has the event", || stuck.counts().waiting() == 1);
    let waiting = world.flow.wait_applied(SOURCE, &Partition::new(PARTITION), through, LIMIT);
    let flow = world.flow.clone();
    let draining = std::thread::spawn(move || flow.drain(LIMIT));
    world.wait_state("v", "draining");
    let error = block_on(waiting).unwrap_err();
    assert!(matches!(error, WaitError::NotRunning { state: "draining" | "stopped", .. }), "{error}");
    stuck.counts().open();
    draining.join().unwrap();
}
