//! What was found when a connection was tried before anything runs: for `host check --connect` and `host doctor`.

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be; good to know.
    Note,
    /// It will run, but perhaps not as expected.
    Warning,
    /// It will not run.
    Problem,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, such as ``topic `ads` ``.
    pub what: String,
    /// What is the case; reads after `what` and a colon.
    pub message: String,
    /// What to do about it; empty if nothing.
    pub help: String,
}

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Leaves no trace.
    Check,
    /// Also tries what can only be tried.
    Doctor,
}
