//! One problem: what is wrong, where, and what to do about it. Does not say how it is shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Code, SourceFile, Spot};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It works, but perhaps not as meant.
    Warning,
    /// It does not work.
    Error,
}

impl Severity {
    /// `warning` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// Which kind of problem.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: a lower-case fragment without a period.
    pub message: String,
    /// The file that has the problem, as it is shown to people.
    pub file: PathBuf,
    /// The text that has the problem, where it is about a piece of text.
    pub spot: Option<Spot>,
    /// A few words beneath the text.
    pub label: String,
    /// Other places that have to do with it, each with a few words.
    pub related: Vec<(Spot, String)>,
    /// What to do.
    pub help: Option<String>,
    /// A name that exists and looks like the one that does not.
    pub suggestion: Option<String>,
}

impl Diagnostic {
    /// A problem at a piece of text.
    pub fn at(code: Code, spot: &Spot, message: impl Into<String>) -> Self {
        Self { spot: Some(spot.clone()), ..Self::in_file(code, spot.shown_path(), message) }
    }

    /// A problem of a whole file or folder.
    pub fn in_file(code: Code, file: &Path, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            message: message.into(),
            file: file.to_owned(),
            spot: None,
            label: String::new(),
            related: Vec::new(),
            help: None,
            suggestion: None,
        }
    }

    /// Adds words beneath the text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Points at another place.
    #[must_use]
    pub fn related(mut self, spot: &Spot, label: impl Into<String>) -> Self {
        self.related.push((spot.clone(), label.into()));
        self
    }

    /// Points into another text of the same file, in which something was covered.
    pub(crate) fn point_into(&mut self, file: &Arc<SourceFile>) {
        let places = self.spot.iter_mut().chain(self.related.iter_mut().map(|(place, _)| place));
        for place in places {
            *place = Spot::new(file, place.range());
        }
    }

    /// Names the nearest of the known names, if one is near.
    #[must_use]
    pub fn suggest<'a>(mut self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        self.suggestion = crate::suggest::nearest(name, known).map(str::to_owned);
        self
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// One line: `views/clicks.yaml:3:5: error[MR0101]: unknown key `onlin`; did you mean `online`?`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(spot) = &self.spot {
            let (line, column) = spot.line_and_column();
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}[{}]: {}", self.severity.name(), self.code, self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean `{suggestion}`?")?;
        }
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}
