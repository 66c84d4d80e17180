//! Where a view begins: what the ledger and the output stream know of it, partition by partition.
//!
//! Reads and notes; starts nothing. Each sink has a position of its own, a start goes back to the smaller one.

use std::collections::BTreeMap;

use model::error::Failure;
use model::online::{GenerationEntry, ViewLedger};
use model::position::{Partition, Position};
use model::source::Point;

use crate::generations;
use crate::progress::Marks;
use crate::setup::ViewSetup;
use crate::shared::Shared;

/// Where a view begins in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub(crate) partition: Partition,
    /// The smaller of what the sinks have.
    pub(crate) position: Option<Position>,
    /// The greater of what the sinks have.
    pub(crate) known: Option<Position>,
    pub(crate) marks: Marks,
    /// The end that the partition had when the host started, if the online store may be behind what was emitted.
    pub(crate) recover_until: Option<Position>,
}

/// What a view starts with.
pub(crate) struct Start {
    pub(crate) was_known: bool,
    pub(crate) beginnings: Vec<Beginning>,
    /// Noted in the ledger, the newest last.
    pub(crate) generations: Vec<GenerationEntry>,
}

/// The name under which the ledger remembers where a view's output stream began.
///
/// An output stream that is added to a known view begins where the view is then; without a note of its own that could
/// not be told from one that has lost its first records in a crash.
pub(crate) fn output_name(view: &str) -> String {
    format!("{view}#output")
}

/// The name under which the ledger remembers which source a view reads: its positions belong to that source.
fn source_name(view: &str) -> String {
    format!("{view}#source")
}

/// Refuses a view that has read another source: positions of one mean nothing in the other.
fn keep_to_source(shared: &Shared, setup: &ViewSetup) -> Result<(), Failure> {
    let (name, source) = (&setup.shape.name, &setup.shape.source);
    let noted = shared.ledger.view(&source_name(name))?;
    match noted.started.keys().next() {
        Some(before) if before.as_str() != source => Err(Failure::stop(format!(
            "start view `{name}` on source `{source}`: it has read source `{before}`, and positions of one source mean \
             nothing in another; give the view another name, or let it read `{before}` again"
        ))),
        Some(_) => Ok(()),
        None => shared.ledger.start(&source_name(name), &Partition::new(source), None),
    }
}

/// Looks up where a view begins, and notes durably what is new.
///
/// `ends`: the last position of each partition that existed when the host started; `partitions`: those that exist now,
/// with their last position.
pub(crate) fn start(
    shared: &Shared,
    setup: &ViewSetup,
    partitions: &[(Partition, Option<Position>)],
    ends: &BTreeMap<Partition, Option<Position>>,
) -> Result<Start, Failure> {
    let name = &setup.shape.name;
    keep_to_source(shared, setup)?;
    let known = shared.ledger.view(name)?;
    let was_known = !known.generations.is_empty();
    let outputs = shared.ledger.view(&output_name(name))?;
    let mut beginnings = Vec::with_capacity(partitions.len());
    for (partition, end) in partitions {
        let ledgers = Ledgers { was_known, view: &known, output: &outputs };
        let mut beginning = ledgers.begin(shared, setup, partition, *end)?;
        let end_at_start = ends.get(partition).copied().flatten();
        if was_known && beginning.marks.applied < end_at_start {
            beginning.recover_until = end_at_start;
        }
        beginnings.push(beginning);
    }
    let positions: Vec<_> =
        beginnings.iter().map(|beginning| (beginning.partition.clone(), beginning.known)).collect();
    let mut generations = known.generations;
    if let Some(entry) = generations::entry_for_start(&generations, setup.digest, &positions) {
        shared.ledger.begin_generation(name, &entry)?;
        generations::merge(&mut generations, &entry);
    }
    Ok(Start { was_known, beginnings, generations })
}

/// Where a running view begins in a partition that has just come into being: at its beginning.
pub(crate) fn begin_new_partition(
    shared: &Shared,
    setup: &ViewSetup,
    generations: &[GenerationEntry],
    partition: &Partition,
) -> Result<(Beginning, Option<GenerationEntry>), Failure> {
    let known = shared.ledger.view(&setup.shape.name)?;
    let outputs = shared.ledger.view(&output_name(&setup.shape.name))?;
    let ledgers = Ledgers { was_known: true, view: &known, output: &outputs };
    let beginning = ledgers.begin(shared, setup, partition, None)?;
    let positions = [(partition.clone(), beginning.known)];
    let newest = generations.last().map_or(setup.digest, |entry| entry.generation.digest);
    let entry = generations::entry_for_start(generations, newest, &positions);
    if let Some(entry) = &entry {
        shared.ledger.begin_generation(&setup.shape.name, entry)?;
    }
    Ok((beginning, entry))
}

struct Ledgers<'a> {
    was_known: bool,
    view: &'a ViewLedger,
    output: &'a ViewLedger,
}

impl Ledgers<'_> {
    fn begin(
        &self,
        shared: &Shared,
        setup: &ViewSetup,
        partition: &Partition,
        end: Option<Position>,
    ) -> Result<Beginning, Failure> {
        let name = &setup.shape.name;
        let started = match self.view.started.get(partition) {
            Some(started) => *started,
            None => {
                // A partition that a known view has not seen is newer than the view: all of it counts.
                let from_end = !self.was_known && setup.start == Point::Latest;
                let started = end.filter(|_| from_end);
                shared.ledger.start(name, partition, started)?;
                started
            }
        };
        let online = self.view.online.get(partition).copied().max(started);
        let Some((output, _)) = &setup.output else {
            let marks = Marks { applied: online, emitted: None };
            let partition = partition.clone();
            return Ok(Beginning { partition, position: online, known: online, marks, recover_until: None });
        };
        let began = match self.output.started.get(partition) {
            Some(began) => *began,
            None => {
                shared.ledger.start(&output_name(name), partition, online)?;
                online
            }
        };
        let emitted = output.position(name, partition).max(began);
        Ok(Beginning {
            partition: partition.clone(),
            position: online.min(emitted),
            known: online.max(emitted),
            marks: Marks { applied: online, emitted },
            recover_until: None,
        })
    }
}
