//! All declarations of all files, by kind; and what is known of those that were checked.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use crate::diagnostic::{Code, Diagnostic, Spot};
use crate::files::Files;
use crate::plan::{EntityPlan, SourcePlan, ViewPlan};
use crate::raw::{
    Declaration, Name, RawDeclaration, RawEntity, RawService, RawSource, RawView, Spanned, declarations,
};
use crate::yaml::{self, Cover};

use super::Outcome;

/// A declaration of a known kind.
pub(super) struct Declared<Raw> {
    /// Its name, if it has one.
    pub(super) name: Option<String>,
    /// Its content; `None` = it could not be read.
    pub(super) raw: Option<Raw>,
    /// What is wrong with it already.
    pub(super) problems: Vec<Diagnostic>,
}

/// Everything that is declared.
#[derive(Default)]
pub(super) struct Index {
    pub(super) entities: Vec<Declared<RawEntity>>,
    pub(super) sources: Vec<Declared<RawSource>>,
    pub(super) views: Vec<Declared<RawView>>,
    pub(super) services: Vec<Declared<RawService>>,
    /// Why parts of files could not be read: what is declared there is unknown.
    pub(super) incomplete: Vec<Diagnostic>,
    /// Files with such parts.
    pub(super) unreadable: Vec<PathBuf>,
}

impl Index {
    /// Reads all declarations. Two of one kind and name are a problem of both.
    pub(super) fn read(files: &Files) -> Self {
        let mut index = Self::default();
        let mut all: Vec<Declaration> = Vec::new();
        for file in &files.files {
            let read = yaml::read(file, Cover::ClientSettings);
            let mut unknown = read.problems;
            for document in read.documents {
                let (found, mut loose) = declarations(&read.file, document);
                all.extend(found);
                unknown.append(&mut loose);
            }
            if !unknown.is_empty() {
                index.unreadable.push(file.path.clone());
                index.incomplete.append(&mut unknown);
            }
        }
        index.incomplete.extend(files.problems.iter().cloned());
        report_duplicates(&mut all);
        for declaration in all {
            index.insert(declaration);
        }
        index
    }

    fn insert(&mut self, declaration: Declaration) {
        let Declaration { kind, name, raw, problems, .. } = declaration;
        let name = name.map(|name| name.value);
        match raw {
            Some(RawDeclaration::Entity(raw)) => {
                self.entities.push(Declared { name, raw: Some(raw), problems })
            }
            Some(RawDeclaration::Source(raw)) => {
                self.sources.push(Declared { name, raw: Some(*raw), problems })
            }
            Some(RawDeclaration::View(raw)) => self.views.push(Declared { name, raw: Some(*raw), problems }),
            Some(RawDeclaration::Service(raw)) => {
                self.services.push(Declared { name, raw: Some(raw), problems })
            }
            None => match kind {
                "entity" => self.entities.push(Declared { name, raw: None, problems }),
                "source" => self.sources.push(Declared { name, raw: None, problems }),
                "view" => self.views.push(Declared { name, raw: None, problems }),
                _ => self.services.push(Declared { name, raw: None, problems }),
            },
        }
    }
}

fn report_duplicates(all: &mut [Declaration]) {
    let mut first_of: HashMap<(&'static str, String), (usize, Spot)> = HashMap::new();
    for index in 0..all.len() {
        let Some(Spanned { value: name, spot }) = all[index].name.clone() else { continue };
        let kind = all[index].kind;
        let key = (kind, name.clone());
        let Some((first, first_spot)) = first_of.get(&key) else {
            first_of.insert(key, (index, spot));
            continue;
        };
        let problem =
            Diagnostic::at(Code::DuplicateName, &spot, format!("{kind} `{name}` is declared twice"))
                .related(first_spot, "first declared here")
                .help("give one of them another name, or remove it");
        all[*first].problems.push(problem.clone());
        all[index].problems.push(problem);
    }
}

/// Declarations that were checked: a plan, or why there is none.
#[derive(Default)]
pub(super) struct Known {
    pub(super) entities: BTreeMap<String, Result<EntityPlan, Vec<Diagnostic>>>,
    pub(super) sources: BTreeMap<String, Result<SourcePlan, Vec<Diagnostic>>>,
    pub(super) views: BTreeMap<String, Result<ViewPlan, Vec<Diagnostic>>>,
    /// Why something that is not known may still be declared.
    pub(super) incomplete: Vec<Diagnostic>,
}

impl Known {
    /// The entity of that name, or why not.
    pub(super) fn entity(&self, name: &Spanned<Name>, outcome: &mut Outcome) -> Option<&EntityPlan> {
        self.find(&self.entities, "entity", &name.value.0, &name.spot, outcome)
    }

    /// The source of that name, or why not.
    pub(super) fn source(&self, name: &Spanned<Name>, outcome: &mut Outcome) -> Option<&SourcePlan> {
        self.find(&self.sources, "source", &name.value.0, &name.spot, outcome)
    }

    /// The view of that name, or why not.
    pub(super) fn view(&self, name: &str, spot: &Spot, outcome: &mut Outcome) -> Option<&ViewPlan> {
        self.find(&self.views, "view", name, spot, outcome)
    }

    fn find<'a, T>(
        &'a self,
        known: &'a BTreeMap<String, Result<T, Vec<Diagnostic>>>,
        kind: &str,
        name: &str,
        spot: &Spot,
        outcome: &mut Outcome,
    ) -> Option<&'a T> {
        match known.get(name) {
            Some(Ok(plan)) => return Some(plan),
            Some(Err(problems)) => outcome.inherited.extend(problems.iter().cloned()),
            // Looking for similar names is the dear part.
            None if outcome.is_full() => {}
            None if !self.incomplete.is_empty() => outcome.inherited.extend(self.incomplete.iter().cloned()),
            None => {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let mut problem =
                    Diagnostic::at(Code::UnknownReference, spot, format!("there is no {kind} `{name}`"))
                        .suggest(name, names.iter().copied());
                if problem.suggestion.is_none() {
                    problem = problem.help(if names.is_empty() {
                        format!("declare it with a document that begins with `{kind}:`")
                    } else {
                        format!("declared: {}", names.join(", "))
                    });
                }
                outcome.report(problem);
            }
        }
        None
    }
}
