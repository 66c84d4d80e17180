//! Where readers stand in each shard: how far behind the tip, and when they were last known to be at it.
//!
//! One table for all readers of a source. It feeds the metrics, and it answers whether records that are gone were read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::position::{Partition, Position};
use model::time::micros;

use crate::kinesis::SourceMetrics;
use crate::kinesis::lease::Tip;

/// How often it is noted that a shard's tip was reached: retention is at least a day.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// In a second: what Kinesis counts in, and what metrics do.
const MILLISECONDS: f64 = 1e3;

/// Where readers stand.
pub(super) struct Standing {
    metrics: SourceMetrics,
    /// Those that nobody reads any more stay: a stream makes few in the life of a host.
    shards: Mutex<HashMap<Partition, Stand>>,
}

#[derive(Default)]
struct Stand {
    readers: usize,
    behind: i64,
    tip: Option<Tip>,
    /// When it was last noted.
    noted: Option<i64>,
}

impl Standing {
    pub(super) fn new(metrics: SourceMetrics) -> Self {
        Self { metrics, shards: Mutex::default() }
    }

    /// A reader of a shard; one less when what is returned goes.
    pub(super) fn begin(self: &Arc<Self>, shard: &Partition) -> Reading {
        let mut shards = self.lock();
        shards.entry(shard.clone()).or_default().readers += 1;
        self.measure(&shards);
        Reading { standing: Arc::clone(self), shard: shard.clone() }
    }

    /// When readers of a shard were last at its tip, if that is known here.
    pub(super) fn tip(&self, shard: &Partition) -> Option<Tip> {
        self.lock().get(shard)?.tip
    }

    fn measure(&self, shards: &HashMap<Partition, Stand>) {
        let read = shards.values().filter(|stand| stand.readers != 0);
        self.metrics.shards.set(i64::try_from(read.clone().count()).unwrap_or(i64::MAX));
        #[expect(clippy::cast_precision_loss, reason = "a stream keeps its records for a year at most")]
        let behind = read.map(|stand| stand.behind).max().unwrap_or(0) as f64;
        self.metrics.behind.set(behind / MILLISECONDS);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Partition, Stand>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader of a shard.
pub(super) struct Reading {
    standing: Arc<Standing>,
    shard: Partition,
}

impl Reading {
    /// An answer reached so far: `behind` milliseconds before `now`, microseconds since the epoch.
    pub(super) fn is_behind(&self, behind: i64) {
        let mut shards = self.standing.lock();
        if let Some(stand) = shards.get_mut(&self.shard) {
            stand.behind = behind;
        }
        self.standing.measure(&shards);
    }

    /// Everything was read through `last` that there was at this time. Answers what is worth noting for later.
    pub(super) fn is_at_tip(&self, at: i64, last: Option<Position>) -> Option<Tip> {
        let mut shards = self.standing.lock();
        let stand = shards.get_mut(&self.shard)?;
        let last = last.max(stand.tip.and_then(|tip| tip.last));
        let tip = Tip { at: at.max(stand.tip.map_or(at, |tip| tip.at)), last };
        stand.tip = Some(tip);
        if stand.noted.is_some_and(|noted| tip.at < noted.saturating_add(micros(NOTE_EVERY))) {
            return None;
        }
        stand.noted = Some(tip.at);
        Some(tip)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut shards = self.standing.lock();
        if let Some(stand) = shards.get_mut(&self.shard) {
            stand.readers -= 1;
        }
        self.standing.measure(&shards);
    }
}
