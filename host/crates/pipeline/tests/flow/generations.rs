//! Swaps while events flow, and replays below them.

use model::online::Ledger;
use model::transform::Component;
use testkit::fake::component::{FakeComponent, Reaction};
use testkit::fake::wait::wait_until;

use crate::world::{PARTITION, SOURCE, World, keeping};

/// Generation and value of each record of a view.
fn made(world: &World) -> Vec<(u64, u32, i64)> {
    let records = world.output.records();
    records.iter().map(|record| (record.position, record.generation, record.value.unwrap_or(-1))).collect()
}

#[test]
fn a_swap_loses_and_repeats_nothing() {
    let world = World::new();
    world.start("v", &FakeComponent::adding(1, 1000));
    let mut last = 0;
    for version in 2..=10 {
        world.append(last + 1..=last + 50);
        last += 50;
        let swapped = world.view("v", &FakeComponent::adding(version, i64::from(version) * 1000));
        world.flow.swap_view(swapped).unwrap();
    }
    world.append(last + 1..=last + 50);
    world.wait_emitted("v", 500);
    world.check_complete("v", 500);
    let mut newest = 0;
    for (position, generation, value) in made(&world) {
        assert!(newest <= generation, "generations go up with positions");
        newest = generation;
        assert_eq!(value, i64::from(generation) * 1000 + position as i64, "made by its generation");
    }
    assert_eq!(newest, 10);
}

#[test]
fn a_swap_aborts_the_search_for_bad_rows_and_takes_the_batch_itself() {
    let world = World::new();
    let stuck = FakeComponent::new(1, |_| Reaction::Fail(model::transform::FaultKind::Timeout));
    stuck.counts().close();
    world.append(1..=10);
    world.start("v", &stuck);
    wait_until("the guest is called", || stuck.counts().waiting() == 1);
    world.flow.swap_view(world.view("v", &FakeComponent::identity(2))).unwrap();
    stuck.counts().open();
    world.wait_emitted("v", 10);
    world.check_complete("v", 10);
    assert_eq!(world.dead.codes(), []);
}

#[test]
fn the_same_digest_keeps_its_generation_and_any_other_gets_the_next() {
    let world = World::new();
    let (first, second) = (FakeComponent::adding(1, 100), FakeComponent::adding(2, 200));
    world.append([1]);
    world.start("v", &first);
    world.wait_emitted("v", 1);
    for (count, component, known) in [(2, &first, 1), (3, &second, 2), (4, &second, 2), (5, &first, 3)] {
        world.flow.swap_view(world.view("v", component)).unwrap();
        wait_until("the swap is noted", || world.store.view("v").unwrap().generations.len() == known);
        world.append([count]);
        world.wait_emitted("v", count as usize);
    }
    let generations: Vec<u32> = made(&world).iter().map(|(_, generation, _)| *generation).collect();
    assert_eq!(generations, [1, 1, 2, 2, 3]);
}

#[test]
fn limits_change_without_a_generation_or_a_restart() {
    let world = World::new();
    let component = FakeComponent::identity(1);
    world.start("v", &component);
    world.append([1]);
    world.wait_emitted("v", 1);
    let setup = world.view("v", &component);
    let adjustment = pipeline::setup::Adjustment {
        shape: setup.shape,
        options: setup.options,
        earliest: setup.earliest,
        max_future: -1,
        failures_to_pause: 7,
    };
    world.flow.adjust_view("v", adjustment).unwrap();
    let mut next = 2;
    wait_until("the new bound holds", || {
        world.append([next]);
        next += 1;
        !world.dead.codes().is_empty()
    });
    assert_eq!(world.dead.codes()[0].1, "event_time");
    assert_eq!(world.store.view("v").unwrap().generations.len(), 1);
}

/// Runs 1 to 20 with the first, 21 to 40 with the second component, and crashes without any checkpoint.
fn swapped_and_crashed(
    first: &std::sync::Arc<FakeComponent>,
    second: &std::sync::Arc<FakeComponent>,
) -> World {
    let world = World::new();
    world.append(1..=20);
    world.start("v", first);
    world.wait_emitted("v", 20);
    world.flow.swap_view(world.view("v", second)).unwrap();
    wait_until("the swap is noted", || world.store.view("v").unwrap().generations.len() == 2);
    world.append(21..=40);
    world.wait_emitted("v", 40);
    world.crash()
}

#[test]
fn a_replay_below_a_swap_runs_on_the_older_component() {
    let (first, second) = (FakeComponent::adding(1, 1000), FakeComponent::adding(2, 2000));
    let world = swapped_and_crashed(&first, &second);
    world.flow.start_view(keeping(world.view("v", &second), &[&first])).unwrap();
    world.append([41]);
    world.wait_emitted("v", 41);
    world.check_complete("v", 41);
    // Nothing was durable online: all rows were made again, each by its generation.
    assert_eq!(
        world.store.rows("v"),
        [("k0".into(), Some(2039), 2), ("k1".into(), Some(2040), 2), ("k2".into(), Some(2041), 2)]
    );
    for (position, generation, value) in made(&world) {
        assert_eq!(generation, if position <= 20 { 1 } else { 2 });
        assert_eq!(value, i64::from(generation) * 1000 + position as i64);
    }
}

#[test]
fn a_replay_below_a_swap_gives_the_rows_that_were_there() {
    // Only events up to 20 have these keys.
    let keyed = |version: u8, number: i64| {
        FakeComponent::new(version, move |(_, value, at)| {
            let value = value.unwrap_or(0);
            Reaction::Rows(vec![(Some(format!("e{value}")), Some(value + number), *at)])
        })
    };
    let (first, second) = (keyed(1, 1000), keyed(2, 2000));
    let world = swapped_and_crashed(&first, &second);
    world.flow.start_view(keeping(world.view("v", &second), &[&first])).unwrap();
    wait_until("all is made again", || world.store.rows("v").len() == 40);
    for (entity, value, generation) in world.store.rows("v") {
        let number: i64 = entity[1..].parse().unwrap();
        let expected = if number <= 20 { 1 } else { 2 };
        assert_eq!((generation, value), (expected, Some(i64::from(expected) * 1000 + number)), "{entity}");
    }
}

#[test]
fn without_the_older_component_the_current_one_takes_its_events() {
    let (first, second) = (FakeComponent::adding(1, 1000), FakeComponent::adding(2, 2000));
    let world = swapped_and_crashed(&first, &second);
    world.start("v", &second);
    wait_until("all is made again", || world.store.value("v", "k1") == Some(2040));
    assert_eq!(world.output.positions_of("v").len(), 40);
}

#[test]
fn a_component_that_changed_while_the_host_was_away_begins_behind_what_any_sink_has() {
    let (first, second) = (FakeComponent::adding(1, 1000), FakeComponent::adding(2, 2000));
    let world = World::new();
    world.append(1..=20);
    world.start("v", &first);
    world.wait_emitted("v", 20);
    let world = world.crash();
    world.append(21..=30);
    world.flow.start_view(keeping(world.view("v", &second), &[&first])).unwrap();
    world.wait_emitted("v", 30);
    world.check_complete("v", 30);
    let newest = world.store.view("v").unwrap().generations.pop().unwrap();
    assert_eq!(newest.generation.digest, second.digest());
    let after = newest.after.values().next().and_then(|after| after.as_u64());
    assert_eq!(after, Some(20));
    assert_eq!(world.store.row("v", "k1").map(|(version, _)| version.generation), Some(2));
}

#[test]
fn generations_are_forgotten_when_nothing_can_be_replayed_with_them() {
    let world = World::new();
    let (first, second) = (FakeComponent::identity(1), FakeComponent::identity(2));
    world.append(1..=20);
    world.start("v", &first);
    world.wait_emitted("v", 20);
    world.flow.swap_view(world.view("v", &second)).unwrap();
    world.append([21]);
    world.wait_emitted("v", 21);
    world.flow.on_checkpoint();
    assert_eq!(world.store.view("v").unwrap().generations.len(), 2);
    world.store.checkpoint_now();
    world.flow.on_checkpoint();
    assert_eq!(world.store.view("v").unwrap().generations.len(), 1);
}

#[test]
fn a_swap_waits_for_the_ledger_and_the_old_transform_does_not_go_on_meanwhile() {
    let world = World::new();
    world.start("v", &FakeComponent::adding(1, 1000));
    world.append(1..=10);
    world.wait_emitted("v", 10);
    world.store.ledger_failures.fail_next(3, model::error::Disposition::Retry);
    world.flow.swap_view(world.view("v", &FakeComponent::adding(2, 2000))).unwrap();
    wait_until("a note has failed", || world.store.ledger_failures.seen() > 0);
    world.append(11..=20);
    world.wait_emitted("v", 20);
    world.check_complete("v", 20);
    assert_eq!(world.store.ledger_failures.seen(), 3);
    assert!(made(&world)[10..].iter().all(|(_, generation, _)| *generation == 2));
}

#[test]
fn a_swap_that_cannot_be_noted_pauses_the_view() {
    let world = World::new();
    world.start("v", &FakeComponent::identity(1));
    world.append(1..=10);
    world.wait_emitted("v", 10);
    world.store.ledger_failures.fail_next(1, model::error::Disposition::Stop);
    world.flow.swap_view(world.view("v", &FakeComponent::identity(2))).unwrap();
    world.wait_state("v", "paused");
    world.append(11..=20);
    world.flow.resume_view("v").unwrap();
    world.wait_emitted("v", 20);
    world.check_complete("v", 20);
    assert_eq!(made(&world)[19].1, 2);
}

#[test]
fn a_component_that_does_not_fit_is_refused_without_effect() {
    let world = World::new();
    world.start("v", &FakeComponent::identity(1));
    let mut setup = world.view("v", &FakeComponent::identity(2));
    setup.event_time_column = "when".to_owned();
    let error = world.flow.swap_view(setup).unwrap_err();
    assert_eq!(
        error.to_string(),
        "start view `v`: find the output column `when`: the component produces key, value, at"
    );
    world.append(1..=10);
    world.wait_emitted("v", 10);
    assert_eq!((world.state_name("v"), made(&world)[9].1), ("running", 1));
    let _ = (SOURCE, PARTITION);
}
