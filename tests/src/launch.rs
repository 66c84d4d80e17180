//! How servers of tests come up: in a folder of their own, and anew if somebody else took a port of theirs meanwhile.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// How often a server is started anew when somebody else took one of its ports.
const ATTEMPTS: usize = 5;
/// What servers say then: those in C and on Java's machine, and those on Node.
const TAKEN: [&str; 2] = ["Address already in use", "EADDRINUSE"];

/// The folder of one server or cluster. Gone when dropped; the supervisors of the processes in it remove what is theirs
/// also when this process is killed.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty one; `kind` says in its name what is in it.
    pub(crate) fn new(kind: &str) -> Self {
        let prefix = format!("millrace-{kind}-");
        let folder = TempDir::with_prefix(prefix).expect("there is a temporary folder").keep();
        Self(fs::canonicalize(folder).expect("it was just made"))
    }

    /// The folder of one process in it, made if it is not there.
    pub(crate) fn of(&self, process: &str) -> PathBuf {
        let folder = self.0.join(process);
        fs::create_dir_all(&folder).expect("the folder is ours");
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// What the process in a folder has said.
pub(crate) fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// Starts something, on other ports if it failed because one was taken; what fails gives what it said.
#[track_caller]
pub(crate) fn launch<T>(what: &str, mut start: impl FnMut() -> Result<T, String>) -> T {
    let mut attempt = 1;
    loop {
        match start() {
            Ok(started) => return started,
            Err(log) => assert!(
                attempt < ATTEMPTS && TAKEN.iter().any(|words| log.contains(words)),
                "no {what} could be started; it said:\n{log}"
            ),
        }
        attempt += 1;
    }
}
