//! What may be forgotten after a checkpoint: events that every sink is durably past, and generations that no replay
//! can reach any more. Also the moment at which lag is measured, for it asks sources where they end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::position::{Partition, Position};

use crate::events::ReleaseFailed;
use crate::flow::{Core, Source};
use crate::pool::lock;
use crate::progress::Progress;
use crate::setup::ViewSetup;
use crate::shared::Shared;
use crate::view::View;

/// See [`crate::flow::Flow::on_checkpoint`].
pub(crate) fn on_checkpoint(core: &Core) {
    let sources: Vec<(String, Arc<Source>)> =
        lock(&core.sources).iter().map(|(name, source)| (name.clone(), Arc::clone(source))).collect();
    // A view that has positions on a source that nobody can name keeps every source.
    let is_astray = |view: &View| {
        view.is_failed() && view.was_known && !sources.iter().any(|(name, _)| *name == view.source)
    };
    let nothing_goes = core.views.load().values().any(|view| is_astray(view));
    for (name, source) in &sources {
        // A view whose file is gone holds nothing; those that have stopped with the host do.
        let draining = core.draining.load(Ordering::Acquire);
        let views = source.waiters.views.load();
        let views: Vec<Arc<View>> =
            views.iter().filter(|view| draining || !view.is_stopped()).cloned().collect();
        if !nothing_goes {
            release(&core.shared, name, source, &views);
        }
        for view in &views {
            show_lag(source, view);
            forget(&core.shared, view);
        }
    }
}

/// Through where all sinks of a view durably have a partition.
fn durable(shared: &Shared, setup: &ViewSetup, progress: &Progress) -> Option<Position> {
    let (view, partition) = (&setup.shape.name, &progress.partition);
    let online = shared.ledger.durable(view, partition);
    let durable = match &setup.output {
        Some((output, _)) => online.min(output.position(view, partition)),
        None => online,
    };
    durable.max(progress.began)
}

fn release(shared: &Shared, name: &str, source: &Source, views: &[Arc<View>]) {
    // A view that has positions and cannot say them keeps everything.
    if views.is_empty() || views.iter().any(|view| view.is_failed() && view.was_known) {
        return;
    }
    let mut least: BTreeMap<Partition, Option<Position>> = BTreeMap::new();
    for view in views {
        let Some(setup) = view.setup() else { continue };
        for unit in view.units() {
            let through = durable(shared, &setup, &unit.progress);
            least
                .entry(unit.progress.partition.clone())
                .and_modify(|least| *least = (*least).min(through))
                .or_insert(through);
        }
    }
    for (partition, through) in least {
        let everywhere = views.iter().all(|view| view.is_failed() || view.has_unit(&partition));
        let Some(through) = through.filter(|_| everywhere) else { continue };
        if let Err(failure) = source.intake.source.release(&partition, &through, &BTreeMap::new()) {
            ReleaseFailed { source: name, partition: &partition, failure: &failure }.emit();
        }
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
    if !passed || units.is_empty() {
        return;
    }
    let number = newest.generation.number;
    match shared.ledger.forget_generations_before(&view.name, number) {
        Ok(()) => view.forget_generations_before(number),
        // It is tried again after the next checkpoint.
        Err(failure) => tracing::warn!(view = %view.name, %failure, "earlier generations were not forgotten"),
    }
}

fn show_lag(source: &Source, view: &View) {
    for unit in view.units() {
        let partition = &unit.progress.partition;
        // A source that cannot say where it ends now has its own way to tell of it.
        let Ok(end) = source.intake.source.end(partition) else { continue };
        let number = |position: Option<Position>| position.map_or(Some(0), |position| position.as_u64());
        if let (Some(end), Some(applied)) = (number(end), number(unit.progress.marks().applied)) {
            view.metrics().lag(partition, end.saturating_sub(applied));
        }
    }
}
