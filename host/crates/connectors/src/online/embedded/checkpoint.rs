//! The checkpoint: changed rows and the positions that cover them, durable in one step.
//!
//! Order matters and is this:
//!
//! 1. Positions are noted. Everything through them is in the table, as a writer moves a position after its rows.
//! 2. Changed rows are listed, which takes each shard's lock for moments, and sorted by key.
//! 3. Each is written as it is by then. A row that changed since step 1 is newer than the position says; replaying the
//!    events between does not change it.
//! 4. Whoever notes something elsewhere that these positions rest on does so; then all of it becomes durable, or none. If
//!    none, the rows are changed rows again.
//! 5. Positions are published and whoever asked is called: sources may forget what lies before.
//!
//! Writers go on meanwhile; rows that are being written stay in memory until they are durable.

use std::time::Instant;

use model::error::Failure;
use model::online::{GenerationEntry, Starts};

use super::core::Core;
use super::disk::Sink;
use super::meta::Fact;
use super::table::SHARDS;

/// Rows that are looked at without letting go of a shard's lock: well under a millisecond.
const ROWS_PER_LOCK: usize = 1024;

/// What a value on disk adds to a row, about.
const VALUE_HEAD_BYTES: usize = 48;

/// A changed row, by the first 16 bytes of its key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Changed {
    prefix: (u64, u64),
    shard: u32,
    place: u32,
}

impl Core {
    /// Makes everything written so far durable. One at a time; returns how many rows the sweep removed.
    pub(super) fn checkpoint(&self) -> Result<usize, Failure> {
        let one_at_a_time = self.checkpointing.lock().expect("a checkpoint does not panic");
        let begun = Instant::now();
        let doomed = self.find_doomed();
        let pending = self.ledger.pending();
        let mut facts = self.ledger.facts(&pending, &self.disk)?;
        facts.sort_by_cached_key(Fact::key);
        let mut changed = Vec::with_capacity(self.table.load().dirty_rows);
        let bytes = self.list_changed(&mut changed);
        if facts.is_empty() && changed.is_empty() && doomed.is_empty() {
            drop(one_at_a_time);
            self.tell();
            return Ok(0);
        }
        self.sort(&mut changed);
        let result = self
            .prepare()
            .and_then(|()| self.disk.commit(bytes, |sink| self.write_all(sink, &facts, &doomed, &changed)));
        self.release(changed.iter().copied(), result.is_ok());
        if let Err(failure) = result {
            self.counters.checkpoint_failed(&failure);
            return Err(failure);
        }
        self.ledger.publish(&pending);
        self.counters.checkpoint_done(begun.elapsed(), changed.len(), doomed.len());
        drop(one_at_a_time);
        self.tell();
        Ok(doomed.len())
    }

    /// Calls those who wait for checkpoints. Also when there was nothing to write: what they make of positions may rest on
    /// something else as well, as an output stream that came after the last checkpoint.
    fn tell(&self) {
        for callback in self.callbacks.lock().expect("a list of callbacks").iter() {
            callback();
        }
    }

    fn prepare(&self) -> Result<(), Failure> {
        self.preparations.lock().expect("a list of preparations").iter().try_for_each(|prepare| prepare())
    }

    /// Takes back that rows are durable. Waits for a checkpoint that is being made: it may hold a later position.
    pub(super) fn set_back(&self, view: &str, to: &Starts) -> Result<(), Failure> {
        let _one_at_a_time = self.checkpointing.lock().expect("a checkpoint does not panic");
        self.ledger.set_back(view, to, &self.disk)
    }

    /// Sets a view back. Waits for a checkpoint that is being made: it may hold a position from before.
    pub(super) fn rewind(
        &self,
        view: &str,
        to: &Starts,
        generation: &GenerationEntry,
        epoch: u32,
    ) -> Result<(), Failure> {
        let _one_at_a_time = self.checkpointing.lock().expect("a checkpoint does not panic");
        self.ledger.rewind(view, to, generation, epoch, &self.disk)
    }

    /// Appends all changed rows and returns about how many bytes they will be on disk.
    fn list_changed(&self, changed: &mut Vec<Changed>) -> usize {
        let mut bytes = 0;
        for number in 0..SHARDS {
            let mut shard = self.table.lock(number);
            let places = shard.take_dirty();
            self.table.publish(&mut shard);
            drop(shard);
            for places in places.chunks(ROWS_PER_LOCK) {
                let shard = self.table.lock(number);
                for place in places {
                    let record = shard.at(*place);
                    bytes += record.key().len() + record.row().len() + VALUE_HEAD_BYTES;
                    let shard = u32::try_from(number).expect("there are few shards");
                    changed.push(Changed { prefix: prefix(record.key()), shard, place: *place });
                }
            }
        }
        bytes
    }

    /// Sorts by key: by its first bytes, and where they are equal by all of it.
    fn sort(&self, changed: &mut [Changed]) {
        changed.sort_unstable();
        for run in changed.chunk_by_mut(|left, right| left.prefix == right.prefix) {
            if run.len() > 1 {
                run.sort_by_cached_key(|row| {
                    self.table.lock(row.shard as usize).at(row.place).key().to_vec()
                });
            }
        }
    }

    fn write_all(
        &self,
        sink: &mut Sink<'_>,
        facts: &[Fact],
        doomed: &[Vec<u8>],
        changed: &[Changed],
    ) -> Result<(), Failure> {
        for fact in facts {
            sink.put(&fact.key(), &fact.value())?;
        }
        let mut doomed = doomed.iter().peekable();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for row in changed {
            key.clear();
            value.clear();
            let mut shard = self.table.lock(row.shard as usize);
            let record = shard.begin_flush(row.place);
            key.extend_from_slice(record.key());
            record.append_value(&self.names, &mut value);
            drop(shard);
            while let Some(old) = doomed.next_if(|old| **old <= key) {
                // A row that was written since it was doomed is put, not removed.
                if *old != key {
                    sink.remove(old)?;
                }
            }
            sink.put(&key, &value)?;
        }
        doomed.try_for_each(|old| sink.remove(old))
    }

    /// Ends what [`Core::list_changed`] began.
    fn release(&self, changed: impl Iterator<Item = Changed>, durable: bool) {
        let mut by_shard: Vec<Vec<u32>> = vec![Vec::new(); SHARDS];
        for row in changed {
            by_shard[row.shard as usize].push(row.place);
        }
        for (number, places) in by_shard.iter().enumerate() {
            for places in places.chunks(ROWS_PER_LOCK) {
                let mut shard = self.table.lock(number);
                for place in places {
                    shard.end_flush(*place, durable);
                }
                self.table.publish(&mut shard);
            }
        }
    }

    fn find_doomed(&self) -> Vec<Vec<u8>> {
        let mut walk = self.walk.lock().expect("a walk does not panic");
        if walk.is_resting() {
            return Vec::new();
        }
        // What cannot be read cannot be swept; it must not keep what was written from becoming durable.
        walk.slice(self.clock.now().0, &self.disk, &self.views, &self.table).unwrap_or_else(|failure| {
            tracing::warn!(%failure, "could not look for rows that are past their time");
            Vec::new()
        })
    }
}

/// The first 16 bytes of a key as numbers that sort like them.
fn prefix(key: &[u8]) -> (u64, u64) {
    let mut bytes = [0; 16];
    let length = key.len().min(16);
    bytes[..length].copy_from_slice(&key[..length]);
    let number = u128::from_be_bytes(bytes);
    ((number >> 64) as u64, number as u64)
}
