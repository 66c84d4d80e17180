//! Repair: the online store has lost rows that it had acknowledged, and they are made again from the source.
//!
//! Only the online position goes back: the output stream has its records and skips what it is given again. Epoch and
//! generations stay, so each event is transformed by whoever transformed it before. Reads say `recovering` until the
//! rows are there again.
//!
//! Units end at once, since their writes are refused until then; the ledger is set back when nothing of them is under
//! way; then the view begins anew in these partitions. A crash in between loses nothing: the store finds the loss again
//! when it is opened.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use model::error::Failure;
use model::online::Starts;
use model::position::Partition;

use crate::events::ViewRepaired;
use crate::flow::Flow;
use crate::orders::Stop;
use crate::pool::lock;
use crate::roster;
use crate::shared::Shared;
use crate::start;

/// How long units may take to end. They do not wait for their sinks, only for a call into the guest.
const END_LIMIT: Duration = Duration::from_secs(30);

/// Rows of one view that its online store has lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRows {
    /// The view.
    pub view: String,
    /// Through where the store still has the rows of each partition; `None` = where the view began.
    pub to: Starts,
}

/// What the hosts of a source know of the view says no more that its rows are there.
fn set_back(shared: &Shared, lost: &LostRows) -> Result<(), Failure> {
    let not_looked_up: Starts = lost.to.keys().map(|partition| (partition.clone(), None)).collect();
    start::note_lost(shared.ledger.as_ref(), &lost.view, &not_looked_up)?;
    shared.ledger.set_back(&lost.view, &lost.to)
}

impl Flow {
    /// Makes rows again that the online store has lost. May block. `ready` runs when nothing of the view is under way
    /// in these partitions, and before it begins anew: from then on the store is to take its writes again.
    ///
    /// A view that does not run is set back only; partitions that are another host's by now as well, since that host
    /// does not know of the loss.
    pub fn repair(&self, lost: &LostRows, ready: impl FnOnce()) -> Result<(), Failure> {
        let _changing = lock(&self.core.changing);
        let shared = &self.core.shared;
        let Some(view) = self.core.view(&lost.view) else {
            set_back(shared, lost)?;
            ready();
            return Ok(());
        };
        let _starting = lock(&view.starting);
        let partitions: BTreeSet<Partition> = lost.to.keys().cloned().collect();
        let units = view.end_units(Some(&partitions), Stop::Now);
        let deadline = Instant::now() + END_LIMIT;
        let mut stuck = None;
        for unit in &units {
            if !view.wait_ended(&unit.progress, deadline) {
                stuck = Some(unit.progress.partition.clone());
            }
        }
        let result = match stuck {
            Some(partition) => Err(Failure::retry(format!(
                "repair view `{}`: its work on partition `{partition}` did not end within {END_LIMIT:?}",
                view.name
            ))),
            None => set_back(shared, lost),
        };
        if result.is_ok() {
            for unit in &units {
                let (partition, applied) = (&unit.progress.partition, unit.progress.marks().applied);
                if let Some(applied) = applied {
                    view.note_lost(partition, applied);
                }
            }
            ready();
            ViewRepaired { metrics: view.metrics(), to: &lost.to }.emit();
        }
        // Whatever came of it, the view goes on; while writes are refused it waits.
        if let Ok(source) = self.core.source(&view.source) {
            roster::fill_locked(&self.core, &source, &view);
            source.intake.refresh();
            roster::kick_for(&self.core, &source, &view);
        }
        result
    }
}
