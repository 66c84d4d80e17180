//! Makes what runs equal to what the files say, one view at a time; a view that cannot follow stays as it is.
//!
//! One owner, one thread: the loop in `reload.rs`. The first start is a change from nothing.

mod saved;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::error::{Disposition, Failure};
use model::output::OutputStream;
use pipeline::setup::SourceSetup;
use serve::Phase;
use spec::diff::{Change, Diff, Effect, ViewChange};
use spec::plan::{Plan, SourcePlan, ViewPlan};

use super::admission;
use super::hold::Holds;
use super::outputs::Outputs;
use super::parts::Parts;
use super::place;
use super::sources::{self, OpenSource};
use super::told::Told;
use crate::components::{Admitted, Library, Refusal, Stamp};
use crate::project::Project;

/// How long a view may be missing from the files before it stops. Editors and deployments delete and write again.
const VANISH_GRACE: Duration = Duration::from_secs(5);

/// When a file that was not whole is looked at again: longer than a pause between two writes of one copy.
const INCOMPLETE_PAUSE: Duration = Duration::from_millis(100);

/// When something is tried again that failed for want of a thing outside, such as room on the disk.
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(1);

/// When something is tried again that waits for an operator of another system. Each attempt admits the component anew.
const UNMET_PAUSE: Duration = Duration::from_secs(5);

/// How long a view may take to finish what it has begun before its source is closed under it.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Everything that runs, and the plan that it runs by.
pub(crate) struct Running {
    parts: Arc<Parts>,
    /// What the flow was told, view by view; a refused change is not in it.
    plan: Plan,
    views: BTreeMap<String, View>,
    sources: BTreeMap<String, OpenSource>,
    outputs: Outputs,
    /// Since when a view that runs is in no file.
    vanished: BTreeMap<String, Instant>,
    /// Views that never ran and are shown with what is wrong with their files.
    broken: BTreeSet<String>,
    /// Why sources cannot be opened; the same reason is logged once.
    closed: BTreeMap<String, String>,
    /// Sources of whose events some transform takes the headers; one that was opened without them is opened anew.
    headers: BTreeSet<String>,
    /// Changes of sources that running views cannot follow.
    holds: Holds,
    /// What the log has been told.
    told: Told,
}

/// What is known of one view.
#[derive(Default)]
struct View {
    /// What runs; `None` if the view could not be started yet.
    admitted: Option<Admitted>,
    /// The last attempt that failed: the same attempt is not made again ...
    refused: Option<Attempt>,
    /// ... unless it failed for want of something else.
    again: bool,
    /// The last attempt that found half a file: it is made once more before anything is said.
    incomplete: Option<Attempt>,
    /// The view's file as it was seen last.
    file: Option<Stamp>,
}

/// What was tried.
#[derive(PartialEq)]
struct Attempt {
    view: ViewPlan,
    component: Option<Stamp>,
}

impl View {
    /// Whether this was tried, and would fail again.
    fn has_failed(&self, view: &ViewPlan, component: Option<Stamp>) -> bool {
        let same = |attempt: &Attempt| attempt.component == component && attempt.view == *view;
        !self.again && self.refused.as_ref().is_some_and(same)
    }
}

/// What is still to be done after a look at the files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Look again after this time, without waiting for a change.
    pub(crate) again: Option<Duration>,
}

impl Pending {
    fn within(&mut self, time: Duration) {
        self.again = Some(self.again.map_or(time, |known| known.min(time)));
    }
}

impl Running {
    /// Nothing runs yet.
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        Self {
            parts,
            plan: Plan::default(),
            views: BTreeMap::new(),
            sources: BTreeMap::new(),
            outputs: Outputs::default(),
            vanished: BTreeMap::new(),
            broken: BTreeSet::new(),
            closed: BTreeMap::new(),
            headers: BTreeSet::new(),
            holds: Holds::default(),
            told: Told::default(),
        }
    }

    /// Views that do not run, and why.
    pub(crate) fn failed(&self) -> Vec<&str> {
        self.plan.views.keys().map(String::as_str).filter(|name| !self.is_started(name)).collect()
    }

    /// Follows the files. `first`: nobody is writing them at this moment.
    pub(crate) fn follow(&mut self, project: &Project, first: bool) -> Pending {
        let mut pending = Pending::default();
        self.told.tell(&project.report.diagnostics, first);
        let saved = self.saved();
        let mut target = project.report.over(&self.plan);
        self.keep_vanished(&mut target, &mut pending);
        self.note_broken(&project.report.broken);
        let mut diff = spec::diff::diff(&self.plan, &target);
        // What is compiled to try a change stays until the change is made.
        let mut tried = Vec::new();
        if self.hold_sources(&mut target, &diff, &mut tried, &mut pending) {
            diff = spec::diff::diff(&self.plan, &target);
        }
        // Views share one reader from its first batch on if they are all there when it opens.
        let hold = self.parts.flow.hold_intake();
        self.stop_what_goes(&diff.views, &diff.sources);
        for change in diff.sources {
            match change {
                Change::Added(source) | Change::Changed(source) => self.set_source(source),
                Change::Removed(name) => {
                    self.plan.sources.remove(&name);
                }
            }
        }
        self.open_sources(&diff.views, &mut tried);
        let mut changed = BTreeSet::new();
        for change in diff.views {
            match change {
                ViewChange::Added(view) => {
                    changed.insert(view.name().to_owned());
                    self.start(&view, first, &mut pending);
                }
                ViewChange::Changed { view, effect, what } => {
                    changed.insert(view.name().to_owned());
                    let stamp = Stamp::of(&view.component);
                    if self.views.get(view.name()).is_some_and(|known| known.has_failed(&view, stamp)) {
                        continue;
                    }
                    tracing::info!(view = view.name(), changed = what.join(", "), "view file changed");
                    self.change(view, effect, &mut pending);
                }
                ViewChange::Removed(_) => {}
            }
        }
        self.resume(&saved, &changed);
        self.follow_components(&changed, &mut pending);
        drop(hold);
        self.plan.entities = target.entities;
        self.plan.services = target.services;
        self.publish();
        pending
    }

    /// A file that is gone may come back: a view stays until its absence has lasted.
    fn keep_vanished(&mut self, target: &mut Plan, pending: &mut Pending) {
        self.vanished.retain(|name, _| !target.views.contains_key(name));
        for (name, view) in &self.plan.views {
            if target.views.contains_key(name) {
                continue;
            }
            let since = *self.vanished.entry(name.clone()).or_insert_with(|| {
                tracing::warn!(view = name, "view is in no file any more; it stops if it does not come back");
                Instant::now()
            });
            let gone = since.elapsed();
            if gone < VANISH_GRACE {
                pending.within(VANISH_GRACE.saturating_sub(gone));
                target.views.insert(name.clone(), view.clone());
                if let Some(source) = self.plan.sources.get(&view.source) {
                    target.sources.entry(view.source.clone()).or_insert_with(|| source.clone());
                }
                for entity in &view.entities {
                    if let Some(plan) = self.plan.entities.get(entity) {
                        target.entities.entry(entity.clone()).or_insert_with(|| plan.clone());
                    }
                }
            }
        }
    }

    /// Puts sources back into the target whose change a running view cannot follow, and the views that read them.
    /// Says whether there are any.
    fn hold_sources(
        &mut self,
        target: &mut Plan,
        diff: &Diff,
        tried: &mut Vec<Admitted>,
        pending: &mut Pending,
    ) -> bool {
        let mut any = false;
        for change in &diff.sources {
            let Change::Changed(source) = change else { continue };
            let old = &self.plan.sources[&source.name];
            if !spec::diff::reopens(old, source) || !self.sources.contains_key(&source.name) {
                continue;
            }
            let views = target.views.values().filter(|view| view.source == source.name);
            let views: Vec<&ViewPlan> = views.filter(|view| self.is_started(view.name())).collect();
            let Some(held) = self.holds.examine(&self.parts.library, source, &views, tried) else { continue };
            any = true;
            if held.incomplete {
                pending.within(INCOMPLETE_PAUSE);
            }
            let names: Vec<String> = views.iter().map(|view| view.name().to_owned()).collect();
            for name in names {
                self.parts.flow.note_error(&name, &held.reason);
                if let Some(old) = self.plan.views.get(&name) {
                    target.views.insert(name, old.clone());
                }
            }
            target.sources.insert(source.name.clone(), old.clone());
        }
        any
    }

    /// Stops views that are gone, or whose source is, and closes those sources.
    fn stop_what_goes(&mut self, views: &[ViewChange], sources: &[Change<SourcePlan>]) {
        let closing: Vec<String> = sources
            .iter()
            .filter_map(|change| match change {
                Change::Changed(source) => {
                    let reopens = spec::diff::reopens(&self.plan.sources[&source.name], source);
                    reopens.then(|| source.name.clone())
                }
                Change::Removed(name) => Some(name.clone()),
                Change::Added(_) => None,
            })
            .chain(self.without_headers())
            .collect();
        let mut stopping: Vec<String> = Vec::new();
        for change in views {
            if let ViewChange::Removed(name) = change {
                stopping.push(name.clone());
            }
        }
        for (name, view) in &self.plan.views {
            if closing.contains(&view.source) && !stopping.contains(name) {
                stopping.push(name.clone());
            }
        }
        for name in &stopping {
            self.parts.flow.stop_view(name, true);
        }
        for name in &stopping {
            self.wait_stopped(name);
            if let Some(view) = self.views.get_mut(name) {
                view.admitted = None;
            }
        }
        for change in views {
            if let ViewChange::Removed(name) = change {
                self.parts.flow.retire_view(name);
                tracing::info!(view = name, "view stopped; its rows and positions are kept for its return");
                self.views.remove(name);
                self.plan.views.remove(name);
                self.vanished.remove(name);
            }
        }
        for name in closing {
            if let Some(source) = self.sources.remove(&name) {
                if let Err(error) = self.parts.flow.remove_source(&name) {
                    tracing::error!(source = name, %error, "cannot take the source out of the flow");
                }
                source.close();
            }
        }
        self.close_outputs();
        self.forget_series(views, sources);
    }

    fn wait_stopped(&self, name: &str) {
        if self.is_started(name) && !self.parts.flow.wait_stopped(name, STOP_LIMIT) {
            tracing::warn!(
                view = name,
                "view did not finish in time; what it had begun is replayed when it returns"
            );
        }
    }

    /// Outputs that no view writes any more are synced and closed.
    fn close_outputs(&mut self) {
        self.outputs.close_unused(&self.plan.views);
    }

    fn set_source(&mut self, source: SourcePlan) {
        self.plan.sources.insert(source.name.clone(), source);
    }

    /// Sources that are open without the headers that a transform takes.
    fn without_headers(&self) -> impl Iterator<Item = String> {
        let lacks = |name: &&String| self.sources.get(*name).is_some_and(|open| !open.has_headers());
        self.headers.iter().filter(lacks).cloned().collect::<Vec<_>>().into_iter()
    }

    /// Opens sources that are not open; one that fails is tried again at the next look. `coming`: views that are about to
    /// start; what is compiled to look at them goes to `tried`.
    fn open_sources(&mut self, coming: &[ViewChange], tried: &mut Vec<Admitted>) {
        for (name, plan) in &self.plan.sources {
            if self.sources.contains_key(name) {
                continue;
            }
            let coming = coming.iter().filter_map(|change| match change {
                ViewChange::Added(view) | ViewChange::Changed { view, .. } => Some(view),
                ViewChange::Removed(_) => None,
            });
            let views = coming.chain(self.plan.views.values()).filter(|view| view.source == *name);
            if sources::have_headers(&plan.kind) && takes_headers(&self.parts.library, plan, views, tried) {
                self.headers.insert(name.clone());
            }
            let opened = OpenSource::open(&self.parts, plan, self.headers.contains(name)).and_then(|open| {
                self.parts.flow.add_source(SourceSetup {
                    name: name.clone(),
                    source: Arc::clone(&open.source),
                    format: Arc::clone(&open.format),
                })?;
                Ok(open)
            });
            match opened {
                Ok(open) => {
                    self.sources.insert(name.clone(), open);
                    self.closed.remove(name);
                }
                Err(failure) => {
                    let reason = format!("failed to {failure}");
                    if self.closed.get(name) != Some(&reason) {
                        tracing::error!(source = name, reason, "cannot open the source; it is tried again");
                    }
                    self.closed.insert(name.clone(), reason);
                }
            }
        }
        self.closed.retain(|name, _| self.plan.sources.contains_key(name));
        self.headers.retain(|name| self.plan.sources.contains_key(name));
    }

    /// Starts a view that does not run.
    fn start(&mut self, view: &ViewPlan, first: bool, pending: &mut Pending) {
        let name = view.name().to_owned();
        self.plan.views.insert(name.clone(), view.clone());
        let known = self.views.entry(name).or_default();
        known.file = known.file.or_else(|| Stamp::of(view.file()));
        if self.parts.health.phase() == Phase::Draining {
            // The host was told to stop during a long start.
            return;
        }
        let stamp = Stamp::of(&view.component);
        match self.try_start(view, !first) {
            // The flow has logged it.
            Ok(()) => {}
            Err(refusal) => self.refuse(view, stamp, &refusal, pending),
        }
    }

    fn try_start(&mut self, view: &ViewPlan, settle: bool) -> Result<(), Refusal> {
        let admitted = self.admit(view, settle)?;
        let output = self.output(view)?;
        place::settle(&self.parts.store, view).map_err(refused)?;
        self.parts.stores.send(view.name(), &view.store).map_err(refused)?;
        let source = &self.plan.sources[&view.source];
        // The shape first: rows may be read as soon as the view runs.
        self.parts.store.set_view(Arc::clone(&view.shape));
        let setup = admission::setup(&self.parts.library, view, source, &admitted, output);
        self.parts.flow.start_view(setup).map_err(refused)?;
        self.admitted(view.name(), admitted);
        Ok(())
    }

    /// Follows a changed view file.
    fn change(&mut self, view: ViewPlan, effect: Effect, pending: &mut Pending) {
        let name = view.name().to_owned();
        if !self.is_started(&name) {
            return self.start(&view, false, pending);
        }
        let old = self.plan.views[&name].clone();
        let stamp = Stamp::of(&view.component);
        let result = match effect {
            Effect::ServingOnly => Ok(()),
            Effect::Adjust => self.adjust(&view),
            Effect::Restart if admission::is_swap(&old, &view) => {
                self.admit(&view, true).and_then(|admitted| self.swap(&view, admitted))
            }
            Effect::Restart => self.restart(&view),
        };
        match result {
            Ok(()) => {
                self.parts.store.set_view(Arc::clone(&view.shape));
                self.plan.views.insert(name, view);
            }
            Err(refusal) => self.refuse(&view, stamp, &refusal, pending),
        }
    }

    fn adjust(&self, view: &ViewPlan) -> Result<(), Refusal> {
        let Some(admitted) = self.views.get(view.name()).and_then(|view| view.admitted.as_ref()) else {
            return Ok(());
        };
        let adjustment = admission::adjustment(view, &self.plan.sources[&view.source], admitted);
        self.parts.flow.adjust_view(view.name(), adjustment).map_err(refused)
    }

    /// Puts another transform in place between two batches.
    fn swap(&mut self, view: &ViewPlan, admitted: Admitted) -> Result<(), Refusal> {
        let old = self.views.get(view.name()).and_then(|view| view.admitted.as_ref());
        if let Some(old) = old {
            let (old, new) = (old.component.description(), admitted.component.description());
            for difference in spec::component::compare_descriptions(old, new) {
                tracing::info!(view = view.name(), difference, "the new component differs");
            }
        }
        let output = self.output(view)?;
        let source = &self.plan.sources[&view.source];
        let setup = admission::setup(&self.parts.library, view, source, &admitted, output);
        let digest = admitted.digest.short();
        self.parts.flow.swap_view(setup).map_err(refused)?;
        self.admitted(view.name(), admitted);
        tracing::info!(view = view.name(), digest, "new version is live");
        Ok(())
    }

    /// Stops a view and starts it by its new plan. The component is admitted and the output tried before the old one
    /// stops; if the start fails all the same, the old one returns.
    fn restart(&mut self, view: &ViewPlan) -> Result<(), Refusal> {
        let name = view.name();
        let _compiled = self.admit(view, true)?;
        let (source, open) = opened(&self.plan, &self.sources, &self.closed, view)?;
        self.outputs.try_open(&self.parts, view, source, open).map_err(|failure| unmet(view, failure))?;
        place::check(&self.parts.store, view).map_err(refused)?;
        let old = self.plan.views[name].clone();
        self.parts.flow.stop_view(name, true);
        self.wait_stopped(name);
        if let Some(known) = self.views.get_mut(name) {
            known.admitted = None;
        }
        self.plan.views.insert(name.to_owned(), view.clone());
        let Err(refusal) = self.try_start(view, false) else {
            self.close_outputs();
            return Ok(());
        };
        self.plan.views.insert(name.to_owned(), old.clone());
        if let Err(again) = self.try_start(&old, false) {
            tracing::error!(view = name, reason = %again, "cannot return to the version that ran before");
        }
        self.close_outputs();
        // Whatever it was: another attempt would stop the view again.
        Err(Refusal::Refused(refusal.to_string()))
    }

    fn admit(&mut self, view: &ViewPlan, settle: bool) -> Result<Admitted, Refusal> {
        let (plan, open) = opened(&self.plan, &self.sources, &self.closed, view)?;
        let admitted = self.parts.library.admit(view, plan, open.format.as_ref(), settle)?;
        for warning in &admitted.warnings {
            tracing::warn!(view = view.name(), "{warning}");
        }
        if !open.gives(admitted.component.description()) {
            self.headers.insert(view.source.clone());
            return Err(Refusal::Unavailable(format!(
                "source `{}` is opened anew: the component takes headers of its events, which no view did before",
                view.source
            )));
        }
        Ok(admitted)
    }

    /// The output stream of a view whose source is open.
    fn output(&mut self, view: &ViewPlan) -> Result<Option<Arc<dyn OutputStream>>, Refusal> {
        let (source, open) = opened(&self.plan, &self.sources, &self.closed, view)?;
        self.outputs.open(&self.parts, view, source, open).map_err(|failure| unmet(view, failure))
    }

    /// Takes up components that were replaced, and views that wait for theirs.
    fn follow_components(&mut self, done: &BTreeSet<String>, pending: &mut Pending) {
        let views: Vec<ViewPlan> =
            self.plan.views.values().filter(|view| !done.contains(view.name())).cloned().collect();
        for view in views {
            let Some(known) = self.views.get(view.name()) else { continue };
            let stamp = Stamp::of(&view.component);
            if known.has_failed(&view, stamp) {
                continue;
            }
            match &known.admitted {
                None => self.start(&view, false, pending),
                Some(admitted) if Some(admitted.stamp) != stamp => {
                    self.follow_component(&view, stamp, pending);
                }
                // Files are again what runs: a change that was refused is taken back.
                Some(_) if known.refused.is_some() => {
                    let name = view.name().to_owned();
                    self.parts.flow.clear_error(&name);
                    self.views.entry(name).or_default().refused = None;
                }
                Some(_) => {}
            }
        }
    }

    fn follow_component(&mut self, view: &ViewPlan, stamp: Option<Stamp>, pending: &mut Pending) {
        let before =
            self.views.get(view.name()).and_then(|known| known.admitted.as_ref()).map(|old| old.digest);
        let admitted = self.admit(view, true);
        match admitted {
            // The same bytes were saved again.
            Ok(admitted) if Some(admitted.digest) == before => {
                self.admitted(view.name(), admitted);
                saved::resume(&self.parts, view.name());
            }
            Ok(admitted) => {
                if let Err(refusal) = self.swap(view, admitted) {
                    self.refuse(view, stamp, &refusal, pending);
                }
            }
            Err(refusal) => self.refuse(view, stamp, &refusal, pending),
        }
    }

    fn admitted(&mut self, name: &str, admitted: Admitted) {
        self.parts.flow.clear_error(name);
        let view = self.views.entry(name.to_owned()).or_default();
        view.admitted = Some(admitted);
        view.refused = None;
    }

    fn is_started(&self, name: &str) -> bool {
        self.views.get(name).is_some_and(|view| view.admitted.is_some())
    }
}

/// Whether a component of these views takes the headers of events.
fn takes_headers<'a>(
    library: &Library,
    source: &SourcePlan,
    views: impl Iterator<Item = &'a ViewPlan>,
    tried: &mut Vec<Admitted>,
) -> bool {
    let Ok(format) = sources::format(source) else { return false };
    let mut any = false;
    for view in views {
        // What is wrong with the others is said when they start.
        if let Ok(admitted) = library.admit(view, source, format.as_ref(), false) {
            any |= sources::takes_headers(admitted.component.description());
            tried.push(admitted);
        }
    }
    any
}

/// The source of a view, as it is declared and as it is open.
fn opened<'a>(
    plan: &'a Plan,
    sources: &'a BTreeMap<String, OpenSource>,
    closed: &BTreeMap<String, String>,
    view: &ViewPlan,
) -> Result<(&'a SourcePlan, &'a OpenSource), Refusal> {
    plan.sources.get(&view.source).zip(sources.get(&view.source)).ok_or_else(|| {
        let reason = closed.get(&view.source).map_or("the log says why", String::as_str);
        Refusal::Unavailable(format!("source `{}` is not open: {reason}", view.source))
    })
}

/// What a topic or stream lacks can be mended without a change of the files.
fn unmet(view: &ViewPlan, failure: Failure) -> Refusal {
    let is_elsewhere = view.output.as_ref().is_some_and(|output| output.sink.connection().is_some());
    match refused(failure) {
        Refusal::Refused(message) if is_elsewhere => Refusal::Unmet(message),
        other => other,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
fn refused(failure: Failure) -> Refusal {
    let message = format!("failed to {failure}");
    match failure.disposition {
        Disposition::Retry => Refusal::Unavailable(message),
        Disposition::Stop => Refusal::Refused(message),
    }
}
