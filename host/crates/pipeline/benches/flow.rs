//! What the flow itself costs for each batch: source, format, component, store and output cost next to nothing here.
//!
//! One view on one partition, batches of 1, 1,000 and 8,192 events; the time is that of the whole flow on its threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_core::future::BoxFuture;
use model::batch::{Applied, EventBatch, FeatureBatch, RawBatch};
use model::codec::{Decoder, Format, SourceColumn};
use model::dead_letter::{DeadLetter, DeadLetters};
use model::error::Failure;
use model::online::{GenerationEntry, Ledger, OnlineStore, ViewLedger};
use model::output::{Emission, OutputOptions, OutputStream, RecordVersion};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::source::{BatchBudget, Positions, ReadEvent, Reader, Source};
use model::time::EventTime;
use model::transform::{
    CallContext, Component, Description, Fault, Transform, TransformOptions, TransformOutput,
};
use model::view::Digest;
use pipeline::Flow;
use pipeline::setup::{FlowParts, FlowSettings, SourceSetup, ViewSetup};
use prometheus_client::registry::Registry;
use testkit::fake::clock::FakeClock;
use testkit::fake::component::{FakeComponent, options, shape};
use testkit::fake::format::{LineFormat, columns};
use testkit::fake::source::INGEST_TIME;

/// Gives the same payloads over and over, `batches` times.
struct Endless {
    rows: usize,
    batches: u64,
}

impl Source for Endless {
    fn partitions(&self) -> Result<Vec<Partition>, Failure> {
        Ok(vec![Partition::new("0")])
    }

    fn end(&self, _partition: &Partition) -> Result<Option<Position>, Failure> {
        Ok(None)
    }

    fn read(&self, _partitions: &[Partition], _after: &Positions) -> Result<Box<dyn Reader>, Failure> {
        Ok(Box::new(EndlessReader { rows: self.rows, left: self.batches, next: 1 }))
    }

    fn release(
        &self,
        _partition: &Partition,
        _through: Option<&Position>,
        _views: &std::collections::BTreeMap<String, model::source::ViewProgress>,
    ) -> Result<(), Failure> {
        Ok(())
    }
}

struct EndlessReader {
    rows: usize,
    left: u64,
    next: u64,
}

impl Reader for EndlessReader {
    fn next(&mut self, _budget: BatchBudget, _wait: Duration) -> Result<ReadEvent, Failure> {
        if self.left == 0 {
            return Ok(ReadEvent::End);
        }
        self.left -= 1;
        let (first, rows) = (self.next, self.rows as u64);
        self.next += rows;
        Ok(ReadEvent::Batch(RawBatch {
            partition: Partition::new("0"),
            data: bytes::Bytes::new(),
            payloads: Vec::new(),
            positions: PositionColumn::counting(first, self.rows),
            ingest_times: Vec::new(),
            ingest_time: INGEST_TIME,
            covers: Covers {
                first: Position::from_u64(first),
                through: Position::from_u64(first + rows - 1),
            },
            attributes: model::batch::Attributes::default(),
        }))
    }
}

/// Decodes nothing: the columns are there.
struct Ready {
    columns: arrow_array::RecordBatch,
    format: LineFormat,
}

impl Format for Ready {
    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(ReadyDecoder(self.columns.clone()))
    }

    fn columns(&self) -> &[SourceColumn] {
        self.format.columns()
    }
}

struct ReadyDecoder(arrow_array::RecordBatch);

impl Decoder for ReadyDecoder {
    fn decode(&mut self, raw: RawBatch) -> EventBatch {
        // Payloads are left out of this measurement; there are as many rows as positions.
        let mut raw = raw;
        raw.payloads = vec![(0, 0); raw.positions.len()];
        EventBatch { columns: self.0.clone(), raw, raw_rows: Vec::new(), rejected: Vec::new() }
    }
}

/// Hands its input on.
struct Through(Description);

impl Component for Through {
    fn description(&self) -> &Description {
        &self.0
    }

    fn digest(&self) -> Digest {
        Digest([1; 32])
    }

    fn transform(&self, _options: &TransformOptions) -> Box<dyn Transform> {
        Box::new(ThroughTransform)
    }
}

struct ThroughTransform;

impl Transform for ThroughTransform {
    fn process(
        &mut self,
        input: &arrow_array::RecordBatch,
        _context: &CallContext,
    ) -> Result<TransformOutput, Fault> {
        Ok(TransformOutput { columns: input.clone(), input_rows: Vec::new(), rejected: Vec::new() })
    }

    fn rest(&mut self) {}
}

/// Takes everything and keeps nothing.
#[derive(Default)]
struct Sink {
    emitted: AtomicU64,
}

impl OnlineStore for Sink {
    fn write(&self, _batch: Arc<FeatureBatch>) -> BoxFuture<'static, Result<Applied, Failure>> {
        Box::pin(std::future::ready(Ok(Applied::default())))
    }

    fn checkpoint(&self) -> BoxFuture<'static, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Ledger for Sink {
    fn view(&self, _view: &str) -> Result<ViewLedger, Failure> {
        Ok(ViewLedger::default())
    }

    fn start(&self, _view: &str, _partition: &Partition, _after: Option<Position>) -> Result<(), Failure> {
        Ok(())
    }

    fn begin_generation(&self, _view: &str, _entry: &GenerationEntry) -> Result<(), Failure> {
        Ok(())
    }

    fn forget_generations_before(&self, _view: &str, _number: u32) -> Result<(), Failure> {
        Ok(())
    }

    fn durable(&self, _view: &str, _partition: &Partition) -> Option<Position> {
        None
    }

    fn advance(&self, _view: &str, _partition: &Partition, _through: &Position) {}

    fn set_back(&self, _view: &str, _to: &model::online::Starts) -> Result<(), Failure> {
        Ok(())
    }

    fn rewind(
        &self,
        _view: &str,
        _to: &model::online::Starts,
        _generation: &GenerationEntry,
        _epoch: u32,
    ) -> Result<(), Failure> {
        Ok(())
    }
}

impl DeadLetters for Sink {
    fn write(&self, _letters: &[DeadLetter<'_>]) -> Result<(), Failure> {
        Ok(())
    }
}

impl OutputStream for Sink {
    fn position(&self, _view: &str, _partition: &Partition) -> Option<Position> {
        None
    }

    fn emit(&self, emission: Emission) -> BoxFuture<'static, Result<(), Failure>> {
        let through = emission.batch.covers.through.as_u64().unwrap_or(0);
        self.emitted.store(through, Ordering::Release);
        Box::pin(std::future::ready(Ok(())))
    }

    fn rewind(
        &self,
        _view: &str,
        _partition: &Partition,
        _to: Option<Position>,
        _epoch: u32,
    ) -> Result<(), Failure> {
        Ok(())
    }
}

/// Takes that many batches through a flow. Returns how long it took.
fn run(rows: usize, batches: u64) -> Duration {
    let sink = Arc::new(Sink::default());
    let flow = Flow::start(FlowParts {
        online: sink.clone(),
        ledger: sink.clone(),
        dead_letters: sink.clone(),
        clock: Arc::new(FakeClock::at(INGEST_TIME)),
        settings: FlowSettings::default(),
        metrics: &mut Registry::default(),
    });
    let text = |row: usize| Some(format!("key-{}", row % 100));
    let number = |row: usize| i64::try_from(row).ok();
    let columns = columns(
        (0..rows).map(text).collect(),
        (0..rows).map(number).collect(),
        (0..rows).map(|row| number(row).map(|row| INGEST_TIME + row)).collect(),
    );
    flow.add_source(SourceSetup {
        name: "s".to_owned(),
        source: Arc::new(Endless { rows, batches }),
        format: Arc::new(Ready { columns, format: LineFormat::default() }),
    })
    .expect("the first source of that name");
    let component = Arc::new(Through(FakeComponent::identity(1).description().clone()));
    let record =
        OutputOptions { version: RecordVersion::V1, include_features: true, producer: "bench".to_owned() };
    let began = Instant::now();
    flow.start_view(ViewSetup {
        shape: shape("v", "s"),
        digest: component.digest(),
        component,
        options: options("v"),
        event_time_column: "at".to_owned(),
        earliest: EventTime::DEFAULT_EARLIEST.0,
        max_future: 600_000_000,
        start: model::source::Point::Earliest,
        output: Some((sink.clone(), Arc::new(record))),
        parallel_emit: false,
        rows_are_shared: false,
        failures_to_pause: 1000,
        older: Arc::new(|_| None),
    })
    .expect("the view fits the component");
    while sink.emitted.load(Ordering::Acquire) < rows as u64 * batches {
        std::thread::yield_now();
    }
    began.elapsed()
}

fn flow(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow");
    group.sample_size(10);
    for rows in [1, 1000, 8192] {
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_with_input(BenchmarkId::new("batch", rows), &rows, |bencher, rows| {
            bencher.iter_custom(|batches| run(*rows, batches));
        });
    }
    group.finish();
}

criterion_group!(benches, flow);
criterion_main!(benches);
