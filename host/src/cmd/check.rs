//! `host check`: everything that can be known without running, and with `--connect` without changing anything.

use std::path::PathBuf;

use spec::diagnostic::{Code, Diagnostic, render_text, to_json};
use spec::plan::ViewPlan;

use crate::cli::{CheckArgs, Format};
use crate::cmd::connect;
use crate::components::{Library, Refusal};
use crate::project::{Project, has_errors};
use crate::report::Stopped;
use crate::results;
use crate::running::format_of;

/// Runs the command.
pub(crate) fn check(args: &CheckArgs) -> Result<(), Stopped> {
    let project = Project::read(&args.views, args.config.config.as_deref())?;
    let mut problems = project.report.diagnostics.clone();
    problems.extend(spec::check::missing_files(&project.report.plan));
    problems.extend(components(&project)?);
    if args.connect {
        problems.extend(connect::problems(&project)?);
    }
    let failing = has_errors(&problems) || (args.deny.is_some() && !problems.is_empty());
    match args.format {
        Format::Json => results::print(&format!("{:#}\n", to_json(&problems)))?,
        Format::Table => {
            anstream::eprint!("{}", render_text(&problems, true));
            let plan = &project.report.plan;
            let verdict = if failing { "problems found" } else { "good" };
            let count =
                |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
            results::print(&format!(
                "{verdict}: {}, {}, {}\n",
                count(plan.views.len() + project.report.broken.len(), "view"),
                count(plan.sources.len(), "source"),
                count(plan.services.len(), "service")
            ))?;
        }
    }
    if failing { Err(Stopped::Findings) } else { Ok(()) }
}

/// Compiles, asks and tries every component, as a start would.
fn components(project: &Project) -> Result<Vec<Diagnostic>, Stopped> {
    let library = Library::new(wasm::EngineOptions::default(), None)?;
    let mut problems = Vec::new();
    // Views may share a component: it is compiled once for as long as somebody has it.
    let mut compiled = Vec::new();
    for view in project.report.plan.views.values() {
        let Some(source) = project.report.plan.sources.get(&view.source) else { continue };
        let format = match format_of(source) {
            Ok(format) => format,
            Err(failure) => {
                problems.push(refused(view, failure.to_string()));
                continue;
            }
        };
        // `missing_files` has said what is missing; the rest can be tried.
        let is_missing = |path: &PathBuf| !path.is_file();
        if is_missing(&view.component) {
            continue;
        }
        let mut view = view.clone();
        view.samples = view.samples.filter(|samples| !is_missing(samples));
        match library.admit(&view, source, format.as_ref(), false) {
            Ok(admitted) => {
                problems.extend(admitted.warnings);
                compiled.push(admitted.component);
            }
            Err(Refusal::Unfit(found)) => problems.extend(found),
            Err(refusal) => problems.push(refused(&view, refusal.to_string())),
        }
    }
    Ok(problems)
}

fn refused(view: &ViewPlan, message: String) -> Diagnostic {
    Diagnostic::at(Code::ComponentRefused, &view.spots.component, message)
}
