//! The thread of a member: tells the flow what comes and goes, one call at a time, and leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::position::Partition;
use model::source::Assignee;

use super::handle::Inner;
use super::moment::Moment;
use super::state::Phase;
use crate::names::Names;

/// How long the flow may take to finish what it has begun with shards that leave. Longer, and other hosts wait for them;
/// shorter, and they repeat more.
const REVOKE_LIMIT: Duration = Duration::from_secs(10);
/// How long the table may take to hear that a host leaves, once the flow is done.
const GOODBYE_LIMIT: Duration = Duration::from_secs(5);
/// How long leaving may take in all.
pub(super) const LEAVE_LIMIT: Duration = Duration::from_secs(25);

/// What the flow has to be told next.
enum News {
    Lost(Vec<Partition>),
    Leaving(Vec<Partition>),
    Arriving(Vec<Partition>),
    /// Nothing more will come.
    Left,
}

/// Tells the flow until the host has left.
pub(super) fn run(inner: &Arc<Inner>, assignee: &dyn Assignee) {
    // Also when the flow panics: nobody is to wait for a thread that is gone.
    let _left = Left(Arc::clone(inner));
    let source = &inner.options.source;
    loop {
        match next(inner) {
            News::Lost(partitions) => {
                tracing::warn!(
                    source,
                    shards = %Names(&partitions),
                    "shards are not this host's any more: their leases ran out, or other hosts have them"
                );
                inner.metrics.lost.inc_by(u64::try_from(partitions.len()).unwrap_or(0));
                assignee.lost(&partitions);
                let mut state = inner.lock();
                partitions.iter().for_each(|partition| state.forget(partition));
            }
            News::Leaving(partitions) => {
                tracing::info!(source, shards = %Names(&partitions), "shards are given up");
                assignee.revoked(&partitions, Instant::now() + REVOKE_LIMIT);
                let mut state = inner.lock();
                for partition in &partitions {
                    match state.held.get_mut(partition) {
                        Some(held) if held.phase == Phase::Leaving => held.phase = Phase::Freed,
                        // It ran out meanwhile; the flow has nothing of it under way any more.
                        _ => state.forget(partition),
                    }
                }
            }
            News::Arriving(partitions) => {
                tracing::info!(source, shards = %Names(&partitions), "shards were taken");
                assignee.assigned(&partitions);
            }
            News::Left => return,
        }
        inner.turn();
        inner.wake.notify_one();
    }
}

/// Waits for news.
fn next(inner: &Inner) -> News {
    let mut state = inner.lock();
    let mut limit = None;
    loop {
        state.expire(Moment::now());
        if state.leaving {
            for held in state.held.values_mut() {
                match held.phase {
                    Phase::Here => held.phase = Phase::Leaving,
                    // The flow does not know it.
                    Phase::Arriving => held.phase = Phase::Freed,
                    Phase::Leaving | Phase::Freed | Phase::Lost => {}
                }
            }
        }
        let lost = state.in_phase(Phase::Lost);
        if !lost.is_empty() {
            return News::Lost(lost);
        }
        let leaving = state.in_phase(Phase::Leaving);
        if !leaving.is_empty() {
            return News::Leaving(leaving);
        }
        let arriving = state.in_phase(Phase::Arriving);
        if !arriving.is_empty() {
            for partition in &arriving {
                if let Some(held) = state.held.get_mut(partition) {
                    held.phase = Phase::Here;
                }
            }
            return News::Arriving(arriving);
        }
        if state.leaving {
            let limit = *limit.get_or_insert_with(|| Instant::now() + GOODBYE_LIMIT);
            if state.goodbye || Instant::now() >= limit {
                return News::Left;
            }
        }
        let beat = state.beat;
        state = inner.wait(state, beat);
    }
}

/// Says on its end that the member has left.
struct Left(Arc<Inner>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.lock().left = true;
        self.0.metrics.held.set(0);
        self.0.turn();
        self.0.wake.notify_one();
        self.0.look.notify_one();
    }
}
