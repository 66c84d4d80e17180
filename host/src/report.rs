//! Errors as people and scripts see them: text on stderr and one exit code for each kind.

use std::fmt;
use std::process::ExitCode;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The command did its work and found problems, which it has printed.
    Findings,
    /// The arguments do not make sense together.
    Usage(String),
    /// View files or host.yaml are wrong; the report was printed or is in the text.
    Configuration(String),
    /// Something that the command needs is not there: a port, a directory, a running host.
    Unavailable(String),
    /// Anything else.
    Failed(anyhow::Error),
}

impl Stopped {
    /// The exit code. `run` uses those of sysexits, the other commands 1.
    fn code(&self, running: bool) -> u8 {
        match self {
            Self::Findings => 1,
            Self::Usage(_) => 2,
            Self::Configuration(_) if running => 78,
            Self::Unavailable(_) if running => 69,
            Self::Failed(_) if running => 70,
            Self::Configuration(_) | Self::Unavailable(_) | Self::Failed(_) => 1,
        }
    }
}

impl From<anyhow::Error> for Stopped {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Findings => Ok(()),
            Self::Usage(message) | Self::Configuration(message) | Self::Unavailable(message) => {
                f.write_str(message)
            }
            // `{:#}` puts all causes on one line.
            Self::Failed(error) => write!(f, "{error:#}"),
        }
    }
}

/// Prints what stopped a command and gives its exit code. `running`: whether the command was `run`.
pub(crate) fn conclude(result: Result<(), Stopped>, running: bool) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(stopped) => {
            let text = stopped.to_string();
            if !text.is_empty() {
                anstream::eprintln!("\x1b[1;31merror\x1b[0m: {text}");
            }
            ExitCode::from(stopped.code(running))
        }
    }
}
