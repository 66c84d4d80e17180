//! One thing that was looked at: what, how it is, and what to do about it.

use serde_json::{Value, json};

use crate::results;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should be.
    Good,
    /// It works, but perhaps not for long, or not as meant.
    Warning,
    /// It does not work.
    Error,
}

impl Verdict {
    /// `good`, `warning`, `error`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Which kind of check: `data directory`, `connection`, …
    pub(crate) check: &'static str,
    /// What was looked at: a path, a name.
    pub(crate) subject: String,
    /// How it is.
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) message: String,
    /// What to do; empty if nothing is to be done.
    pub(crate) help: String,
}

impl Finding {
    /// Something that is as it should be.
    pub(crate) fn good(check: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        let (subject, message) = (subject.into(), message.into());
        Self { check, subject, verdict: Verdict::Good, message, help: String::new() }
    }

    /// The same, but it may not stay so.
    pub(crate) fn warn(self, help: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, help: help.into(), ..self }
    }

    /// The same, but it does not work.
    pub(crate) fn fail(self, help: impl Into<String>) -> Self {
        Self { verdict: Verdict::Error, help: help.into(), ..self }
    }
}

/// For programs.
pub(super) fn to_json(findings: &[Finding]) -> Value {
    findings
        .iter()
        .map(|finding| {
            json!({
                "check": finding.check, "subject": finding.subject, "verdict": finding.verdict.name(),
                "message": finding.message, "help": finding.help,
            })
        })
        .collect()
}

/// For people: what is wrong is told apart by its verdict, and followed by what to do.
pub(super) fn table(findings: &[Finding]) -> String {
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|finding| {
            let message = if finding.help.is_empty() {
                finding.message.clone()
            } else {
                format!("{}; {}", finding.message, finding.help)
            };
            vec![
                finding.verdict.name().to_owned(),
                finding.check.to_owned(),
                finding.subject.clone(),
                message,
            ]
        })
        .collect();
    results::table(&["VERDICT", "CHECK", "SUBJECT", "FOUND"], &rows)
}
