//! What a command is about: the files of a views folder, the host's settings, and what they come to.

use std::path::{Path, PathBuf};

use spec::check::Report;
use spec::diagnostic::{Diagnostic, Severity};
use spec::plan::HostPlan;

use crate::report::Stopped;

/// The settings file that is used if there is one and no other is named.
const DEFAULT_SETTINGS: &str = "host.yaml";

/// Files, settings, and the plan that they come to.
pub(crate) struct Project {
    /// The host's settings.
    pub(crate) settings: HostPlan,
    /// The file that they were read from, if one was named.
    settings_file: Option<PathBuf>,
    /// The plan and every problem.
    pub(crate) report: Report,
}

impl Project {
    /// Reads everything. Fails only if the settings cannot be used or the folder is not there.
    pub(crate) fn read(views: &Path, settings: Option<&Path>) -> Result<Self, Stopped> {
        let project = Self::with_settings(views, read_settings(settings)?)?;
        Ok(Self { settings_file: settings.map(Path::to_owned), ..project })
    }

    /// Reads settings, and view files if a folder is named.
    pub(crate) fn for_doctor(views: Option<&Path>, settings: Option<&Path>) -> Result<Self, Stopped> {
        match views {
            Some(views) => Self::read(views, settings),
            None => Ok(Self {
                settings: read_settings(settings)?,
                settings_file: settings.map(Path::to_owned),
                report: Report::default(),
            }),
        }
    }

    /// Reads view files under default settings: building does not depend on them.
    pub(crate) fn read_without_settings(views: &Path) -> Result<Self, Stopped> {
        Self::with_settings(views, HostPlan::default())
    }

    /// Reads view files under settings that are known.
    pub(crate) fn with_settings(views: &Path, settings: HostPlan) -> Result<Self, Stopped> {
        if !views.exists() {
            return Err(Stopped::Configuration(format!(
                "there is no folder {}; name the folder of your view files, or make a first view with `host new view NAME`",
                views.display()
            )));
        }
        let files = spec::files::read_views(views);
        let report = spec::check::check(&files, &settings);
        Ok(Self { settings, settings_file: None, report })
    }

    /// The file where settings are, or would be.
    pub(crate) fn settings_file(&self) -> &Path {
        self.settings_file.as_deref().unwrap_or(Path::new(DEFAULT_SETTINGS))
    }

    /// Prints every problem on stderr.
    pub(crate) fn print(&self, problems: &[Diagnostic]) {
        if !problems.is_empty() {
            anstream::eprint!("{}", spec::diagnostic::render_text(problems, true));
        }
    }

    /// Prints the problems and stops if one of them is an error.
    pub(crate) fn print_errors_of_syntax(&self) -> Result<(), Stopped> {
        self.print(&self.report.diagnostics);
        if has_errors(&self.report.diagnostics) { Err(Stopped::Findings) } else { Ok(()) }
    }
}

/// Whether one of these is more than a warning.
pub(crate) fn has_errors(problems: &[Diagnostic]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}

/// Reads the settings: the named file, else `./host.yaml` if it is there, else defaults.
fn read_settings(path: Option<&Path>) -> Result<HostPlan, Stopped> {
    let default = Path::new(DEFAULT_SETTINGS);
    let path = path.or_else(|| default.is_file().then_some(default));
    spec::host::load(path).map_err(|problems| {
        anstream::eprint!("{}", spec::diagnostic::render_text(&problems, true));
        Stopped::Configuration("the host's settings cannot be used".to_owned())
    })
}
