//! Files that a plan names and that are not there. Looks at the disk, which the rest of a check does not: a running host
//! waits for such files, `host check` reports them.

use std::path::Path;

use crate::diagnostic::{Code, Diagnostic, Spot};
use crate::plan::{BuildPlan, Plan, SourceKind, ViewPlan};

/// Components, sample events, folders to build in, and source files that are not there.
pub fn missing_files(plan: &Plan) -> Vec<Diagnostic> {
    let mut problems: Vec<Diagnostic> = plan.views.values().flat_map(of_view).collect();
    for source in plan.sources.values() {
        if let SourceKind::File { path, follow: false } = &source.kind
            && !path.is_file()
        {
            let message = format!("source `{}` has no file {}", source.name, path.display());
            problems.push(
                Diagnostic::at(Code::MissingFile, &source.spot, message)
                    .help("put the file there, or set `follow: true` to wait for it"),
            );
        }
    }
    problems
}

fn of_view(view: &ViewPlan) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let mut missing = |what: &str, path: &Path, spot: &Spot, help: &str| {
        let message = format!("view `{}` has no {what} {}", view.name(), path.display());
        problems.push(Diagnostic::at(Code::MissingFile, spot, message).help(help));
    };
    if !view.component.is_file() {
        let help = match &view.build {
            Some(_) => "run `host build` to make it",
            None => "put the component there, or say in `transform.build` how it is made",
        };
        missing("component", &view.component, &view.spots.component, help);
    }
    if let (Some(samples), Some(spot)) = (&view.samples, &view.spots.samples)
        && !samples.is_file()
    {
        missing(
            "sample events",
            samples,
            spot,
            "write a few events there, one per line, or remove `samples`",
        );
    }
    let from = match &view.build {
        Some(BuildPlan::Rust { directory, .. }) => Some(("Cargo package", directory.join("Cargo.toml"))),
        Some(BuildPlan::Python { module, .. }) => Some(("Python module", module.clone())),
        Some(BuildPlan::Command { .. }) | None => None,
    };
    if let Some((what, path)) = from.filter(|(_, path)| !path.is_file()) {
        missing(what, &path, &view.spots.component, "correct the path in `transform.build`");
    }
    problems
}
