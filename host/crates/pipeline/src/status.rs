//! What the flow says of itself to those who serve requests.

use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use model::position::{Partition, Position};
use model::status::{Overview, ViewState, ViewStatus, WaitError};

use crate::flow::Flow;
use crate::pool::lock;

impl Overview for Flow {
    fn views(&self) -> Vec<ViewStatus> {
        self.core.views.load().values().map(|view| view.status()).collect()
    }

    fn state(&self, view: &str) -> Option<ViewState> {
        self.core.views.load().get(view).map(|view| view.state())
    }

    fn status(&self, view: &str) -> Option<ViewStatus> {
        self.core.views.load().get(view).map(|view| view.status())
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
