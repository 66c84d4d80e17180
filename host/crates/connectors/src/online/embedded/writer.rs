//! Batches → the table. The hot path of the store.
//!
//! A batch is encoded column by column into buffers that are reused, hashed in one pass and grouped by shard, so that
//! each lock is taken once. A table of a million entities is in no cache: what costs is waiting for memory, not
//! comparing. So a group first looks at all its slots, then at all its records, then at all their rows, which the
//! processor does for many rows at once as none waits for another; only then is it decided row by row, on warm memory.
//! Nothing is allocated for an entity that is known and whose row keeps its size.

use std::cmp::Ordering;
use std::hint::black_box;

use model::batch::{Applied, FeatureBatch};
use model::error::Failure;
use model::position::RowVersion;
use model::value::Value;
use model::view::ViewRef;

use super::core::Core;
use super::encode::Rows;
use super::key::{Keys, append_key};
use super::record::Stored;
use super::shard::{Outcome, Row, tombstone_flag};
use super::table::{KeyHash, SHARDS, Wish};
use super::version::Version;
use super::views::{Resolved, RowSet};

/// Buffers larger than this are given back after the batch that needed them.
const MOST_SCRATCH_BYTES: usize = 8 << 20;
/// Buffers that are kept for the next batches: one for each thread that is likely to write at the same time.
const MOST_SCRATCHES: usize = 16;

/// Buffers of one batch.
#[derive(Default)]
pub(super) struct Scratch {
    keys: Keys,
    rows: Rows,
    hashes: Vec<KeyHash>,
    /// Rows, grouped by shard, in their own order within a group.
    order: Vec<u32>,
    /// Where each shard's group ends in `order`.
    ends: Vec<u32>,
    places: Vec<u32>,
    missing: Vec<u32>,
}

impl Core {
    /// Takes in the rows of a batch, and then its position.
    pub(super) fn apply(&self, batch: &FeatureBatch) -> Result<Applied, Failure> {
        let mut applied = Applied::default();
        if !batch.is_empty() {
            let resolved = self.views.resolve(&batch.view, &self.ledger, &self.disk)?;
            let mut scratch = self.scratches.lock().expect("a list of buffers").pop().unwrap_or_default();
            let result = self.apply_rows(batch, &resolved, &mut scratch, &mut applied.late);
            self.keep(scratch);
            result?;
            applied.late.sort_unstable();
        }
        self.ledger.advance(&batch.view.name, &batch.partition, &batch.covers.through);
        Ok(applied)
    }

    /// Deletes entities as of a version: what is older stays away, what is newer stays. Says of each key whether the
    /// deletion was the newest.
    pub(super) fn delete(
        &self,
        view: &ViewRef,
        keys: &[Vec<Value>],
        version: &RowVersion,
    ) -> Result<Vec<bool>, Failure> {
        let resolved = self.views.resolve(view, &self.ledger, &self.disk)?;
        let version = Version {
            event_time: version.event_time,
            partition: self.names.number(&version.partition),
            position: version.position.as_bytes(),
            generation: version.generation,
            ordinal: version.row,
        };
        let (mut key, mut deleted) = (Vec::new(), Vec::with_capacity(keys.len()));
        for values in keys {
            key.clear();
            if !append_key(resolved.row_set.number, &view.keys, values, &mut key)? {
                deleted.push(false);
                continue;
            }
            let hash = self.table.hash(&key);
            let row = Row { tag: hash.tag(), key: &key, version, flags: tombstone_flag(true), row: &[] };
            deleted.push(self.apply_one(hash, &row, &resolved.row_set)? != Outcome::Late);
        }
        Ok(deleted)
    }

    fn apply_rows(
        &self,
        batch: &FeatureBatch,
        resolved: &Resolved,
        scratch: &mut Scratch,
        late: &mut Vec<u32>,
    ) -> Result<(), Failure> {
        let (view, columns) = (&batch.view, batch.rows.columns());
        let expected = view.keys.len() + view.features.len();
        let rows = [batch.rows.num_rows(), batch.event_times.len(), batch.positions.len()];
        if columns.len() != expected || rows.iter().any(|rows| *rows != batch.len()) {
            return Err(Failure::stop(format!(
                "write a batch to view `{}`: {} columns where {expected} belong, of {} rows with {} event times and {} positions",
                view.name,
                columns.len(),
                rows[0],
                rows[1],
                rows[2]
            )));
        }
        let (keys, features) = columns.split_at(view.keys.len());
        scratch.keys.encode(resolved.row_set.number, &view.keys, keys)?;
        scratch.rows.encode(resolved.schema, &resolved.layout, features, batch.len())?;
        scratch.group(|key| self.table.hash(key));
        let rows = BatchRows { batch, partition: self.names.number(&batch.partition) };
        let mut start = 0;
        for shard in 0..SHARDS {
            let end = scratch.ends[shard] as usize;
            if start < end {
                self.apply_group(shard, start..end, &rows, &resolved.row_set, scratch, late);
            }
            start = end;
        }
        let missing = std::mem::take(&mut scratch.missing);
        for index in missing {
            let row = rows.get(index, scratch);
            if self.apply_one(scratch.hashes[index as usize], &row, &resolved.row_set)? == Outcome::Late {
                late.push(index);
            }
        }
        Ok(())
    }

    /// Takes in the rows of one shard, except those whose entity only the disk may know.
    fn apply_group(
        &self,
        shard_number: usize,
        group: std::ops::Range<usize>,
        rows: &BatchRows<'_>,
        row_set: &RowSet,
        scratch: &mut Scratch,
        late: &mut Vec<u32>,
    ) {
        let mut shard = self.table.lock(shard_number);
        scratch.places.clear();
        let located =
            scratch.order[group.clone()].iter().map(|row| shard.locate(scratch.hashes[*row as usize].tag()));
        scratch.places.extend(located);
        let mut touched = 0;
        for place in &scratch.places {
            touched ^= shard.touch_head(*place);
        }
        for place in &scratch.places {
            touched ^= shard.touch_data(*place);
        }
        black_box(touched);
        for position in group {
            let index = scratch.order[position];
            let row = rows.get(index, scratch);
            match shard.upsert(&row, &self.names) {
                Outcome::Applied => {}
                Outcome::Late => late.push(index),
                Outcome::Missing if row_set.is_complete() => shard.insert(&row, true),
                Outcome::Missing => scratch.missing.push(index),
            }
        }
        let wish = self.table.settle(&mut shard, |key| self.views.note_forgotten(key));
        drop(shard);
        self.grant(wish);
    }

    /// Takes in a row whose entity may be on disk only.
    fn apply_one(&self, hash: KeyHash, row: &Row<'_>, row_set: &RowSet) -> Result<Outcome, Failure> {
        loop {
            let mut shard = self.table.lock(hash.shard());
            let mut outcome = shard.upsert(row, &self.names);
            if outcome == Outcome::Missing && row_set.is_complete() {
                shard.insert(row, true);
                outcome = Outcome::Applied;
            }
            if outcome == Outcome::Missing {
                let evictions = shard.evictions;
                drop(shard);
                let value = self.look_up(row.key)?;
                shard = self.table.lock(hash.shard());
                // What was read may be old if somebody added the entity meanwhile, or added and forgot it.
                if shard.evictions != evictions || shard.contains(row.tag, row.key) {
                    continue;
                }
                outcome = match value.as_ref() {
                    None => {
                        shard.insert(row, true);
                        Outcome::Applied
                    }
                    Some(value) => {
                        let stored = Stored::parse(value.as_ref(), &self.names)?;
                        match stored.version.compare(&row.version, &self.names) {
                            Ordering::Less => {
                                shard.insert(row, true);
                                Outcome::Applied
                            }
                            kept => {
                                shard.insert(&stored.to_row(row.tag, row.key), false);
                                if kept == Ordering::Equal { Outcome::Applied } else { Outcome::Late }
                            }
                        }
                    }
                };
            }
            let wish = self.table.settle(&mut shard, |key| self.views.note_forgotten(key));
            drop(shard);
            self.grant(wish);
            return Ok(outcome);
        }
    }

    fn grant(&self, wish: Wish) {
        if wish == Wish::Checkpoint {
            self.control.hurry();
        }
    }

    fn keep(&self, scratch: Scratch) {
        if scratch.capacity_bytes() <= MOST_SCRATCH_BYTES {
            let mut scratches = self.scratches.lock().expect("a list of buffers");
            if scratches.len() < MOST_SCRATCHES {
                scratches.push(scratch);
            }
        }
    }
}

/// The rows of a batch, as the table takes them.
struct BatchRows<'a> {
    batch: &'a FeatureBatch,
    partition: u32,
}

impl<'a> BatchRows<'a> {
    #[inline]
    fn get<'b>(&'b self, index: u32, scratch: &'b Scratch) -> Row<'b>
    where
        'a: 'b,
    {
        let row = index as usize;
        Row {
            tag: scratch.hashes[row].tag(),
            key: scratch.keys.get(row),
            version: Version {
                event_time: self.batch.event_times[row],
                partition: self.partition,
                position: self.batch.positions.bytes_at(row),
                generation: self.batch.generation.number,
                ordinal: self.batch.ordinal(row),
            },
            flags: 0,
            row: scratch.rows.get(row),
        }
    }
}

impl Scratch {
    /// Hashes all keys and sorts rows by shard, keeping their order within each.
    fn group(&mut self, hash: impl Fn(&[u8]) -> KeyHash) {
        let rows = self.keys.len();
        self.missing.clear();
        self.hashes.clear();
        self.hashes.extend((0..rows).map(|row| hash(self.keys.get(row))));
        // Counting sort: sizes of groups, then where they start, which moves to where they end as rows are placed.
        self.ends.clear();
        self.ends.resize(SHARDS, 0);
        for hash in &self.hashes {
            self.ends[hash.shard()] += 1;
        }
        let mut start = 0;
        for end in &mut self.ends {
            start += std::mem::replace(end, start);
        }
        self.order.clear();
        self.order.resize(rows, 0);
        for (row, hash) in (0..).zip(&self.hashes) {
            let place = &mut self.ends[hash.shard()];
            self.order[*place as usize] = row;
            *place += 1;
        }
    }

    fn capacity_bytes(&self) -> usize {
        self.keys.capacity_bytes()
            + self.rows.capacity_bytes()
            + self.hashes.capacity() * size_of::<KeyHash>()
            + (self.order.capacity() + self.places.capacity() + self.missing.capacity()) * size_of::<u32>()
    }
}
