//! Output records from columns: the ad-impression view, in both versions; and their way to a file, synced, against
//! writing and syncing the same bytes once.

#![expect(clippy::print_stdout, reason = "a benchmark says what it found")]

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use connectors::output::file::FileOutput;
use connectors::output::record::RecordEncoder;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use model::batch::{Applied, FeatureBatch};
use model::output::{Emission, OutputOptions, OutputStream, RecordVersion};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};
use model::view::{Digest, Generation, ViewShape};

/// The allocator of the host.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows in a batch.
const ROWS: usize = 1_000;

fn record(criterion: &mut Criterion) {
    let batch = impressions();
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, version) in [("version 1", RecordVersion::V1), ("version 2", RecordVersion::V2)] {
        let options = OutputOptions { version, include_features: true, producer: "millrace".into() };
        let mut encoder = RecordEncoder::new(&batch.view, &options);
        let mut out = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                for row in 0..ROWS {
                    encoder.encode(&batch, row, true, 0, &mut out);
                    out.push(b'\n');
                }
                out.len()
            });
        });
        println!("{name}: {} bytes a record", out.len() / ROWS);
    }
    group.finish();
}

fn file(criterion: &mut Criterion) {
    let directory = tempfile::tempdir_in(".").expect("the working directory can be written");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    let mut group = criterion.benchmark_group("file");
    for rows in [1, ROWS] {
        let batch = impressions();
        let stream =
            FileOutput::open(&directory.path().join(format!("{rows}.ndjson"))).expect("a new file opens");
        let mut next = 0;
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(format!("emit {rows}"), |bencher| {
            bencher.iter_batched(
                || {
                    next += rows as u64;
                    emission(&batch, next, rows)
                },
                |emission| runtime.block_on(stream.emit(emission)).expect("the disk is not full"),
                BatchSize::PerIteration,
            );
        });
        let bytes = vec![b'x'; 307 * rows];
        let mut plain =
            File::create(directory.path().join(format!("{rows}.plain"))).expect("a new file opens");
        group.bench_function(format!("write and sync {rows}"), |bencher| {
            bencher.iter(|| {
                plain.write_all(&bytes).and_then(|()| plain.sync_data()).expect("the disk is not full")
            });
        });
    }
    group.finish();
}

/// The first rows of a batch, at positions that count up from `first`.
fn emission(batch: &FeatureBatch, first: u64, rows: usize) -> Emission {
    let batch = FeatureBatch {
        view: Arc::clone(&batch.view),
        rows: batch.rows.slice(0, rows),
        event_times: batch.event_times[..rows].to_vec(),
        partition: batch.partition.clone(),
        positions: PositionColumn::counting(first, rows),
        ordinals: Vec::new(),
        generation: batch.generation.clone(),
        covers: Covers {
            first: Position::from_u64(first),
            through: Position::from_u64(first + rows as u64 - 1),
        },
    };
    let options =
        OutputOptions { version: RecordVersion::V1, include_features: true, producer: "millrace".into() };
    Emission { batch: Arc::new(batch), applied: Applied::default(), options: Arc::new(options), epoch: 0 }
}

/// `user_id`, `impression` and an event time, as the ad-impression view makes them.
fn impressions() -> FeatureBatch {
    let keys = vec![Field::required("user_id", DataType::String)];
    let features = vec![Field::nullable("impression", DataType::Int64)];
    let columns: Vec<Field> = keys.iter().chain(&features).cloned().collect();
    let users: StringArray =
        (0..ROWS).map(|row| Some(format!("{:08x}-0000-4000-a000-0123456789ab", row * 7919))).collect();
    let impressions = Int64Array::from(vec![1; ROWS]);
    let arrays: Vec<ArrayRef> = vec![Arc::new(users), Arc::new(impressions)];
    FeatureBatch {
        rows: RecordBatch::try_new(arrow_schema(&columns), arrays).expect("columns fit the schema"),
        view: Arc::new(ViewShape {
            project: "default".into(),
            name: "user_impression_counts".into(),
            source: "ad_impressions".into(),
            id: "50475ab4990e5b0ad1f2c1f4d5a6b7c8".into(),
            keys,
            features,
            ttl_micros: None,
            online: true,
        }),
        event_times: (0..ROWS as i64).map(|row| 1_654_562_168_832_793 + row * 40_007).collect(),
        partition: Partition::new("0"),
        positions: PositionColumn::counting(0, ROWS),
        ordinals: Vec::new(),
        generation: Generation { number: 1, digest: Digest([0xab; 32]) },
        covers: Covers { first: Position::from_u64(0), through: Position::from_u64(ROWS as u64 - 1) },
    }
}

criterion_group!(benches, record, file);
criterion_main!(benches);
