//! Dependencies that fail: what goes away by itself is waited for, what does not pauses the view.

use model::error::Disposition::{Retry, Stop};
use testkit::fake::component::FakeComponent;
use testkit::fake::wait::wait_until;

use crate::world::{PARTITION, World, event};

/// Lets something fail that is expected to recover, and checks that nothing is lost, repeated or reordered.
#[track_caller]
fn check_retry(fail: impl Fn(&World), seen: impl Fn(&World) -> usize) {
    let world = World::new();
    world.start("v", &FakeComponent::identity(1));
    world.append(1..=30);
    world.wait_emitted("v", 30);
    fail(&world);
    world.source.append(PARTITION, [event(31), "nonsense".to_owned()]);
    world.append(33..=100);
    world.wait_emitted("v", 99);
    let expected: Vec<u64> = (1..=31).chain(33..=100).collect();
    assert_eq!(world.output.positions_of("v"), expected);
    assert_eq!(world.output.disorder(), Vec::<String>::new());
    assert!(seen(&world) > 0, "the failures happened");
    assert_eq!(world.dead.codes(), [(32, "decode")]);
    assert_eq!(world.state_name("v"), "running");
}

#[test]
fn a_store_that_is_away_is_waited_for() {
    check_retry(|world| world.store.failures.fail_next(4, Retry), |world| world.store.failures.seen());
}

#[test]
fn an_output_stream_that_is_away_is_waited_for() {
    check_retry(|world| world.output.failures.fail_next(4, Retry), |world| world.output.failures.seen());
}

#[test]
fn a_full_disk_for_dead_letters_is_waited_for() {
    check_retry(|world| world.dead.failures.fail_next(4, Retry), |world| world.dead.failures.seen());
}

#[test]
fn a_source_that_is_away_is_waited_for() {
    check_retry(|world| world.source.failures.fail_next(4, Retry), |world| world.source.failures.seen());
}

#[test]
fn a_failed_emission_is_repeated_before_those_behind_it() {
    let world = World::new();
    world.output.gate.close();
    world.append(1..=100);
    world.start("v", &FakeComponent::identity(1));
    wait_until("the window is full", || world.output.gate.waiting() >= 4);
    // The fifth batch fails while others are on their way behind it.
    world.output.failures.fail_next(2, Retry);
    world.output.gate.open();
    world.wait_emitted("v", 100);
    world.check_complete("v", 100);
}

/// Lets something fail for good, and checks that the view is paused and goes on without a gap.
#[track_caller]
fn check_stop(fail: impl Fn(&World), expected: &str) {
    let world = World::new();
    world.start("v", &FakeComponent::identity(1));
    world.append(1..=30);
    world.wait_emitted("v", 30);
    fail(&world);
    world.append(31..=60);
    world.wait_state("v", "paused");
    assert!(world.reason("v").contains(expected), "{}", world.reason("v"));
    world.append(61..=90);
    world.flow.resume_view("v").unwrap();
    world.wait_emitted("v", 90);
    world.check_complete("v", 90);
    world.wait_state("v", "running");
}

#[test]
fn what_only_an_operator_can_mend_pauses_the_view_at_its_position() {
    check_stop(|world| world.store.failures.fail_next(1, Stop), "failed to write rows: a fake failure");
    check_stop(|world| world.output.failures.fail_next(1, Stop), "failed to emit: a fake failure");
    check_stop(|world| world.source.failures.fail_next(1, Stop), "failed to read source `clicks`: read");
}

#[test]
fn a_swap_mends_a_row_that_the_output_stream_refuses() {
    let world = World::new();
    world.append(1..=30);
    world.output.failures.fail_next(1, Stop);
    world.start("v", &FakeComponent::adding(1, 1000));
    world.wait_state("v", "paused");
    world.flow.swap_view(world.view("v", &FakeComponent::adding(2, 2000))).unwrap();
    world.wait_emitted("v", 30);
    world.check_complete("v", 30);
    assert!(world.output.records().iter().all(|record| record.generation == 2));
    assert_eq!(world.store.value("v", "k0"), Some(2030));
}
