//! Failures of the disk that tests provoke. In a build that ships there is nothing here and nothing happens.

use std::fs::File;
use std::io;

#[cfg(test)]
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What is to fail from now on.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    #[cfg(test)]
    switches: Arc<Switches>,
}

#[cfg(test)]
#[derive(Debug, Default)]
struct Switches {
    create: AtomicBool,
    write: AtomicBool,
    sync: AtomicBool,
}

#[cfg(test)]
impl Faults {
    /// Whether no segment can be made.
    pub(super) fn fail_create(&self, fail: bool) {
        self.switches.create.store(fail, Ordering::SeqCst);
    }

    /// Whether writes stop halfway because the disk is full.
    pub(super) fn fail_write(&self, fail: bool) {
        self.switches.write.store(fail, Ordering::SeqCst);
    }

    /// Whether syncs fail after the bytes were written.
    pub(super) fn fail_sync(&self, fail: bool) {
        self.switches.sync.store(fail, Ordering::SeqCst);
    }

    pub(super) fn before_create(&self) -> io::Result<()> {
        fail_if(self.switches.create.load(Ordering::SeqCst), io::ErrorKind::StorageFull)
    }

    pub(super) fn before_write(&self, file: &File, frame: &[u8], at: u64) -> io::Result<()> {
        let fail = self.switches.write.load(Ordering::SeqCst);
        if fail {
            std::os::unix::fs::FileExt::write_all_at(file, &frame[..frame.len() / 2], at)?;
        }
        fail_if(fail, io::ErrorKind::StorageFull)
    }

    pub(super) fn before_sync(&self) -> io::Result<()> {
        fail_if(self.switches.sync.load(Ordering::SeqCst), io::ErrorKind::Other)
    }
}

#[cfg(test)]
fn fail_if(fail: bool, kind: io::ErrorKind) -> io::Result<()> {
    if fail { Err(kind.into()) } else { Ok(()) }
}

#[cfg(not(test))]
impl Faults {
    #[inline]
    pub(super) fn before_create(&self) -> io::Result<()> {
        Ok(())
    }

    #[inline]
    pub(super) fn before_write(&self, _file: &File, _frame: &[u8], _at: u64) -> io::Result<()> {
        Ok(())
    }

    #[inline]
    pub(super) fn before_sync(&self) -> io::Result<()> {
        Ok(())
    }
}
