//! A deliberate rewind: a view takes events again from a point on, with its present transform and in a new epoch.
//!
//! The order of steps, so that a crash or a failure between any two neither loses anything nor leaves a rewind half
//! done:
//!
//! 1. The point is found in every partition. Fails without effect.
//! 2. The view's units end; what they have begun is finished. After a crash here the view goes on as it was.
//! 3. The intent is noted in the ledger, as a view of its own: where to, the generation, the new epoch. From here on the
//!    rewind is finished by whoever begins the view next: the roster's thread, a resume, the next start of the host.
//! 4. The output stream is set back, partition by partition.
//! 5. The ledger's note of where the output stream began is set back.
//! 6. The ledger is set back, which raises its epoch to that of the intent: the rewind is done.
//! 7. Units begin behind the new positions and read on their own until they have caught up.
//!
//! Steps 4 to 6 say the same when they are repeated, and nothing of the view runs between 3 and 7.

use std::time::{Duration, Instant};

use model::error::Failure;
use model::online::{GenerationEntry, Starts, ViewLedger};
use model::position::Partition;
use model::source::{Point, Positions};
use model::status::{Control, Rewound};
use model::view::Generation;

use crate::events::ViewRewound;
use crate::flow::{Core, Flow, Source};
use crate::generations;
use crate::orders::Stop;
use crate::pool::lock;
use crate::release;
use crate::roster;
use crate::setup::ViewSetup;
use crate::shared::Shared;
use crate::start::{locate, output_name};
use crate::view::View;

/// How long units may take to finish what they have begun.
const END_LIMIT: Duration = Duration::from_secs(10);

/// The name under which the ledger remembers the last rewind of a view.
pub(crate) fn name(view: &str) -> String {
    format!("{view}#rewind")
}

impl Control for Flow {
    fn rewind(&self, view: &str, to: &Point) -> Result<Rewound, Failure> {
        let _changing = lock(&self.core.changing);
        let view = self.live_view(view)?;
        let source = self.core.source(&view.source)?;
        let _starting = lock(&view.starting);
        let Some(setup) = view.setup() else {
            return Err(Failure::stop(format!("rewind view `{}`: it does not run", view.name)));
        };
        let starts = points(&source, &setup, to)?;
        let intent = intend(&self.core.shared, &source, &view, &setup, &starts)?;
        end(&view)?;
        let noted = self.core.shared.ledger.rewind(&name(&view.name), &starts, &intent.entry, intent.epoch);
        let finished = noted.and_then(|()| finish_intent(&self.core, &source, &setup, &starts, &intent));
        if finished.is_ok() {
            view.unpause();
            view.show_state();
            ViewRewound { view: &view.name, epoch: intent.epoch, partitions: starts.len() }.emit();
        }
        // Whatever came of it, the view goes on: where it was, or from the point, once that can be noted.
        roster::fill_locked(&self.core, &source, &view);
        source.intake.refresh();
        release::tell(&self.core, &source, &starts.keys().cloned().collect());
        roster::kick_for(&self.core, &source, &view);
        finished.map_err(|failure| Failure {
            message: format!("rewind view `{}`: {}", view.name, failure.message),
            ..failure
        })?;
        Ok(Rewound { epoch: intent.epoch, partitions: starts.into_iter().collect() })
    }
}

/// Where the view begins again, in the partitions that are here.
fn points(source: &Source, setup: &ViewSetup, to: &Point) -> Result<Starts, Failure> {
    let (name, reads) = (&setup.shape.name, source.intake.source.as_ref());
    let held: Vec<Partition> = source.roster.held().into_iter().map(|(partition, _)| partition).collect();
    let stray = |partition: &&Partition| !held.contains(partition);
    if let Point::Numbers(numbers) = to
        && let Some(stray) = numbers.keys().find(stray)
    {
        let known: Vec<&str> = held.iter().map(Partition::as_str).collect();
        return Err(Failure::stop(format!(
            "rewind view `{name}`: this host does not read partition `{stray}`; it reads {}",
            known.join(", ")
        )));
    }
    let named = |partition: &&Partition| match to {
        Point::Numbers(numbers) => numbers.contains_key(*partition),
        _ => true,
    };
    let mut starts = Starts::new();
    for partition in held.iter().filter(named) {
        let kept = reads.kept(name, partition)?;
        starts.insert(partition.clone(), locate(reads, name, partition, to, kept.as_ref())?);
    }
    if starts.is_empty() {
        return Err(Failure::retry(format!(
            "rewind view `{name}`: this host reads no partition of source `{}` at the moment",
            setup.shape.source
        )));
    }
    Ok(starts)
}

/// What a rewind leads to.
struct Intent {
    entry: GenerationEntry,
    epoch: u32,
}

fn intend(
    shared: &Shared,
    source: &Source,
    view: &View,
    setup: &ViewSetup,
    starts: &Starts,
) -> Result<Intent, Failure> {
    let known = shared.ledger.view(&view.name)?;
    let intended = shared.ledger.view(&name(&view.name))?;
    let mut epoch = known.epoch.max(intended.epoch);
    for partition in starts.keys() {
        let kept = source.intake.source.kept(&view.name, partition)?;
        epoch = epoch.max(kept.map_or(0, |kept| kept.epoch));
    }
    let noted = known.generations.iter().chain(&intended.generations);
    let newest = noted.map(|entry| entry.generation.number).max().unwrap_or(0);
    let number = newest.max(view.newest_number()) + 1;
    let entry = entry_of(Generation { number, digest: setup.digest }, starts);
    Ok(Intent { entry, epoch: epoch + 1 })
}

fn entry_of(generation: Generation, starts: &Starts) -> GenerationEntry {
    let after: Positions = starts
        .iter()
        .map(|(partition, after)| (partition.clone(), generations::begins_after(*after)))
        .collect();
    GenerationEntry { generation, after }
}

/// Ends all units of the view, which goes on without.
fn end(view: &View) -> Result<(), Failure> {
    let units = view.end_units(None, Stop::Drain);
    let all_ended = |deadline: Instant| units.iter().all(|unit| view.wait_ended(&unit.progress, deadline));
    if all_ended(Instant::now() + END_LIMIT) {
        return Ok(());
    }
    view.end_units(None, Stop::Now);
    if all_ended(Instant::now() + END_LIMIT) {
        return Ok(());
    }
    Err(Failure::retry(format!(
        "rewind view `{}`: what it had begun did not end within {:?}; it goes on from where it was",
        view.name,
        2 * END_LIMIT
    )))
}

fn finish_intent(
    core: &Core,
    source: &Source,
    setup: &ViewSetup,
    starts: &Starts,
    intent: &Intent,
) -> Result<(), Failure> {
    let is_here = |partition: &Partition| source.roster.holds(partition);
    set_back(&core.shared, setup, starts, &intent.entry, intent.epoch, &is_here)
}

/// Finishes a rewind that was begun before a crash or a failure, with the transform that the view has now.
pub(crate) fn finish(
    shared: &Shared,
    setup: &ViewSetup,
    intent: &ViewLedger,
    is_here: &dyn Fn(&Partition) -> bool,
) -> Result<(), Failure> {
    let Some(noted) = intent.generations.last() else { return Ok(()) };
    let generation = Generation { number: noted.generation.number, digest: setup.digest };
    // The note of an intent names the partitions of earlier ones as well; those of this one are in its generation.
    let starts: Starts = intent
        .started
        .iter()
        .filter(|(partition, _)| noted.after.contains_key(*partition))
        .map(|(partition, after)| (partition.clone(), *after))
        .collect();
    set_back(shared, setup, &starts, &entry_of(generation, &starts), intent.epoch, is_here)
}

/// Steps 4 to 6.
fn set_back(
    shared: &Shared,
    setup: &ViewSetup,
    starts: &Starts,
    entry: &GenerationEntry,
    epoch: u32,
    is_here: &dyn Fn(&Partition) -> bool,
) -> Result<(), Failure> {
    let view = &setup.shape.name;
    if let Some((output, _)) = &setup.output {
        // What has gone to another host since is that host's to emit.
        for (partition, after) in starts.iter().filter(|(partition, _)| is_here(partition)) {
            output.rewind(view, partition, *after, epoch)?;
        }
        shared.ledger.rewind(&output_name(view), starts, entry, epoch)?;
    }
    shared.ledger.rewind(view, starts, entry, epoch)
}
