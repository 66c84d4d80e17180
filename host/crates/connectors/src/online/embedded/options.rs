//! How an embedded store is opened. Defaults are here and nowhere else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::time::Clock;

/// How an embedded store is opened.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// Where it keeps its files; made if absent. One host at a time.
    pub directory: PathBuf,
    /// Bounds the table of newest rows in memory, all its overhead counted. Too small, and most writes of known
    /// entities begin with a look-up on disk. The storage engine needs 100 to 200 MiB beside it, for caches, indexes and
    /// what it is about to write.
    pub memory_bytes: usize,
    /// Time between checkpoints while rows or positions change. Shorter means less to replay after a crash, longer
    /// means fewer writes per event.
    pub checkpoint_interval: Duration,
    /// Changed rows that make a checkpoint at once, without waiting for the interval. At most half of `memory_bytes`
    /// takes effect. At twice this size writers wait.
    pub checkpoint_bytes: usize,
    /// What time it is, for sweeping rows that are past their TTL.
    pub clock: Arc<dyn Clock>,
}

impl EmbeddedOptions {
    /// Half a gigabyte: two million entities with keys of 40 and rows of 100 bytes.
    pub const DEFAULT_MEMORY_BYTES: usize = 512 << 20;
    /// Two seconds of replay after a crash cost less than what they save.
    pub const DEFAULT_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);
    /// Large enough that a million changed entities are written once.
    pub const DEFAULT_CHECKPOINT_BYTES: usize = 256 << 20;

    /// The defaults.
    pub fn new(directory: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            directory: directory.into(),
            memory_bytes: Self::DEFAULT_MEMORY_BYTES,
            checkpoint_interval: Self::DEFAULT_CHECKPOINT_INTERVAL,
            checkpoint_bytes: Self::DEFAULT_CHECKPOINT_BYTES,
            clock,
        }
    }
}
