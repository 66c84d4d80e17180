//! From raw declarations to a plan: names, references, types, paths and rules.
//!
//! Every problem of every file is found in one pass, and each is laid at the door of the declarations that cannot work
//! because of it: the plan holds all the others. So one broken file stops nothing else.

mod entity;
mod index;
mod kafka;
mod kinesis;
mod missing;
mod output;
mod paths;
mod report;
mod service;
mod source;
mod start;
mod store;
mod view;

use model::codec::metadata;

use crate::diagnostic::{Code, Diagnostic};
use crate::files::Files;
use crate::plan::HostPlan;
use crate::raw::{MAX_PROBLEMS, Name, Spanned};

pub use missing::missing_files;
pub use report::Report;
pub(crate) use report::in_order;

/// Checks all files together. Looks at nothing but its arguments.
pub fn check(files: &Files, host: &HostPlan) -> Report {
    let index = index::Index::read(files);
    let mut report = report::Builder::new(files, &index);
    let context = Context { host, files };
    for declaration in &index.entities {
        report.entity(declaration, entity::entity);
    }
    for declaration in &index.sources {
        report.source(declaration, |raw, outcome| source::source(&context, raw, outcome));
    }
    report.cross_sources(kafka::shared_groups);
    for declaration in &index.views {
        report.view(declaration, |raw, known, outcome| view::view(&context, known, raw, outcome));
    }
    for declaration in &index.services {
        report.service(declaration, |raw, known, outcome| service::service(known, raw, outcome));
    }
    report.finish()
}

/// What checks need besides the declaration itself.
struct Context<'a> {
    host: &'a HostPlan,
    files: &'a Files,
}

/// What became of a declaration.
#[derive(Default)]
struct Outcome {
    /// Its own problems.
    problems: Vec<Diagnostic>,
    /// Problems of others that it cannot work because of; they are reported there.
    inherited: Vec<Diagnostic>,
    /// Whether parts of it could not be read: what seems to be absent may be among them.
    damaged: bool,
}

impl Outcome {
    fn report(&mut self, problem: Diagnostic) {
        if !self.is_full() {
            self.problems.push(problem);
        }
    }

    /// Whether further problems would not be read by anybody.
    fn is_full(&self) -> bool {
        self.problems.len() > MAX_PROBLEMS
    }

    /// Notes that something is not there, unless it may be among what could not be read.
    fn report_absent(&mut self, problem: Diagnostic) {
        if !self.damaged {
            self.report(problem);
        }
    }

    /// The value, or its problem noted.
    fn note<T>(&mut self, result: Result<T, Box<Diagnostic>>) -> Option<T> {
        result.map_err(|problem| self.report(*problem)).ok()
    }

    /// Whether the declaration cannot work.
    fn is_broken(&self) -> bool {
        !self.inherited.is_empty() || self.problems.iter().any(Diagnostic::is_error)
    }
}

/// Names of columns that the host fills.
const RESERVED: [&str; 6] = [
    metadata::INGEST_TIME,
    metadata::KEY,
    metadata::PARTITION,
    metadata::POSITION,
    metadata::OFFSET,
    metadata::HEADERS,
];

/// Reports a column that is named like one that the host fills.
fn not_reserved(name: &Spanned<Name>, outcome: &mut Outcome) {
    if RESERVED.contains(&name.value.0.as_str()) {
        let message = format!("`{}` is the name of a column that the host fills", name.value.0);
        outcome.report(
            Diagnostic::at(Code::ReservedName, &name.spot, message)
                .help("choose another name; a component gets such a column by declaring it as input"),
        );
    }
}
