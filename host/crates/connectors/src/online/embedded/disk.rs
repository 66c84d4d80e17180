//! The storage engine under the store. The only file of the store that names fjall (`bench.rs` measures against it).
//!
//! One keyspace holds everything: what the store knows of views under row set 0, rows under the numbers from 1 on. So one
//! commit makes rows and positions durable together, whichever of the two ways it takes:
//!
//! - a few changes go through the engine's journal, one synced batch;
//! - many go straight into new sorted tables, which become part of the tree in one step. This writes them once instead
//!   of twice and needs no memory for them beside the table's own.
//!
//! The engine stops for good after a failed write to its journal. A full disk would do that, so free space is looked at
//! first, while there is still enough for the engine's own housekeeping.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use fjall::{Database, Error, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use model::error::Failure;

use super::meta::Fact;

/// The engine's cache of blocks read from disk. Rows that were looked up are in the table already.
const BLOCK_CACHE_BYTES: u64 = 32 << 20;
/// Changes in memory before the engine sorts them out to disk. Larger commits do not pass through memory.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Journals that are kept at most: what a start after a crash has to read.
const JOURNAL_BYTES: u64 = 128 << 20;
/// From this size on a commit writes tables instead of the journal.
const TABLES_FROM_BYTES: usize = 16 << 20;
/// Tables waiting for compaction at which large commits take the journal's way, which the engine slows down.
const MOST_WAITING_TABLES: usize = 48;
/// Free space that is left alone: compaction writes before it deletes.
const RESERVE_BYTES: u64 = 64 << 20;

/// The number that stands where row sets have theirs, for what the store knows of views.
pub(super) const META: [u8; 4] = [0; 4];

pub(super) struct Disk {
    path: PathBuf,
    database: Database,
    rows: Keyspace,
    /// [`RESERVE_BYTES`]; a field so that a test can fill the disk.
    pub(super) reserve: AtomicU64,
    /// [`TABLES_FROM_BYTES`]; a field so that a test can write tables without much data.
    pub(super) tables_from: AtomicUsize,
}

/// How the engine is doing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DiskStatistics {
    pub(super) bytes: u64,
    pub(super) level0_tables: usize,
    pub(super) journals: usize,
    pub(super) pending_flushes: usize,
}

impl Disk {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: Error| open_failure(path, error);
        let database = Database::builder(path)
            .cache_size(BLOCK_CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .manual_journal_persist(true)
            .open()
            .map_err(failed)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let rows = database.keyspace("rows", options).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            database,
            rows,
            reserve: AtomicU64::new(RESERVE_BYTES),
            tables_from: AtomicUsize::new(TABLES_FROM_BYTES),
        })
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        self.rows.get(key).map_err(|error| {
            Failure::retry(format!("read a row from `{}`", self.path.display())).caused_by(error)
        })
    }

    /// Visits keys from `start` on in ascending order, until `visit` returns false.
    pub(super) fn scan(
        &self,
        start: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Failure> {
        for entry in self.rows.range(start.to_vec()..) {
            let (key, value) = entry.into_inner().map_err(|error| {
                Failure::retry(format!("read rows from `{}`", self.path.display())).caused_by(error)
            })?;
            if !visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    /// Makes facts durable, synced on return.
    pub(super) fn put_facts(&self, facts: &[Fact]) -> Result<(), Failure> {
        if facts.is_empty() {
            return Ok(());
        }
        let mut entries: Vec<_> = facts.iter().map(|fact| (fact.key(), fact.value())).collect();
        entries.sort();
        self.commit(0, |sink| entries.iter().try_for_each(|(key, value)| sink.put(key, value)))
    }

    /// Writes what `fill` puts into the sink, in ascending order of keys, each key once: all of it durably, or nothing.
    /// `bytes` is about how much that will be.
    pub(super) fn commit(
        &self,
        bytes: usize,
        fill: impl FnOnce(&mut Sink<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.expect_room(bytes)?;
        let tables_from = self.tables_from.load(Ordering::Relaxed);
        if bytes >= tables_from && self.rows.l0_table_count() < MOST_WAITING_TABLES {
            // Tables of a store that failed may not go on as if its journal were whole.
            self.database.persist(PersistMode::Buffer).map_err(|error| self.write_failure(error))?;
            let mut ingestion = self.rows.start_ingestion().map_err(|error| self.write_failure(error))?;
            let mut write = |key: &[u8], value: Option<&[u8]>| match value {
                Some(value) => ingestion.write(key, value),
                None => ingestion.write_tombstone(key),
            };
            fill(&mut Sink { disk: self, way: Way::Tables(&mut write) })?;
            ingestion.finish().map_err(|error| self.write_failure(error))
        } else {
            let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
            fill(&mut Sink { disk: self, way: Way::Journal(&mut batch) })?;
            batch.commit().map_err(|error| self.write_failure(error))?;
            self.shorten_journal()
        }
    }

    /// Large commits empty the engine's memory without its noticing that the journal could go, so it is told to look.
    fn shorten_journal(&self) -> Result<(), Failure> {
        let bytes = self.database.journal_disk_space().map_err(|error| self.write_failure(error))?;
        if bytes > JOURNAL_BYTES {
            self.rows.rotate_memtable().map_err(|error| self.write_failure(error))?;
        }
        Ok(())
    }

    pub(super) fn statistics(&self) -> DiskStatistics {
        DiskStatistics {
            // Without the journal: asking for its size waits for a commit that is being written.
            bytes: self.rows.disk_space(),
            level0_tables: self.rows.l0_table_count(),
            journals: self.database.journal_count(),
            pending_flushes: self.database.outstanding_flushes(),
        }
    }

    fn expect_room(&self, bytes: usize) -> Result<(), Failure> {
        let status = rustix::fs::statvfs(&self.path).map_err(|error| {
            Failure::retry(format!("find out how much space is left at `{}`", self.path.display()))
                .caused_by(std::io::Error::from(error))
        })?;
        let free = status.f_bavail.saturating_mul(status.f_frsize);
        // Journal and table, and the table again when it is compacted.
        let wanted = (bytes as u64).saturating_mul(3);
        let reserve = self.reserve.load(Ordering::Relaxed);
        if free < wanted.saturating_add(reserve) {
            return Err(Failure::retry(format!(
                "write a checkpoint to `{}`: the disk is full, {} MiB are free and {} MiB are wanted (of which {} MiB stay free for compaction); make room, the store goes on by itself",
                self.path.display(),
                free >> 20,
                wanted.saturating_add(reserve) >> 20,
                reserve >> 20,
            )));
        }
        Ok(())
    }

    fn write_failure(&self, error: Error) -> Failure {
        let path = self.path.display();
        match error {
            // Whether a failed sync reached the disk cannot be known, so nothing may be written behind it.
            Error::Poisoned => Failure::stop(format!(
                "write a checkpoint to `{path}`: an earlier write failed and the store takes no more; mend the disk and restart the host, which replays what was not yet durable"
            )),
            error => Failure::retry(format!("write a checkpoint to `{path}`")).caused_by(error),
        }
    }
}

/// Takes the changes of one commit.
pub(super) struct Sink<'a> {
    disk: &'a Disk,
    way: Way<'a>,
}

/// Takes a key and its value, or none to remove it. A function, as fjall does not name the type behind it.
type WriteToTables<'a> = dyn FnMut(&[u8], Option<&[u8]>) -> fjall::Result<()> + 'a;

enum Way<'a> {
    Journal(&'a mut OwnedWriteBatch),
    Tables(&'a mut WriteToTables<'a>),
}

impl Sink<'_> {
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        match &mut self.way {
            Way::Journal(batch) => batch.insert(&self.disk.rows, key, value),
            Way::Tables(write) => {
                write(key, Some(value)).map_err(|error| self.disk.write_failure(error))?;
            }
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        match &mut self.way {
            Way::Journal(batch) => batch.remove(&self.disk.rows, key),
            Way::Tables(write) => write(key, None).map_err(|error| self.disk.write_failure(error))?,
        }
        Ok(())
    }
}

fn open_failure(path: &Path, error: Error) -> Failure {
    let path = path.display();
    match error {
        Error::Locked => Failure::stop(format!("open `{path}`: another process has it open")),
        error => Failure::stop(format!("open the store at `{path}`")).caused_by(error),
    }
}
