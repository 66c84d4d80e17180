//! Rows of a small view for tests: one text key, one number.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use model::batch::FeatureBatch;
use model::online::StoredRow;
use model::position::{Covers, Partition, Position, PositionColumn, RowVersion};
use model::schema::{DataType, Field, arrow_schema};
use model::value::Value;
use model::view::{Digest, Generation, ViewRef, ViewShape};

use super::{Subject, block_on};

/// A row of [`counts_view`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestRow {
    /// The entity, written as `u0`, `u1` …
    pub entity: u32,
    /// Event time.
    pub event_time: i64,
    /// Source position.
    pub position: u64,
    /// Which of the outputs of its input row.
    pub ordinal: u32,
    /// The feature.
    pub value: Option<i64>,
}

impl TestRow {
    /// A row whose position is its event time and whose feature is `value`.
    pub fn new(entity: u32, event_time: i64, position: u64, value: i64) -> Self {
        Self { entity, event_time, position, ordinal: 0, value: Some(value) }
    }
}

/// A view keyed by `user: string` with the feature `count: int64`.
pub fn counts_view(name: &str) -> ViewRef {
    view(name, vec![("user", DataType::String)], vec![("count", DataType::Int64)])
}

/// A view without TTL.
pub(super) fn view(name: &str, keys: Vec<(&str, DataType)>, features: Vec<(&str, DataType)>) -> ViewRef {
    Arc::new(ViewShape {
        project: "default".into(),
        name: name.into(),
        source: "events".into(),
        id: "0".repeat(32),
        keys: keys.into_iter().map(|(name, data_type)| Field::required(name, data_type)).collect(),
        features: features.into_iter().map(|(name, data_type)| Field::nullable(name, data_type)).collect(),
        ttl_micros: None,
        online: true,
    })
}

/// A batch of rows of [`counts_view`], in this order, of one partition and generation.
pub fn batch(view: &ViewRef, partition: &str, generation: u32, rows: &[TestRow]) -> Arc<FeatureBatch> {
    let users = StringArray::from_iter_values(rows.iter().map(|row| format!("u{}", row.entity)));
    let counts = Int64Array::from_iter(rows.iter().map(|row| row.value));
    let mut batch = columns_batch(view, vec![Arc::new(users), Arc::new(counts)], 0);
    batch.partition = Partition::new(partition);
    batch.generation.number = generation;
    batch.event_times = rows.iter().map(|row| row.event_time).collect();
    batch.ordinals = rows.iter().map(|row| row.ordinal).collect();
    batch.positions = PositionColumn::new(8);
    rows.iter().for_each(|row| batch.positions.push_u64(row.position));
    let through = rows.iter().map(|row| row.position).max().unwrap_or(0);
    batch.covers = Covers { first: Position::from_u64(0), through: Position::from_u64(through) };
    Arc::new(batch)
}

/// A batch of these columns at positions from `first` on, which are also the event times; partition `0`, generation 1.
pub(super) fn columns_batch(view: &ViewRef, columns: Vec<ArrayRef>, first: u64) -> FeatureBatch {
    let fields: Vec<Field> = view.columns().cloned().collect();
    let rows = RecordBatch::try_new(arrow_schema(&fields), columns).expect("columns are of the view's types");
    let count = rows.num_rows();
    let last = first + count as u64;
    FeatureBatch {
        view: Arc::clone(view),
        event_times: (first..last).map(|time| i64::try_from(time).expect("test times are small")).collect(),
        partition: Partition::new("0"),
        positions: PositionColumn::counting(first, count),
        ordinals: Vec::new(),
        generation: Generation { number: 1, digest: Digest([1; 32]) },
        covers: Covers {
            first: Position::from_u64(first),
            through: Position::from_u64(last.saturating_sub(1)),
        },
        rows,
    }
}

impl Subject {
    /// Writes a batch and returns the rows that were late.
    #[track_caller]
    pub fn write(&self, batch: Arc<FeatureBatch>) -> Vec<u32> {
        block_on(self.store.write(batch)).expect("the store takes the batch").late
    }

    /// Makes a checkpoint.
    #[track_caller]
    pub fn checkpoint(&self) {
        block_on(self.store.checkpoint()).expect("the store makes a checkpoint");
    }

    /// Reads all features of entities given by their keys.
    #[track_caller]
    pub fn get(&self, view: &ViewRef, keys: Vec<Vec<Value>>) -> Vec<Option<StoredRow>> {
        let features = (0..view.features.len()).collect();
        block_on(self.reader.get(view, keys, features)).expect("the store reads")
    }

    /// Version and feature of an entity of [`counts_view`].
    #[track_caller]
    pub fn get_count(&self, view: &ViewRef, entity: u32) -> Option<(RowVersion, Value)> {
        let row = self.get(view, vec![vec![Value::String(format!("u{entity}"))]]).pop().flatten();
        row.map(|mut row| (row.version, row.values.remove(0)))
    }

    /// Checks feature and position of an entity of [`counts_view`].
    #[track_caller]
    pub fn check_count(&self, view: &ViewRef, entity: u32, expected: Option<(u64, i64)>) {
        let found = self.get_count(view, entity).map(|(version, value)| (version.position, value));
        assert_eq!(
            found,
            expected.map(|(at, value)| (Position::from_u64(at), Value::Int(value))),
            "u{entity}"
        );
    }
}
