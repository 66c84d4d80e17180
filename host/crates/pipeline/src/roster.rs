//! The partitions of a source that are this host's, and the work of giving every view a unit for each of them.
//!
//! A partition is *held* from the moment at which the source's group, or its reader, names it until it is revoked or
//! lost. Whenever a view lacks a unit for one that is held, a thread of the source makes it: asks ledger and group
//! where the view begins, again and again while they cannot be asked, and ends when nothing is missing. So neither the
//! group's thread nor a request waits for a broker.
//!
//! # Locks
//!
//! In this order, each may be taken while those before it are held:
//!
//! 1. `Core::changing`: one start, swap, rewind or removal of a view at a time. Held across calls that block.
//! 2. `View::starting`: one maker of units at a time, and nobody while the view is rewound. Held across such calls too.
//! 3. the roster's own lock: whether a partition is held. Units are added, and a view is published, under it, so that a
//!    revoke sees all of them or none. Nothing blocks under it.
//! 4. the locks of views, of intakes, of units' marks and fences, of the pool: short.
//!
//! `revoked` and `lost` begin at 3: they wait for no start, swap, rewind, drain or removal, whatever those wait for,
//! and a removal or drain may call `Source::leave` and wait for them. `assigned` takes only 3. Units take 4 only, and
//! write to the ledger without any of these. A unit that cannot end (its sink is away, its guest busy) is waited for
//! with a deadline everywhere, and behind its fence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use model::error::Failure;
use model::position::{Partition, Position};

use crate::events::ViewRetries;
use crate::flow::{Core, Source};
use crate::pool::lock;
use crate::release;
use crate::setup::ViewSetup;
use crate::start::{self, Arrival, Beginning, Hindrance, Ledgers};
use crate::view::{UnitHandle, View};

/// When the thread looks again whether what is left of an earlier unit has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The partitions that are here.
pub(crate) struct Roster {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    held: BTreeMap<Partition, Arrival>,
    /// Were here, and were not given back.
    gone: BTreeSet<Partition>,
    /// A group gives and takes partitions.
    is_shared: bool,
    /// The thread runs.
    working: bool,
    /// It has to look at everything once more.
    again: bool,
    /// No unit is made any more.
    closed: bool,
}

impl Roster {
    /// A roster of partitions that were there at the start, with their last positions as far as they can be known.
    pub(crate) fn new(ends: Vec<Ending>) -> Self {
        let held = ends.into_iter().map(|(partition, end)| (partition, Arrival::AtStart { end }));
        let state = State {
            held: held.collect(),
            gone: BTreeSet::new(),
            is_shared: false,
            working: false,
            again: false,
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// A group has given these.
    pub(crate) fn assign(&self, partitions: &[Partition]) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        // The first assignment after the start takes up what was there before a crash.
        let first = if state.is_shared { Arrival::First } else { Arrival::AtStart { end: None } };
        state.is_shared |= !partitions.is_empty();
        for partition in partitions {
            let came_back = state.gone.remove(partition);
            state.held.insert(partition.clone(), if came_back { Arrival::Again } else { first });
        }
    }

    /// The source names these. Returns whether any is new.
    pub(crate) fn learn(&self, partitions: &[Partition]) -> bool {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let before = state.held.len();
        let arrival = if state.is_shared { Arrival::First } else { Arrival::New };
        for partition in partitions.iter().filter(|partition| !state.gone.contains(*partition)) {
            state.held.entry(partition.clone()).or_insert(arrival);
        }
        state.held.len() > before
    }

    /// These are another host's. `meanwhile` runs before anybody can make a unit for them again.
    pub(crate) fn withdraw<R>(&self, partitions: &[Partition], meanwhile: impl FnOnce() -> R) -> R {
        let mut state = lock(&self.state);
        for partition in partitions {
            state.held.remove(partition);
            state.gone.insert(partition.clone());
        }
        meanwhile()
    }

    /// The partitions that are here.
    pub(crate) fn held(&self) -> Vec<(Partition, Arrival)> {
        lock(&self.state).held.iter().map(|(partition, arrival)| (partition.clone(), *arrival)).collect()
    }

    pub(crate) fn holds(&self, partition: &Partition) -> bool {
        lock(&self.state).held.contains_key(partition)
    }

    pub(crate) fn is_shared(&self) -> bool {
        lock(&self.state).is_shared
    }

    /// Runs something while no partition can go; what it gets says whether a partition is here.
    pub(crate) fn while_held<R>(&self, run: impl FnOnce(&dyn Fn(&Partition) -> bool) -> R) -> R {
        let state = lock(&self.state);
        run(&|partition| state.held.contains_key(partition))
    }

    /// No unit is made any more.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }

    fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    fn note_end(&self, partition: &Partition, end: Option<Position>) {
        if let Some(arrival @ Arrival::AtStart { end: None }) = lock(&self.state).held.get_mut(partition) {
            *arrival = Arrival::AtStart { end: Some(end) };
        }
    }

    /// The thread asks: is there anything left to do? Waits for at most `pause` if that is given.
    fn go_on(&self, pause: Option<Duration>) -> bool {
        let mut state = lock(&self.state);
        if let Some(pause) = pause.filter(|_| !state.again && !state.closed) {
            state = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        let go_on = !state.closed && (state.again || pause.is_some());
        state.again = false;
        state.working = go_on;
        go_on
    }
}

/// A partition, and where it ends as far as that can be known.
pub(crate) type Ending = (Partition, Option<Option<Position>>);

/// What is missing after a look at all views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Left {
    Nothing,
    /// What is left of an earlier unit has to end first.
    Remains,
    /// Something could not be asked.
    Hindered,
}

/// Has the source's thread make the units that are missing.
pub(crate) fn kick(core: &Arc<Core>, source: &Arc<Source>) {
    let mut state = lock(&source.roster.state);
    state.again = true;
    if state.working || state.closed {
        drop(state);
        source.roster.changed.notify_all();
        return;
    }
    state.working = true;
    drop(state);
    let name = format!("begin-{}", source.intake.name);
    let (weak, of) = (Arc::downgrade(core), Arc::clone(source));
    if let Err(error) = thread::Builder::new().name(name).spawn(move || work(&weak, &of)) {
        lock(&source.roster.state).working = false;
        tracing::error!(source = %source.intake.name, %error, "failed to start a thread that begins partitions");
    }
}

fn work(core: &Weak<Core>, source: &Source) {
    let mut failed = 0;
    let mut pause = None;
    while source.roster.go_on(pause) {
        let Some(core) = core.upgrade() else { return };
        let settings = &core.shared.settings;
        let longest = settings.retry_max;
        pause = match fill(&core, source) {
            Left::Nothing => None,
            Left::Remains => Some(LOOK_AGAIN),
            Left::Hindered => {
                failed += 1;
                Some(settings.retry_first.saturating_mul(1 << (failed - 1).min(20)).min(longest))
            }
        };
    }
}

/// As [`kick`], if a view lacks a unit.
pub(crate) fn kick_for(core: &Arc<Core>, source: &Arc<Source>, view: &View) {
    let is_missing = |partition: &Partition| view.wants_units() && !view.works_on(partition);
    let missing = lock(&source.roster.state).held.keys().any(is_missing);
    if missing {
        kick(core, source);
    }
}

/// Makes the units that are missing, as far as that is possible now.
pub(crate) fn fill(core: &Core, source: &Source) -> Left {
    let mut left = Left::Nothing;
    let mut news = BTreeSet::new();
    for view in source.waiters.views.load().iter() {
        let _starting = lock(&view.starting);
        let filled = fill_locked(core, source, view);
        left = left.max(filled.left);
        news.extend(filled.news);
    }
    source.intake.refresh();
    // Other hosts have to know where views began before they can take over.
    release::tell(core, source, &news);
    left
}

/// What came of making units.
pub(crate) struct Filled {
    left: Left,
    /// Partitions in which the view has begun for the first time.
    pub(crate) news: Vec<Partition>,
}

impl From<Left> for Filled {
    fn from(left: Left) -> Self {
        Self { left, news: Vec::new() }
    }
}

/// Makes the units that one view lacks, for who holds `View::starting`.
pub(crate) fn fill_locked(core: &Core, source: &Source, view: &Arc<View>) -> Filled {
    let Some(setup) = view.setup().filter(|_| view.wants_units()) else { return Left::Nothing.into() };
    let held = source.roster.held();
    let missing: Vec<_> = held.into_iter().filter(|(partition, _)| !view.works_on(partition)).collect();
    if missing.is_empty() || core.draining.load(Ordering::Acquire) || source.roster.is_closed() {
        return Left::Nothing.into();
    }
    let (free, remains): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|(partition, _)| !view.has_unit(partition));
    let mut left = if remains.is_empty() { Left::Nothing } else { Left::Remains };
    let (beginnings, hindered) = match begin(core, source, view, &setup, &free) {
        Ok(begun) => begun,
        Err(failure) => {
            let hindrance = Hindrance::from(failure);
            let all = free.iter().map(|(partition, _)| hinder(view, &setup, partition, &hindrance)).max();
            return left.max(all.unwrap_or(Left::Nothing)).into();
        }
    };
    for (partition, hindrance) in hindered {
        left = left.max(hinder(view, &setup, &partition, &hindrance));
    }
    let news = news(&beginnings);
    let units =
        source.roster.while_held(|is_here| add_units(core, source, view, &setup, beginnings, is_here));
    units.iter().for_each(|unit| unit.task.schedule());
    Filled { left, news }
}

/// The partitions of which other hosts have to hear.
pub(crate) fn news(beginnings: &[Beginning]) -> Vec<Partition> {
    let news = beginnings.iter().filter(|beginning| beginning.is_news);
    news.map(|beginning| beginning.partition.clone()).collect()
}

type Hindered = Vec<(Partition, Hindrance)>;

/// Where a running view begins in each of these partitions, as far as that can be said now.
fn begin(
    core: &Core,
    source: &Source,
    view: &View,
    setup: &ViewSetup,
    partitions: &[(Partition, Arrival)],
) -> Result<(Vec<Beginning>, Hindered), Failure> {
    if partitions.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let shared = &core.shared;
    let ledgers = Ledgers::read(shared, setup, &|partition| source.roster.holds(partition))?;
    if ledgers.view.epoch > view.epoch() {
        view.rewound(&ledgers.view);
    }
    let (mut begun, mut hindered) = (Vec::new(), Vec::new());
    for (partition, arrival) in partitions {
        match begin_one(core, source, setup, &ledgers, partition, *arrival) {
            Ok(beginning) => begun.push(beginning),
            Err(hindrance) => hindered.push((partition.clone(), hindrance)),
        }
    }
    let generations = view.generations();
    let newest = generations.last().map_or(setup.digest, |entry| entry.generation.digest);
    let generations = start::begin_generations(shared, &view.name, &generations, newest, &begun)?;
    generations.iter().for_each(|entry| view.add_generation(entry));
    Ok((begun, hindered))
}

/// Where a view begins in a partition.
pub(crate) fn begin_one(
    core: &Core,
    source: &Source,
    setup: &ViewSetup,
    ledgers: &Ledgers,
    partition: &Partition,
    arrival: Arrival,
) -> Result<Beginning, Hindrance> {
    let reads = source.intake.source.as_ref();
    let arrival = match arrival {
        Arrival::AtStart { end: None } if reads.knows_end() => {
            // The same end for all views, also for those that start later.
            let end = reads.end(partition).map_err(|failure| Hindrance { failure, by_group: true })?;
            source.roster.note_end(partition, end);
            Arrival::AtStart { end: Some(end) }
        }
        arrival => arrival,
    };
    ledgers.begin(&core.shared, setup, reads, partition, arrival)
}

/// Adds units for the partitions that are still here. They are scheduled by the caller.
pub(crate) fn add_units(
    core: &Core,
    source: &Source,
    view: &Arc<View>,
    setup: &Arc<ViewSetup>,
    beginnings: Vec<Beginning>,
    is_here: &dyn Fn(&Partition) -> bool,
) -> Vec<UnitHandle> {
    let here = beginnings.into_iter().filter(|beginning| is_here(&beginning.partition));
    here.map(|beginning| core.add_unit(source, view, setup, beginning)).collect()
}

/// A view cannot begin in a partition: tried again, or paused.
pub(crate) fn hinder(
    view: &View,
    setup: &Arc<ViewSetup>,
    partition: &Partition,
    hindrance: &Hindrance,
) -> Left {
    if hindrance.is_passing() {
        let first = view.cannot_begin(partition, hindrance.to_string());
        ViewRetries { metrics: view.metrics(), partition, what: "start", failure: hindrance, first }.emit();
        return Left::Hindered;
    }
    view.pause(setup, format!("failed to {hindrance}; mend it and save the view"));
    Left::Nothing
}
