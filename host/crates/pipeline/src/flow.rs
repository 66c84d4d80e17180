//! The flow: sources and views at run time, and what can be done to them.
//!
//! This is the owner of both lists. Starting, swapping and stopping views is done by one caller at a time; events pass
//! without ever looking at these lists.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use model::error::{Disposition, Failure};
use model::online::GenerationEntry;
use model::position::Partition;

use crate::assemble::OutputLayout;
use crate::assign::Assigned;
use crate::events::{Metrics, ViewStarted};
use crate::intake::Intake;
use crate::orders::{Orders, Stop};
use crate::pool::{Pool, lock};
use crate::progress::Progress;
use crate::release;
use crate::roster::{self, Ending, Left, Roster};
use crate::setup::{Adjustment, FlowParts, SourceSetup, ViewSetup};
use crate::shared::Shared;
use crate::start::{self, Beginning, Hindrance, Ledgers, Recover};
use crate::timer::Timer;
use crate::transform::InputLayout;
use crate::unit::{Unit, UnitParts};
use crate::view::{UnitHandle, View};
use crate::waiters::Waiters;

/// How long a view that has to be started anew may take to finish what it has begun.
const RESTART_LIMIT: Duration = Duration::from_secs(10);

/// All sources and views of one host, running. All methods may be called from any thread; those that start, swap or
/// stop block on the ledger and are not for the threads of an async runtime.
pub struct Flow {
    pub(crate) core: Arc<Core>,
}

/// Keeps readers of sources from opening until it is dropped: views that are started meanwhile share one reader
/// from its first batch on.
pub struct IntakeHold {
    core: Arc<Core>,
}

/// What the flow and its readers share.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sources: Mutex<BTreeMap<String, Arc<Source>>>,
    /// Read for each request, changed seldom.
    pub(crate) views: ArcSwap<BTreeMap<String, Arc<View>>>,
    /// Held while a view is started, changed or taken away.
    pub(crate) changing: Mutex<Changing>,
    /// Nothing is started any more.
    pub(crate) draining: AtomicBool,
    /// Somebody asks shared sources where they end.
    pub(crate) measuring: AtomicBool,
}

#[derive(Default)]
pub(crate) struct Changing {
    holds: usize,
}

/// What a view starts with.
struct Start {
    ledgers: Ledgers,
    /// Noted in the ledger, the newest last.
    generations: Vec<GenerationEntry>,
    beginnings: Vec<Beginning>,
    /// Where the group of the source could not be asked.
    hindered: Vec<(Partition, Hindrance)>,
}

/// A source and who uses it.
pub(crate) struct Source {
    pub(crate) intake: Arc<Intake>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) roster: Roster,
}

impl Flow {
    /// A flow without sources and views. Threads start with the first work.
    pub fn start(parts: FlowParts<'_>) -> Arc<Self> {
        let metrics = Metrics::register(parts.metrics);
        let shared = Shared {
            online: parts.online,
            ledger: parts.ledger,
            dead_letters: parts.dead_letters,
            clock: parts.clock,
            pool: Pool::new(parts.settings.threads_max),
            settings: parts.settings,
            metrics,
            timer: Arc::new(Timer::new()),
        };
        let core = Core {
            shared: Arc::new(shared),
            sources: Mutex::default(),
            views: ArcSwap::default(),
            changing: Mutex::default(),
            draining: AtomicBool::new(false),
            measuring: AtomicBool::new(false),
        };
        Arc::new(Self { core: Arc::new(core) })
    }

    /// Lets the caller start several views before the first event is read.
    pub fn hold_intake(&self) -> IntakeHold {
        lock(&self.core.changing).holds += 1;
        for source in lock(&self.core.sources).values() {
            source.intake.hold();
        }
        IntakeHold { core: Arc::clone(&self.core) }
    }

    /// Adds a source. It is read once a view uses it.
    ///
    /// Fails if there is one of that name, or if the source cannot say where it ends.
    pub fn add_source(&self, setup: SourceSetup) -> Result<(), Failure> {
        let changing = lock(&self.core.changing);
        let name = setup.name.clone();
        let known = lock(&self.core.sources).contains_key(&name);
        if known {
            return Err(Failure::stop(format!("add source `{name}`: there is one of that name")));
        }
        let ends = ends(setup.source.as_ref())?;
        let (core, source) = (Arc::downgrade(&self.core), name.clone());
        let found = Box::new(move |partition: &Partition| partition_found(&core, &source, partition));
        let shared = &self.core.shared;
        let metrics = shared.metrics.source(&name);
        let intake = Intake::new(setup, shared.settings.clone(), metrics, changing.holds, found);
        let waiters = Arc::new(Waiters::new(Arc::clone(&shared.timer)));
        let source = Arc::new(Source { intake, waiters, roster: Roster::new(ends) });
        lock(&self.core.sources).insert(name, Arc::clone(&source));
        drop(changing);
        let assigned = Assigned { core: Arc::downgrade(&self.core), source: Arc::downgrade(&source) };
        source.intake.source.join(Arc::new(assigned));
        Ok(())
    }

    /// Forgets a source, and leaves its group. Fails while a view uses it.
    pub fn remove_source(&self, name: &str) -> Result<(), Failure> {
        let changing = lock(&self.core.changing);
        let mut sources = lock(&self.core.sources);
        let Some(source) = sources.get(name).cloned() else { return Ok(()) };
        let views = source.waiters.views.load();
        let is_used = views.iter().any(|view| !view.is_stopped() && !view.is_failed());
        if is_used || source.intake.is_used() {
            return Err(Failure::stop(format!("remove source `{name}`: a view uses it")));
        }
        source.roster.close();
        source.intake.stop();
        source.intake.metrics.remove();
        sources.remove(name);
        drop(sources);
        drop(changing);
        // The group takes the partitions back meanwhile, and commits.
        source.intake.source.leave();
        Ok(())
    }

    /// Starts a view on its source. Notes in the ledger where it begins and with which generation.
    ///
    /// Fails without effect if the component does not fit, if the view runs already, or if the source or the ledger
    /// cannot be asked.
    pub fn start_view(&self, setup: ViewSetup) -> Result<(), Failure> {
        let changing = lock(&self.core.changing);
        self.start_view_locked(&changing, setup)
    }

    fn start_view_locked(&self, _changing: &Changing, setup: ViewSetup) -> Result<(), Failure> {
        let name = setup.shape.name.clone();
        if self.core.draining.load(Ordering::Acquire) {
            return Err(Failure::stop(format!("start view `{name}`: the host is stopping")));
        }
        if let Some(view) = self.core.view(&name).filter(|view| !view.is_stopped() && !view.is_failed()) {
            let state = view.state();
            return Err(Failure::retry(format!("start view `{name}`: it is {}", state.name())));
        }
        let source = self.core.source(&setup.shape.source)?;
        check_layout(&setup, &source)?;
        source.roster.learn(&source.intake.source.partitions()?);
        let setup = Arc::new(setup);
        let start = self.begin(&source, &setup)?;
        self.core.take_away(&name);
        let (metrics, waiters) = (self.core.shared.metrics.view(&name), Arc::clone(&source.waiters));
        let generation = start.generations.last().map_or(0, |entry| entry.generation.number);
        let Start { ledgers, generations, beginnings, hindered } = start;
        let (epoch, was_known) = (ledgers.view.epoch, ledgers.was_known);
        let view = View::live(Arc::clone(&setup), generations, epoch, was_known, metrics, waiters);
        let recovering = beginnings.iter().any(|beginning| beginning.recover.is_some());
        ViewStarted {
            view: &name,
            source: &setup.shape.source,
            generation,
            partitions: beginnings.len(),
            recovering,
        }
        .emit();
        let news = roster::news(&beginnings).into_iter().collect();
        let units = source.roster.while_held(|is_here| {
            let units = roster::add_units(&self.core, &source, &view, &setup, beginnings, is_here);
            self.core.publish(&source, &view);
            units
        });
        for (partition, hindrance) in hindered {
            roster::hinder(&view, &setup, &partition, &hindrance);
        }
        view.show_state();
        units.iter().for_each(|unit| unit.task.schedule());
        source.intake.refresh();
        // What could not be asked is asked again, and other hosts are told where the view begins.
        release::tell(&self.core, &source, &news);
        roster::kick_for(&self.core, &source, &view);
        Ok(())
    }

    /// Where a view begins in all partitions. Notes in the ledger what is new.
    fn begin(&self, source: &Source, setup: &ViewSetup) -> Result<Start, Failure> {
        let shared = &self.core.shared;
        start::keep_to_source(shared, setup)?;
        let ledgers = Ledgers::read(shared, setup, &|partition| source.roster.holds(partition))?;
        let (mut beginnings, mut hindered) = (Vec::new(), Vec::new());
        for (partition, arrival) in source.roster.held() {
            match roster::begin_one(&self.core, source, setup, &ledgers, &partition, arrival) {
                Ok(beginning) => beginnings.push(beginning),
                // What is wrong with a shared source pauses the view, whenever its partitions come.
                Err(hindrance) if hindrance.by_group => hindered.push((partition, hindrance)),
                Err(hindrance) => return Err(hindrance.failure),
            }
        }
        let (name, known) = (&setup.shape.name, &ledgers.view.generations);
        let generations = start::begin_generations(shared, name, known, setup.digest, &beginnings)?;
        Ok(Start { ledgers, generations, beginnings, hindered })
    }

    /// Replaces the transform of a running or paused view, between two batches of each partition. Events do not wait
    /// for more than the note in the ledger; what the old transform has made is delivered as it is.
    ///
    /// A view that reads another source or writes to another output stream than before is stopped and started.
    pub fn swap_view(&self, setup: ViewSetup) -> Result<(), Failure> {
        let changing = lock(&self.core.changing);
        let view = self.live_view(&setup.shape.name)?;
        let source = self.core.source(&setup.shape.source)?;
        check_layout(&setup, &source)?;
        let old = view.setup();
        if old.is_none_or(|old| !same_ends(&old, &setup)) {
            view.stop(Stop::Drain);
            if !view.wait_stopped(RESTART_LIMIT) {
                view.stop(Stop::Now);
                view.wait_stopped(RESTART_LIMIT);
            }
            return self.start_view_locked(&changing, setup);
        }
        self.change(&view, &Arc::new(setup));
        Ok(())
    }

    /// All units go on with another setup; those that are missing are made.
    fn change(&self, view: &Arc<View>, setup: &Arc<ViewSetup>) {
        let newest = view.next_generation(setup.digest);
        view.change(setup, &newest);
        if let Ok(source) = self.core.source(&setup.shape.source) {
            roster::kick_for(&self.core, &source, view);
        }
    }

    /// Changes limits, bounds or the time to live of a view between two batches, without a new generation. A paused
    /// view goes on.
    pub fn adjust_view(&self, view: &str, adjustment: Adjustment) -> Result<(), Failure> {
        let _changing = lock(&self.core.changing);
        let view = self.live_view(view)?;
        let Some(setup) = view.setup() else { return Ok(()) };
        let Adjustment { shape, options, earliest, max_future, failures_to_pause } = adjustment;
        let setup = ViewSetup { shape, options, earliest, max_future, failures_to_pause, ..(*setup).clone() };
        self.change(&view, &Arc::new(setup));
        Ok(())
    }

    /// Lets a paused view go on from the same event, as it is. Returns whether it was paused.
    pub fn resume_view(&self, view: &str) -> Result<bool, Failure> {
        let _changing = lock(&self.core.changing);
        let view = self.live_view(view)?;
        let Some(setup) = view.setup().filter(|_| view.is_paused()) else { return Ok(false) };
        self.change(&view, &setup);
        Ok(true)
    }

    /// Stops a view. With `drain` what has begun is finished first; returns at once, see [`Flow::wait_stopped`].
    pub fn stop_view(&self, view: &str, drain: bool) {
        if let Some(view) = self.core.view(view).filter(|view| !view.is_failed()) {
            view.stop(if drain { Stop::Drain } else { Stop::Now });
        }
    }

    /// Waits until a stopped view has finished. Returns whether it has.
    pub fn wait_stopped(&self, view: &str, timeout: Duration) -> bool {
        self.core.view(view).is_none_or(|view| view.wait_stopped(timeout))
    }

    /// Lets a stopped view go: its output stream is closed and its series vanish, it stays listed.
    pub fn retire_view(&self, view: &str) {
        let _changing = lock(&self.core.changing);
        if let Some(view) = self.core.view(view).filter(|view| view.is_stopped()) {
            view.retire();
        }
    }

    /// Drops a stopped or failed view from status and metrics. Its rows and positions are kept.
    pub fn forget_view(&self, view: &str) {
        let _changing = lock(&self.core.changing);
        if self.core.view(view).is_some_and(|view| view.is_stopped() || view.is_failed()) {
            self.core.take_away(view);
        }
    }

    /// Shows something that went wrong and was survived, such as a refused change.
    pub fn note_error(&self, view: &str, message: &str) {
        if let Some(view) = self.core.view(view) {
            view.set_error(Some(message.to_owned()));
        }
    }

    /// Clears what [`Flow::note_error`] noted.
    pub fn clear_error(&self, view: &str) {
        if let Some(view) = self.core.view(view) {
            view.set_error(None);
        }
    }

    /// Shows a view that could not be started. One that the ledger knows keeps its source from forgetting events.
    ///
    /// A view that runs goes on running; the reason is shown as its last error.
    pub fn mark_failed(&self, view: &str, source: &str, reason: &str) {
        let _changing = lock(&self.core.changing);
        if self.core.view(view).is_some_and(|view| view.is_live()) {
            return self.note_error(view, reason);
        }
        let shared = &self.core.shared;
        // If the ledger cannot be asked, the view may have a position: better too many events kept than too few.
        let was_known = shared.ledger.view(view).map_or(true, |ledger| !ledger.generations.is_empty());
        let source_of_view = lock(&self.core.sources).get(source).cloned();
        let waiters = source_of_view.as_ref().map_or_else(
            || Arc::new(Waiters::new(Arc::clone(&shared.timer))),
            |source| Arc::clone(&source.waiters),
        );
        self.core.take_away(view);
        let failed = View::failed(view, source, reason, was_known, shared.metrics.view(view), waiters);
        match source_of_view {
            Some(source) => self.core.publish(&source, &failed),
            None => self.core.list(&failed),
        }
    }

    /// To be called after each checkpoint of the store: lets sources forget what every sink is durably past, and the
    /// ledger the generations that nothing will be replayed with.
    pub fn on_checkpoint(&self) {
        release::on_checkpoint(&self.core);
    }

    pub(crate) fn live_view(&self, name: &str) -> Result<Arc<View>, Failure> {
        let view = self.core.view(name).filter(|view| view.is_live());
        view.ok_or_else(|| Failure::stop(format!("change view `{name}`: it does not run")))
    }
}

impl Core {
    pub(crate) fn view(&self, name: &str) -> Option<Arc<View>> {
        self.views.load().get(name).cloned()
    }

    pub(crate) fn source(&self, name: &str) -> Result<Arc<Source>, Failure> {
        let sources = lock(&self.sources);
        sources.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = sources.keys().map(String::as_str).collect();
            Failure::stop(format!("find source `{name}`: there is {}", known.join(", ")))
        })
    }

    /// Makes a unit; it begins when it is scheduled.
    pub(crate) fn add_unit(
        &self,
        source: &Source,
        view: &Arc<View>,
        setup: &Arc<ViewSetup>,
        beginning: Beginning,
    ) -> UnitHandle {
        let Beginning { partition, position, known, marks, recover, epoch, .. } = beginning;
        let lost = view.take_lost(&partition).filter(|lost| marks.applied < Some(*lost));
        let recover = lost.map_or(recover, |lost| Some(Recover::Until(lost)));
        let orders = Arc::new(Orders::default());
        let progress = Arc::new(Progress::new(partition, position, marks, epoch));
        if recover.is_some() {
            view.count_recovering(true);
        }
        let generation = view.newest_generation(setup.digest);
        let task = self.shared.pool.add(|waker| {
            Box::new(Unit::new(UnitParts {
                shared: Arc::clone(&self.shared),
                view: Arc::clone(view),
                intake: Arc::clone(&source.intake),
                setup: Arc::clone(setup),
                generation,
                orders: Arc::clone(&orders),
                progress: Arc::clone(&progress),
                known,
                recover,
                waker,
            }))
        });
        let unit = UnitHandle { task, orders, progress };
        view.add_unit(unit.clone(), setup);
        unit
    }

    /// Lists a view, for status and for those who wait for its source.
    fn publish(&self, source: &Source, view: &Arc<View>) {
        source.waiters.views.rcu(|views| {
            let mut views = Vec::clone(views);
            views.push(Arc::clone(view));
            views
        });
        self.list(view);
    }

    fn list(&self, view: &Arc<View>) {
        self.views.rcu(|views| {
            let mut views = BTreeMap::clone(views);
            views.insert(view.name.to_string(), Arc::clone(view));
            views
        });
    }

    /// Takes a view that has ended from all lists.
    fn take_away(&self, name: &str) {
        let Some(view) = self.view(name) else { return };
        view.waiters.views.rcu(|views| {
            views.iter().filter(|other| !Arc::ptr_eq(other, &view)).cloned().collect::<Vec<_>>()
        });
        self.views.rcu(|views| {
            let mut views = BTreeMap::clone(views);
            views.remove(name);
            views
        });
        view.remove_metrics();
    }
}

/// The reader has come upon a partition: every view on the source gets a unit for it before its first batch.
fn partition_found(core: &Weak<Core>, source: &str, partition: &Partition) {
    let Some(core) = core.upgrade() else { return };
    let Ok(source) = core.source(source) else { return };
    if source.roster.learn(std::slice::from_ref(partition)) && roster::fill(&core, &source) != Left::Nothing {
        roster::kick(&core, &source);
    }
}

/// The partitions of a source and where they end now.
fn ends(source: &dyn model::source::Source) -> Result<Vec<Ending>, Failure> {
    let end_of = |partition: &Partition| source.knows_end().then(|| source.end(partition)).transpose();
    let partitions = source.partitions()?;
    partitions.into_iter().map(|partition| end_of(&partition).map(|end| (partition, end))).collect()
}

fn check_layout(setup: &ViewSetup, source: &Source) -> Result<(), Failure> {
    let description = setup.component.description();
    let for_view = |failure: Failure| {
        let message = format!("start view `{}`: {}", setup.shape.name, failure.message);
        Failure { disposition: Disposition::Stop, message, source: failure.source }
    };
    InputLayout::new(&description.input, source.intake.format.columns()).map_err(for_view)?;
    OutputLayout::new(&setup.shape, &setup.event_time_column, &description.output, false)
        .map_err(for_view)?;
    Ok(())
}

/// Whether a view's source and output stream stay.
fn same_ends(old: &ViewSetup, new: &ViewSetup) -> bool {
    let same_output = match (&old.output, &new.output) {
        (Some((old, _)), Some((new, _))) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    };
    same_output && old.shape.source == new.shape.source
}

impl Drop for IntakeHold {
    fn drop(&mut self) {
        lock(&self.core.changing).holds -= 1;
        for source in lock(&self.core.sources).values() {
            source.intake.unhold();
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.core.shared.pool.close();
        self.core.shared.timer.close();
        for source in lock(&self.core.sources).values() {
            source.roster.close();
            source.intake.close();
        }
        for view in self.core.views.load().values() {
            view.let_go();
        }
    }
}
