//! Where a view begins: new, known, recovering, with a new output stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::source::Point;
use model::status::Overview;
use pipeline::setup::SourceSetup;
use testkit::fake::component::FakeComponent;
use testkit::fake::format::LineFormat;
use testkit::fake::source::MemorySource;
use testkit::fake::wait::wait_until;

use crate::world::{World, offline};

#[test]
fn a_new_view_begins_at_the_end_unless_it_asks_for_the_beginning() {
    let world = World::new();
    world.append(1..=10);
    let mut latest = world.view("latest", &FakeComponent::identity(1));
    latest.start = Point::Latest;
    world.flow.start_view(latest).unwrap();
    world.start("earliest", &FakeComponent::identity(2));
    world.append(11..=12);
    world.wait_emitted("earliest", 12);
    world.wait_emitted("latest", 2);
    assert_eq!(world.output.positions_of("latest"), [11, 12]);
}

#[test]
fn where_a_view_began_survives_a_crash() {
    let world = World::new();
    world.append(1..=10);
    let component = FakeComponent::identity(1);
    let mut latest = world.view("v", &component);
    latest.start = Point::Latest;
    world.flow.start_view(latest).unwrap();
    let world = world.crash();
    world.append(11..=12);
    let mut latest = world.view("v", &component);
    latest.start = Point::Latest;
    world.flow.start_view(latest).unwrap();
    world.wait_emitted("v", 2);
    assert_eq!(world.output.positions_of("v"), [11, 12]);
}

#[test]
fn each_sink_skips_what_it_has() {
    let world = World::new();
    let component = FakeComponent::identity(1);
    world.append(1..=20);
    world.start("v", &component);
    world.wait_emitted("v", 20);
    world.store.checkpoint_now();
    world.append(21..=40);
    world.wait_emitted("v", 40);
    // The store goes back to 20, the output has 40.
    let world = world.crash();
    assert_eq!(world.store.value("v", "k1"), Some(19));
    world.start("v", &component);
    wait_until("the rows are made again", || world.store.value("v", "k1") == Some(40));
    world.append([41]);
    world.wait_emitted("v", 41);
    world.check_complete("v", 41);
    assert_eq!(component.counts().rows.load(Ordering::SeqCst), 40 + 21);
}

#[test]
fn until_it_has_taken_what_was_there_a_known_view_is_recovering() {
    let world = World::new();
    let component = FakeComponent::identity(1);
    world.append(1..=20);
    world.start("v", &component);
    world.wait_emitted("v", 20);
    let world = world.crash();
    world.store.gate.close();
    world.start("v", &component);
    world.start("new", &FakeComponent::identity(2));
    assert_eq!(world.state_name("v"), "recovering");
    assert_ne!(world.state_name("new"), "recovering");
    world.append(21..=30);
    world.store.gate.open();
    world.wait_state("v", "running");
    world.wait_emitted("v", 30);
    world.check_complete("v", 30);
}

#[test]
fn after_an_orderly_end_nothing_is_recovered_or_read_again() {
    let world = World::new();
    let component = FakeComponent::identity(1);
    world.append(1..=20);
    world.start("v", &component);
    world.wait_emitted("v", 20);
    assert!(world.flow.drain(testkit::fake::wait::LIMIT));
    let world = world.crash();
    world.start("v", &component);
    assert_eq!(world.state_name("v"), "running");
    world.append([21]);
    world.wait_emitted("v", 21);
    world.check_complete("v", 21);
    assert_eq!(component.counts().rows.load(Ordering::SeqCst), 21);
}

#[test]
fn an_output_stream_that_is_added_to_a_known_view_begins_where_the_view_is() {
    let world = World::new();
    let component = FakeComponent::identity(1);
    world.append(1..=20);
    let mut silent = world.view("v", &component);
    silent.output = None;
    world.flow.start_view(silent).unwrap();
    wait_until("it is applied", || world.store.value("v", "k2") == Some(20));
    assert!(world.flow.drain(testkit::fake::wait::LIMIT));
    let world = world.crash();
    world.start("v", &component);
    world.append(21..=25);
    world.wait_emitted("v", 5);
    assert_eq!(world.output.positions_of("v"), [21, 22, 23, 24, 25]);
    // A crash before the first record is durable must not be mistaken for that.
    let world = World::new();
    world.output.gate.close();
    world.append(1..=20);
    world.start("v", &component);
    wait_until("it is applied", || world.store.value("v", "k2") == Some(20));
    world.store.checkpoint_now();
    let world = world.crash();
    world.start("v", &component);
    world.wait_emitted("v", 20);
    world.check_complete("v", 20);
}

#[test]
fn a_swap_to_another_output_stream_goes_on_where_the_view_is() {
    let world = World::new();
    let component = FakeComponent::identity(1);
    world.append(1..=20);
    let mut silent = world.view("v", &component);
    silent.output = None;
    world.flow.start_view(silent).unwrap();
    wait_until("it is applied", || world.store.value("v", "k2") == Some(20));
    world.store.checkpoint_now();
    world.flow.swap_view(world.view("v", &component)).unwrap();
    world.append(21..=25);
    world.wait_emitted("v", 5);
    assert_eq!(world.output.positions_of("v"), [21, 22, 23, 24, 25]);
}

#[test]
fn a_view_that_was_stopped_comes_back_where_it_was() {
    let world = World::new();
    let component = FakeComponent::identity(1);
    world.append(1..=20);
    world.start("v", &component);
    world.wait_emitted("v", 20);
    world.flow.stop_view("v", true);
    assert!(world.flow.wait_stopped("v", testkit::fake::wait::LIMIT));
    assert_eq!(world.state_name("v"), "stopped");
    world.append(21..=30);
    world.start("v", &component);
    world.wait_emitted("v", 30);
    world.check_complete("v", 30);
    assert_eq!(world.flow.views().len(), 1);
}

#[test]
fn a_view_keeps_to_the_source_that_its_positions_are_of() {
    let world = World::new();
    let component = FakeComponent::identity(1);
    world.append(1..=20);
    world.start("v", &component);
    world.wait_emitted("v", 20);
    world.flow.stop_view("v", true);
    assert!(world.flow.wait_stopped("v", testkit::fake::wait::LIMIT));
    let other = SourceSetup {
        name: "other".into(),
        source: MemorySource::new(&["0"]),
        format: Arc::new(LineFormat::default()),
    };
    world.flow.add_source(other).unwrap();
    let mut setup = world.view("v", &component);
    let mut shape = (*setup.shape).clone();
    shape.source = "other".into();
    setup.shape = Arc::new(shape);
    let refusal = world.flow.start_view(setup).unwrap_err().to_string();
    assert!(refusal.contains("another name"), "{refusal}");
    world.start("v", &component);
    assert_eq!(world.state_name("v"), "running");
}

#[test]
fn a_source_forgets_what_every_sink_of_every_view_has_durably() {
    let world = World::new();
    world.append(1..=20);
    world.start("a", &FakeComponent::identity(1));
    world.flow.start_view(offline(world.view("b", &FakeComponent::identity(2)))).unwrap();
    world.wait_emitted("a", 20);
    world.wait_emitted("b", 20);
    let released = |world: &World| world.source.released("0").and_then(|at| at.as_u64());
    world.flow.on_checkpoint();
    assert_eq!(released(&world), None);
    wait_released(&world, 20);
    // A view that holds its place back holds the source back.
    world.output.gate.close();
    world.append(21..=30);
    wait_until("it is applied", || world.store.value("a", "k0") == Some(30));
    world.store.checkpoint_now();
    world.flow.on_checkpoint();
    assert_eq!(released(&world), Some(20));
    world.output.gate.open();
    wait_released(&world, 30);
}

/// Makes checkpoints until the source was told that it may forget events through this one.
#[track_caller]
fn wait_released(world: &World, through: u64) {
    wait_until("every sink has all", || {
        world.store.checkpoint_now();
        world.flow.on_checkpoint();
        world.source.released("0").and_then(|at| at.as_u64()) == Some(through)
    });
}

#[test]
fn a_known_view_that_cannot_be_started_keeps_its_events() {
    let world = World::new();
    let component = FakeComponent::identity(1);
    world.append(1..=20);
    world.start("a", &component);
    world.wait_emitted("a", 20);
    let world = world.crash();
    world.flow.mark_failed("a", "clicks", "no such component");
    world.flow.mark_failed("never_started", "clicks", "no such component");
    world.start("b", &component);
    world.wait_emitted("b", 20);
    world.store.checkpoint_now();
    world.flow.on_checkpoint();
    assert_eq!(world.source.released("0"), None);
    assert_eq!(world.reason("a"), "no such component");
    // Also if nobody can say which source it has.
    world.flow.mark_failed("a", "", "no such file");
    world.flow.on_checkpoint();
    assert_eq!(world.source.released("0"), None);
    world.start("a", &component);
    wait_until("it has taken all again", || world.store.value("a", "k2") == Some(20));
    wait_released(&world, 20);
}
