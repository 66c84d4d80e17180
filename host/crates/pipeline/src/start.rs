//! Where a view begins: what the ledger, the output stream and the source know of it, partition by partition.
//!
//! Reads and notes; starts nothing. Each sink has a position of its own, a start goes back to the smaller one. For a
//! source that several hosts share there is a third party: the ledger knows what this host has, the source keeps what
//! the view has emitted on whichever host. Where the ledger knows a partition it says where online rows go on; where it
//! does not, the view begins at what the source keeps, or at the point that the view asks for if nobody has begun.

use std::cmp::Ordering;
use std::fmt;

use model::error::{Disposition, Failure};
use model::online::{GenerationEntry, Ledger, Starts, ViewLedger};
use model::position::{Partition, Position};
use model::source::{Kept, Point, Source};
use model::view::Digest;

use crate::generations;
use crate::progress::Marks;
use crate::rewind;
use crate::setup::ViewSetup;
use crate::shared::Shared;

/// How long reads may be older than what was emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recover {
    /// Until everything through here is applied.
    Until(Position),
    /// Until the reader says that it has reached the end: the source cannot say where that is.
    UntilEnd,
}

/// Where a view begins in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub(crate) partition: Partition,
    /// The smaller of what the sinks have.
    pub(crate) position: Option<Position>,
    /// The greater of what the sinks have.
    pub(crate) known: Option<Position>,
    pub(crate) marks: Marks,
    /// How long reads may be older than what was emitted.
    pub(crate) recover: Option<Recover>,
    /// How often the view was rewound here.
    pub(crate) epoch: u32,
    /// Whether other hosts share the partition's source, and it was noted just now that the view begins here: they
    /// have to know.
    pub(crate) is_news: bool,
}

/// How a partition came to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// With the start of the host: what it emitted before a crash may reach to this end, where it is known already.
    AtStart { end: Option<Option<Position>> },
    /// Later, for the first time since the host started.
    First,
    /// It was here before, and has come back.
    Again,
    /// It has come into being.
    New,
}

/// Why a view cannot begin in a partition.
#[derive(Debug)]
pub(crate) struct Hindrance {
    pub(crate) failure: Failure,
    /// It is the shared source that cannot be asked.
    pub(crate) by_group: bool,
}

impl Hindrance {
    fn group(failure: Failure) -> Self {
        Self { failure, by_group: true }
    }

    /// Whether it may be gone at the next attempt.
    pub(crate) fn is_passing(&self) -> bool {
        self.failure.disposition == Disposition::Retry
    }
}

impl From<Failure> for Hindrance {
    fn from(failure: Failure) -> Self {
        Self { failure, by_group: false }
    }
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

/// The name under which the ledger remembers where a view's output stream began.
///
/// An output stream that is added to a known view begins where the view is then; without a note of its own that could
/// not be told from one that has lost its first records in a crash.
pub(crate) fn output_name(view: &str) -> String {
    format!("{view}#output")
}

/// The name under which the ledger remembers in which partitions the source's group has had a commit.
///
/// A group that knew a partition and knows it no more has lost it with the topic, or by its age.
pub(crate) fn group_name(view: &str) -> String {
    format!("{view}#group")
}

/// The name under which the ledger remembers in which partitions a store that hosts share has lost rows of a view, and
/// through where what others know of the view says nothing of its rows any more (`None` = not looked up yet).
fn lost_name(view: &str) -> String {
    format!("{view}#lost")
}

/// Notes that a view's rows were lost in these partitions, see [`lost_name`]. Durable on return.
pub(crate) fn note_lost(ledger: &dyn Ledger, view: &str, partitions: &Starts) -> Result<(), Failure> {
    ledger.note(&lost_name(view), partitions, 0)
}

/// The name under which the ledger remembers which source a view reads: its positions belong to that source.
fn source_name(view: &str) -> String {
    format!("{view}#source")
}

/// Refuses a view that has read another source: positions of one mean nothing in the other.
pub(crate) fn keep_to_source(shared: &Shared, setup: &ViewSetup) -> Result<(), Failure> {
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

/// The position right before a point, for a view that begins there.
pub(crate) fn locate(
    source: &dyn Source,
    view: &str,
    partition: &Partition,
    point: &Point,
    kept: Option<&Kept>,
) -> Result<Option<Position>, Failure> {
    match (point, kept) {
        (Point::Committed, Some(Kept { group: Some(group), .. })) => Ok(Some(*group)),
        (Point::Committed, Some(_)) => Err(Failure::stop(format!(
            "start view `{view}` at what is committed: the hosts that share its source have committed nothing in partition \
             `{partition}`; name another `start`, such as `earliest`, or for Kafka the `group` that has"
        ))),
        _ => source.find(partition, point),
    }
}

/// What the ledger knows of a view.
pub(crate) struct Ledgers {
    pub(crate) view: ViewLedger,
    output: ViewLedger,
    /// The last rewind.
    rewind: ViewLedger,
    /// Where the source's group has had commits.
    group: ViewLedger,
    /// Where rows were lost that hosts share.
    lost: ViewLedger,
    pub(crate) was_known: bool,
}

impl Ledgers {
    /// Asks the ledger. A rewind that was begun and not finished is finished first; `is_here` says of which
    /// partitions the output can be set back by this host.
    pub(crate) fn read(
        shared: &Shared,
        setup: &ViewSetup,
        is_here: &dyn Fn(&Partition) -> bool,
    ) -> Result<Self, Failure> {
        let name = &setup.shape.name;
        let mut view = shared.ledger.view(name)?;
        let rewind = shared.ledger.view(&rewind::name(name))?;
        if view.epoch < rewind.epoch {
            rewind::finish(shared, setup, &rewind, is_here)?;
            view = shared.ledger.view(name)?;
        }
        let output = shared.ledger.view(&output_name(name))?;
        let group = shared.ledger.view(&group_name(name))?;
        let lost = shared.ledger.view(&lost_name(name))?;
        let was_known = !view.generations.is_empty();
        Ok(Self { view, output, rewind, group, lost, was_known })
    }

    /// Looks up where a view begins in a partition, and notes durably what is new.
    pub(crate) fn begin(
        &self,
        shared: &Shared,
        setup: &ViewSetup,
        source: &dyn Source,
        partition: &Partition,
        arrival: Arrival,
    ) -> Result<Beginning, Hindrance> {
        let name = &setup.shape.name;
        let kept = source.kept(name, partition).map_err(Hindrance::group)?;
        let noted = self.view.started.get(partition);
        let started = match noted {
            Some(started) => *started,
            None => {
                let started = self.first_position(setup, source, partition, kept.as_ref())?;
                shared.ledger.start(name, partition, started)?;
                started
            }
        };
        let online = self.online(shared, setup, partition, started, kept.as_ref())?;
        if let Some(kept) = &kept {
            self.check_same_stream(name, source, partition, online, kept)?;
        }
        let emitted = match &setup.output {
            Some(_) => self.emitted(shared, setup, partition, online, kept.as_ref())?,
            None => online,
        };
        let epoch = self.view.epoch.max(kept.map_or(0, |kept| kept.epoch));
        let has_rows = if kept.is_some() { noted.is_some() } else { self.was_known };
        // Rows that other hosts can read outlive this one: a crash has cost none of them.
        let recover = match has_rows && !setup.rows_are_shared {
            true => recover(source, partition, arrival, online, emitted)?,
            false => None,
        };
        Ok(Beginning {
            partition: partition.clone(),
            position: online.min(emitted),
            known: online.max(emitted),
            marks: Marks { applied: online, emitted: emitted.filter(|_| setup.output.is_some()) },
            recover,
            epoch,
            is_news: kept.is_some() && noted.is_none(),
        })
    }

    /// Through where a view's rows are in its online store.
    fn online(
        &self,
        shared: &Shared,
        setup: &ViewSetup,
        partition: &Partition,
        started: Option<Position>,
        kept: Option<&Kept>,
    ) -> Result<Option<Position>, Failure> {
        let here = self.view.online.get(partition).copied().max(started);
        // What other hosts have written to a store that they share is there, whoever asks.
        let Some(kept) = kept.filter(|_| setup.rows_are_shared) else { return Ok(here) };
        // With records going out at the same time as rows, that a record is out says nothing of its row.
        let there = if setup.parallel_emit { kept.group } else { kept.view };
        // What was lost was written by whoever got through here; it is there again once somebody has got further.
        let is_lost = match self.lost.started.get(partition) {
            None => false,
            Some(Some(through)) => there <= Some(*through),
            Some(None) => {
                note_lost(shared.ledger.as_ref(), &setup.shape.name, &[(partition.clone(), there)].into())?;
                true
            }
        };
        Ok(match kept.epoch.cmp(&self.view.epoch) {
            Ordering::Less => here,
            Ordering::Equal if is_lost => here,
            Ordering::Equal => here.max(there),
            // Rewound on another host: what was noted here belongs to an earlier epoch.
            Ordering::Greater => there,
        })
    }

    /// Refuses to go on in a partition that is not the one that the view has read: its positions mean other events.
    fn check_same_stream(
        &self,
        view: &str,
        source: &dyn Source,
        partition: &Partition,
        online: Option<Position>,
        kept: &Kept,
    ) -> Result<(), Hindrance> {
        let Some(online) = online else { return Ok(()) };
        let number =
            |position: Position| position.as_u64().map_or(position.to_string(), |number| number.to_string());
        let help = format!(
            "take its events from the beginning with `host rewind {view} --to earliest`, or what comes from now on with \
             `--to latest`"
        );
        // A source that cannot say where it ends looks itself whether its events are still the same.
        let end =
            if source.knows_end() { source.end(partition).map_err(Hindrance::group)? } else { Some(online) };
        if end < Some(online) {
            let end = end.map_or("is empty".to_owned(), |end| format!("ends at {}", number(end)));
            let message = format!(
                "begin in partition `{partition}`: it {end}, and the view has taken events through {}: the stream was \
                 made anew or cut; {help}",
                number(online)
            );
            return Err(Hindrance::group(Failure::stop(message)));
        }
        source.check_position(partition, &online).map_err(Hindrance::group)?;
        // A rewind says where to go on, whatever the group knows.
        let was_known = self.group.started.contains_key(partition) && self.view.epoch == 0;
        if was_known && kept.group.is_none() && kept.view.is_none() && !kept.is_new {
            let message = format!(
                "begin in partition `{partition}`: the source's consumer group or leases had commits there and have none any \
                 more: the stream was made anew, or the commits have expired or were deleted, or the source has another \
                 `group` or other `leases`; {help}, or go on with `--to {}`",
                number(online)
            );
            return Err(Hindrance::group(Failure::stop(message)));
        }
        Ok(())
    }

    /// Where a view begins in a partition that the ledger does not know.
    fn first_position(
        &self,
        setup: &ViewSetup,
        source: &dyn Source,
        partition: &Partition,
        kept: Option<&Kept>,
    ) -> Result<Option<Position>, Hindrance> {
        let find = || locate(source, &setup.shape.name, partition, &setup.start, kept);
        match kept {
            // What lies between the two is applied here and not emitted again.
            Some(Kept { view: Some(view), group, .. }) => {
                Ok(Some(group.map_or(*view, |group| group.min(*view))))
            }
            Some(Kept { is_new: true, .. }) => Ok(None),
            Some(_) => find().map_err(Hindrance::group),
            // A partition that a known view has not seen is newer than the view: all of it counts.
            None if self.was_known => Ok(None),
            None => Ok(find()?),
        }
    }

    /// Through where the output stream has a partition.
    fn emitted(
        &self,
        shared: &Shared,
        setup: &ViewSetup,
        partition: &Partition,
        online: Option<Position>,
        kept: Option<&Kept>,
    ) -> Result<Option<Position>, Failure> {
        let name = &setup.shape.name;
        let Some((output, _)) = &setup.output else { return Ok(None) };
        if let Some(kept) = kept.filter(|kept| self.view.epoch < kept.epoch) {
            // Rewound on another host: what was noted here belongs to an earlier epoch.
            if kept.view < output.position(name, partition) {
                output.rewind(name, partition, kept.view, kept.epoch)?;
            }
            return Ok(kept.view);
        }
        // What is kept from before a rewind of this host says nothing any more.
        let is_stale =
            |kept: &&Kept| kept.epoch < self.view.epoch && self.rewind.started.contains_key(partition);
        let elsewhere = kept.filter(|kept| !is_stale(kept)).and_then(|kept| kept.view);
        let began = match self.output.started.get(partition) {
            Some(began) => *began,
            None => {
                let began = online.max(elsewhere);
                shared.ledger.start(&output_name(name), partition, began)?;
                began
            }
        };
        Ok(output.position(name, partition).max(began).max(elsewhere))
    }
}

/// How long reads may be older than what was emitted.
fn recover(
    source: &dyn Source,
    partition: &Partition,
    arrival: Arrival,
    online: Option<Position>,
    emitted: Option<Position>,
) -> Result<Option<Recover>, Hindrance> {
    // What this host emitted right before a crash may not have been noted anywhere: the end bounds it.
    let until = match arrival {
        Arrival::AtStart { end: Some(end) } => end,
        Arrival::First if emitted <= online => None,
        Arrival::AtStart { end: None } | Arrival::First if !source.knows_end() => {
            return Ok(Some(Recover::UntilEnd));
        }
        Arrival::AtStart { end: None } | Arrival::First => source.end(partition).map_err(Hindrance::group)?,
        Arrival::Again => emitted,
        Arrival::New => None,
    };
    Ok(until.filter(|until| online < Some(*until)).map(Recover::Until))
}

/// The generations that a view starts with in these partitions; what is new is noted in the ledger.
pub(crate) fn begin_generations(
    shared: &Shared,
    view: &str,
    generations: &[GenerationEntry],
    digest: Digest,
    beginnings: &[Beginning],
) -> Result<Vec<GenerationEntry>, Failure> {
    let positions: Vec<_> =
        beginnings.iter().map(|beginning| (beginning.partition.clone(), beginning.known)).collect();
    let mut generations = generations.to_vec();
    if let Some(entry) = generations::entry_for_start(&generations, digest, &positions) {
        shared.ledger.begin_generation(view, &entry)?;
        generations::merge(&mut generations, &entry);
    }
    Ok(generations)
}
