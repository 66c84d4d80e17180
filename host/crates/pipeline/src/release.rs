//! What may be forgotten after a checkpoint: events that every sink is durably past, and generations that no replay
//! can reach any more. Also the moment at which lag is measured. What is said of a partition is always what is durable: the
//! positions of ledger and output stream, not marks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use model::position::{Partition, Position};
use model::source::{Kept, ViewProgress};

use crate::events::ReleaseFailed;
use crate::flow::{Core, Source};
use crate::pool::lock;
use crate::progress::Progress;
use crate::setup::ViewSetup;
use crate::shared::Shared;
use crate::start;
use crate::view::{UnitHandle, View};

/// See [`crate::flow::Flow::on_checkpoint`].
pub(crate) fn on_checkpoint(core: &Arc<Core>) {
    let sources: Vec<(String, Arc<Source>)> =
        lock(&core.sources).iter().map(|(name, source)| (name.clone(), Arc::clone(source))).collect();
    // A view that has positions on a source that nobody can name keeps every source.
    let is_astray = |view: &View| {
        view.is_failed() && view.was_known && !sources.iter().any(|(name, _)| *name == view.source)
    };
    let nothing_goes = core.views.load().values().any(|view| is_astray(view));
    for (name, source) in &sources {
        let views = views_of(core, source);
        if !nothing_goes {
            release(&core.shared, name, source, &views);
        }
        for view in &views {
            forget(&core.shared, view);
        }
    }
    measure(core);
}

/// The views whose progress counts. A view whose file is gone holds nothing; those that have stopped with the host do.
fn views_of(core: &Core, source: &Source) -> Vec<Arc<View>> {
    let draining = core.draining.load(Ordering::Acquire);
    let views = source.waiters.views.load();
    views.iter().filter(|view| draining || !view.is_stopped()).cloned().collect()
}

/// A unit whose partition goes to another host, and what it was made with.
pub(crate) struct Leaving {
    pub(crate) view: Arc<View>,
    pub(crate) setup: Arc<ViewSetup>,
    pub(crate) unit: UnitHandle,
}

/// Through where all sinks of a view durably have a partition.
fn durable(shared: &Shared, setup: &ViewSetup, progress: &Progress) -> Option<Position> {
    let online = shared.ledger.durable(&setup.shape.name, &progress.partition);
    let durable = if setup.output.is_some() { online.min(emitted(setup, progress)) } else { online };
    durable.max(progress.began)
}

/// Through where the output stream of a view durably has a partition.
fn emitted(setup: &ViewSetup, progress: &Progress) -> Option<Position> {
    let (output, _) = setup.output.as_ref()?;
    output.position(&setup.shape.name, &progress.partition).max(progress.emitted_before)
}

fn release(shared: &Shared, name: &str, source: &Source, views: &[Arc<View>]) {
    let units = views.iter().flat_map(|view| view.units());
    let partitions: BTreeSet<Partition> = units.map(|unit| unit.progress.partition.clone()).collect();
    for partition in &partitions {
        release_one(shared, name, source, partition, views, &|view| at_work(view, partition));
    }
}

/// Tells the source how far its views are in these partitions, without waiting for the next checkpoint.
pub(crate) fn tell(core: &Core, source: &Source, partitions: &BTreeSet<Partition>) {
    let views = views_of(core, source);
    for partition in partitions {
        let unit_of = |view: &Arc<View>| at_work(view, partition);
        release_one(&core.shared, &source.intake.name, source, partition, &views, &unit_of);
    }
}

/// Tells the source how far its views came in partitions that go to another host.
pub(crate) fn release_leaving(core: &Core, source: &Source, partitions: &[Partition], leaving: &[Leaving]) {
    let views = views_of(core, source);
    for partition in partitions {
        let unit_of = |view: &Arc<View>| {
            let left = leaving
                .iter()
                .find(|left| Arc::ptr_eq(&left.view, view) && left.unit.progress.partition == *partition)?;
            Some((Arc::clone(&left.setup), Arc::clone(&left.unit.progress)))
        };
        release_one(&core.shared, &source.intake.name, source, partition, &views, &unit_of);
    }
}

type AtWork = (Arc<ViewSetup>, Arc<Progress>);

fn at_work(view: &Arc<View>, partition: &Partition) -> Option<AtWork> {
    Some((view.setup()?, view.unit(partition)?.progress))
}

/// Tells the source through where it may forget a partition, and how far each view is.
fn release_one(
    shared: &Shared,
    name: &str,
    source: &Source,
    partition: &Partition,
    views: &[Arc<View>],
    unit_of: &dyn Fn(&Arc<View>) -> Option<AtWork>,
) {
    let mut least: Option<Option<Position>> = None;
    let mut progress = BTreeMap::new();
    let mut held_back = false;
    for view in views {
        let Some((setup, unit)) = unit_of(view) else {
            // A view that has positions and cannot say them keeps everything.
            held_back |= !view.is_failed() || view.was_known;
            continue;
        };
        let through = durable(shared, &setup, &unit);
        least = Some(least.map_or(through, |least| least.min(through)));
        let through = if setup.output.is_some() { emitted(&setup, &unit) } else { through };
        progress.insert(view.name.to_string(), ViewProgress { through, epoch: unit.epoch });
        note_group(shared, source, view, &unit);
    }
    let Some(mut through) = least else { return };
    let source = &source.intake.source;
    if held_back {
        // What the others have done is worth saying all the same, where the source keeps it for each view.
        let kept = progress.keys().next().and_then(|view| source.kept(view, partition).ok().flatten());
        let Some(kept) = kept else { return };
        through = through.min(kept.group);
    }
    if let Err(failure) = source.release(partition, through.as_ref(), &progress) {
        ReleaseFailed { source: name, partition, failure: &failure }.emit();
    }
}

/// Notes, once, that the source's group has a commit in the unit's partition.
fn note_group(shared: &Shared, source: &Source, view: &View, unit: &Progress) {
    if unit.group_noted.load(Ordering::Acquire) {
        return;
    }
    let kept = source.intake.source.kept(&view.name, &unit.partition);
    if !matches!(kept, Ok(Some(Kept { group: Some(_), .. }))) {
        return;
    }
    match shared.ledger.start(&start::group_name(&view.name), &unit.partition, None) {
        Ok(()) => unit.group_noted.store(true, Ordering::Release),
        // It is tried again after the next checkpoint.
        Err(failure) => tracing::warn!(view = %view.name, %failure, "a commit of the group was not noted"),
    }
}

/// Drops generations once all partitions are durably past the beginning of the newest.
fn forget(shared: &Shared, view: &View) {
    let (Some(setup), generations) = (view.setup(), view.generations()) else { return };
    let [_, .., newest] = generations.as_slice() else { return };
    let units = view.units();
    let passed = units.iter().all(|unit| {
        let begins = newest.after.get(&unit.progress.partition);
        begins.is_some_and(|begins| {
            begins.as_bytes().is_empty() || Some(*begins) <= durable(shared, &setup, &unit.progress)
        })
    });
    // Partitions that are another host's now may come back, and are replayed from where this host was.
    let away = newest.after.iter().filter(|(partition, _)| !view.works_on(partition));
    let away_passed = away.into_iter().all(|(partition, begins)| {
        begins.as_bytes().is_empty() || Some(*begins) <= shared.ledger.durable(&view.name, partition)
    });
    if !passed || !away_passed || units.is_empty() {
        return;
    }
    let number = newest.generation.number;
    match shared.ledger.forget_generations_before(&view.name, number) {
        Ok(()) => view.forget_generations_before(number),
        // It is tried again after the next checkpoint.
        Err(failure) => tracing::warn!(view = %view.name, %failure, "earlier generations were not forgotten"),
    }
}

/// Measures how far views are behind. A source that other hosts share is asked on a thread of its own: the answer may
/// be a broker's. One such thread at a time; what it does not get round to is measured after a later checkpoint.
fn measure(core: &Arc<Core>) {
    let sources: Vec<Arc<Source>> = lock(&core.sources).values().cloned().collect();
    let (shared, own): (Vec<_>, Vec<_>) = sources.into_iter().partition(|source| source.roster.is_shared());
    own.iter().for_each(|source| measure_source(core, source));
    if shared.is_empty() || core.measuring.swap(true, Ordering::AcqRel) {
        return;
    }
    let measuring = Arc::clone(core);
    let spawned = thread::Builder::new().name("flow-lag".to_owned()).spawn(move || {
        shared.iter().for_each(|source| measure_source(&measuring, source));
        measuring.measuring.store(false, Ordering::Release);
    });
    if let Err(error) = spawned {
        core.measuring.store(false, Ordering::Release);
        tracing::warn!(%error, "failed to start the thread that measures lag");
    }
}

fn measure_source(core: &Core, source: &Source) {
    let views = source.waiters.views.load_full();
    let partitions: BTreeSet<Partition> =
        views.iter().flat_map(|view| view.units()).map(|unit| unit.progress.partition.clone()).collect();
    for partition in &partitions {
        // Asked before the marks are read, so that lag is never too small by what comes meanwhile. A source that
        // cannot say where it ends now has its own way to tell of it.
        let Ok(end) = source.intake.source.end(partition) else { continue };
        for view in views.iter() {
            let Some((_, unit)) = at_work(view, partition) else { continue };
            let (events, seconds) = lag(core, end, &unit);
            view.show_lag(&unit, events, seconds);
        }
    }
}

/// Events that a view has not applied, where positions count; and how old the last is that it has.
fn lag(core: &Core, end: Option<Position>, unit: &Progress) -> (Option<u64>, Option<f64>) {
    let applied = unit.marks().applied;
    if end <= applied {
        return (Some(0), Some(0.0));
    }
    let number = |position: Option<Position>| position.map_or(Some(0), |position| position.as_u64());
    let events = number(end).zip(number(applied)).map(|(end, applied)| end.saturating_sub(applied).max(1));
    let age = unit.applied_time().map(|recorded| core.shared.clock.now().0.saturating_sub(recorded).max(0));
    (events, age.map(|micros| micros as f64 / 1e6))
}
