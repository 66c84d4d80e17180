//! How much may wait for Redis: callers wait when there are too many batches, or too many bytes.

use std::sync::Arc;

use model::batch::FeatureBatch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Batches that may be queued or under way at one writer.
pub(super) const MOST_BATCHES: usize = 256;
/// What they may weigh together. One that is heavier waits until it is alone.
const MOST_KIBIBYTES: u32 = 64 << 10;

/// Room at one writer.
#[derive(Clone)]
pub(in crate::online::redis) struct Budget {
    batches: Arc<Semaphore>,
    kibibytes: Arc<Semaphore>,
}

/// A place in the budget; given back when dropped.
pub(in crate::online::redis) struct Permit {
    _batch: Option<OwnedSemaphorePermit>,
    _kibibytes: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(in crate::online::redis) fn new() -> Self {
        Self {
            batches: Arc::new(Semaphore::new(MOST_BATCHES)),
            kibibytes: Arc::new(Semaphore::new(MOST_KIBIBYTES as usize)),
        }
    }

    /// Waits for room, first come, first served.
    pub(in crate::online::redis) async fn take(&self, bytes: usize) -> Permit {
        let batch = Arc::clone(&self.batches).acquire_owned().await;
        let weight = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).clamp(1, MOST_KIBIBYTES);
        let kibibytes = Arc::clone(&self.kibibytes).acquire_many_owned(weight).await;
        // They are never closed.
        Permit { _batch: batch.ok(), _kibibytes: kibibytes.ok() }
    }
}

/// What a batch weighs.
pub(in crate::online::redis) fn weight(batch: &FeatureBatch) -> usize {
    batch.rows.get_array_memory_size() + batch.len() * (8 + batch.positions.width())
}
