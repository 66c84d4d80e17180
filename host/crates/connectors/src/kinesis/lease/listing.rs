//! The task that asks the stream for its shards: now and then, and in a hurry where there must be new ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::error::Failure;
use tokio::time::{sleep, timeout};

use super::handle::Inner;
use super::moment::Moment;
use super::shards::Shard;

/// Pause between lists. Longer, and shards of a split begin later where the host did not read their parent; shorter, and
/// it costs calls.
const INTERVAL: Duration = Duration::from_secs(30);
/// Pause between lists in a hurry, and how late the need for one is seen.
const HURRY: Duration = Duration::from_secs(1);
/// Pauses after lists that failed.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(10);
/// Pages of a list; a service that gives more goes round in circles.
const MAX_PAGES: usize = 10_000;

/// Asks until the host has left.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut again = AGAIN;
    loop {
        let listed = list(&inner).await;
        let has_failed = listed.is_err();
        match listed {
            Ok(shards) => {
                inner.named(shards);
                again = AGAIN;
            }
            Err(failure) => inner.list_fails(failure),
        }
        let began = Instant::now();
        loop {
            if has_failed {
                sleep(again).await;
            } else {
                // Woken or not: it is time to look whether the next list is due.
                let _ = timeout(HURRY, inner.look.notified()).await;
            }
            let state = inner.lock();
            if state.left {
                return;
            }
            let is_in_hurry = state.is_in_hurry(Moment::now());
            drop(state);
            if has_failed || is_in_hurry || began.elapsed() >= INTERVAL {
                break;
            }
        }
        if has_failed {
            again = (again * 2).min(AGAIN_AT_MOST);
        }
    }
}

async fn list(inner: &Inner) -> Result<Vec<Shard>, Failure> {
    let source = &inner.options.source;
    let mut shards = Vec::new();
    let mut next = None;
    for _ in 0..MAX_PAGES {
        let page = inner.lister.page(next).await?;
        shards.extend(page.shards);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    if shards.is_empty() {
        let message = format!("list the shards of source `{source}`: the stream has none yet");
        return Err(Failure::retry(message));
    }
    Ok(shards)
}
