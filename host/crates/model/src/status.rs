//! How views are doing: said by the flow, shown by `/readyz`, `/metrics` and `host list views`.

use std::time::Duration;

use futures_core::future::BoxFuture;

use crate::error::Failure;
use crate::position::{Partition, Position};
use crate::source::Point;
use crate::view::Digest;

/// What a view is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewState {
    /// Being set up.
    Starting,
    /// After a crash: events that it had taken before are taken again; reads may be older than what was emitted.
    Recovering,
    /// Behind the views that share its source, on a reader of its own.
    CatchingUp,
    /// Taking events as they come.
    Running,
    /// Stopped by the breaker or by a failure; its position is kept.
    Paused {
        /// Why, and what would start it again.
        reason: String,
    },
    /// Its file is gone or the host is stopping: finishing what it has begun.
    Draining,
    /// Finished: its file is gone. Rows and positions are kept for its return.
    Stopped,
    /// It could not be started.
    Failed {
        /// Why.
        reason: String,
    },
}

impl ViewState {
    /// The stable name: `starting`, `recovering`, `catching_up`, `running`, `paused`, `draining`, `stopped`, `failed`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Recovering => "recovering",
            Self::CatchingUp => "catching_up",
            Self::Running => "running",
            Self::Paused { .. } => "paused",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Failed { .. } => "failed",
        }
    }

    /// Why the view does not run, where there is a reason.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Paused { reason } | Self::Failed { reason } => Some(reason),
            _ => None,
        }
    }
}

/// How far a view is in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The partition.
    pub partition: Partition,
    /// Through which position events were transformed and are visible online.
    pub applied: Option<Position>,
    /// Through which position the output stream has them; `None` without an output stream.
    pub emitted: Option<Position>,
}

/// How a view is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewStatus {
    /// The view.
    pub view: String,
    /// Its source.
    pub source: String,
    /// What it is doing.
    pub state: ViewState,
    /// Generation of the transform at work; 0 before the first.
    pub generation: u32,
    /// Digest of component and parameters.
    pub digest: Option<Digest>,
    /// Name and version that the component gives itself.
    pub component: String,
    /// Rows read, feature rows made, rows dead-lettered, since the host started.
    pub rows_in: u64,
    /// Feature rows made.
    pub rows_out: u64,
    /// Input rows that went to the dead letter.
    pub dead_letters: u64,
    /// How far it is.
    pub partitions: Vec<PartitionStatus>,
    /// The last thing that went wrong and was survived, such as a refused change.
    pub last_error: Option<String>,
}

/// Why waiting for an online write ended without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// Time was up.
    #[error("view `{view}` did not apply the events within the time given")]
    TimedOut {
        /// The first view that was not done.
        view: String,
    },
    /// A view on the source does not run.
    #[error("view `{view}` is {state}")]
    NotRunning {
        /// The view.
        view: String,
        /// Its state.
        state: &'static str,
    },
}

/// What a rewind did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewound {
    /// The view's new epoch.
    pub epoch: u32,
    /// Behind which position each partition begins again; `None` = at its beginning.
    pub partitions: Vec<(Partition, Option<Position>)>,
}

/// What operators can ask of the flow while it runs.
pub trait Control: Send + Sync {
    /// Has a view take events again from a point on, with its present transform and in a new epoch. May block.
    ///
    /// Fails without effect if the view does not run or its source has no such point.
    fn rewind(&self, view: &str, to: &Point) -> Result<Rewound, Failure>;
}

/// What the flow can say of itself.
pub trait Overview: Send + Sync {
    /// All views, by name.
    fn views(&self) -> Vec<ViewStatus>;

    /// State of one view; cheap enough for every read request.
    fn state(&self, view: &str) -> Option<ViewState>;

    /// Everything about one view; asked for by reads that say how their view is.
    fn status(&self, view: &str) -> Option<ViewStatus> {
        self.views().into_iter().find(|status| status.view == view)
    }

    /// Resolves once every view on a source that keeps rows online has applied events through this position.
    fn wait_applied(
        &self,
        source: &str,
        partition: &Partition,
        through: Position,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<(), WaitError>>;
}
