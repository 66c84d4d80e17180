//! Notices that something below the views folder may have changed.
//!
//! Events of the file system are hints only: whoever is woken looks at the files themselves. Where there are none
//! (network mounts, a folder that was replaced), the caller's own polling finds changes a little later.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// Why the loop was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Something may have changed, or it is time to look anyway.
    Look,
    /// The host is stopping.
    Stop,
}

/// Wakes the reload loop.
pub(crate) struct Watch {
    wakes: Receiver<Wake>,
    sender: SyncSender<Wake>,
    folder: PathBuf,
    watcher: Option<RecommendedWatcher>,
    /// Inode of the folder that is watched: a folder that was replaced is another one.
    inode: Option<u64>,
}

/// Wakes the loop from elsewhere: a signal, a timer, the end.
#[derive(Debug, Clone)]
pub(crate) struct Waker(SyncSender<Wake>);

impl Waker {
    /// Asks for a look at the files. Several requests before the look are one.
    pub(crate) fn look(&self) {
        // A full channel means that the loop will look anyway.
        let _full = self.0.try_send(Wake::Look);
    }

    /// Ends the loop.
    pub(crate) fn stop(&self) {
        // The loop empties the channel, so this ends; it fails only if the loop is gone already.
        let _gone = self.0.send(Wake::Stop);
    }
}

impl Watch {
    /// Watches a folder. With `events` false only the waker and the polling of the caller wake the loop.
    pub(crate) fn new(folder: &Path, events: bool) -> Self {
        let (sender, wakes) = sync_channel(4);
        let mut watch = Self { wakes, sender, folder: folder.to_owned(), watcher: None, inode: None };
        if events {
            let waker = watch.waker();
            let handler = move |event: notify::Result<notify::Event>| {
                if !matches!(event, Ok(notify::Event { kind: notify::EventKind::Access(access), .. })
                    if access != notify::event::AccessKind::Close(notify::event::AccessMode::Write))
                {
                    waker.look();
                }
            };
            match notify::recommended_watcher(handler) {
                Ok(watcher) => watch.watcher = Some(watcher),
                Err(error) => {
                    tracing::warn!(%error, "file system events are not available, changes are found by polling");
                }
            }
            watch.rearm();
        }
        watch
    }

    /// Something to wake this loop with.
    pub(crate) fn waker(&self) -> Waker {
        Waker(self.sender.clone())
    }

    /// Waits for a wake, at most that long.
    pub(crate) fn wait(&mut self, at_most: Duration) -> Wake {
        self.rearm();
        match self.wakes.recv_timeout(at_most) {
            Ok(wake) => wake,
            // This struct holds a sender, so the channel cannot be closed.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Wake::Look,
        }
    }

    /// Watches the folder again if it is another one than before: the watch went with the old one.
    fn rearm(&mut self) {
        use std::os::unix::fs::MetadataExt;
        let Some(watcher) = &mut self.watcher else { return };
        let inode = std::fs::metadata(&self.folder).ok().map(|metadata| metadata.ino());
        if inode == self.inode {
            return;
        }
        if self.inode.is_some() {
            // Fails when the kernel has dropped the watch already, which is what is wanted.
            drop(watcher.unwatch(&self.folder));
        }
        self.inode = inode;
        if inode.is_some()
            && let Err(error) = watcher.watch(&self.folder, RecursiveMode::Recursive)
        {
            tracing::warn!(%error, folder = %self.folder.display(), "cannot watch the folder, changes are found by polling");
        }
    }
}
