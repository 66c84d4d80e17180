//! Starting, stopping, draining; what status and metrics say.

use model::status::Overview;
use prometheus_client::encoding::text::encode;
use testkit::fake::component::{FakeComponent, Reaction};
use testkit::fake::wait::{LIMIT, wait_until};

use crate::world::{SOURCE, World};

#[test]
fn a_drain_finishes_what_has_begun_and_makes_it_durable() {
    let world = World::new();
    let slow = FakeComponent::identity(1);
    world.append(1..=100);
    world.output.gate.close();
    world.start("v", &slow);
    let writes = || world.trace.lines().iter().filter(|line| line.starts_with("write")).count();
    wait_until("batches wait for their emission", || writes() == 4);
    let (flow, output) = (world.flow.clone(), world.output.clone());
    let draining = std::thread::spawn(move || flow.drain(LIMIT));
    world.wait_state("v", "draining");
    output.gate.open();
    assert!(draining.join().unwrap());
    assert_eq!(world.state_name("v"), "stopped");
    world.check_complete("v", 40);
    assert_eq!(world.trace.lines().last().map(String::as_str), Some("checkpoint"));
    assert_eq!(world.source.released("0").and_then(|at| at.as_u64()), Some(40));
    let refused = world.flow.start_view(world.view("w", &slow)).unwrap_err();
    assert_eq!(refused.to_string(), "start view `w`: the host is stopping");
}

#[test]
fn a_drain_says_when_it_was_not_done_in_time() {
    let world = World::new();
    world.append([1]);
    world.output.gate.close();
    world.start("v", &FakeComponent::identity(1));
    wait_until("the batch waits", || world.output.gate.waiting() > 0);
    assert!(!world.flow.drain(std::time::Duration::from_millis(5)));
}

#[test]
fn the_last_view_of_a_source_ends_its_reader() {
    let world = World::new();
    world.start("v", &FakeComponent::identity(1));
    assert!(world.flow.remove_source(SOURCE).is_err());
    world.append(1..=10);
    world.wait_emitted("v", 10);
    world.flow.stop_view("v", false);
    assert!(world.flow.wait_stopped("v", LIMIT));
    wait_until("nobody uses the source", || world.flow.remove_source(SOURCE).is_ok());
    let source = std::sync::Arc::downgrade(&world.source);
    let flow = world.flow.clone();
    drop(world);
    wait_until("the reader has let go of it", || source.strong_count() == 0);
    drop(flow);
}

#[test]
fn a_view_runs_once() {
    let world = World::new();
    let component = FakeComponent::identity(1);
    world.start("v", &component);
    let refused = world.flow.start_view(world.view("v", &component)).unwrap_err();
    assert_eq!(refused.to_string(), "start view `v`: it is running");
    assert!(world.flow.swap_view(world.view("w", &component)).is_err());
    let mut stray = world.view("w", &component);
    stray.shape = testkit::fake::component::shape("w", "clocks");
    let refused = world.flow.start_view(stray).unwrap_err();
    assert_eq!(refused.to_string(), "find source `clocks`: there is clicks");
}

#[test]
fn status_says_what_a_view_is_and_did() {
    let world = World::new();
    let component = FakeComponent::new(7, |row| match row.1 {
        Some(3) => Reaction::Reject("three"),
        _ => Reaction::Rows(vec![row.clone(), row.clone()]),
    });
    world.append(1..=5);
    world.start("v", &component);
    world.wait_emitted("v", 8);
    world.flow.note_error("v", "a change was refused");
    wait_until("all is counted", || world.flow.views()[0].rows_out == 8);
    let status = world.flow.views().remove(0);
    assert_eq!((status.rows_in, status.rows_out, status.dead_letters), (5, 8, 1));
    assert_eq!((status.view.as_str(), status.source.as_str()), ("v", SOURCE));
    assert_eq!((status.component.as_str(), status.generation), ("fake 7", 1));
    assert_eq!(status.last_error.as_deref(), Some("a change was refused"));
    assert_eq!(status.partitions.len(), 1);
    assert_eq!(status.partitions[0].applied.and_then(|at| at.as_u64()), Some(5));
    world.flow.clear_error("v");
    assert_eq!(world.flow.views()[0].last_error, None);
    assert_eq!(world.flow.state("nobody"), None);
}

#[test]
fn the_series_of_a_view_vanish_with_it() {
    let world = World::new();
    let component = FakeComponent::identity(1);
    world.append(1..=5);
    world.start("v", &component);
    world.wait_emitted("v", 5);
    world.flow.on_checkpoint();
    let text = |world: &World| {
        let mut text = String::new();
        encode(&mut text, &world.registry).unwrap();
        text
    };
    wait_until("all is counted", || text(&world).contains("millrace_view_rows_out_total{view=\"v\"} 5"));
    let shown = text(&world);
    assert!(shown.contains("millrace_view_rows_in_total{view=\"v\"} 5"), "{shown}");
    assert!(shown.contains("millrace_view_state{view=\"v\",state=\"running\"} 1"), "{shown}");
    assert!(shown.contains("millrace_view_lag_events{view=\"v\",partition=\"0\"} 0"), "{shown}");
    assert!(shown.contains("millrace_source_rows_total{source=\"clicks\"} 5"), "{shown}");
    world.flow.stop_view("v", true);
    assert!(world.flow.wait_stopped("v", LIMIT));
    world.flow.forget_view("v");
    assert_eq!(world.flow.views().len(), 0);
    assert!(!text(&world).contains("view=\"v\""), "{}", text(&world));
}

#[test]
fn a_flow_that_is_dropped_lets_go_of_its_parts() {
    let world = World::new();
    let component = FakeComponent::identity(1);
    world.append(1..=500);
    world.start("v", &component);
    world.wait_emitted("v", 10);
    let source = std::sync::Arc::downgrade(&world.source);
    let store = std::sync::Arc::downgrade(&world.store);
    drop(world);
    wait_until("source and store are gone", || source.strong_count() == 0 && store.strong_count() == 0);
}
