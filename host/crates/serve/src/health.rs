//! Whether the host as a whole can serve: set by the host, shown by `/readyz` and `/health`.
//!
//! States of single views are not here: a view that is paused or failed leaves the host ready.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// The life of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Views are being set up; reads and pushes are refused.
    Starting,
    /// Set up.
    Ready,
    /// Told to stop: pushes are refused, reads are answered until their connections close.
    Draining,
}

/// Something that hurts every view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A store or stream that views share does not answer.
    DependencyAway,
    /// Nothing more can be logged or stored.
    DiskFull,
}

impl Trouble {
    /// The stable code: `dependency_away`, `disk_full`.
    pub fn code(self) -> &'static str {
        match self {
            Self::DependencyAway => "dependency_away",
            Self::DiskFull => "disk_full",
        }
    }
}

/// The host's health. Starts as [`Phase::Starting`] without troubles.
pub struct Health {
    phase: AtomicU8,
    /// Kind and name of what is in trouble, and why.
    troubles: Mutex<BTreeMap<(Trouble, String), String>>,
}

impl Health {
    /// The health of a host that has just begun.
    pub fn new() -> Self {
        Self { phase: AtomicU8::new(0), troubles: Mutex::default() }
    }

    /// Notes that the host's life goes on.
    pub fn set_phase(&self, phase: Phase) {
        let number = match phase {
            Phase::Starting => 0,
            Phase::Ready => 1,
            Phase::Draining => 2,
        };
        self.phase.store(number, Ordering::Relaxed);
    }

    /// Where the host is in its life.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Notes a trouble with `subject`, such as a path or a connection's name; a second note replaces the first.
    pub fn raise(&self, trouble: Trouble, subject: &str, message: impl Into<String>) {
        self.lock().insert((trouble, subject.to_owned()), message.into());
    }

    /// Notes that this trouble is over.
    pub fn clear(&self, trouble: Trouble, subject: &str) {
        self.lock().remove(&(trouble, subject.to_owned()));
    }

    /// All troubles: kind, subject, message.
    pub fn troubles(&self) -> Vec<(Trouble, String, String)> {
        self.lock()
            .iter()
            .map(|((trouble, subject), message)| (*trouble, subject.clone(), message.clone()))
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(Trouble, String), String>> {
        // A map of texts is whole whatever its holder was doing when it panicked.
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("phase", &self.phase()).field("troubles", &self.troubles()).finish()
    }
}
