//! What the flow says of itself to those who serve requests.

use std::fmt;
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use model::position::{Partition, Position};
use model::status::{Overview, ViewState, ViewStatus, WaitError};

use crate::flow::{Core, Flow};
use crate::pool::lock;
use crate::view::View;

/// A view that has waited long for something that it depends on. Its position stays, its buffers are bounded, and it
/// goes on by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The view.
    pub view: String,
    /// Its source.
    pub source: String,
    /// What it waits for: `source`, `output`, `online`, `dead_letter`, `ledger`, `read`, `capacity` or `start`.
    pub what: &'static str,
    /// For how long.
    pub time: Duration,
    /// What the last attempt said.
    pub reason: String,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            "source" | "read" => "its source",
            "output" => "its output stream",
            "online" | "ledger" => "the online store",
            "dead_letter" => "the dead letters",
            "capacity" => "room for an instance",
            _ => "a place to begin",
        };
        write!(f, "has waited for {what} for {} s: {}", self.time.as_secs(), self.reason)
    }
}

impl Flow {
    /// Views that have waited longer than [`crate::setup::FlowSettings::waits_long`], with what for: a shared
    /// dependency is away.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.core.views.load().values().filter_map(|view| self.core.waiting(view)).collect()
    }
}

impl Core {
    fn waiting(&self, view: &View) -> Option<Waiting> {
        let own = view.waiting().map(|waiting| (waiting.since, waiting.what, waiting.reason));
        let source = lock(&self.sources).get(&view.source).cloned();
        let trouble = source.filter(|_| view.wants_units()).and_then(|source| source.intake.trouble());
        let trouble = trouble.map(|(since, reason)| (since, "source", reason));
        let (since, what, reason) = own.into_iter().chain(trouble).min_by_key(|(since, ..)| *since)?;
        let time = since.elapsed();
        (self.shared.settings.waits_long <= time).then(|| Waiting {
            view: view.name.to_string(),
            source: view.source.clone(),
            what,
            time,
            reason,
        })
    }

    /// A view that waits says so where nothing worse has to be said.
    fn status(&self, view: &View) -> ViewStatus {
        let mut status = view.status();
        if status.last_error.is_none() {
            status.last_error = self.waiting(view).map(|waiting| waiting.to_string());
        }
        status
    }
}

impl Overview for Flow {
    fn views(&self) -> Vec<ViewStatus> {
        self.core.views.load().values().map(|view| self.core.status(view)).collect()
    }

    fn state(&self, view: &str) -> Option<ViewState> {
        self.core.views.load().get(view).map(|view| view.state())
    }

    fn status(&self, view: &str) -> Option<ViewStatus> {
        self.core.views.load().get(view).map(|view| self.core.status(view))
    }

    fn wait_applied(
        &self,
        source: &str,
        partition: &Partition,
        through: Position,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<(), WaitError>> {
        let source = lock(&self.core.sources).get(source).cloned();
        match source {
            Some(source) => Box::pin(source.waiters.wait(partition, through, Instant::now() + timeout)),
            // No view reads a source that does not exist.
            None => Box::pin(std::future::ready(Ok(()))),
        }
    }
}
