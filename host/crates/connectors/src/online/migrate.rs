//! The rows of a view on their way from the embedded store to another one, with the versions that they have. Newer rows
//! there stay, so doing it again changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use futures_core::future::BoxFuture;
use model::batch::FeatureBatch;
use model::error::{Disposition, Failure};
use model::online::{Ledger, OnlineStore};
use model::position::{Covers, Partition, Position, PositionColumn, RowVersion};
use model::schema::{Field, arrow_schema};
use model::source::Positions;
use model::value::Value;
use model::view::{Digest, Generation, ViewRef};
use tokio::runtime::Handle;

use super::columns::column;
use super::embedded::{EmbeddedStore, EntityRow};
use super::redis::RedisStore;

/// Rows of one batch at most.
const BATCH_ROWS: usize = 4_096;

/// Rows that wait for others of their batch at most: a source may have many partitions.
const WAITING_ROWS: usize = 65_536;

/// How long the other store may be away before this gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// A store that rows are moved to.
pub trait Target {
    /// Takes rows.
    fn store(&self) -> &dyn OnlineStore;

    /// Deletes an entity as of a version.
    fn delete(
        &self,
        view: &ViewRef,
        key: &[Vec<Value>],
        version: &RowVersion,
    ) -> BoxFuture<'static, Result<Vec<bool>, Failure>>;
}

impl Target for RedisStore {
    fn store(&self) -> &dyn OnlineStore {
        self
    }

    fn delete(
        &self,
        view: &ViewRef,
        key: &[Vec<Value>],
        version: &RowVersion,
    ) -> BoxFuture<'static, Result<Vec<bool>, Failure>> {
        Self::delete(self, view, key, version)
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Rows that the other store has now, or has newer ones for.
    pub rows: u64,
    /// Those of them for which it has newer ones.
    pub late: u64,
    /// Deleted entities among them.
    pub deleted: u64,
    /// Rows that were not moved, because nobody can say which entity they are of: their keys are longer than a kilobyte.
    pub unnamed: u64,
}

/// Copies the rows of a view. Blocks; to be called while nobody writes the view, and on no thread of the runtime. `told` hears now
/// and then how many rows have gone.
pub fn migrate(
    from: &EmbeddedStore,
    to: &dyn Target,
    view: &ViewRef,
    runtime: &Handle,
    told: &mut dyn FnMut(u64),
) -> Result<Moved, Failure> {
    let mut way = Way { to, view, runtime, groups: BTreeMap::new(), waiting: 0, moved: Moved::default() };
    let walked = from.rows(view, &mut |row| {
        way.take(row)?;
        if way.waiting >= WAITING_ROWS {
            way.send_all()?;
        }
        told(way.moved.rows);
        Ok(true)
    })?;
    way.send_all()?;
    way.conclude(&from.view(&view.name)?.online)?;
    told(way.moved.rows);
    Ok(Moved { unnamed: walked.unnamed, ..way.moved })
}

/// Rows on their way. One batch has rows of one partition, one generation and positions of one width.
struct Way<'a> {
    to: &'a dyn Target,
    view: &'a ViewRef,
    runtime: &'a Handle,
    groups: BTreeMap<(Partition, u32, usize), Vec<EntityRow>>,
    waiting: usize,
    moved: Moved,
}

impl Way<'_> {
    fn take(&mut self, row: EntityRow) -> Result<(), Failure> {
        if row.values.is_none() {
            let key = [row.key];
            let newest = patiently(self.runtime, || self.to.delete(self.view, &key, &row.version))?;
            self.moved.rows += 1;
            self.moved.deleted += 1;
            self.moved.late += u64::from(newest != [true]);
            return Ok(());
        }
        let version = &row.version;
        let group = (version.partition.clone(), version.generation, version.position.as_bytes().len());
        let rows = self.groups.entry(group.clone()).or_default();
        rows.push(row);
        self.waiting += 1;
        if rows.len() < BATCH_ROWS {
            return Ok(());
        }
        let rows = std::mem::take(rows);
        self.send(group, &rows)
    }

    fn send_all(&mut self) -> Result<(), Failure> {
        for (group, rows) in std::mem::take(&mut self.groups) {
            self.send(group, &rows)?;
        }
        Ok(())
    }

    /// Says how far the view is, now that all of its rows are there.
    fn conclude(&self, online: &Positions) -> Result<(), Failure> {
        for (partition, through) in online {
            let mut last = batch(self.view, (partition.clone(), 0, through.as_bytes().len()), &[])?;
            last.covers.through = *through;
            let last = Arc::new(last);
            patiently(self.runtime, || self.to.store().write(Arc::clone(&last)))?;
        }
        Ok(())
    }

    fn send(&mut self, group: (Partition, u32, usize), rows: &[EntityRow]) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let count = rows.len();
        let batch = Arc::new(batch(self.view, group, rows)?);
        let applied = patiently(self.runtime, || self.to.store().write(Arc::clone(&batch)))?;
        self.waiting -= count;
        self.moved.rows += count as u64;
        self.moved.late += applied.late.len() as u64;
        Ok(())
    }
}

fn batch(
    view: &ViewRef,
    (partition, generation, width): (Partition, u32, usize),
    rows: &[EntityRow],
) -> Result<FeatureBatch, Failure> {
    let fields: Vec<Field> = view.columns().cloned().collect();
    let keys = view.keys.len();
    let columns = fields.iter().enumerate().map(|(index, field)| {
        let values = rows.iter().map(|row| match (index.checked_sub(keys), &row.values) {
            (None, _) => &row.key[index],
            (Some(feature), Some(values)) => &values[feature],
            // Deleted entities go another way.
            (Some(_), None) => &Value::Null,
        });
        column(&field.data_type, values)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let records = RecordBatch::try_new(arrow_schema(&fields), columns).map_err(|error| {
        Failure::stop(format!("put rows of view `{}` into columns", view.name)).caused_by(error)
    })?;
    let mut positions = PositionColumn::new(width);
    rows.iter().for_each(|row| positions.push(&row.version.position));
    // One row says nothing of how far the view is: what is covered is as little as can be said. If Redis loses it, the view has
    // to begin anew.
    let nothing = Position::from_bytes(&vec![0; width]).ok_or_else(|| {
        Failure::stop(format!("move rows of view `{}`: a position of {width} bytes", view.name))
    })?;
    Ok(FeatureBatch {
        view: Arc::clone(view),
        rows: records,
        event_times: rows.iter().map(|row| row.version.event_time).collect(),
        partition,
        positions,
        ordinals: rows.iter().map(|row| row.version.row).collect(),
        generation: Generation { number: generation, digest: Digest([0; 32]) },
        covers: Covers { first: nothing, through: nothing },
    })
}

/// Tries until it is done, or until the other store was away for too long.
fn patiently<T>(
    runtime: &Handle,
    attempt: impl Fn() -> BoxFuture<'static, Result<T, Failure>>,
) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        match runtime.block_on(attempt()) {
            Err(failure) if failure.disposition == Disposition::Retry && begun.elapsed() < PATIENCE => {
                tracing::warn!(%failure, "trying again");
                runtime.block_on(tokio::time::sleep(PAUSE));
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
