//! What becomes of single rows: none, several, without a key, at an absurd time.

use testkit::fake::component::{FakeComponent, Reaction};
use testkit::fake::source::INGEST_TIME;
use testkit::fake::wait::wait_until;

use crate::world::{PARTITION, World, event};

/// Events in, dead letters (position and code) and records (position, row, value) out.
#[track_caller]
fn check(
    component: &std::sync::Arc<FakeComponent>,
    events: &[&str],
    letters: &[(u64, &str)],
    records: &[(u64, u32, i64)],
) {
    let world = World::new();
    let through = world.source.append(PARTITION, events.iter().map(|event| (*event).to_owned()));
    world.start("v", component);
    wait_until("all is delivered", || {
        model::status::Overview::views(&*world.flow)[0]
            .partitions
            .iter()
            .any(|at| at.emitted == Some(through))
    });
    assert_eq!(world.dead.codes(), letters);
    let found = world.output.records();
    let found: Vec<_> =
        found.iter().map(|record| (record.position, record.row, record.value.unwrap_or(-1))).collect();
    assert_eq!(found, records);
}

#[test]
fn a_null_key_or_an_absurd_time_costs_that_row_only() {
    let good = event(1);
    let null_key = format!(",2,{INGEST_TIME}");
    let null_time = "k,3,".to_owned();
    let millis = format!("k,4,{}", INGEST_TIME / 1000);
    let far = format!("k,5,{}", INGEST_TIME + 600_000_001);
    let near = format!("k,6,{}", INGEST_TIME + 600_000_000);
    let old = "k,7,946684799999999".to_owned();
    let oldest = "k,8,946684800000000".to_owned();
    check(
        &FakeComponent::identity(1),
        &[&good, &null_key, &null_time, &millis, &far, &near, &old, &oldest],
        &[(2, "null_key"), (3, "event_time"), (4, "event_time"), (5, "event_time"), (7, "event_time")],
        &[(1, 0, 1), (6, 0, 6), (8, 0, 8)],
    );
}

#[test]
fn one_event_may_give_none_one_or_several_rows() {
    let fanning = FakeComponent::new(1, |(key, value, at)| {
        let count = value.unwrap_or(0);
        let row = |number| (key.clone(), Some(count * 10 + number), *at);
        Reaction::Rows((0..count).map(row).collect())
    });
    let line = |value: i64| format!("k,{value},{INGEST_TIME}");
    check(
        &fanning,
        &[&line(2), &line(0), &line(1), "nonsense", &line(3)],
        &[(4, "decode")],
        &[(1, 0, 20), (1, 1, 21), (3, 0, 10), (5, 0, 30), (5, 1, 31), (5, 2, 32)],
    );
    check(&fanning, &[&line(0), &line(0)], &[], &[]);
}

#[test]
fn a_row_of_several_that_cannot_be_kept_leaves_the_others_their_number() {
    let component = FakeComponent::new(1, |(_, value, at)| {
        let row =
            |key: Option<&str>, number: i64| (key.map(str::to_owned), value.map(|v| v * 10 + number), *at);
        Reaction::Rows(vec![row(Some("a"), 0), row(None, 1), row(Some("b"), 2)])
    });
    let line = format!("k,1,{INGEST_TIME}");
    check(&component, &[&line], &[(1, "null_key")], &[(1, 0, 10), (1, 2, 12)]);
}

#[test]
fn rows_that_the_guest_refuses_go_to_the_dead_letter_with_its_reason() {
    let picky = FakeComponent::new(1, |row| match row.1 {
        Some(value) if value % 2 == 0 => Reaction::Reject("even"),
        _ => Reaction::Rows(vec![row.clone()]),
    });
    let events: Vec<String> = (1..=4).map(event).collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    check(&picky, &events, &[(2, "rejected"), (4, "rejected")], &[(1, 0, 1), (3, 0, 3)]);
}
