//! One shard of the table of newest rows: finds, compares, replaces, and forgets what the disk has too.
//!
//! An index leads from a tag (half of the key's hash) to the place of a record in a slab; records hold everything else.
//! The split keeps growth of the index cheap (no record is touched) and gives the clock's hand something to walk along.
//! Not here: which shard a key belongs to, limits over all shards, the disk.

use std::cmp::Ordering;

use super::index::{Index, NOWHERE};
use super::record::{DIRTY, IN_FLIGHT, REFERENCED, Record, TOMBSTONE};
use super::slab::Slab;
use super::version::{PartitionNames, Version};

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is what the shard holds now, or equals what it held.
    Applied,
    /// The shard holds a greater version.
    Late,
    /// The entity is not in this shard; the disk may know it.
    Missing,
}

/// A row on its way into the table.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) tag: u32,
    pub(super) key: &'a [u8],
    pub(super) version: Version<'a>,
    /// [`TOMBSTONE`] or nothing.
    pub(super) flags: u8,
    pub(super) row: &'a [u8],
}

/// What a shard adds to the sums over all shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) entities: usize,
    /// Everything that the shard has allocated.
    pub(super) bytes: usize,
    /// Rows that a checkpoint has not begun to write.
    pub(super) dirty_rows: usize,
    pub(super) dirty_bytes: usize,
    /// Rows that cannot be forgotten: dirty, or being written.
    pub(super) pinned_bytes: usize,
}

/// Records that the clock's hand passes at once: what a read may have to wait for, some ten microseconds.
const MOST_STEPS: usize = 4096;

#[derive(Default)]
pub(super) struct Shard {
    index: Index,
    records: Slab,
    /// Places of dirty records, each once.
    dirty: Vec<u32>,
    /// Where the clock's hand stands.
    hand: u32,
    /// Records forgotten so far. A look-up on disk that began before the last of them proves nothing.
    pub(super) evictions: u64,
    record_bytes: usize,
    dirty_bytes: usize,
    pinned_bytes: usize,
    /// What the sums over all shards contain of this one.
    pub(super) published: Load,
}

impl Shard {
    /// Compares and keeps the greater. The one place where newer-wins is decided for a known entity.
    #[inline]
    pub(super) fn upsert(&mut self, row: &Row<'_>, names: &PartitionNames) -> Outcome {
        let Some(place) = self.find(row.tag, row.key) else { return Outcome::Missing };
        let record = self.records.get_mut(place);
        match record.compare(&row.version, names) {
            Ordering::Greater => return Outcome::Late,
            Ordering::Equal => return Outcome::Applied,
            Ordering::Less => {}
        }
        let (before, was_pinned) = (record.allocated(), record.is_pinned());
        let was_dirty = record.flags & DIRTY != 0;
        record.replace(&row.version, row.flags, row.row);
        record.flags |= DIRTY | REFERENCED;
        let after = record.allocated();
        self.record_bytes = self.record_bytes - before + after;
        if was_dirty {
            self.dirty_bytes = self.dirty_bytes - before + after;
        } else {
            self.dirty_bytes += after + size_of::<Record>();
            self.dirty.push(place);
        }
        if was_pinned {
            self.pinned_bytes = self.pinned_bytes - before + after;
        } else {
            self.pinned_bytes += after + size_of::<Record>();
        }
        Outcome::Applied
    }

    /// Adds an entity that is not in the shard. `dirty`: the disk does not have this row.
    pub(super) fn insert(&mut self, row: &Row<'_>, dirty: bool) {
        let flags = row.flags | if dirty { DIRTY } else { 0 };
        let record = Record::new(row.tag, row.key, &row.version, flags, row.row);
        let allocated = record.allocated();
        let place = self.records.insert(record);
        self.index.insert(row.tag, place);
        self.record_bytes += allocated;
        if dirty {
            self.dirty_bytes += allocated + size_of::<Record>();
            self.pinned_bytes += allocated + size_of::<Record>();
            self.dirty.push(place);
        }
    }

    /// The record of a key, noted as used.
    pub(super) fn read(&mut self, tag: u32, key: &[u8]) -> Option<&Record> {
        let place = self.find(tag, key)?;
        let record = self.records.get_mut(place);
        record.flags |= REFERENCED;
        Some(record)
    }

    pub(super) fn contains(&self, tag: u32, key: &[u8]) -> bool {
        self.find(tag, key).is_some()
    }

    /// Where a record with this tag is, most likely: brings its slot into the cache. See `writer.rs`.
    #[inline]
    pub(super) fn locate(&self, tag: u32) -> u32 {
        self.index.find(tag, |_| true)
    }

    /// Reads from a record's place: brings its head into the cache.
    #[inline]
    pub(super) fn touch_head(&self, place: u32) -> u8 {
        if place == NOWHERE { 0 } else { self.records.get(place).flags }
    }

    /// Reads from a record's allocation: brings key and row into the cache.
    #[inline]
    pub(super) fn touch_data(&self, place: u32) -> u8 {
        const CACHE_LINE: usize = 64;
        if place == NOWHERE {
            return 0;
        }
        let key = self.records.get(place).key();
        let row = self.records.get(place).row();
        key.first().copied().unwrap_or(0) ^ row.get(CACHE_LINE / 2).copied().unwrap_or(0)
    }

    /// Removes a record unless the disk still has to get it, or `keep` says so. Whether it is gone, or was not there.
    pub(super) fn remove_unless(&mut self, tag: u32, key: &[u8], keep: impl Fn(&Record) -> bool) -> bool {
        let Some(place) = self.find(tag, key) else { return true };
        let record = self.records.get(place);
        if record.is_pinned() || keep(record) {
            return false;
        }
        self.forget(place);
        true
    }

    /// Forgets records that the disk has and that were not used lately, until they weighed `wanted` bytes or the hand
    /// has gone far enough for once. `forgotten` hears each key before its record goes. `false`: nothing can go.
    ///
    /// Places in the slab are counted as if they were given back: the next entities take them.
    pub(super) fn evict(&mut self, wanted: usize, mut forgotten: impl FnMut(&[u8])) -> bool {
        let mut freed = 0;
        // One turn takes the used marks away, the second finds what was not used since. Whoever brings more has to look
        // at more.
        let two_turns = 2 * self.records.places() as usize;
        let steps = MOST_STEPS.max(wanted).min(two_turns);
        for _ in 0..steps {
            if freed >= wanted {
                break;
            }
            let place = self.hand;
            self.hand = if place + 1 < self.records.places() { place + 1 } else { 0 };
            let record = self.records.get_mut(place);
            if record.is_vacant() || record.is_pinned() {
                continue;
            }
            if record.flags & REFERENCED != 0 {
                record.flags &= !REFERENCED;
                continue;
            }
            freed += record.weight();
            forgotten(record.key());
            self.forget(place);
        }
        let index = &mut self.index;
        self.records.trim(|tag, from, to| index.relocate(tag, from, to));
        self.hand = if self.hand < self.records.places() { self.hand } else { 0 };
        freed > 0 || steps < two_turns
    }

    /// Whether there is anything that [`Shard::evict`] could take.
    pub(super) fn has_clean(&self) -> bool {
        self.record_bytes + self.index.len() * size_of::<Record>() > self.pinned_bytes
    }

    /// The list of dirty places, which begins anew. Their records stay dirty, and thereby in place, until
    /// [`Shard::begin_flush`].
    pub(super) fn take_dirty(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.dirty)
    }

    /// The record at a place that [`Shard::take_dirty`] gave.
    pub(super) fn at(&self, place: u32) -> &Record {
        self.records.get(place)
    }

    /// Notes that the record as it is now is being written to disk.
    pub(super) fn begin_flush(&mut self, place: u32) -> &Record {
        let record = self.records.get_mut(place);
        record.flags = record.flags & !DIRTY | IN_FLIGHT;
        self.dirty_bytes -= record.weight();
        record
    }

    /// Notes what became of a place that [`Shard::take_dirty`] gave: on disk, or dirty as before.
    pub(super) fn end_flush(&mut self, place: u32, durable: bool) {
        let record = self.records.get_mut(place);
        let weight = record.weight();
        let begun = record.flags & IN_FLIGHT != 0;
        record.flags &= !IN_FLIGHT;
        match (durable, begun, record.flags & DIRTY != 0) {
            // Written, and changed since: it stands in the new list already.
            (true, true, true) => {}
            (true, true, false) => self.pinned_bytes -= weight,
            // Begun, failed, and changed since: it stands in the new list already.
            (false, true, true) => {}
            (_, false, _) => self.dirty.push(place),
            (false, true, false) => {
                record.flags |= DIRTY;
                self.dirty_bytes += weight;
                self.dirty.push(place);
            }
        }
    }

    pub(super) fn load(&self) -> Load {
        Load {
            entities: self.index.len(),
            bytes: self.record_bytes
                + self.records.allocated()
                + self.index.allocated()
                + self.dirty.capacity() * size_of::<u32>(),
            dirty_rows: self.dirty.len(),
            dirty_bytes: self.dirty_bytes,
            pinned_bytes: self.pinned_bytes,
        }
    }

    #[inline]
    fn find(&self, tag: u32, key: &[u8]) -> Option<u32> {
        let place = self.index.find(tag, |place| self.records.get(place).key() == key);
        (place != NOWHERE).then_some(place)
    }

    fn forget(&mut self, place: u32) {
        let record = self.records.remove(place);
        self.index.remove(record.tag, place);
        self.record_bytes -= record.allocated();
        self.evictions += 1;
    }
}

/// A tombstone carries no row.
pub(super) const fn tombstone_flag(deleted: bool) -> u8 {
    if deleted { TOMBSTONE } else { 0 }
}
