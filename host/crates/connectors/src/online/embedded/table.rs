//! The table of newest rows: shards, what they weigh together, and the limits on that.
//!
//! A key's hash picks the shard by its high bits and the slot by its low half. Each shard has a lock of its own, held
//! for one batch's rows of that shard or for one read. Sums over all shards are brought up to date when a writer leaves
//! a shard, so a limit can be passed by what one batch brings, never by more.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use foldhash::quality::RandomState;

use super::shard::{Load, Shard};

/// Enough that two threads seldom meet, few enough that a batch of a thousand rows takes each lock once for many rows.
pub(super) const SHARDS: usize = 64;

/// Below this a table is all overhead.
const LEAST_MEMORY_BYTES: usize = 8 << 20;

/// The part of a shard that is forgotten at once, when the table has become too large by more.
const MOST_EVICTED_PART: usize = 8;

pub(super) struct Table {
    shards: Box<[Padded]>,
    hasher: RandomState,
    pub(super) limits: Limits,
    bytes: AtomicUsize,
    entities: AtomicUsize,
    dirty_rows: AtomicUsize,
    dirty_bytes: AtomicUsize,
    pinned_bytes: AtomicUsize,
}

/// One shard to two cache lines, so that locks next to each other do not slow each other down.
#[repr(align(128))]
#[derive(Default)]
struct Padded(Mutex<Shard>);

/// What the table may hold, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Everything.
    pub(super) memory: usize,
    /// Dirty rows that make a checkpoint at once.
    pub(super) checkpoint: usize,
    /// Rows that are not on disk, at which writers wait.
    pub(super) halt: usize,
}

impl Limits {
    pub(super) fn new(memory_bytes: usize, checkpoint_bytes: usize) -> Self {
        let memory = memory_bytes.max(LEAST_MEMORY_BYTES);
        // A quarter of the table stays for rows that can be forgotten, or no new entity would find room.
        Self {
            memory,
            checkpoint: checkpoint_bytes.clamp(1, memory / 2),
            halt: checkpoint_bytes.saturating_mul(2).clamp(1, memory / 4 * 3),
        }
    }
}

/// A key's hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyHash(u64);

impl KeyHash {
    #[inline]
    pub(super) fn shard(self) -> usize {
        (self.0 >> (64 - SHARDS.ilog2())) as usize
    }

    /// The half that slots remember.
    #[inline]
    pub(super) fn tag(self) -> u32 {
        self.0 as u32
    }
}

/// Whether the table wants a checkpoint now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Checkpoint,
}

impl Table {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Padded::default()).collect(),
            hasher: RandomState::default(),
            limits,
            bytes: AtomicUsize::new(0),
            entities: AtomicUsize::new(0),
            dirty_rows: AtomicUsize::new(0),
            dirty_bytes: AtomicUsize::new(0),
            pinned_bytes: AtomicUsize::new(0),
        }
    }

    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> KeyHash {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        KeyHash(hasher.finish())
    }

    pub(super) fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard].0.lock().expect("nothing panics while it changes a shard")
    }

    /// Brings the sums up to date after a shard changed; forgets records if the table is too large. `forgotten` hears
    /// the key of each before it goes.
    pub(super) fn settle(&self, shard: &mut Shard, forgotten: impl FnMut(&[u8])) -> Wish {
        let total = self.publish(shard);
        let mut wish = Wish::Nothing;
        if total > self.limits.memory {
            // A shard gives a part of itself at most; the others follow as they are written to.
            let wanted = (total - self.limits.memory).min(shard.published.bytes / MOST_EVICTED_PART);
            if !(shard.has_clean() && shard.evict(wanted, forgotten)) {
                wish = Wish::Checkpoint;
            }
            self.publish(shard);
        }
        if self.dirty_bytes.load(Ordering::Relaxed) >= self.limits.checkpoint {
            wish = Wish::Checkpoint;
        }
        wish
    }

    /// Whether there is room for one more row that need not be kept.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < self.limits.memory
    }

    /// Whether writers have to wait for a checkpoint.
    pub(super) fn is_halted(&self) -> bool {
        self.pinned_bytes.load(Ordering::Relaxed) >= self.limits.halt
    }

    pub(super) fn load(&self) -> Load {
        Load {
            entities: self.entities.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            dirty_rows: self.dirty_rows.load(Ordering::Relaxed),
            dirty_bytes: self.dirty_bytes.load(Ordering::Relaxed),
            pinned_bytes: self.pinned_bytes.load(Ordering::Relaxed),
        }
    }

    /// Brings the sums up to date after a shard changed; returns the bytes of all shards.
    pub(super) fn publish(&self, shard: &mut Shard) -> usize {
        let load = shard.load();
        let before = std::mem::replace(&mut shard.published, load);
        if before == load {
            return self.bytes.load(Ordering::Relaxed);
        }
        add(&self.entities, before.entities, load.entities);
        add(&self.dirty_rows, before.dirty_rows, load.dirty_rows);
        add(&self.dirty_bytes, before.dirty_bytes, load.dirty_bytes);
        add(&self.pinned_bytes, before.pinned_bytes, load.pinned_bytes);
        add(&self.bytes, before.bytes, load.bytes)
    }
}

/// Replaces one shard's share of a sum. Wrapping, as additions of different shards interleave; the sum never does.
fn add(sum: &AtomicUsize, before: usize, after: usize) -> usize {
    let change = after.wrapping_sub(before);
    sum.fetch_add(change, Ordering::Relaxed).wrapping_add(change)
}
