//! What went wrong, and what the caller should do about it.

use std::error::Error;
use std::fmt;

/// What the caller of a failed operation should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The dependency is away or slow: try again after a pause, keep the position.
    Retry,
    /// Only an operator can mend this: stop the affected view, keep the position.
    Stop,
}

/// A failure of a source, store or sink.
///
/// The message is a fragment that reads after "failed to", without a final period.
#[derive(Debug)]
pub struct Failure {
    /// What to do next.
    pub disposition: Disposition,
    /// What failed, with the name or path of the thing that failed.
    pub message: String,
    /// The underlying error, if there is one.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure that is expected to go away.
    pub fn retry(message: impl Into<String>) -> Self {
        Self { disposition: Disposition::Retry, message: message.into(), source: None }
    }

    /// A failure that stays until somebody mends it.
    pub fn stop(message: impl Into<String>) -> Self {
        Self { disposition: Disposition::Stop, message: message.into(), source: None }
    }

    /// Attaches the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        // The cause is part of the message: logs and status pages show one line.
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl Error for Failure {}
