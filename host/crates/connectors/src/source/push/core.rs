//! What the log thread, pushes and readers of one push log share.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::files::Files;
use super::queue::Queue;
use super::tail::Tail;

/// The parts of a log that many hold.
#[derive(Debug)]
pub(super) struct Core {
    /// Name of the source.
    pub(super) name: String,
    pub(super) directory: PathBuf,
    pub(super) max_log_bytes: u64,
    pub(super) queue: Queue,
    pub(super) files: Files,
    pub(super) tail: Tail,
    /// Why the last write failed; `None` once one succeeded.
    pub(super) trouble: Mutex<Option<String>>,
}

impl Core {
    /// Whether views have to catch up before more is taken.
    pub(super) fn is_full(&self) -> bool {
        self.files.unreleased() >= self.max_log_bytes
    }

    /// Why the last write failed, if it did.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that a write failed; answers what clients are told.
    pub(super) fn trouble_began(&self, error: &io::Error) -> String {
        let directory = self.directory.display();
        let trouble = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!(
                "write the log of source `{}`: the disk is full: free some space where `{directory}` is ({error})",
                self.name
            ),
            _ => format!("write the log of source `{}` in `{directory}`: {error}", self.name),
        };
        let before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).replace(trouble.clone());
        if before.is_none() {
            tracing::error!(source = self.name, "pushes fail: {trouble}");
        }
        trouble
    }

    /// Notes that a write succeeded.
    pub(super) fn trouble_ended(&self) {
        let before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        if before.is_some() {
            tracing::info!(source = self.name, "pushes are taken again");
        }
    }
}
