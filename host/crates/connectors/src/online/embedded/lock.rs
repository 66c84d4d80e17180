//! The data directory: one host at a time, one format version.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::Path;

use model::error::Failure;

use crate::locked_file::LockedFile;

/// The version of everything below the directory. Raised when an older host could not read what a newer one writes.
const FORMAT: &str = "1";

/// Where the storage engine keeps its files, below the directory.
pub(super) const ENGINE_DIRECTORY: &str = "rows";

/// Holds the data directory until it is dropped, or the process ends in whatever way.
pub(super) struct DirectoryLock {
    _file: LockedFile,
}

impl DirectoryLock {
    /// Makes the directory if it is absent, locks it and checks its format.
    pub(super) fn take(directory: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory).map_err(|error| {
            Failure::stop(format!("make the data directory `{}`", directory.display())).caused_by(error)
        })?;
        let lock = Self { _file: lock(directory)? };
        check_format(directory)?;
        Ok(lock)
    }
}

fn lock(directory: &Path) -> Result<LockedFile, Failure> {
    let path = directory.join("lock");
    let failed = |error: std::io::Error| {
        Failure::stop(format!("lock the data directory by `{}`", path.display())).caused_by(error)
    };
    // Not truncated: until the lock is taken, the number in it is another host's.
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    let file = match LockedFile::try_lock(file) {
        Ok(file) => file,
        Err((mut file, TryLockError::WouldBlock)) => {
            let mut holder = String::new();
            // Only a number helps; a file that cannot be read leaves the message without one.
            let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            let holder =
                if known { format!("process {}", holder.trim()) } else { "another process".to_owned() };
            return Err(Failure::stop(format!(
                "open the data directory `{}`: {holder} has it open; stop that host, or give this one a directory of its own",
                directory.display()
            )));
        }
        Err((_, TryLockError::Error(error))) => return Err(failed(error)),
    };
    // The number only helps people; a full disk is no reason not to start.
    let noted = file
        .set_len(0)
        .and_then(|()| (&*file).rewind())
        .and_then(|()| writeln!(&*file, "{}", std::process::id()));
    if let Err(error) = noted {
        tracing::warn!(path = %path.display(), %error, "could not note which process has the data directory");
    }
    Ok(file)
}

fn check_format(directory: &Path) -> Result<(), Failure> {
    let path = directory.join("format");
    match std::fs::read_to_string(&path) {
        Ok(found) if found.trim() == FORMAT => Ok(()),
        Ok(found) => Err(Failure::stop(format!(
            "open the data directory `{}`: it has format {}, this host reads {FORMAT}; use the host that wrote it, or another directory",
            directory.display(),
            found.trim()
        ))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if directory.join(ENGINE_DIRECTORY).exists() {
                return Err(Failure::stop(format!(
                    "open the data directory `{}`: it holds rows but its file `format` is missing; restore it from a copy, or use another directory",
                    directory.display()
                )));
            }
            write_format(directory, &path)
                .map_err(|error| Failure::stop(format!("write `{}`", path.display())).caused_by(error))
        }
        Err(error) => Err(Failure::stop(format!("read `{}`", path.display())).caused_by(error)),
    }
}

/// Whole or not at all: a crash in between must not leave a directory that no host opens.
fn write_format(directory: &Path, path: &Path) -> std::io::Result<()> {
    let draft = directory.join("format.new");
    let mut file = File::create(&draft)?;
    writeln!(file, "{FORMAT}")?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(directory: &Path) -> String {
        match DirectoryLock::take(directory) {
            Ok(_) => panic!("the directory was opened"),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn a_second_host_is_told_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(directory.path()).unwrap();
        let message = refused(directory.path());
        assert!(message.contains(&format!("process {} has it open", std::process::id())), "{message}");
        drop(first);
        DirectoryLock::take(directory.path()).unwrap();
    }

    #[test]
    fn another_format_is_refused_in_words() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("format"), "2\n").unwrap();
        let message = refused(directory.path());
        assert!(message.contains("it has format 2, this host reads 1"), "{message}");
    }

    #[test]
    fn rows_without_a_format_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(ENGINE_DIRECTORY)).unwrap();
        let message = refused(directory.path());
        assert!(message.contains("`format` is missing"), "{message}");
    }
}
