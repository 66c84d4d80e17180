//! A file that one holder at a time has.

use std::fs::{File, TryLockError};
use std::ops::Deref;

/// A file with an exclusive lock, held until it is dropped, or the process ends in whatever way.
///
/// Dropping unlocks, instead of leaving that to the closing of the file: the lock belongs to every copy of the
/// descriptor, and a process that is being started has such copies from `fork` until `exec`. Closing alone would
/// leave the file locked for that moment.
#[derive(Debug)]
pub(crate) struct LockedFile(File);

impl LockedFile {
    /// Locks the file, or says at once that another holder has it.
    pub(crate) fn try_lock(file: File) -> Result<Self, (File, TryLockError)> {
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(error) => Err((file, error)),
        }
    }
}

impl Deref for LockedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Closing unlocks too, only perhaps a moment later.
        if let Err(error) = self.0.unlock() {
            tracing::debug!(%error, "could not unlock a file before closing it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_the_descriptor_do_not_keep_the_lock() {
        let place = tempfile::NamedTempFile::new().unwrap();
        let open = || File::options().read(true).write(true).open(place.path()).unwrap();
        let first = LockedFile::try_lock(open()).unwrap();
        // What a child has between `fork` and `exec`.
        let _copy = first.try_clone().unwrap();
        let (_, refused) = LockedFile::try_lock(open()).unwrap_err();
        assert!(matches!(refused, TryLockError::WouldBlock), "{refused}");
        drop(first);
        LockedFile::try_lock(open()).unwrap();
    }
}
