//! What is in the stream after order, repeats, failures and fences; against a server of our own, which fails what a test
//! wants to fail.

mod emitting;
mod failing;
mod real;
mod server;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use model::batch::{Applied, FeatureBatch};
use model::dead_letter::{DeadLetter, DeadLetters};
use model::error::Failure;
use model::online::{GenerationEntry, Ledger, Starts, ViewLedger};
use model::output::{Emission, OutputOptions, OutputStream, RecordVersion};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};
use model::view::{Digest, Generation, ViewShape};
use tokio::runtime::Runtime;

use super::options::{KinesisOutputOptions, Progress};
use super::output::KinesisOutput;
use crate::kinesis::{Connection, Shared, Stream};
use crate::output::keeper::Keeper;
use server::Server;

/// Patience of a test that waits for another thread.
const LIMIT: Duration = Duration::from_secs(30);

/// Keeps positions in memory.
#[derive(Default)]
struct Memory {
    positions: Mutex<HashMap<Partition, Position>>,
    lost: AtomicBool,
}

/// Shares a [`Memory`] with the test.
struct Kept(Arc<Memory>);

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
struct Letters(Mutex<Vec<(String, u64, usize)>>);

impl DeadLetters for Letters {
    fn write(&self, letters: &[DeadLetter<'_>]) -> Result<(), Failure> {
        let known = letters
            .iter()
            .map(|letter| (letter.code.to_owned(), letter.position.as_u64().unwrap(), letter.payload.len()));
        self.0.lock().unwrap().extend(known);
        Ok(())
    }
}

/// A ledger is not asked where a keeper is given.
struct NoLedger;

impl Ledger for NoLedger {
    fn view(&self, _: &str) -> Result<ViewLedger, Failure> {
        unreachable!("a keeper is given")
    }
    fn start(&self, _: &str, _: &Partition, _: Option<Position>) -> Result<(), Failure> {
        unreachable!("a keeper is given")
    }
    fn begin_generation(&self, _: &str, _: &GenerationEntry) -> Result<(), Failure> {
        unreachable!("a keeper is given")
    }
    fn forget_generations_before(&self, _: &str, _: u32) -> Result<(), Failure> {
        unreachable!("a keeper is given")
    }
    fn durable(&self, _: &str, _: &Partition) -> Option<Position> {
        unreachable!("a keeper is given")
    }
    fn advance(&self, _: &str, _: &Partition, _: &Position) {}
    fn set_back(&self, _: &str, _: &Starts) -> Result<(), Failure> {
        unreachable!("a keeper is given")
    }
    fn rewind(&self, _: &str, _: &Starts, _: &GenerationEntry, _: u32) -> Result<(), Failure> {
        unreachable!("a keeper is given")
    }
}

/// A stream to a server.
struct Rig {
    stream: Option<Arc<KinesisOutput>>,
    server: Server,
    memory: Arc<Memory>,
    letters: Arc<Letters>,
    runtime: Runtime,
    ordered: bool,
}

impl Rig {
    fn new() -> Self {
        let mut rig = Self::closed(true);
        rig.open().unwrap();
        rig
    }

    fn unordered() -> Self {
        let mut rig = Self::closed(false);
        rig.open().unwrap();
        rig
    }

    fn closed(ordered: bool) -> Self {
        Self {
            stream: None,
            server: Server::start(),
            memory: Arc::default(),
            letters: Arc::default(),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap(),
            ordered,
        }
    }

    fn open(&mut self) -> Result<(), Failure> {
        self.open_with(|_| {})
    }

    fn open_with(&mut self, change: impl FnOnce(&mut Shared)) -> Result<(), Failure> {
        let mut shared = Shared::for_tests(self.runtime.handle().clone());
        change(&mut shared);
        let options = options(
            &self.server.url,
            Stream::Name("features".to_owned()),
            shared,
            Arc::clone(&self.letters),
            self.ordered,
        );
        self.stream = Some(KinesisOutput::start(options, Box::new(Kept(Arc::clone(&self.memory))))?);
        Ok(())
    }

    fn start(&self, emission: Emission) -> futures_core::future::BoxFuture<'static, Result<(), Failure>> {
        self.stream.as_ref().unwrap().emit(emission)
    }

    /// Emits and waits.
    fn emit(&self, emission: Emission) -> Result<(), Failure> {
        self.wait(self.start(emission))
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let timed = async { tokio::time::timeout(LIMIT, future).await };
        self.runtime.block_on(timed).expect("the stream answers")
    }

    fn position(&self, partition: &str) -> Option<u64> {
        self.stream.as_ref().unwrap().position("v", &Partition::new(partition))?.as_u64()
    }

    fn letters(&self) -> Vec<(String, u64, usize)> {
        self.letters.0.lock().unwrap().clone()
    }
}

fn options(
    url: &str,
    stream: Stream,
    shared: Shared,
    letters: Arc<Letters>,
    ordered: bool,
) -> KinesisOutputOptions {
    KinesisOutputOptions {
        project: "default".into(),
        view: "v".into(),
        source: "events".into(),
        connection: Connection {
            name: "aws".into(),
            region: Some("us-east-1".into()),
            endpoint_url: Some(url.into()),
            ..Connection::default()
        },
        stream,
        ordered,
        progress: Progress::Ledger(Arc::new(NoLedger)),
        dead_letters: letters,
        shared,
    }
}

/// Rows `first..=through` of a partition: the entity of each is its number modulo `entities`, its feature `width` bytes.
fn emission(partition: &str, first: u64, through: u64, entities: u64, width: usize) -> Emission {
    keyed(partition, first, through, width, |row| (row % entities).to_string())
}

fn keyed(
    partition: &str,
    first: u64,
    through: u64,
    width: usize,
    entity: impl Fn(u64) -> String,
) -> Emission {
    let rows: Vec<u64> = (first..=through).collect();
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
    let batch = FeatureBatch {
        rows: RecordBatch::try_new(arrow_schema(&columns), vec![ids, features]).unwrap(),
        view,
        event_times: vec![0; rows.len()],
        partition: Partition::new(partition),
        positions,
        ordinals: Vec::new(),
        generation: Generation { number: 1, digest: Digest([0xab; 32]) },
        covers: Covers { first: Position::from_u64(first), through: Position::from_u64(through) },
    };
    let options =
        OutputOptions { version: RecordVersion::V1, include_features: true, producer: "millrace".into() };
    Emission { batch: Arc::new(batch), applied: Applied::default(), options: Arc::new(options), epoch: 0 }
}
