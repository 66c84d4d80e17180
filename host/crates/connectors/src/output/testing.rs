//! What the tests of all streams need: positions and dead letters in memory, and batches to emit.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use model::batch::{Applied, FeatureBatch};
use model::dead_letter::{DeadLetter, DeadLetters};
use model::error::Failure;
use model::output::{Emission, OutputOptions, RecordVersion};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};
use model::view::{Digest, Generation, ViewShape};

use super::keeper::Keeper;

/// Patience of a test that waits for another thread.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Keeps positions in memory.
#[derive(Default)]
pub(crate) struct Memory {
    positions: Mutex<HashMap<Partition, Position>>,
    lost: AtomicBool,
}

impl Memory {
    /// Whether all partitions are another host's from now on.
    pub(crate) fn lose(&self, lost: bool) {
        self.lost.store(lost, Ordering::SeqCst);
    }
}

/// Shares a [`Memory`] with the test.
pub(crate) struct Kept(pub(crate) Arc<Memory>);

impl Keeper for Kept {
    fn holds(&self, _partition: &Partition) -> bool {
        !self.0.lost.load(Ordering::SeqCst)
    }

    fn position(&self, partition: &Partition) -> Option<Position> {
        self.0.positions.lock().unwrap().get(partition).copied()
    }

    fn emitted(&self, partition: &Partition, through: Position) {
        self.0.positions.lock().unwrap().insert(partition.clone(), through);
    }

    fn rewind(&self, partition: &Partition, to: Option<Position>, _epoch: u32) -> Result<(), Failure> {
        let mut positions = self.0.positions.lock().unwrap();
        positions.remove(partition);
        positions.extend(to.map(|to| (partition.clone(), to)));
        Ok(())
    }
}

/// Remembers code, position and length of the payload.
#[derive(Default)]
pub(crate) struct Letters {
    written: Mutex<Vec<(String, u64, usize)>>,
    full: AtomicBool,
}

impl Letters {
    /// Whether the disk is full from now on.
    pub(crate) fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    pub(crate) fn written(&self) -> Vec<(String, u64, usize)> {
        self.written.lock().unwrap().clone()
    }
}

impl DeadLetters for Letters {
    fn write(&self, letters: &[DeadLetter<'_>]) -> Result<(), Failure> {
        if self.full.load(Ordering::SeqCst) {
            return Err(Failure::retry("write a dead letter: the disk is full"));
        }
        let known = letters
            .iter()
            .map(|letter| (letter.code.to_owned(), letter.position.as_u64().unwrap(), letter.payload.len()));
        self.written.lock().unwrap().extend(known);
        Ok(())
    }
}

/// A batch of these rows, whose entity and a feature of `width` bytes go by their numbers.
pub(crate) fn emission(
    partition: &str,
    covers: RangeInclusive<u64>,
    rows: &[u64],
    width: usize,
    entity: impl Fn(u64) -> String,
) -> Emission {
    let view = Arc::new(ViewShape {
        project: "default".into(),
        name: "v".into(),
        source: "events".into(),
        id: "0".repeat(32),
        keys: vec![Field::required("id", DataType::String)],
        features: vec![Field::nullable("f", DataType::String)],
        ttl_micros: None,
        online: true,
    });
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| Some(entity(*row))).collect::<StringArray>());
    let features: ArrayRef = Arc::new(rows.iter().map(|_| Some("x".repeat(width))).collect::<StringArray>());
    let mut positions = PositionColumn::new(8);
    rows.iter().for_each(|row| positions.push_u64(*row));
    let columns: Vec<Field> = view.columns().cloned().collect();
    let covers =
        Covers { first: Position::from_u64(*covers.start()), through: Position::from_u64(*covers.end()) };
    let batch = FeatureBatch {
        rows: RecordBatch::try_new(arrow_schema(&columns), vec![ids, features]).unwrap(),
        view,
        event_times: vec![0; rows.len()],
        partition: Partition::new(partition),
        positions,
        ordinals: Vec::new(),
        generation: Generation { number: 1, digest: Digest([0xab; 32]) },
        covers,
    };
    let options =
        OutputOptions { version: RecordVersion::V1, include_features: true, producer: "millrace".into() };
    Emission { batch: Arc::new(batch), applied: Applied::default(), options: Arc::new(options), epoch: 0 }
}
