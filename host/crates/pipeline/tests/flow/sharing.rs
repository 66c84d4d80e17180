//! Views on one source: read once, and nobody waits for anybody.

use pipeline::setup::FlowSettings;
use testkit::fake::component::FakeComponent;
use testkit::fake::wait::wait_until;

use crate::world::{PARTITION, World, event, settings};

fn small_buffer() -> FlowSettings {
    FlowSettings { buffer_batches: 4, ..settings() }
}

#[test]
fn views_that_keep_up_share_one_reader() {
    let world = World::new();
    let hold = world.flow.hold_intake();
    let components: Vec<_> = (1..=5).map(FakeComponent::identity).collect();
    for (index, component) in components.iter().enumerate() {
        world.start(&format!("v{index}"), component);
    }
    world.append(1..=500);
    assert_eq!(world.source.opened(), 0);
    drop(hold);
    for index in 0..5 {
        world.wait_emitted(&format!("v{index}"), 500);
        world.check_complete(&format!("v{index}"), 500);
    }
    assert_eq!(world.source.opened(), 1);
    assert_eq!(world.source.handed(), 500);
}

#[test]
fn a_slow_view_holds_nobody_back_and_catches_up_on_its_own() {
    let world = World::with(small_buffer());
    let hold = world.flow.hold_intake();
    let (fast, slow) = (FakeComponent::identity(1), FakeComponent::identity(2));
    slow.counts().close();
    world.start("fast", &fast);
    world.start("slow", &slow);
    drop(hold);
    world.append(1..=1000);
    world.wait_emitted("fast", 1000);
    assert_eq!(world.output.positions_of("slow").len(), 0);
    slow.counts().open();
    world.wait_emitted("slow", 1000);
    world.wait_state("slow", "running");
    world.check_complete("fast", 1000);
    world.check_complete("slow", 1000);
    // It has gone back to sharing: what comes now is read once.
    let (opened, handed) = (world.source.opened(), world.source.handed());
    // While the slow one was ahead by its one batch, the other may have fallen behind for a moment, too.
    assert!(opened <= 3, "{opened} readers");
    world.append(1001..=1010);
    world.wait_emitted("slow", 1010);
    world.wait_emitted("fast", 1010);
    assert_eq!((world.source.opened(), world.source.handed()), (opened, handed + 10));
}

#[test]
fn a_view_that_starts_behind_the_others_catches_up_while_events_keep_coming() {
    let world = World::with(small_buffer());
    world.append(1..=300);
    world.start("first", &FakeComponent::identity(1));
    world.wait_emitted("first", 300);
    world.start("second", &FakeComponent::identity(2));
    for value in 301..=600 {
        world.append([value]);
    }
    world.wait_emitted("second", 600);
    world.wait_emitted("first", 600);
    world.check_complete("first", 600);
    world.check_complete("second", 600);
    world.wait_state("second", "running");
}

#[test]
fn a_reader_waits_when_no_view_takes_anything() {
    let world = World::with(small_buffer());
    let stuck = FakeComponent::identity(1);
    stuck.counts().close();
    world.append(1..=10_000);
    world.start("stuck", &stuck);
    wait_until("the buffer is full", || world.source.handed() >= 50);
    // One batch in the guest, four in the buffer, one decoded and waiting for room.
    assert!(world.source.handed() <= 60, "{} events were read", world.source.handed());
    stuck.counts().open();
    world.wait_emitted("stuck", 10_000);
    world.check_complete("stuck", 10_000);
    assert_eq!(world.source.handed(), 10_000);
}

#[test]
fn the_buffer_is_bounded_by_bytes_as_well() {
    let world = World::with(FlowSettings { buffer_bytes: 10_000, ..settings() });
    let stuck = FakeComponent::identity(1);
    stuck.counts().close();
    world.append(1..=10_000);
    world.start("stuck", &stuck);
    wait_until("the guest has a batch", || stuck.counts().waiting() == 1);
    wait_until("something is buffered", || world.source.handed() >= 20);
    // Ten events weigh more than 500 bytes, decoded.
    assert!(world.source.handed() <= 220, "{} events were read", world.source.handed());
    stuck.counts().open();
    world.wait_emitted("stuck", 10_000);
}

#[test]
fn a_batch_that_is_larger_than_the_buffer_goes_through() {
    let world = World::with(FlowSettings { buffer_bytes: 1, ..settings() });
    world.append(1..=100);
    world.start("v", &FakeComponent::identity(1));
    world.start("w", &FakeComponent::identity(2));
    world.wait_emitted("v", 100);
    world.wait_emitted("w", 100);
    world.check_complete("v", 100);
    world.check_complete("w", 100);
}

#[test]
fn a_paused_view_holds_nobody_back() {
    let world = World::with(small_buffer());
    let hold = world.flow.hold_intake();
    let failing = FakeComponent::new(2, |_| testkit::fake::component::Reaction::Reject("no"));
    let mut paused = world.view("paused", &failing);
    paused.failures_to_pause = 5;
    world.flow.start_view(paused).unwrap();
    world.start("running", &FakeComponent::identity(1));
    drop(hold);
    world.append(1..=1000);
    world.wait_emitted("running", 1000);
    world.wait_state("paused", "paused");
    let mut mended = world.view("paused", &FakeComponent::identity(3));
    mended.failures_to_pause = 5;
    world.flow.swap_view(mended).unwrap();
    world.wait_emitted("paused", 1000);
    world.check_complete("paused", 1000);
}

#[test]
fn a_partition_that_comes_into_being_is_read_from_its_beginning() {
    let world = World::new();
    world.append(1..=10);
    world.start("v", &FakeComponent::identity(1));
    world.wait_emitted("v", 10);
    world.source.append("1", (1..=20).map(event));
    world.wait_emitted("v", 30);
    let of_new: Vec<u64> = world
        .output
        .records()
        .iter()
        .filter(|record| record.partition == "1")
        .map(|record| record.position)
        .collect();
    assert_eq!(of_new, (1..=20).collect::<Vec<u64>>());
    world.append([11]);
    world.source.append("1", [event(21)]);
    world.wait_emitted("v", 32);
}

#[test]
fn partitions_go_on_side_by_side() {
    let world = World::new();
    for partition in [PARTITION, "1", "2"] {
        world.source.append(partition, (1..=500).map(event));
    }
    world.start("v", &FakeComponent::identity(1));
    world.wait_emitted("v", 1500);
    for partition in [PARTITION, "1", "2"] {
        let records = world.output.records();
        let positions: Vec<u64> = records
            .iter()
            .filter(|record| record.partition == partition)
            .map(|record| record.position)
            .collect();
        assert_eq!(positions, (1..=500).collect::<Vec<u64>>());
    }
}
