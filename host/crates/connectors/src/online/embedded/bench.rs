//! Measuring aids: the store's write path, and the same work given to the storage engine alone. Used by `benches/store.rs`
//! and by `host bench`; nothing of the store uses them.
//!
//! The work: rows of a 37-byte random key and a 96-byte value, in batches of 1,000, of a number of entities. The store
//! decides newer-wins and makes a checkpoint every so many rows, the last one included; the engine writes each batch of
//! 1,000 with its position, synced, in the order in which it comes, and decides nothing. Making the rows is not measured.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use model::batch::FeatureBatch;
use model::error::Failure;
use model::online::OnlineStore;
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};
use model::time::{Clock, EventTime};
use model::view::{Digest, Generation, ViewRef, ViewShape};

use super::options::EmbeddedOptions;
use super::store::EmbeddedStore;

/// Rows in a batch.
pub const BATCH_ROWS: usize = 1_000;
const VALUE_BYTES: usize = 96;
/// Batches that exist; later ones repeat them with newer versions.
const DISTINCT_BATCHES: usize = 2_000;

/// Prepared rows.
pub struct Workload {
    entities: u64,
    view: ViewRef,
    batches: Vec<RecordBatch>,
}

impl Workload {
    /// Rows of this many entities, each row's entity drawn at random by a fixed sequence.
    pub fn prepare(entities: u64) -> Self {
        let view = Arc::new(ViewShape {
            project: "default".into(),
            name: "bench".into(),
            source: "bench".into(),
            id: "0".repeat(32),
            keys: vec![Field::required("key", DataType::String)],
            features: vec![Field::nullable("value", DataType::Bytes)],
            ttl_micros: None,
            online: true,
        });
        let fields: Vec<Field> = view.columns().cloned().collect();
        let schema = arrow_schema(&fields);
        let batches = (0..DISTINCT_BATCHES)
            .map(|batch| {
                let ids = (0..BATCH_ROWS).map(|row| mix((batch * BATCH_ROWS + row) as u64) % entities.max(1));
                let keys = StringArray::from_iter_values(ids.map(key_of));
                let value = [u8::try_from(batch % 251).unwrap_or(0); VALUE_BYTES];
                let values = BinaryArray::from_iter_values((0..BATCH_ROWS).map(|_| value));
                let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values)];
                RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns are of the view's types")
            })
            .collect();
        Self { entities, view, batches }
    }

    /// How many entities there are.
    pub fn entities(&self) -> u64 {
        self.entities
    }

    /// The batch with this number; event times and positions rise from one to the next.
    fn batch(&self, number: usize) -> FeatureBatch {
        let first = (number * BATCH_ROWS) as u64;
        let through = first + BATCH_ROWS as u64 - 1;
        let first_time = 1_700_000_000_000_000 + i64::try_from(first).unwrap_or(i64::MAX / 2);
        FeatureBatch {
            view: Arc::clone(&self.view),
            rows: self.batches[number % self.batches.len()].clone(),
            event_times: (first_time..).take(BATCH_ROWS).collect(),
            partition: Partition::new("0"),
            positions: PositionColumn::counting(first, BATCH_ROWS),
            ordinals: Vec::new(),
            generation: Generation { number: 1, digest: Digest([0; 32]) },
            covers: Covers { first: Position::from_u64(first), through: Position::from_u64(through) },
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Rows that were written.
    pub rows: usize,
    /// From the first write until everything was durable.
    pub elapsed: Duration,
}

impl Measured {
    /// Rows a second.
    pub fn rate(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64()
    }
}

/// Upserts `rows` rows into a new store in an empty directory, with a checkpoint every `rows_per_checkpoint` rows and at
/// the end. Writing goes on during a checkpoint, as it does in a host. `progress` hears the rows done so far.
pub fn upsert(
    directory: &Path,
    workload: &Workload,
    rows: usize,
    rows_per_checkpoint: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Measured, Failure> {
    let store = EmbeddedStore::open(EmbeddedOptions {
        checkpoint_interval: Duration::from_secs(3600),
        checkpoint_bytes: usize::MAX,
        ..EmbeddedOptions::new(directory, Arc::new(NoClock))
    })?;
    let begun = Instant::now();
    let mut running = None;
    for number in 0..rows / BATCH_ROWS {
        block_on(store.write(Arc::new(workload.batch(number))))?;
        let done = (number + 1) * BATCH_ROWS;
        if done.is_multiple_of(rows_per_checkpoint) {
            if let Some(running) = running.replace(store.checkpoint()) {
                block_on(running)?;
            }
            progress(done);
        }
    }
    if let Some(running) = running {
        block_on(running)?;
    }
    block_on(store.checkpoint())?;
    Ok(Measured { rows: rows / BATCH_ROWS * BATCH_ROWS, elapsed: begun.elapsed() })
}

/// Writes the same rows to the storage engine alone, as it comes, in batches of 1,000 with a position, each synced.
pub fn fjall_baseline(
    directory: &Path,
    workload: &Workload,
    rows: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Measured, Failure> {
    let failed = |error: fjall::Error| Failure::stop("write to the storage engine alone").caused_by(error);
    let database = fjall::Database::builder(directory).open().map_err(failed)?;
    let keyspace = database.keyspace("rows", fjall::KeyspaceCreateOptions::default).map_err(failed)?;
    let begun = Instant::now();
    for number in 0..rows / BATCH_ROWS {
        let source = workload.batch(number);
        let (keys, values) = columns(&source.rows);
        let mut batch = fjall::OwnedWriteBatch::with_capacity(database.clone(), BATCH_ROWS + 1);
        for (key, value) in keys.iter().zip(values).filter_map(|(key, value)| Some((key?, value?))) {
            batch.insert(&keyspace, key, value);
        }
        batch.insert(&keyspace, "position", source.covers.through.as_bytes());
        batch.durability(Some(fjall::PersistMode::SyncData)).commit().map_err(failed)?;
        if (number + 1) % 100 == 0 {
            progress((number + 1) * BATCH_ROWS);
        }
    }
    Ok(Measured { rows: rows / BATCH_ROWS * BATCH_ROWS, elapsed: begun.elapsed() })
}

fn columns(rows: &RecordBatch) -> (&StringArray, &BinaryArray) {
    let any = |index: usize| rows.column(index).as_any();
    any(0).downcast_ref().zip(any(1).downcast_ref()).expect("columns were made so")
}

/// 37 characters that look random.
fn key_of(entity: u64) -> String {
    format!("{:016x}{:016x}-{:04x}", mix(entity), mix(!entity), entity & 0xffff)
}

/// A number that looks random (splitmix64).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Nothing is swept.
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> EventTime {
        EventTime(0)
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
