//! `host build`: builds the components of views that say how.
//!
//! Whatever a builder leaves behind is checked to be a component of our contract (core modules are wrapped), then put in
//! place by one rename, so that a running host never sees half of it.

mod python;
mod rust;
mod sdk;
mod toolchain;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use spec::plan::{BuildPlan, ViewPlan};

use crate::cli::{BuildArgs, WasmRust};
use crate::project::Project;
use crate::report::Stopped;

pub(crate) use sdk::vendor;
pub(crate) use toolchain::present as wasm_rust;

/// Runs the command.
pub(crate) fn build(args: &BuildArgs) -> Result<(), Stopped> {
    let project = Project::read_without_settings(&args.views)?;
    project.print_errors_of_syntax()?;
    let plan = &project.report.plan;
    let unknown: Vec<&String> = args.only.iter().filter(|name| !plan.views.contains_key(*name)).collect();
    if let Some(name) = unknown.first() {
        let known: Vec<&str> = plan.views.keys().map(String::as_str).collect();
        return Err(Stopped::Usage(format!("there is no view `{name}`; known views: {}", known.join(", "))));
    }
    let mut builders = Builders { wasm_rust: args.wasm_rust, found: None };
    // Two views may share a component; it is built once.
    let mut built: BTreeMap<PathBuf, &str> = BTreeMap::new();
    let mut failures = 0;
    let mut builds = 0;
    for view in plan.views.values() {
        if !args.only.is_empty() && !args.only.contains(&view.shape.name) {
            continue;
        }
        let Some(build) = &view.build else { continue };
        if let Some(first) = built.insert(view.component.clone(), &view.shape.name) {
            anstream::eprintln!("view `{}` shares the component of view `{first}`", view.shape.name);
            continue;
        }
        builds += 1;
        let started = Instant::now();
        anstream::eprintln!("building the component of view `{}`", view.shape.name);
        match builders.build(view, build) {
            Ok(bytes) => anstream::eprintln!(
                "built {} ({} KiB, {:.1} s)",
                view.component.display(),
                bytes.div_ceil(1024),
                started.elapsed().as_secs_f64()
            ),
            Err(error) => {
                failures += 1;
                anstream::eprintln!("\x1b[1;31merror\x1b[0m: view `{}`: {error:#}", view.shape.name);
            }
        }
    }
    if builds == 0 {
        anstream::eprintln!(
            "no view under {} says how its component is built (`transform.build`)",
            args.views.display()
        );
    }
    if failures > 0 { Err(Stopped::Findings) } else { Ok(()) }
}

/// Finds toolchains once for all builds of a call.
struct Builders {
    wasm_rust: WasmRust,
    found: Option<toolchain::Rust>,
}

impl Builders {
    /// Builds and puts a component in place; gives its size.
    fn build(&mut self, view: &ViewPlan, build: &BuildPlan) -> anyhow::Result<usize> {
        let module = match build {
            BuildPlan::Rust { directory, .. } => {
                if self.found.is_none() {
                    self.found = Some(toolchain::find(self.wasm_rust)?);
                }
                let rust = self.found.as_ref().expect("a toolchain was found just above");
                rust::build(rust, directory)?
            }
            BuildPlan::Python { module, .. } => python::build(module)?,
            BuildPlan::Command { command, directory, output, .. } => run_command(command, directory, output)?,
        };
        let component = wasm::componentize(&module).context("the build's output is not usable")?;
        put_in_place(&view.component, &component)?;
        Ok(component.len())
    }
}

fn run_command(command: &[String], directory: &Path, output: &Path) -> anyhow::Result<Vec<u8>> {
    let Some((program, arguments)) = command.split_first() else {
        bail!("`transform.build.command` is empty: give the program and its arguments");
    };
    let status = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .status()
        .with_context(|| format!("cannot start `{program}` in {}", directory.display()))?;
    if !status.success() {
        bail!("`{}` failed: {status}", command.join(" "));
    }
    fs::read(output).with_context(|| {
        format!("the command succeeded but left no {}; is `transform.build.output` right?", output.display())
    })
}

/// Writes beside the target and renames: readers see the old file or the new one.
fn put_in_place(target: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = target.parent().context("a component lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut file = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    file.write_all(bytes).with_context(|| format!("cannot write {}", target.display()))?;
    set_readable(file.as_file())?;
    file.persist(target).with_context(|| format!("cannot replace {}", target.display()))?;
    Ok(())
}

/// Temporary files are private; a component is for whoever runs the host.
fn set_readable(file: &fs::File) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644)).context("cannot set permissions of the component")
}

/// Where builders keep what outlives a build: compilers' outputs, virtual environments.
fn cache_directory() -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(base.join("millrace"))
}
