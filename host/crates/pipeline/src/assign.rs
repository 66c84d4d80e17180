//! Partitions of a shared source come and go: what the flow does when the group says so.
//!
//! *Assigned*: the partition is held, and the roster's thread gives each view a unit for it. *Revoked*: units finish
//! what they have begun, for two thirds of the time given; those that cannot (a sink is away) end without it, behind
//! their fence; then the store is made durable and the source told how far each view is. *Lost*: the fences go up at
//! once, and nothing is waited for. See [`crate::roster`] for the order of locks.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Instant;

use model::position::Partition;
use model::source::Assignee;

use crate::block_on::block_on_until;
use crate::events::{PartitionsAssigned, PartitionsGone};
use crate::flow::{Core, Source};
use crate::orders::Stop;
use crate::release::{self, Leaving};
use crate::roster;

/// What a source is given to tell the flow of its group.
pub(crate) struct Assigned {
    pub(crate) core: Weak<Core>,
    pub(crate) source: Weak<Source>,
}

impl Assigned {
    fn parts(&self) -> Option<(Arc<Core>, Arc<Source>)> {
        Some((self.core.upgrade()?, self.source.upgrade()?))
    }
}

impl Assignee for Assigned {
    fn assigned(&self, partitions: &[Partition]) {
        let Some((core, source)) = self.parts() else { return };
        PartitionsAssigned { source: &source.intake.name, partitions }.emit();
        source.intake.admit(partitions);
        source.roster.assign(partitions);
        roster::kick(&core, &source);
    }

    fn revoked(&self, partitions: &[Partition], deadline: Instant) {
        let Some((core, source)) = self.parts() else { return };
        let begun = Instant::now();
        let time = deadline.saturating_duration_since(begun);
        let leaving = withdraw(&source, partitions, Stop::Drain);
        let mut given_up = 0;
        if !wait_ended(&leaving, begun + time * 2 / 3) {
            given_up = give_up(&leaving);
            wait_ended(&leaving, begun + time * 3 / 4);
        }
        // A sixteenth remains for the commit that follows.
        if !leaving.is_empty() {
            let checkpoint = block_on_until(core.shared.online.checkpoint(), deadline - time / 16);
            match checkpoint {
                Some(Ok(())) => {}
                Some(Err(failure)) => tracing::warn!(%failure, "the checkpoint of a revoke failed"),
                None => tracing::warn!("the checkpoint of a revoke did not end in time"),
            }
        }
        release::release_leaving(&core, &source, partitions, &leaving);
        let name = &source.intake.name;
        PartitionsGone { source: name, partitions, lost: false, given_up, took: begun.elapsed() }.emit();
    }

    fn lost(&self, partitions: &[Partition]) {
        let Some((_core, source)) = self.parts() else { return };
        let begun = Instant::now();
        let given_up = give_up(&withdraw(&source, partitions, Stop::Now));
        let name = &source.intake.name;
        PartitionsGone { source: name, partitions, lost: true, given_up, took: begun.elapsed() }.emit();
    }
}

/// Takes partitions out of the roster and tells their units to end.
fn withdraw(source: &Source, partitions: &[Partition], how: Stop) -> Vec<Leaving> {
    let names: BTreeSet<Partition> = partitions.iter().cloned().collect();
    source.roster.withdraw(partitions, || {
        let mut leaving = Vec::new();
        for view in source.waiters.views.load().iter() {
            let Some(setup) = view.setup() else { continue };
            let units = view.end_units(Some(&names), how);
            leaving.extend(units.into_iter().map(|unit| Leaving {
                view: Arc::clone(view),
                setup: Arc::clone(&setup),
                unit,
            }));
        }
        source.intake.dismiss(partitions);
        leaving
    })
}

fn wait_ended(leaving: &[Leaving], deadline: Instant) -> bool {
    leaving.iter().all(|leaving| leaving.view.wait_ended(&leaving.unit.progress, deadline))
}

/// Ends units without what they have begun. Returns how many had not ended by themselves.
fn give_up(leaving: &[Leaving]) -> usize {
    let late = leaving.iter().filter(|leaving| !leaving.unit.progress.has_ended());
    late.map(|leaving| {
        leaving.unit.progress.raise_fence();
        leaving.unit.orders.give(|orders| orders.stop = Some(Stop::Now));
        leaving.unit.task.schedule();
    })
    .count()
}
