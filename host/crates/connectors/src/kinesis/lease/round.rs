//! The task that looks at the table: once a beat, and at once where something cannot wait. Never calls the flow, so that a
//! slow one delays no renewal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::error::Failure;
use tokio::time::timeout;

use super::handle::Inner;
use super::moment::Moment;

/// Looks until the host has left.
pub(super) async fn run(inner: Arc<Inner>) {
    loop {
        let began = Instant::now();
        match round(&inner).await {
            Ok(()) => inner.table_answers(),
            Err(failure) => inner.table_fails(failure),
        }
        let beat = {
            let mut state = inner.lock();
            if state.left {
                return;
            }
            state.expire(Moment::now());
            state.beat
        };
        inner.turn();
        // Woken or not: it is time to look.
        let _ = timeout(beat.saturating_sub(began.elapsed()), inner.wake.notified()).await;
    }
}

async fn round(inner: &Inner) -> Result<(), Failure> {
    let content = within(inner, "read the leases", inner.table.read()).await?;
    let (plan, sent) = {
        let mut state = inner.lock();
        let now = Moment::now();
        state.expire(now);
        state.observe(content, now);
        (state.plan(now), now)
    };
    inner.turn();
    let met = if plan.changes.is_empty() {
        Vec::new()
    } else {
        within(inner, "write the leases", inner.table.change(&plan.era, plan.changes.clone())).await?
    };
    let outcome = {
        let mut state = inner.lock();
        let outcome = state.settle(plan, &met, sent);
        inner.metrics.held.set(i64::try_from(state.held.len()).unwrap_or(i64::MAX));
        outcome
    };
    inner.metrics.taken.inc_by(u64::try_from(outcome.taken).unwrap_or(0));
    inner.metrics.handed_over.inc_by(u64::try_from(outcome.freed.len()).unwrap_or(0));
    if outcome.missed > 0 {
        let source = &inner.options.source;
        tracing::debug!(source, missed = outcome.missed, "other hosts were faster");
    }
    Ok(())
}

/// An answer that is worth nothing once a third of a lease has gone by.
async fn within<T>(
    inner: &Inner,
    doing: &str,
    asked: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let limit: Duration = inner.options.duration / 3;
    timeout(limit, asked).await.unwrap_or_else(|_| {
        let source = &inner.options.source;
        Err(Failure::retry(format!("{doing} of source `{source}`: no answer within {limit:?}")))
    })
}
