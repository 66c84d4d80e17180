//! Crashes at any point: whatever happens, the output has each event once and in order, and the store the newest row.

use std::sync::Arc;

use proptest::prelude::*;
use testkit::fake::component::FakeComponent;
use testkit::fake::online::MemoryStore;
use testkit::fake::output::MemoryOutput;
use testkit::fake::source::{INGEST_TIME, MemorySource};
use testkit::fake::trouble::{Fuse, Trace};
use testkit::fake::wait::wait_until;

use crate::world::{PARTITION, World, keeping, settings};

/// One life of the host.
#[derive(Debug, Clone)]
struct Life {
    /// Writes, emissions, syncs and notes until it is gone.
    operations: i64,
    /// Events that come during it.
    events: i64,
    /// Writes between two checkpoints; 0 = there is none.
    checkpoint_every: usize,
    /// Whether the component is another one than before.
    is_changed: bool,
    /// Whether it is swapped while events flow.
    is_swapped: bool,
}

fn life() -> impl Strategy<Value = Life> {
    (0i64..60, 0i64..120, 0usize..5, any::<bool>(), any::<bool>()).prop_map(
        |(operations, events, checkpoint_every, is_changed, is_swapped)| Life {
            operations,
            events,
            checkpoint_every,
            is_changed,
            is_swapped,
        },
    )
}

/// Events out of order in time, on four entities.
fn event(number: i64) -> String {
    let time = INGEST_TIME + (number * 7919) % 101;
    format!("k{},{number},{time}", number % 4)
}

fn run(lives: &[Life]) {
    let source = MemorySource::new(&[PARTITION]);
    let mut store = MemoryStore::traced(&Arc::new(Trace::default()));
    let mut output = MemoryOutput::traced(&Arc::new(Trace::default()));
    let components: Vec<Arc<FakeComponent>> =
        (1..=40).map(|version| FakeComponent::adding(version, 0)).collect();
    let kept: Vec<&Arc<FakeComponent>> = components.iter().collect();
    let mut version = 0;
    let mut events = 0;
    for life in lives {
        let fuse = Fuse::after(life.operations);
        store = store.after_crash(&fuse, life.checkpoint_every);
        output = output.after_crash(&fuse);
        version += usize::from(life.is_changed);
        let world = World::on(settings(), source.clone(), store.clone(), output.clone(), Arc::default());
        let setup = |version: usize| keeping(world.view("v", &components[version]), &kept);
        // The ledger may be gone before the view has started.
        if world.flow.start_view(setup(version)).is_ok() {
            world.source.append(PARTITION, (events + 1..=events + life.events / 2).map(event));
            if life.is_swapped {
                version += 1;
                world.flow.swap_view(setup(version)).unwrap();
            }
            events += life.events / 2;
            world.source.append(PARTITION, (events + 1..=events + life.events / 2).map(event));
            events += life.events / 2;
            let done = |world: &World| world.output.positions_of("v").len() as i64 == events;
            wait_until("the host is gone or done", || {
                world.flow.on_checkpoint();
                fuse.is_blown() || done(&world)
            });
        }
        fuse.blow();
    }
    let fuse = Fuse::never();
    store = store.after_crash(&fuse, 1);
    output = output.after_crash(&fuse);
    let world = World::on(settings(), source, store, output, Arc::default());
    world.flow.start_view(keeping(world.view("v", &components[version]), &kept)).unwrap();
    events += 1;
    world.source.append(PARTITION, [event(events)]);
    world.wait_emitted("v", usize::try_from(events).unwrap());
    check(&world, events);
}

fn check(world: &World, events: i64) {
    world.check_complete("v", events.unsigned_abs());
    let mut newest: Vec<Option<(i64, i64)>> = vec![None; 4];
    for number in 1..=events {
        let entity = &mut newest[usize::try_from(number % 4).unwrap()];
        *entity = (*entity).max(Some(((number * 7919) % 101, number)));
    }
    for (entity, newest) in newest.iter().enumerate() {
        let stored = world.store.value("v", &format!("k{entity}"));
        assert_eq!(stored, newest.map(|(_, number)| number), "entity {entity}");
    }
    let generations: Vec<u32> = world.output.records().iter().map(|record| record.generation).collect();
    assert!(generations.is_sorted(), "generations go up with positions: {generations:?}");
}

/// `CRASH_CASES` for a longer search.
fn cases() -> u32 {
    std::env::var("CRASH_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_crashes_converge(lives in prop::collection::vec(life(), 1..6)) {
        run(&lives);
    }
}
