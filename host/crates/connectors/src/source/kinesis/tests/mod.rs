//! Readers against a stream in memory, and against real servers of others where there are some.

mod contract;
mod fake;
mod gaps;
mod lineage;
mod packing;
mod reading;
mod server;
mod splitting;
mod trouble;
mod unpacking;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::batch::RawBatch;
use model::error::Failure;
use model::position::{Partition, Position};
use model::source::{BatchBudget, Positions, ReadEvent, Reader};
use testkit::fake::clock::FakeClock;
use tokio::runtime::Runtime;

use self::fake::{DAWN, Fake};
use super::calls::Calls;
use super::fetcher::{Core, Pauses};
use super::lineage::Lineage;
use super::reader::KinesisReader;
use super::standing::Standing;
use super::turns::{Pace, Turns};
use crate::kinesis::{KinesisMetrics, position};
use crate::source::OutOfRange;

const AMPLE: BatchBudget = BatchBudget { rows: 1 << 20, bytes: 1 << 30 };

/// Generous: a busy machine must not fail a test.
const LIMIT: Duration = Duration::from_secs(30);

/// An event as tests compare it: position, payload, key.
type Event = (Position, String, Option<String>);

/// A stream in memory, and what reads it.
struct Rig {
    fake: Arc<Fake>,
    clock: Arc<FakeClock>,
    core: Arc<Core>,
    runtime: Runtime,
}

impl Rig {
    fn new(shards: &[&str]) -> Self {
        Self::with_policy(shards, OutOfRange::Stop)
    }

    fn with_policy(shards: &[&str], out_of_range: OutOfRange) -> Self {
        let fake = Fake::new(shards);
        let clock = Arc::new(FakeClock::at(DAWN * 1000 + 10_000_000));
        let calls = Arc::clone(&fake) as Arc<dyn Calls>;
        let metrics = KinesisMetrics::detached().source("clicks");
        let core = Core {
            name: "clicks".to_owned(),
            connection: "aws".to_owned(),
            out_of_range,
            calls,
            lineage: Arc::clone(&fake) as Arc<dyn Lineage>,
            standing: Arc::new(Standing::new(metrics.clone())),
            turns: quick_turns(),
            pauses: Pauses { first: Duration::from_millis(1), most: Duration::from_millis(4) },
            metrics,
            clock: Arc::clone(&clock) as _,
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { fake, clock, core: Arc::new(core), runtime }
    }

    fn reader(&self, shards: &[&str], after: &[(&str, Position)]) -> KinesisReader {
        let partitions: Vec<Partition> = shards.iter().map(Partition::new).collect();
        let after: Positions = after.iter().map(|(shard, at)| (Partition::new(shard), *at)).collect();
        KinesisReader::new(Arc::clone(&self.core), self.runtime.handle(), &partitions, &after).unwrap()
    }
}

/// Turns that keep nobody waiting for long.
fn quick_turns() -> Turns {
    Turns::new(Pace { between: Duration::from_millis(1), bytes_per_second: 1e12 })
}

/// What comes next, waiting for it.
#[track_caller]
fn next(reader: &mut dyn Reader, budget: BatchBudget) -> Result<RawBatch, Failure> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let ReadEvent::Batch(batch) = reader.next(budget, Duration::from_millis(100))? {
            return Ok(batch);
        }
    }
    panic!("nothing came within {LIMIT:?}");
}

/// The next batch that has events.
#[track_caller]
fn next_events(reader: &mut dyn Reader) -> Vec<Event> {
    loop {
        let batch = next(reader, AMPLE).unwrap();
        if !batch.is_empty() {
            return events(&batch);
        }
    }
}

/// Why reading fails.
#[track_caller]
fn next_failure(reader: &mut dyn Reader) -> Failure {
    loop {
        if let Err(failure) = next(reader, AMPLE) {
            return failure;
        }
    }
}

fn events(batch: &RawBatch) -> Vec<Event> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let event = |row| (batch.positions.at(row), text(batch.payload(row)), batch.key(row).map(text));
    (0..batch.len()).map(event).collect()
}

/// All that comes until a batch covers this position: a line for each batch.
#[track_caller]
fn lines_until(reader: &mut dyn Reader, shard: &str, through: Position) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let batch = next(reader, AMPLE).unwrap();
        let payloads: Vec<String> = events(&batch).into_iter().map(|(_, payload, _)| payload).collect();
        let end = if batch.covers.through == position::end() { " end" } else { "" };
        let tip = if batch.attributes.at_end { " tip" } else { "" };
        lines.push(format!("{}: {}{end}{tip}", batch.partition, payloads.join(" ")));
        if batch.partition.as_str() == shard && through <= batch.covers.through {
            return lines;
        }
    }
}
