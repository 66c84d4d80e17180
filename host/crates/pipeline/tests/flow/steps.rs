//! The order of steps for one batch.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use futures_core::future::BoxFuture;
use model::error::Failure;
use model::output::{Emission, OutputStream};
use model::position::{Partition, Position};
use testkit::fake::component::FakeComponent;
use testkit::fake::online::MemoryStore;
use testkit::fake::wait::wait_until;

use crate::world::{PARTITION, World, event, offline, view_setup};

#[test]
fn letters_come_before_rows_and_rows_before_records() {
    let world = World::new();
    world.source.append(PARTITION, [event(1), "nonsense".to_owned(), event(3)]);
    world.start("v", &FakeComponent::identity(1));
    world.wait_emitted("v", 2);
    wait_until("the record is acknowledged", || world.trace.lines().len() == 3);
    assert_eq!(world.trace.lines(), ["letters 1", "write v through 3", "emit v through 3"]);
    assert_eq!(world.dead.codes(), [(2, "decode")]);
    assert_eq!(world.dead.letters()[0].payload, "nonsense");
}

#[test]
fn every_batch_is_written_and_emitted_in_order() {
    let world = World::new();
    world.append(1..=1000);
    world.start("v", &FakeComponent::identity(1));
    world.wait_emitted("v", 1000);
    world.check_complete("v", 1000);
    assert_eq!(world.store.value("v", "k1"), Some(1000));
    assert_eq!(world.store.value("v", "k0"), Some(999));
}

/// Looks at the store at the moment of emission.
struct Reading {
    store: Arc<MemoryStore>,
    seen: Mutex<Vec<(i64, Option<i64>)>>,
}

impl OutputStream for Reading {
    fn position(&self, _view: &str, _partition: &Partition) -> Option<Position> {
        None
    }

    fn emit(&self, emission: Emission) -> BoxFuture<'static, Result<(), Failure>> {
        let mut seen = self.seen.lock().unwrap();
        for row in 0..emission.batch.len() {
            let time = emission.batch.event_times[row];
            let key = format!("k{}", (time - testkit::fake::source::INGEST_TIME) % 3);
            let stored = self.store.row("v", &key).map(|(version, _)| version.event_time);
            seen.push((time, stored));
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn rewind(
        &self,
        _view: &str,
        _partition: &Partition,
        _to: Option<Position>,
        _epoch: u32,
    ) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn whoever_gets_a_record_can_read_the_feature() {
    let world = World::new();
    let reading = Arc::new(Reading { store: world.store.clone(), seen: Mutex::default() });
    let setup = view_setup("v", &FakeComponent::identity(1), Some(reading.clone()));
    world.flow.start_view(setup).unwrap();
    for value in 1..=100 {
        world.append([value]);
    }
    wait_until("all are emitted", || reading.seen.lock().unwrap().len() == 100);
    for (time, stored) in reading.seen.lock().unwrap().iter() {
        assert!(Some(*time) <= *stored, "{time} was emitted, but {stored:?} was stored");
    }
}

#[test]
fn nothing_is_emitted_before_the_store_has_acknowledged_it() {
    let world = World::new();
    world.store.gate.close();
    world.append(1..=5);
    world.start("v", &FakeComponent::identity(1));
    wait_until("the write waits", || world.store.gate.waiting() > 0);
    assert_eq!(world.trace.lines(), Vec::<String>::new());
    world.store.gate.open();
    world.wait_emitted("v", 5);
}

#[test]
fn with_parallel_emission_the_record_does_not_wait_for_the_store() {
    let world = World::new();
    world.store.gate.close();
    world.append(1..=5);
    let mut setup = world.view("v", &FakeComponent::identity(1));
    setup.parallel_emit = true;
    world.flow.start_view(setup).unwrap();
    world.wait_emitted("v", 5);
    wait_until("the write waits", || world.store.gate.waiting() > 0);
    assert_eq!(world.store.row("v", "k1"), None);
    world.store.gate.open();
    wait_until("the row is there", || world.store.value("v", "k1") == Some(4));
}

#[test]
fn late_rows_are_emitted_and_say_so() {
    let world = World::new();
    let (new, old) = (event(7), event(4));
    world.source.append(PARTITION, [new]);
    world.start("v", &FakeComponent::identity(1));
    world.wait_emitted("v", 1);
    world.source.append(PARTITION, [old]);
    world.wait_emitted("v", 2);
    let applied: Vec<bool> = world.output.records().iter().map(|record| record.applied).collect();
    assert_eq!(applied, [true, false]);
    assert_eq!(world.store.value("v", "k1"), Some(7));
}

#[test]
fn the_next_batch_is_written_while_records_wait_but_not_without_end() {
    let world = World::new();
    world.output.gate.close();
    world.append(1..=100);
    world.start("v", &FakeComponent::identity(1));
    let writes = || world.trace.lines().iter().filter(|line| line.starts_with("write")).count();
    wait_until("the window is full", || writes() == 4);
    world.output.gate.open();
    world.wait_emitted("v", 100);
    world.check_complete("v", 100);
}

#[test]
fn a_view_without_online_rows_moves_its_position_all_the_same() {
    let world = World::new();
    world.append(1..=30);
    world.flow.start_view(offline(world.view("v", &FakeComponent::identity(1)))).unwrap();
    world.wait_emitted("v", 30);
    assert_eq!(world.store.rows("v"), []);
    world.store.checkpoint_now();
    let world = world.crash();
    world.append([31]);
    let component = FakeComponent::identity(1);
    world.flow.start_view(offline(world.view("v", &component))).unwrap();
    world.wait_emitted("v", 31);
    world.check_complete("v", 31);
    assert_eq!(component.counts().rows.load(Ordering::SeqCst), 1);
}
