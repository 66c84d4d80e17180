//! What a check comes to: the plan of everything that is right, and what is wrong with the rest.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::Outcome;
use super::index::{Declared, Index, Known};
use crate::diagnostic::{Code, Diagnostic};
use crate::files::Files;
use crate::plan::{EntityPlan, Plan, ServicePlan, SourcePlan, ViewPlan};
use crate::raw::{RawEntity, RawService, RawSource, RawView};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Everything that can work.
    pub plan: Plan,
    /// All problems, in the order of files and lines.
    pub diagnostics: Vec<Diagnostic>,
    /// Views that are declared but cannot work, and why: their own problems, and those of what they refer to.
    pub broken: BTreeMap<String, Vec<Diagnostic>>,
    /// Entities that are declared but cannot work.
    pub broken_entities: BTreeSet<String>,
    /// Sources that are declared but cannot work.
    pub broken_sources: BTreeSet<String>,
    /// Services that are declared but cannot work.
    pub broken_services: BTreeSet<String>,
    /// Files of which a part could not be read: nobody knows what that part declares.
    pub unreadable_files: Vec<PathBuf>,
}

impl Report {
    /// Whether anything is wrong, warnings aside.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// The plan for a host that runs `running`: what is right as it is now, and what is broken as it was.
    ///
    /// A declaration is kept if it is broken now, or if the file that held it cannot be read. What a kept view or
    /// service refers to is kept with it.
    pub fn over(&self, running: &Plan) -> Plan {
        let mut plan = self.plan.clone();
        let unreadable = |file: &Path| self.unreadable_files.iter().any(|path| path == file);
        keep(&mut plan.services, &running.services, |name, service| {
            self.broken_services.contains(name) || unreadable(service.spot.path())
        });
        let served: BTreeSet<&str> = plan
            .services
            .values()
            .flat_map(|service| &service.features)
            .map(|part| part.view.as_str())
            .collect();
        keep(&mut plan.views, &running.views, |name, view| {
            self.broken.contains_key(name) || unreadable(view.file()) || served.contains(name)
        });
        let read: BTreeSet<&str> = plan.views.values().map(|view| view.source.as_str()).collect();
        let about: BTreeSet<&str> =
            plan.views.values().flat_map(|view| &view.entities).map(String::as_str).collect();
        keep(&mut plan.sources, &running.sources, |name, source| {
            self.broken_sources.contains(name) || unreadable(source.spot.path()) || read.contains(name)
        });
        keep(&mut plan.entities, &running.entities, |name, entity| {
            self.broken_entities.contains(name) || unreadable(entity.spot.path()) || about.contains(name)
        });
        plan
    }
}

fn keep<T: Clone>(
    plan: &mut BTreeMap<String, T>,
    running: &BTreeMap<String, T>,
    wanted: impl Fn(&str, &T) -> bool,
) {
    for (name, value) in running {
        if !plan.contains_key(name) && wanted(name, value) {
            plan.insert(name.clone(), value.clone());
        }
    }
}

/// Collects outcomes while declarations are checked, those that others refer to first.
pub(super) struct Builder<'a> {
    files: &'a Files,
    index: &'a Index,
    known: Known,
    services: BTreeMap<String, ServicePlan>,
    broken_services: BTreeSet<String>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(files: &'a Files, index: &'a Index) -> Self {
        Self {
            files,
            index,
            known: Known { incomplete: index.incomplete.clone(), ..Known::default() },
            services: BTreeMap::new(),
            broken_services: BTreeSet::new(),
            diagnostics: index.incomplete.clone(),
        }
    }

    pub(super) fn entity(
        &mut self,
        declared: &Declared<RawEntity>,
        check: impl FnOnce(&RawEntity, &mut Outcome) -> Option<EntityPlan>,
    ) {
        let result = self.conclude(declared, |raw, _, outcome| check(raw, outcome));
        insert(&mut self.known.entities, declared, result);
    }

    pub(super) fn source(
        &mut self,
        declared: &Declared<RawSource>,
        check: impl FnOnce(&RawSource, &mut Outcome) -> Option<SourcePlan>,
    ) {
        let result = self.conclude(declared, |raw, _, outcome| check(raw, outcome));
        insert(&mut self.known.sources, declared, result);
    }

    pub(super) fn view(
        &mut self,
        declared: &Declared<RawView>,
        check: impl FnOnce(&RawView, &Known, &mut Outcome) -> Option<ViewPlan>,
    ) {
        let result = self.conclude(declared, check);
        insert(&mut self.known.views, declared, result);
    }

    pub(super) fn service(
        &mut self,
        declared: &Declared<RawService>,
        check: impl FnOnce(&RawService, &Known, &mut Outcome) -> Option<ServicePlan>,
    ) {
        let result = self.conclude(declared, check);
        let Some(name) = &declared.name else { return };
        match result {
            Ok(service) if !self.broken_services.contains(name) => {
                self.services.insert(name.clone(), service);
            }
            _ => {
                self.services.remove(name);
                self.broken_services.insert(name.clone());
            }
        }
    }

    /// Sources that are right each by itself but cannot work together.
    pub(super) fn cross_sources(
        &mut self,
        check: impl FnOnce(&Index, &[&SourcePlan]) -> Vec<(String, Diagnostic)>,
    ) {
        let mut plans: Vec<&SourcePlan> = self.known.sources.values().flatten().collect();
        plans.sort_by_key(|source| (source.spot.path(), source.spot.range().start));
        let clashes = check(self.index, &plans);
        self.diagnostics.extend(blame(&mut self.known.sources, clashes));
    }

    /// The plan of a declaration, or everything that it cannot work because of.
    fn conclude<Raw, T>(
        &mut self,
        declared: &Declared<Raw>,
        check: impl FnOnce(&Raw, &Known, &mut Outcome) -> Option<T>,
    ) -> Result<T, Vec<Diagnostic>> {
        let damaged = declared.problems.iter().any(Diagnostic::is_error);
        let mut outcome = Outcome { problems: declared.problems.clone(), inherited: Vec::new(), damaged };
        let plan = declared.raw.as_ref().and_then(|raw| check(raw, &self.known, &mut outcome));
        self.diagnostics.extend(outcome.problems.iter().cloned());
        match plan {
            Some(plan) if !outcome.is_broken() => Ok(plan),
            _ => Err(outcome.problems.into_iter().chain(outcome.inherited).collect()),
        }
    }

    pub(super) fn finish(mut self) -> Report {
        self.warn_of_unused();
        let (entities, broken_entities) = split(self.known.entities);
        let (sources, broken_sources) = split(self.known.sources);
        let (views, broken) = split(self.known.views);
        let mut unreadable_files = self.files.unreadable.clone();
        unreadable_files.extend(self.index.unreadable.iter().cloned());
        unreadable_files.sort();
        Report {
            plan: Plan { entities, sources, views, services: self.services },
            diagnostics: in_order(self.diagnostics),
            broken: broken.into_iter().map(|(name, problems)| (name, in_order(problems))).collect(),
            broken_entities: broken_entities.into_keys().collect(),
            broken_sources: broken_sources.into_keys().collect(),
            broken_services: self.broken_services,
            unreadable_files,
        }
    }

    fn warn_of_unused(&mut self) {
        // A name that seems unused may be misspelled where it is used.
        if self.diagnostics.iter().any(Diagnostic::is_error) {
            return;
        }
        let views: Vec<&RawView> = self.index.views.iter().filter_map(|view| view.raw.as_ref()).collect();
        if views.is_empty() {
            let problem =
                Diagnostic::in_file(Code::NoViews, &self.files.shown_root, "there is no view in this folder");
            self.diagnostics.push(problem.help("`host new view NAME` makes one"));
            return;
        }
        for entity in self.index.entities.iter().filter_map(|entity| entity.raw.as_ref()) {
            let used = views
                .iter()
                .any(|view| view.entities.value.iter().any(|name| name.value == entity.name.value));
            if !used {
                let message = format!("no view is about entity `{}`", entity.name.value.0);
                self.diagnostics.push(
                    Diagnostic::at(Code::UnusedEntity, &entity.name.spot, message)
                        .help("name it in the `entities` of a view, or remove it"),
                );
            }
        }
        for source in self.index.sources.iter().filter_map(|source| source.raw.as_ref()) {
            if !views.iter().any(|view| view.source.value == source.name.value) {
                let message = format!("no view reads source `{}`", source.name.value.0);
                self.diagnostics.push(
                    Diagnostic::at(Code::UnusedSource, &source.name.spot, message)
                        .help("name it as the `source` of a view, or remove it"),
                );
            }
        }
    }
}

/// Two declarations of one name are both broken, whatever they say.
fn insert<Raw, T>(
    known: &mut BTreeMap<String, Result<T, Vec<Diagnostic>>>,
    declared: &Declared<Raw>,
    result: Result<T, Vec<Diagnostic>>,
) {
    let Some(name) = &declared.name else { return };
    match (known.get_mut(name), result) {
        (None, result) => {
            known.insert(name.clone(), result);
        }
        (Some(Err(problems)), Err(more)) => problems.extend(more),
        (Some(Err(_)), Ok(_)) => {}
        (Some(first), Err(problems)) => *first = Err(problems),
        (Some(first), Ok(_)) => *first = Err(Vec::new()),
    }
}

/// Lays problems at the doors of the declarations that are named. Each is told once.
fn blame<T>(
    known: &mut BTreeMap<String, Result<T, Vec<Diagnostic>>>,
    clashes: Vec<(String, Diagnostic)>,
) -> Vec<Diagnostic> {
    let problems = clashes.iter().map(|(_, problem)| problem.clone()).collect();
    for (name, problem) in clashes {
        match known.get_mut(&name) {
            Some(Err(problems)) => problems.push(problem),
            Some(right) => *right = Err(vec![problem]),
            None => {}
        }
    }
    problems
}

type Split<T> = (BTreeMap<String, T>, BTreeMap<String, Vec<Diagnostic>>);

fn split<T>(known: BTreeMap<String, Result<T, Vec<Diagnostic>>>) -> Split<T> {
    let mut right = BTreeMap::new();
    let mut wrong = BTreeMap::new();
    for (name, result) in known {
        match result {
            Ok(plan) => {
                right.insert(name, plan);
            }
            Err(problems) => {
                wrong.insert(name, problems);
            }
        }
    }
    (right, wrong)
}

/// In the order of files and lines, each once: a problem may be laid at several doors.
pub(crate) fn in_order(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let place = |diagnostic: &Diagnostic| {
        let range = diagnostic.spot.as_ref().map_or(0..0, |spot| spot.range());
        (diagnostic.file.clone(), range.start, range.end, diagnostic.code)
    };
    diagnostics.sort_by_cached_key(place);
    let mut seen = HashSet::new();
    diagnostics.retain(|diagnostic| seen.insert((place(diagnostic), diagnostic.message.clone())));
    diagnostics
}
