//! The data file and its side file, written together.

use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use model::error::Failure;

use super::positions::{self, Entry, Positions, Recorded, sync_directory};
use crate::locked_file::LockedFile;

/// Both files, opened and locked. Owned by the writer thread.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    data: LockedFile,
    /// Length of the data file as recorded: everything before counts, everything behind does not.
    length: u64,
    /// Whether something may be behind `length`.
    torn: bool,
    side_path: PathBuf,
    side: Positions,
    #[cfg(test)]
    pub(super) faults: std::sync::Arc<super::tests::Faults>,
}

impl Files {
    /// Opens or makes both files, and cuts the data file to what is recorded.
    pub(super) fn open(path: &Path) -> Result<(Self, Recorded), Failure> {
        let mut side_path = path.as_os_str().to_owned();
        side_path.push(".positions");
        let side_path = PathBuf::from(side_path);
        let failed = |error: io::Error| {
            Failure::stop(format!("open output file `{}`", path.display())).caused_by(error)
        };
        let data = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Nothing is made if the file is missing that should be there.
                check_length(path, &side_path, 0, positions::read(&side_path)?.as_ref())?;
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(failed)?;
                }
                OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(path)
                    .map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        let data = match LockedFile::try_lock(data) {
            Ok(data) => data,
            Err((_, TryLockError::WouldBlock)) => {
                return Err(Failure::stop(format!(
                    "open output file `{}`: another host writes it; give each host a file of its own",
                    path.display()
                )));
            }
            Err((_, TryLockError::Error(error))) => return Err(failed(error)),
        };
        let metadata = data.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(Failure::stop(format!(
                "open output file `{}`: it is not a regular file, so it cannot be cut back after a crash",
                path.display()
            )));
        }
        let recorded = positions::read(&side_path)?;
        check_length(path, &side_path, metadata.len(), recorded.as_ref())?;
        let recorded = recorded.unwrap_or_default();
        let side = Positions::open(&side_path, &recorded)?;
        if metadata.len() > recorded.length {
            tracing::info!(path = %path.display(), bytes = metadata.len() - recorded.length, "cut unrecorded end of output file");
            data.set_len(recorded.length).map_err(failed)?;
        }
        if recorded.whole == 0 {
            sync_directory(path).map_err(failed)?;
        }
        let files = Self {
            path: path.to_owned(),
            data,
            length: recorded.length,
            torn: false,
            side_path,
            side,
            #[cfg(test)]
            faults: Default::default(),
        };
        Ok((files, recorded))
    }

    /// Appends lines, syncs them, records them. After a failure both files are as before, or are made so by the next call.
    pub(super) fn write(&mut self, lines: &[u8], entries: &[Entry]) -> Result<(), Failure> {
        self.check_unchanged()?;
        let failed = |error: io::Error| {
            Failure::retry(format!("write output file `{}`", self.path.display())).caused_by(error)
        };
        if self.torn {
            self.data.set_len(self.length).map_err(failed)?;
            self.torn = false;
        }
        let length = self.length + lines.len() as u64;
        if let Err(error) = self.append(lines).and_then(|()| self.side.record(length, entries)) {
            self.torn = self.data.set_len(self.length).is_err();
            return Err(
                Failure::retry(format!("write output file `{}`", self.path.display())).caused_by(error)
            );
        }
        self.length = length;
        if let Err(error) = self.side.compact_if_large(length) {
            // The longer file says the same.
            tracing::warn!(path = %self.side_path.display(), %error, "failed to compact positions of output file");
        }
        Ok(())
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        #[cfg(test)]
        self.faults.write(&self.data, self.length, lines)?;
        self.data.write_all_at(lines, self.length)?;
        self.data.sync_data()
    }

    /// Both files must still be the ones behind their paths, and the data file as long as it was left.
    fn check_unchanged(&self) -> Result<(), Failure> {
        for (path, file) in [(&self.path, &*self.data), (&self.side_path, self.side.file())] {
            let same = match (file.metadata(), fs::metadata(path)) {
                (Ok(ours), Ok(theirs)) => ours.dev() == theirs.dev() && ours.ino() == theirs.ino(),
                _ => false,
            };
            if !same {
                return Err(Failure::stop(format!(
                    "write output file `{}`: `{}` was moved, removed or replaced; put it back, or move both files away and restart the host",
                    self.path.display(),
                    path.display()
                )));
            }
        }
        match self.data.metadata() {
            Ok(metadata) if metadata.len() != self.length && !self.torn => Err(Failure::stop(format!(
                "write output file `{}`: it has {} bytes where this host left {}; something else writes it: make it as long again",
                self.path.display(),
                metadata.len(),
                self.length
            ))),
            _ => Ok(()),
        }
    }
}

/// Whether a data file of this length can be the one that a side file speaks of.
fn check_length(
    path: &Path,
    side_path: &Path,
    length: u64,
    recorded: Option<&Recorded>,
) -> Result<(), Failure> {
    let (path, side_path) = (path.display(), side_path.display());
    match recorded {
        Some(recorded) if recorded.length > length => Err(Failure::stop(format!(
            "open output file `{path}`: it has {length} bytes, but `{side_path}` records {}; restore it, or move both away to begin new ones",
            recorded.length
        ))),
        Some(recorded) if recorded.whole > 0 => Ok(()),
        _ if length == 0 => Ok(()),
        _ => Err(Failure::stop(format!(
            "open output file `{path}`: it has {length} bytes, but no positions in `{side_path}`, so its records cannot be continued; move it away to begin a new one"
        ))),
    }
}
