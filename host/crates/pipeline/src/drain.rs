//! The end of a flow: nothing more is read, what has begun is finished and made durable, groups are left.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::block_on::block_on_until;
use crate::flow::{Flow, Source};
use crate::orders::Stop;
use crate::pool::lock;

/// What groups get to take leave, even if the time is up: other hosts would wait far longer for a member that vanishes.
const LEAVE_LEAST: Duration = Duration::from_secs(2);

impl Flow {
    /// Stops reading, finishes what has begun, makes it durable, and leaves the groups of shared sources. Returns
    /// whether all of that was done within `grace`. Nothing can be started afterwards.
    pub fn drain(&self, grace: Duration) -> bool {
        let deadline = Instant::now() + grace;
        // A start that has begun is waited for; none begins after it.
        self.core.draining.store(true, Ordering::Release);
        drop(lock(&self.core.changing));
        let sources: Vec<Arc<Source>> = lock(&self.core.sources).values().cloned().collect();
        for source in &sources {
            source.roster.close();
            source.intake.stop();
            source.waiters.close();
        }
        let views = self.core.views.load_full();
        let running = views.values().filter(|view| !view.is_failed());
        running.clone().for_each(|view| view.stop(Stop::Drain));
        let mut stopped = true;
        for view in running {
            stopped &= view.wait_stopped(deadline.saturating_duration_since(Instant::now()));
        }
        let checkpoint = block_on_until(self.core.shared.online.checkpoint(), deadline);
        match &checkpoint {
            Some(Ok(())) => self.on_checkpoint(),
            Some(Err(failure)) => tracing::error!(%failure, "the last checkpoint failed"),
            None => tracing::error!("the last checkpoint did not end in time"),
        }
        let left = leave(&sources, deadline.max(Instant::now() + LEAVE_LEAST));
        stopped && left && matches!(checkpoint, Some(Ok(())))
    }
}

/// Leaves all groups at once. Returns whether that was done in time.
fn leave(sources: &[Arc<Source>], deadline: Instant) -> bool {
    let (done, left) = sync_channel(sources.len());
    let mut leaving = 0;
    for source in sources {
        let (leaver, done) = (Arc::clone(source), done.clone());
        let name = format!("leave-{}", source.intake.name);
        let spawned = thread::Builder::new().name(name).spawn(move || {
            leaver.intake.source.leave();
            // Nobody listens any more if it took too long.
            let _ = done.send(());
        });
        match spawned {
            Ok(_) => leaving += 1,
            Err(error) => {
                tracing::error!(source = %source.intake.name, %error, "failed to start a thread that leaves");
            }
        }
    }
    let in_time = |_: usize| left.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok();
    (0..leaving).all(in_time) && leaving == sources.len()
}
