//! The loop that follows the files: wakes, reads, compares, applies.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

use super::apply::{Pending, Running};
use super::parts::Parts;
use super::watch::{Wake, Waker, Watch};
use crate::project::Project;

/// When to look again for a views folder that is away.
const AWAY_PAUSE: Duration = Duration::from_millis(500);

/// What the loop needs to know.
pub(crate) struct Reload {
    /// The views folder.
    pub(crate) views: PathBuf,
    /// Shared with the rest of the host.
    pub(crate) parts: Arc<Parts>,
    /// Longest time between two looks.
    pub(crate) poll: Duration,
}

/// Starts the loop on a thread of its own; it ends when the waker says so.
pub(crate) fn spawn(
    reload: Reload,
    running: Running,
    watch: Watch,
    pending: Pending,
) -> anyhow::Result<(Waker, JoinHandle<()>)> {
    let waker = watch.waker();
    let thread = std::thread::Builder::new()
        .name("reload".to_owned())
        .spawn(move || follow(&reload, running, watch, pending))
        .context("cannot start the thread that follows the files")?;
    Ok((waker, thread))
}

/// `pending`: what the start has left to be done.
fn follow(reload: &Reload, mut running: Running, mut watch: Watch, mut pending: Pending) {
    let mut away = false;
    while watch.wait(pending.again.map_or(reload.poll, |again| again.min(reload.poll))) == Wake::Look {
        match Project::with_settings(&reload.views, reload.parts.settings.clone()) {
            Ok(project) => {
                away = false;
                pending = running.follow(&project, false);
            }
            // The folder is away for a moment, as when a deployment replaces it: what runs goes on.
            Err(stopped) => {
                // Nothing announces its return.
                pending = Pending { again: Some(AWAY_PAUSE) };
                if !away {
                    tracing::warn!("{stopped}; the running views go on");
                }
                away = true;
            }
        }
    }
}
