//! Guests that fail: a bad row hurts only itself, a bad view only itself.

use std::sync::atomic::Ordering;

use model::transform::FaultKind;
use pipeline::setup::FlowSettings;
use testkit::fake::component::{FakeComponent, Reaction};
use testkit::fake::wait::wait_until;

use crate::world::{PARTITION, World, event, settings};

/// Fails on these values.
fn failing_on(version: u8, bad: &'static [i64], kind: FaultKind) -> std::sync::Arc<FakeComponent> {
    FakeComponent::new(version, move |row| match row.1 {
        Some(value) if bad.contains(&value) => Reaction::Fail(kind),
        _ => Reaction::Rows(vec![row.clone()]),
    })
}

#[track_caller]
fn check_bisect(bad: &'static [i64], calls: usize) {
    let world = World::with(FlowSettings { batch_rows: 64, ..settings() });
    world.append(1..=64);
    let component = failing_on(1, bad, FaultKind::Trap);
    world.start("v", &component);
    world.wait_emitted("v", 64 - bad.len());
    let letters: Vec<(u64, &str)> = bad.iter().map(|value| (value.unsigned_abs(), "trap")).collect();
    assert_eq!(world.dead.codes(), letters);
    let good: Vec<u64> = (1..=64).filter(|value| !bad.contains(&(*value as i64))).collect();
    assert_eq!(world.output.positions_of("v"), good);
    let made = component.counts().calls.load(Ordering::SeqCst);
    assert!(made <= calls, "{made} calls");
}

#[test]
fn exactly_the_bad_rows_are_put_aside_in_few_calls() {
    check_bisect(&[], 1);
    // 2 log2(64) + 1 for each.
    check_bisect(&[1], 13);
    check_bisect(&[64], 13);
    check_bisect(&[33], 13);
    check_bisect(&[7, 8], 26);
    check_bisect(&[1, 20, 40, 64], 52);
}

#[test]
fn a_view_whose_events_all_fail_is_paused_in_front_of_them() {
    let world = World::new();
    let good = FakeComponent::identity(1);
    world.start("other", &good);
    let failing = FakeComponent::new(2, |row| match row.1 {
        Some(value) if value > 20 => Reaction::Fail(FaultKind::Timeout),
        _ => Reaction::Rows(vec![row.clone()]),
    });
    let mut setup = world.view("v", &failing);
    setup.failures_to_pause = 15;
    world.flow.start_view(setup).unwrap();
    world.append(1..=100);
    world.wait_state("v", "paused");
    let reason = world.reason("v");
    assert!(reason.contains("15 events in a row failed"), "{reason}");
    assert!(reason.contains("timeout: a fake timeout"), "{reason}");
    assert!(reason.contains(&format!("position {}", model::position::Position::from_u64(35))), "{reason}");
    world.wait_emitted("other", 100);
    world.wait_emitted("v", 20);
    let handed_over: Vec<u64> = world.output.positions_of("v");
    assert_eq!(handed_over, (1..=20).collect::<Vec<u64>>());

    let mut mended = world.view("v", &FakeComponent::identity(3));
    mended.failures_to_pause = 15;
    world.flow.swap_view(mended).unwrap();
    world.wait_emitted("v", 90);
    world.wait_state("v", "running");
    // What was put aside before the breaker tripped stays put aside: whole batches through 30.
    let through = world.dead.codes().iter().map(|(position, _)| *position).max().unwrap_or(20);
    let expected: Vec<u64> = (1..=20).chain(through + 1..=100).collect();
    assert_eq!(world.output.positions_of("v"), expected);
}

#[test]
fn events_that_cannot_be_decoded_pause_a_view_too() {
    let world = World::new();
    let mut setup = world.view("v", &FakeComponent::identity(1));
    setup.failures_to_pause = 30;
    world.flow.start_view(setup).unwrap();
    world.source.append(PARTITION, (0..29).map(|_| "nonsense".to_owned()));
    world.source.append(PARTITION, [event(30)]);
    world.wait_emitted("v", 1);
    assert_eq!(world.state_name("v"), "running");
    world.source.append(PARTITION, (0..30).map(|_| "nonsense".to_owned()));
    world.wait_state("v", "paused");
    assert!(world.reason("v").contains("decode: is not of the form"), "{}", world.reason("v"));
}

#[test]
fn a_search_without_one_good_row_ends() {
    let settings = FlowSettings { bisect_patience: std::time::Duration::ZERO, ..settings() };
    let world = World::with(settings);
    world.append(1..=10);
    world.start("v", &FakeComponent::new(1, |_| Reaction::Fail(FaultKind::Timeout)));
    world.wait_state("v", "paused");
    assert!(world.reason("v").contains("no event of a batch worked within"), "{}", world.reason("v"));
    world.flow.swap_view(world.view("v", &FakeComponent::identity(2))).unwrap();
    world.wait_emitted("v", 10);
    world.check_complete("v", 10);
}

#[test]
fn want_of_room_is_nobodys_fault() {
    let world = World::new();
    world.append(1..=10);
    let left = std::sync::atomic::AtomicUsize::new(3);
    let component = FakeComponent::new(1, move |row| {
        let full = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if full { Reaction::Fail(FaultKind::Capacity) } else { Reaction::Rows(vec![row.clone()]) }
    });
    world.start("v", &component);
    world.wait_emitted("v", 10);
    world.check_complete("v", 10);
    assert_eq!(world.dead.codes(), []);
}

#[test]
fn a_panic_pauses_its_view_and_no_other() {
    let world = World::new();
    let component = FakeComponent::new(1, |row| match row.1 {
        Some(15) => Reaction::Panic,
        _ => Reaction::Rows(vec![row.clone()]),
    });
    world.start("v", &component);
    world.start("other", &FakeComponent::identity(2));
    world.append(1..=40);
    world.wait_state("v", "paused");
    assert!(world.reason("v").contains("a panic: a fake panic"), "{}", world.reason("v"));
    world.wait_emitted("other", 40);
    world.flow.swap_view(world.view("v", &FakeComponent::identity(3))).unwrap();
    world.wait_emitted("v", 40);
    world.check_complete("v", 40);
}

#[test]
fn an_idle_unit_lets_go_of_its_instance() {
    let world = World::with(FlowSettings { idle_rest: std::time::Duration::from_millis(5), ..settings() });
    let component = FakeComponent::identity(1);
    world.start("v", &component);
    world.append(1..=10);
    world.wait_emitted("v", 10);
    wait_until("it rests", || component.counts().rests.load(Ordering::SeqCst) == 1);
    world.append(11..=20);
    world.wait_emitted("v", 20);
    wait_until("it rests again", || component.counts().rests.load(Ordering::SeqCst) == 2);
    world.check_complete("v", 20);
}
