//! A view as the whole flow sees it: its state, its generations, its work units.
//!
//! Units do the work and move marks; this is where they meet. All methods are short and may be called from any thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::online::{GenerationEntry, ViewLedger};
use model::position::{Partition, Position};
use model::status::{PartitionStatus, ViewState, ViewStatus};
use model::view::{Digest, Generation};

use crate::events::{ViewMetrics, ViewPaused, ViewStopped};
use crate::generations;
use crate::orders::{Change, OrderList, Orders, Stop};
use crate::pool::{Task, lock};
use crate::progress::{Progress, Waiting};
use crate::setup::ViewSetup;
use crate::waiters::Waiters;

/// A unit as its view knows it.
#[derive(Clone)]
pub(crate) struct UnitHandle {
    pub(crate) task: Arc<Task>,
    pub(crate) orders: Arc<Orders>,
    pub(crate) progress: Arc<Progress>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Live,
    Paused(String),
    Failed(String),
    Draining,
    Stopped,
}

/// One view.
pub(crate) struct View {
    pub(crate) name: Arc<str>,
    pub(crate) source: String,
    /// Those who wait for views of the source.
    pub(crate) waiters: Arc<Waiters>,
    /// Whether the ledger knew it before it started.
    pub(crate) was_known: bool,
    /// Held while units are made, and while nothing of the view may be under way. Taken before all other locks but
    /// that of the flow.
    pub(crate) starting: Mutex<()>,
    metrics: ViewMetrics,
    state: Mutex<State>,
    /// Signalled when the last unit has finished.
    stopped: Condvar,
    online: AtomicBool,
    /// Units that have not reached the end that their partition had when the host started.
    recovering: AtomicUsize,
    /// Units that read on their own.
    catching_up: AtomicUsize,
    /// How often the view was rewound, as the ledger knew when it last began.
    epoch: AtomicU32,
}

struct State {
    phase: Phase,
    /// `None` for a view that could not be started.
    setup: Option<Arc<ViewSetup>>,
    generations: Vec<GenerationEntry>,
    /// The generation of the last change.
    given_out: Option<Generation>,
    units: BTreeMap<Partition, UnitHandle>,
    /// Units that have not finished.
    alive: usize,
    /// Let go after it has stopped: it has no series any more.
    retired: bool,
    last_error: Option<String>,
    /// Partitions in which the view should have a unit and could not begin, since when and why.
    not_begun: BTreeMap<Partition, Waiting>,
    /// Through where rows had been visible that the store has lost, until a unit takes them in again.
    lost: BTreeMap<Partition, Position>,
}

impl State {
    /// Gives all units an order, under the lock of the view: orders of two callers do not mix. Returns whom to wake.
    fn order(&self, mut order: impl FnMut(&mut OrderList)) -> Vec<UnitHandle> {
        let units: Vec<UnitHandle> = self.units.values().cloned().collect();
        units.iter().for_each(|unit| unit.orders.give(&mut order));
        units
    }
}

impl View {
    /// A view that runs as soon as it has units.
    pub(crate) fn live(
        setup: Arc<ViewSetup>,
        generations: Vec<GenerationEntry>,
        epoch: u32,
        was_known: bool,
        metrics: ViewMetrics,
        waiters: Arc<Waiters>,
    ) -> Arc<Self> {
        let (name, source) = (setup.shape.name.clone(), setup.shape.source.clone());
        let online = setup.shape.online;
        let view = Self::new(&name, &source, was_known, metrics, waiters, Phase::Live);
        view.online.store(online, Ordering::Release);
        view.epoch.store(epoch, Ordering::Release);
        let mut state = lock(&view.state);
        state.setup = Some(setup);
        state.generations = generations;
        drop(state);
        view
    }

    /// A view that could not be started.
    pub(crate) fn failed(
        name: &str,
        source: &str,
        reason: &str,
        was_known: bool,
        metrics: ViewMetrics,
        waiters: Arc<Waiters>,
    ) -> Arc<Self> {
        let view = Self::new(name, source, was_known, metrics, waiters, Phase::Failed(reason.to_owned()));
        view.show_state();
        view
    }

    fn new(
        name: &str,
        source: &str,
        was_known: bool,
        metrics: ViewMetrics,
        waiters: Arc<Waiters>,
        phase: Phase,
    ) -> Arc<Self> {
        let state = State {
            phase,
            setup: None,
            generations: Vec::new(),
            given_out: None,
            units: BTreeMap::new(),
            alive: 0,
            retired: false,
            last_error: None,
            not_begun: BTreeMap::new(),
            lost: BTreeMap::new(),
        };
        Arc::new(Self {
            name: name.into(),
            source: source.to_owned(),
            waiters,
            was_known,
            starting: Mutex::default(),
            metrics,
            state: Mutex::new(state),
            stopped: Condvar::new(),
            online: AtomicBool::new(false),
            recovering: AtomicUsize::new(0),
            catching_up: AtomicUsize::new(0),
            epoch: AtomicU32::new(0),
        })
    }

    pub(crate) fn metrics(&self) -> &ViewMetrics {
        &self.metrics
    }

    /// Whether its rows go to the online store.
    pub(crate) fn is_online(&self) -> bool {
        self.online.load(Ordering::Acquire)
    }

    /// Through where a partition is visible online.
    pub(crate) fn applied(&self, partition: &Partition) -> Option<Position> {
        lock(&self.state).units.get(partition).and_then(|unit| unit.progress.marks().applied)
    }

    /// The name of the state if the view takes no events, though it should.
    pub(crate) fn not_running(&self) -> Option<&'static str> {
        let state = self.state();
        let runs = matches!(
            state,
            ViewState::Starting | ViewState::Recovering | ViewState::CatchingUp | ViewState::Running
        );
        (!runs).then(|| state.name())
    }

    /// What the view is doing.
    pub(crate) fn state(&self) -> ViewState {
        self.doing(&lock(&self.state).phase)
    }

    fn doing(&self, phase: &Phase) -> ViewState {
        match phase {
            Phase::Paused(reason) => ViewState::Paused { reason: reason.clone() },
            Phase::Failed(reason) => ViewState::Failed { reason: reason.clone() },
            Phase::Draining => ViewState::Draining,
            Phase::Stopped => ViewState::Stopped,
            Phase::Live if self.recovering.load(Ordering::Acquire) > 0 => ViewState::Recovering,
            Phase::Live if self.catching_up.load(Ordering::Acquire) > 0 => ViewState::CatchingUp,
            Phase::Live => ViewState::Running,
        }
    }

    /// All that can be said of the view.
    pub(crate) fn status(&self) -> ViewStatus {
        let doing = self.state();
        let state = lock(&self.state);
        let setup = state.setup.as_ref();
        let has_output = setup.is_some_and(|setup| setup.output.is_some());
        let here = state.units.values().filter(|unit| !unit.progress.is_leaving());
        let partitions = here.map(|unit| {
            let marks = unit.progress.marks();
            PartitionStatus {
                partition: unit.progress.partition.clone(),
                applied: marks.applied,
                emitted: marks.emitted.filter(|_| has_output),
            }
        });
        ViewStatus {
            view: self.name.to_string(),
            source: self.source.clone(),
            state: doing,
            generation: state.generations.last().map_or(0, |entry| entry.generation.number),
            digest: setup.map(|setup| setup.digest),
            component: setup.map_or_else(String::new, |setup| {
                let description = setup.component.description();
                format!("{} {}", description.name, description.version).trim().to_owned()
            }),
            rows_in: self.metrics.rows_in.get(),
            rows_out: self.metrics.rows_out.get(),
            dead_letters: self.metrics.dead_letter_count(),
            partitions: partitions.collect(),
            last_error: state.last_error.clone(),
        }
    }

    /// What the view has waited for longest, of its own units.
    pub(crate) fn waiting(&self) -> Option<Waiting> {
        let state = lock(&self.state);
        if state.phase != Phase::Live {
            return None;
        }
        let units = state.units.values().filter(|unit| !unit.progress.is_leaving());
        let waiting = units.filter_map(|unit| unit.progress.waiting());
        waiting.chain(state.not_begun.values().cloned()).min_by_key(|waiting| waiting.since)
    }

    /// Brings the state metric up to date, and whoever waits for the view.
    pub(crate) fn show_state(&self) {
        let state = lock(&self.state);
        // Under the lock: a series that was taken away must not come back.
        if !state.retired {
            self.metrics.state(&self.doing(&state.phase));
        }
        drop(state);
        self.waiters.moved(None);
    }

    /// Notes, or clears, something that went wrong and was survived.
    pub(crate) fn set_error(&self, message: Option<String>) {
        lock(&self.state).last_error = message;
    }

    /// The setup at work; `None` for a view that could not be started.
    pub(crate) fn setup(&self) -> Option<Arc<ViewSetup>> {
        lock(&self.state).setup.clone()
    }

    /// Known generations, oldest first.
    pub(crate) fn generations(&self) -> Vec<GenerationEntry> {
        lock(&self.state).generations.clone()
    }

    /// The newest generation that was noted.
    pub(crate) fn newest_generation(&self, digest: Digest) -> Generation {
        let state = lock(&self.state);
        let newest = state.generations.last().map(|entry| entry.generation.clone());
        newest.unwrap_or(Generation { number: 1, digest })
    }

    /// The generation that a setup with this digest belongs to: the one that was given out last, if that has the same
    /// digest, else the next. A number is given out once, also if no unit has got round to noting it yet.
    pub(crate) fn next_generation(&self, digest: Digest) -> Generation {
        let mut state = lock(&self.state);
        let newest = state.generations.last().map(|entry| entry.generation.clone());
        let latest = state.given_out.clone().or(newest);
        let next = match latest {
            Some(latest) if latest.digest == digest => latest,
            Some(latest) => Generation { number: latest.number + 1, digest },
            None => Generation { number: 1, digest },
        };
        state.given_out = Some(next.clone());
        next
    }

    /// Adds what was noted in the ledger.
    pub(crate) fn add_generation(&self, entry: &GenerationEntry) {
        generations::merge(&mut lock(&self.state).generations, entry);
    }

    /// How often the view was rewound, as far as it has taken notice.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Takes over what a rewind has made of the ledger.
    pub(crate) fn rewound(&self, ledger: &ViewLedger) {
        let mut state = lock(&self.state);
        state.given_out = ledger.generations.last().map(|entry| entry.generation.clone());
        state.generations = ledger.generations.clone();
        self.epoch.store(ledger.epoch, Ordering::Release);
    }

    /// The number of the newest generation, noted or not.
    pub(crate) fn newest_number(&self) -> u32 {
        let state = lock(&self.state);
        let noted = state.generations.last().map_or(0, |entry| entry.generation.number);
        state.given_out.as_ref().map_or(noted, |given_out| noted.max(given_out.number))
    }

    /// Drops generations before `number`.
    pub(crate) fn forget_generations_before(&self, number: u32) {
        lock(&self.state).generations.retain(|entry| number <= entry.generation.number);
    }

    /// Whether the view takes events or may take them again.
    pub(crate) fn is_live(&self) -> bool {
        matches!(lock(&self.state).phase, Phase::Live | Phase::Paused(_))
    }

    pub(crate) fn is_paused(&self) -> bool {
        matches!(lock(&self.state).phase, Phase::Paused(_))
    }

    pub(crate) fn is_failed(&self) -> bool {
        matches!(lock(&self.state).phase, Phase::Failed(_))
    }

    pub(crate) fn is_stopped(&self) -> bool {
        lock(&self.state).phase == Phase::Stopped
    }

    /// Adds a unit that was made with this setup. What the other units were told meanwhile is for this one, too. It
    /// is scheduled by the caller.
    pub(crate) fn add_unit(&self, unit: UnitHandle, made_with: &Arc<ViewSetup>) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        state.alive += 1;
        state.not_begun.remove(&unit.progress.partition);
        match (&state.phase, &state.setup) {
            // A generation that was given out may not have been noted when the unit was made.
            (Phase::Live, Some(setup)) if state.given_out.is_some() || !Arc::ptr_eq(setup, made_with) => {
                let newest = || state.generations.last().map(|entry| entry.generation.clone());
                let generation = state.given_out.clone().or_else(newest);
                let generation = generation.unwrap_or(Generation { number: 1, digest: setup.digest });
                let change = Change { setup: Arc::clone(setup), generation };
                unit.orders.give(|orders| orders.change = Some(change));
            }
            (Phase::Live, _) => {}
            (Phase::Paused(_), _) => unit.orders.give(|orders| orders.pause = true),
            (Phase::Draining | Phase::Stopped | Phase::Failed(_), _) => {
                unit.orders.give(|orders| orders.stop = Some(Stop::Now));
            }
        }
        state.units.insert(unit.progress.partition.clone(), unit);
    }

    /// Its units; finished ones of a view that has stopped, too.
    pub(crate) fn units(&self) -> Vec<UnitHandle> {
        let state = lock(&self.state);
        state.units.values().filter(|unit| !unit.progress.is_leaving()).cloned().collect()
    }

    /// The unit for a partition, unless it is to go.
    pub(crate) fn unit(&self, partition: &Partition) -> Option<UnitHandle> {
        lock(&self.state).units.get(partition).filter(|unit| !unit.progress.is_leaving()).cloned()
    }

    /// Whether there is a unit for the partition, or something is left of one.
    pub(crate) fn has_unit(&self, partition: &Partition) -> bool {
        lock(&self.state).units.contains_key(partition)
    }

    /// Whether there is a unit that is to stay.
    pub(crate) fn works_on(&self, partition: &Partition) -> bool {
        lock(&self.state).units.get(partition).is_some_and(|unit| !unit.progress.is_leaving())
    }

    /// Ends the units of these partitions, or all; the view goes on. They go from the list when nothing of them is
    /// left. Returns those that there are, ended ones too.
    pub(crate) fn end_units(&self, partitions: Option<&BTreeSet<Partition>>, how: Stop) -> Vec<UnitHandle> {
        let mut state = lock(&self.state);
        let ours = |partition: &Partition| partitions.is_none_or(|partitions| partitions.contains(partition));
        let units: Vec<UnitHandle> =
            state.units.values().filter(|unit| ours(&unit.progress.partition)).cloned().collect();
        for unit in &units {
            unit.progress.leave();
            unit.orders.give(|orders| orders.stop(how));
            if unit.progress.has_ended() {
                self.remove_unit(&mut state, &unit.progress);
            }
        }
        state.not_begun.retain(|partition, _| !ours(partition));
        drop(state);
        units.iter().for_each(|unit| unit.task.schedule());
        units
    }

    fn remove_unit(&self, state: &mut State, progress: &Progress) {
        let partition = &progress.partition;
        if state.units.get(partition).is_some_and(|unit| std::ptr::eq(&*unit.progress, progress)) {
            state.units.remove(partition);
            self.metrics.remove_partition(partition);
        }
    }

    /// The store has lost rows: reads were as new as this.
    pub(crate) fn note_lost(&self, partition: &Partition, through: Position) {
        let mut state = lock(&self.state);
        let lost = state.lost.entry(partition.clone()).or_insert(through);
        *lost = through.max(*lost);
    }

    /// Through where rows were lost that the next unit takes in again.
    pub(crate) fn take_lost(&self, partition: &Partition) -> Option<Position> {
        lock(&self.state).lost.remove(partition)
    }

    /// Waits until nothing is left of this unit. Returns whether that is so.
    pub(crate) fn wait_ended(&self, unit: &Progress, deadline: Instant) -> bool {
        self.wait_while(deadline, |_| !unit.has_ended())
    }

    /// Notes that the view could not begin in a partition, and whether that is news.
    pub(crate) fn cannot_begin(&self, partition: &Partition, reason: String) -> bool {
        let mut state = lock(&self.state);
        let since = state.not_begun.get(partition).map(|known| known.since);
        let waiting = Waiting { what: "start", since: since.unwrap_or_else(Instant::now), reason };
        state.not_begun.insert(partition.clone(), waiting);
        since.is_none()
    }

    /// Shows lag, unless the partition has gone meanwhile: a series that was taken away must not come back.
    pub(crate) fn show_lag(&self, progress: &Progress, events: Option<u64>, seconds: Option<f64>) {
        let state = lock(&self.state);
        if !state.retired && state.units.contains_key(&progress.partition) && !progress.is_leaving() {
            self.metrics.lag(&progress.partition, events, seconds);
        }
    }

    /// Whether it should have a unit for each partition.
    pub(crate) fn wants_units(&self) -> bool {
        lock(&self.state).phase == Phase::Live
    }

    /// A paused view is to go on, from wherever it begins anew.
    pub(crate) fn unpause(&self) {
        let mut state = lock(&self.state);
        if matches!(state.phase, Phase::Paused(_)) {
            state.phase = Phase::Live;
        }
    }

    /// All units go on with another setup, also if they are paused. What they have to note in the ledger, each does
    /// at its own turn.
    pub(crate) fn change(&self, setup: &Arc<ViewSetup>, generation: &Generation) {
        let mut state = lock(&self.state);
        state.phase = Phase::Live;
        self.online.store(setup.shape.online, Ordering::Release);
        state.setup = Some(Arc::clone(setup));
        let units = state.order(|orders| {
            orders.change = Some(Change { setup: Arc::clone(setup), generation: generation.clone() });
            orders.pause = false;
        });
        drop(state);
        self.turn_to_orders(&units);
    }

    /// A unit cannot go on with this setup: the whole view pauses, unless it has got another setup meanwhile.
    pub(crate) fn pause(&self, with: &Arc<ViewSetup>, reason: String) {
        let mut state = lock(&self.state);
        let is_current = state.setup.as_ref().is_some_and(|setup| Arc::ptr_eq(setup, with));
        if state.phase != Phase::Live || !is_current {
            return;
        }
        ViewPaused { view: &self.name, reason: &reason }.emit();
        state.phase = Phase::Paused(reason);
        let units = state.order(|orders| orders.pause = true);
        drop(state);
        self.turn_to_orders(&units);
    }

    /// All units end.
    pub(crate) fn stop(&self, how: Stop) {
        let mut state = lock(&self.state);
        if state.phase == Phase::Stopped || (state.phase == Phase::Draining && how == Stop::Drain) {
            return;
        }
        state.phase = if state.alive == 0 { Phase::Stopped } else { Phase::Draining };
        let units = state.order(|orders| orders.stop(how));
        drop(state);
        self.turn_to_orders(&units);
    }

    fn turn_to_orders(&self, units: &[UnitHandle]) {
        units.iter().for_each(|unit| unit.task.schedule());
        self.show_state();
    }

    /// A unit has ended.
    pub(crate) fn unit_finished(&self, unit: &Progress) {
        let mut state = lock(&self.state);
        state.alive = state.alive.saturating_sub(1);
        if unit.is_leaving() {
            self.remove_unit(&mut state, unit);
        }
        let all = state.alive == 0 && state.phase == Phase::Draining;
        if all {
            state.phase = Phase::Stopped;
            ViewStopped { view: &self.name }.emit();
        }
        self.stopped.notify_all();
        drop(state);
        if all {
            self.show_state();
        }
    }

    /// Waits until all units have ended. Returns whether they have.
    pub(crate) fn wait_stopped(&self, timeout: Duration) -> bool {
        self.wait_while(Instant::now() + timeout, |state| state.phase == Phase::Draining)
    }

    /// Waits until this does not hold any more, of something that `stopped` tells of. Returns whether that is so.
    fn wait_while(&self, deadline: Instant, holds: impl Fn(&State) -> bool) -> bool {
        let mut state = lock(&self.state);
        while holds(&state) {
            let now = Instant::now();
            if deadline <= now {
                return false;
            }
            let waited = self.stopped.wait_timeout(state, deadline - now);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Lets go of its component and output stream, and of its series. For a view that has stopped.
    pub(crate) fn retire(&self) {
        let mut state = lock(&self.state);
        state.retired = true;
        let setup = state.setup.take();
        let orders: Vec<OrderList> = state.units.values().map(|unit| unit.orders.take()).collect();
        drop(state);
        drop((setup, orders));
        self.remove_metrics();
    }

    /// Forgets its units, so that nothing refers in circles when the flow ends.
    pub(crate) fn let_go(&self) {
        let units = std::mem::take(&mut lock(&self.state).units);
        drop(units);
    }

    /// Counts a unit in or out of those that recover.
    pub(crate) fn count_recovering(&self, one_more: bool) {
        count(&self.recovering, one_more);
        self.show_state();
    }

    /// Counts a unit in or out of those that read on their own.
    pub(crate) fn count_catching_up(&self, one_more: bool) {
        count(&self.catching_up, one_more);
        self.show_state();
    }

    /// Takes the view's series away.
    pub(crate) fn remove_metrics(&self) {
        let partitions: Vec<Partition> = lock(&self.state).units.keys().cloned().collect();
        self.metrics.remove(&partitions);
    }
}

fn count(counter: &AtomicUsize, one_more: bool) {
    if one_more {
        counter.fetch_add(1, Ordering::AcqRel);
    } else {
        counter.fetch_sub(1, Ordering::AcqRel);
    }
}
