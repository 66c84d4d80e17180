//! `host doctor`: the machine, the set-up and everything that the host would connect to, before or while it runs.
//!
//! Each part says what it looked at, good or bad; nothing is mended here.

mod finding;
mod machine;

use crate::cli::{DoctorArgs, Format};
use crate::cmd::connect;
use crate::project::Project;
use crate::report::Stopped;
use crate::results;

pub(crate) use finding::{Finding, Verdict};

/// Runs the command.
pub(crate) fn doctor(args: &DoctorArgs) -> Result<(), Stopped> {
    let mut project = Project::for_doctor(args.views.as_deref(), args.config.config.as_deref())?;
    if let Some(data_dir) = &args.data_dir {
        project.settings.data_dir.clone_from(data_dir);
    }
    let mut findings = machine::look(&project);
    findings.extend(files(&project));
    findings.extend(connect::deeply(&project)?);
    match args.format {
        Format::Json => results::print(&format!("{:#}\n", finding::to_json(&findings)))?,
        Format::Table => results::print(&finding::table(&findings))?,
    }
    if findings.iter().any(|finding| finding.verdict == Verdict::Error) {
        Err(Stopped::Findings)
    } else {
        Ok(())
    }
}

/// What `host check` has to say of the files, in one line: it says the rest.
fn files(project: &Project) -> Vec<Finding> {
    let report = &project.report;
    if report.plan.views.is_empty() && report.diagnostics.is_empty() {
        return Vec::new();
    }
    let errors = report.diagnostics.iter().filter(|problem| problem.is_error()).count();
    let warnings = report.diagnostics.len() - errors;
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let found = Finding::good(
        "files",
        "views",
        [
            count(report.plan.views.len(), "view"),
            count(report.plan.sources.len(), "source"),
            count(errors, "error"),
            count(warnings, "warning"),
        ]
        .join(", "),
    );
    let help = "`host check` shows each of them";
    vec![match (errors, warnings) {
        (0, 0) => found,
        (0, _) => found.warn(help),
        _ => found.fail(help),
    }]
}
