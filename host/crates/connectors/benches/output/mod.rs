//! What the benchmarks of the output streams have in common: the rows, and how they are handed over and timed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use futures_util::future::join_all;
use model::batch::{Applied, FeatureBatch};
use model::output::{Emission, OutputOptions, OutputStream, RecordVersion};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};
use model::view::{Digest, Generation, ViewShape};
use tokio::runtime::Runtime;

/// Rows of a batch.
pub(crate) const ROWS: u64 = 1_000;
pub(crate) const BATCHES: u64 = 1_000;
/// Partitions whose batches are handed over at the same time, so many of each.
const LANES: u64 = 4;
const AHEAD: usize = 4;
/// Rows of the idle stream, one after the other.
const ALONE: u64 = 500;

/// The cases that the command line names: those whose names contain its first word.
pub(crate) fn wanted() -> String {
    std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default()
}

/// Processor time of this process, in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0).sum()
}

/// Prints what a record costs.
pub(crate) fn measure(name: &str, records: u64, work: impl FnOnce()) {
    let (start, before) = (Instant::now(), cpu());
    work();
    let (wall, spent) = (start.elapsed().as_secs_f64(), cpu() - before);
    println!(
        "{name:<28} {:>6.0} ns CPU a record, {:>9.0} records/s",
        spent * 1e9 / records as f64,
        records as f64 / wall
    );
}

/// One row after the other: how long until it is acknowledged.
pub(crate) fn idle(runtime: &Runtime, output: &dyn OutputStream, name: &str) {
    let options = Arc::new(options());
    let mut times: Vec<u128> = (0..ALONE)
        .map(|number| {
            let mut batch = batch(number, "p-0");
            batch.rows = batch.rows.slice(0, 1);
            batch.event_times.truncate(1);
            batch.positions = PositionColumn::counting(number, 1);
            batch.covers.through = batch.covers.first;
            let (batch, options) = (Arc::new(batch), Arc::clone(&options));
            let start = Instant::now();
            let emission = Emission { batch, applied: Applied::default(), options, epoch: 0 };
            runtime.block_on(output.emit(emission)).expect("the server is there");
            start.elapsed().as_micros()
        })
        .collect();
    times.sort_unstable();
    println!("{name:<28} p50 {} us, p99 {} us", times[times.len() / 2], times[times.len() * 99 / 100]);
}

/// Batches of all partitions, some ahead of the one that is waited for, as the flow does.
pub(crate) fn stream(runtime: &Runtime, output: &dyn OutputStream, name: &str) {
    let options = Arc::new(options());
    let lanes: Vec<Vec<Arc<FeatureBatch>>> = (0..LANES)
        .map(|lane| {
            (0..BATCHES / LANES).map(|number| Arc::new(batch(number * ROWS, &format!("p-{lane}")))).collect()
        })
        .collect();
    measure(name, ROWS * BATCHES, || {
        let lanes = lanes.into_iter().map(|batches| async {
            let mut waiting = VecDeque::new();
            for batch in batches {
                let options = Arc::clone(&options);
                let emission = Emission { batch, applied: Applied::default(), options, epoch: 0 };
                waiting.push_back(output.emit(emission));
                if waiting.len() == AHEAD {
                    waiting.pop_front().expect("there are some").await.expect("the server is there");
                }
            }
            for emission in waiting {
                emission.await.expect("the server is there");
            }
        });
        runtime.block_on(join_all(lanes));
    });
}

pub(crate) fn options() -> OutputOptions {
    OutputOptions { version: RecordVersion::V1, include_features: true, producer: "millrace".into() }
}

/// Rows of the ad-impression view.
pub(crate) fn batch(first: u64, partition: &str) -> FeatureBatch {
    let view = ViewShape {
        project: "default".into(),
        name: "user_impression_counts".into(),
        source: "ad_impressions".into(),
        id: "50475ab4990e5b0a50475ab4990e5b0a".into(),
        keys: vec![Field::required("user_id", DataType::String)],
        features: vec![
            Field::nullable("impression", DataType::Int64),
            Field::nullable("ad_id", DataType::Int64),
        ],
        ttl_micros: None,
        online: true,
    };
    let users = (0..ROWS).map(|row| Some(format!("u{:08}", row * 7_919 % 50_000)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(users.collect::<StringArray>()),
        Arc::new((0..ROWS.cast_signed()).map(|row| row % 5).collect::<Int64Array>()),
        Arc::new((0..ROWS.cast_signed()).map(|row| row * 17).collect::<Int64Array>()),
    ];
    let fields: Vec<Field> = view.columns().cloned().collect();
    FeatureBatch {
        rows: RecordBatch::try_new(arrow_schema(&fields), columns).expect("the columns fit"),
        view: Arc::new(view),
        event_times: (0..ROWS.cast_signed()).map(|row| 1_654_562_168_832_793 + row * 1_000).collect(),
        partition: Partition::new(partition),
        positions: PositionColumn::counting(first, ROWS as usize),
        ordinals: Vec::new(),
        generation: Generation { number: 1, digest: Digest([0xab; 32]) },
        covers: Covers { first: Position::from_u64(first), through: Position::from_u64(first + ROWS - 1) },
    }
}
