//! What one instance may use of memory and tables, as wasmtime asks for it; time, output and log are bounded elsewhere.

use wasmtime::ResourceLimiter;

/// Elements of a table at most. Interpreters use up to 10,000.
const MAX_TABLE_ELEMENTS: usize = 100_000;
/// Core instances, memories and tables at most. A Python component consists of some thirty modules.
const MAX_INSTANCES: usize = 128;
const MAX_MEMORIES: usize = 16;
const MAX_TABLES: usize = 64;

/// Host objects that a guest may hold handles to.
pub(crate) const MAX_HANDLES: usize = 1_000;

/// The share of its memory limit above which an instance is not used again, in percent. Memory never shrinks, and some
/// toolchains leak: an instance is better replaced between batches than lost within one.
const HIGH_WATER_PERCENT: usize = 75;

/// Counts the memory of one instance against its limit.
///
/// Growth beyond it fails without a trap, because some guests can do something about it; refusals are counted so that a
/// trap which follows can be explained.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: usize,
    used: usize,
    /// What the last growth that was allowed added: taken back if the growth then fails.
    last: usize,
    refusals: u32,
}

impl Meter {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: 0, last: 0, refusals: 0 }
    }

    /// Bytes of linear memory, over all memories.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// How often growth was refused.
    pub(crate) fn refusals(&self) -> u32 {
        self.refusals
    }

    /// Forgets refusals of earlier calls.
    pub(crate) fn forget_refusals(&mut self) {
        self.refusals = 0;
    }

    /// Whether the instance is better replaced.
    pub(crate) fn is_high(&self) -> bool {
        self.used / 100 >= self.limit / 100 * HIGH_WATER_PERCENT / 100
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if self.used.saturating_add(more) > self.limit {
            self.refusals = self.refusals.saturating_add(1);
            return Ok(false);
        }
        self.used += more;
        self.last = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.used -= self.last;
        self.last = 0;
        // Beyond the module's own maximum or the engine's: for the guest it is the same want of memory.
        self.refusals = self.refusals.saturating_add(1);
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }
}
