//! Figures of the store, for metrics and for people.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::error::Failure;

use super::disk::DiskStatistics;
use super::shard::Load;

/// How the store is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Entities in memory.
    pub entities: usize,
    /// What the table in memory occupies, in bytes.
    pub memory_bytes: usize,
    /// Rows that changed since the last checkpoint.
    pub dirty_rows: usize,
    /// Their bytes in memory.
    pub dirty_bytes: usize,
    /// Bytes that are not on disk yet, those being written included.
    pub pinned_bytes: usize,
    /// Checkpoints that were made.
    pub checkpoints: u64,
    /// Checkpoints that failed and were tried again.
    pub failed_checkpoints: u64,
    /// Rows that checkpoints wrote.
    pub checkpoint_rows: u64,
    /// How long the last checkpoint took, from its beginning until it was durable.
    pub last_checkpoint: Duration,
    /// Rows removed as they were past their TTL.
    pub swept_rows: u64,
    /// Entities that were looked up on disk.
    pub disk_lookups: u64,
    /// What rows occupy on disk, in bytes, those excepted that are in a journal only.
    pub disk_bytes: u64,
    /// Tables that wait for compaction. Above 20 the engine slows down.
    pub level0_tables: usize,
    /// Journals on disk.
    pub journals: usize,
    /// Journal contents that are about to be sorted out to disk.
    pub pending_flushes: usize,
    /// Why the last checkpoint failed; `None` if it was made.
    pub failing: Option<String>,
}

/// What is counted as it happens.
#[derive(Default)]
pub(super) struct Counters {
    checkpoints: AtomicU64,
    failed_checkpoints: AtomicU64,
    checkpoint_rows: AtomicU64,
    swept_rows: AtomicU64,
    disk_lookups: AtomicU64,
    last_checkpoint: Mutex<Duration>,
}

impl Counters {
    pub(super) fn looked_up(&self) {
        self.disk_lookups.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn checkpoint_failed(&self, failure: &Failure) {
        self.failed_checkpoints.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%failure, "checkpoint rows are kept for the next");
    }

    pub(super) fn checkpoint_done(&self, took: Duration, rows: usize, swept: usize) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.checkpoint_rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.swept_rows.fetch_add(swept as u64, Ordering::Relaxed);
        *self.last_checkpoint.lock().expect("a duration") = took;
        tracing::debug!(rows, swept, ?took, "checkpoint");
    }

    pub(super) fn report(&self, load: &Load, disk: &DiskStatistics, failing: Option<String>) -> Statistics {
        Statistics {
            entities: load.entities,
            memory_bytes: load.bytes,
            dirty_rows: load.dirty_rows,
            dirty_bytes: load.dirty_bytes,
            pinned_bytes: load.pinned_bytes,
            checkpoints: self.checkpoints.load(Ordering::Relaxed),
            failed_checkpoints: self.failed_checkpoints.load(Ordering::Relaxed),
            checkpoint_rows: self.checkpoint_rows.load(Ordering::Relaxed),
            last_checkpoint: *self.last_checkpoint.lock().expect("a duration"),
            swept_rows: self.swept_rows.load(Ordering::Relaxed),
            disk_lookups: self.disk_lookups.load(Ordering::Relaxed),
            disk_bytes: disk.bytes,
            level0_tables: disk.level0_tables,
            journals: disk.journals,
            pending_flushes: disk.pending_flushes,
            failing,
        }
    }
}
