//! What is in the stream after order, repeats, failures and fences; against a server of our own, which fails what a test
//! wants to fail.

mod emitting;
mod failing;
mod real;
mod server;

use std::sync::Arc;

use model::error::Failure;
use model::online::{GenerationEntry, Ledger, Starts, ViewLedger};
use model::output::{Emission, OutputStream};
use model::position::{Partition, Position};
use tokio::runtime::Runtime;

use super::options::{KinesisOutputOptions, Progress};
use super::output::KinesisOutput;
use crate::kinesis::{Connection, Shared, Stream};
use crate::output::testing::{self, Kept, LIMIT, Letters, Memory};
use server::Server;

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
        self.letters.written()
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
    testing::emission(partition, first..=through, &rows, width, entity)
}
