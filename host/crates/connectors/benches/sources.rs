//! The embedded sources: pushes against the sync that they wait for, and how fast files and logs are read.
//!
//! `cargo bench -p connectors --bench sources` works on the disk that holds the target directory. Criterion's figures
//! come first; the last lines put pushes beside `fdatasync` on the same disk in the same run.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs::{self, File};
use std::future::Future;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;
use connectors::codec::json::JsonFormat;
use connectors::codec::json::sample::{ad_columns, ad_event};
use connectors::source::file::{FileOptions, FileSource};
use connectors::source::push::{PushLog, PushOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::position::Partition;
use model::source::{BatchBudget, Positions, Push, PushRequest, ReadEvent, Source};
use model::time::{Clock, EventTime};

/// Bytes of lines in the file that is read; it stays in the page cache.
const FILE_BYTES: usize = 256 << 20;
/// Rows in the log that is read.
const LOG_ROWS: usize = 500_000;
/// Connections that push at once.
const CONNECTIONS: usize = 8;
/// Pushes of one row, one after the other.
const LONE_PUSHES: usize = 3_000;
/// How long pushes from several connections are counted.
const PUSHING: Duration = Duration::from_secs(3);

/// Stands in the year of the sample events.
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> EventTime {
        EventTime(4_000_000_000_000_000)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

fn request(first: usize, rows: usize) -> PushRequest {
    let mut body = Vec::new();
    let mut places = Vec::new();
    for row in first..first + rows {
        let start = u32::try_from(body.len()).expect("a request is small");
        body.extend_from_slice(&ad_event(row as u64));
        places.push((start, u32::try_from(body.len()).expect("a request is small")));
        body.push(b'\n');
    }
    PushRequest { body: Bytes::from(body), rows: places, producer: None }
}

fn open_log(directory: &Path, memory_bytes: usize) -> Arc<PushLog> {
    let options = PushOptions {
        name: "ads".into(),
        directory: directory.to_owned(),
        format: Arc::new(JsonFormat::new(ad_columns())),
        timestamp_column: "timestamp".into(),
        earliest: EventTime::DEFAULT_EARLIEST.0,
        max_future: 600_000_000,
        max_log_bytes: 64 << 30,
        segment_bytes: 64 << 20,
        max_row_bytes: 1 << 20,
        memory_bytes,
        clock: Arc::new(FixedClock),
    };
    PushLog::open(options).expect("the directory is new")
}

fn drain(source: &dyn Source, budget: BatchBudget) -> usize {
    let mut reader = source.read(&[Partition::new("0")], &Positions::new()).expect("the source is open");
    let mut rows = 0;
    while let ReadEvent::Batch(batch) = reader.next(budget, Duration::ZERO).expect("the source is sound") {
        rows += black_box(&batch).len();
    }
    rows
}

fn read_file(criterion: &mut Criterion) {
    let directory =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    let path = directory.path().join("events.ndjson");
    let lines = request(0, 100_000);
    let mut text = Vec::with_capacity(FILE_BYTES);
    while text.len() < FILE_BYTES {
        text.extend_from_slice(&lines.body);
    }
    fs::write(&path, &text).expect("the target directory is writable");
    let options = FileOptions {
        name: "ads".into(),
        path,
        follow: false,
        state_directory: directory.path().join("state"),
        max_row_bytes: 1 << 20,
        clock: Arc::new(FixedClock),
    };
    let source = FileSource::open(options).expect("the file is there");
    let mut group = criterion.benchmark_group("file");
    group.sample_size(10).throughput(Throughput::Bytes(text.len() as u64));
    for rows in [1_000, 8_192, 65_536] {
        let budget = BatchBudget { rows, bytes: 8 << 20 };
        group.bench_function(format!("lines, {rows} a batch"), |bencher| {
            bencher.iter(|| drain(&*source, budget))
        });
    }
    group.finish();
}

fn read_log(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("push log");
    group.sample_size(10).throughput(Throughput::Elements(LOG_ROWS as u64));
    for (from, memory_bytes) in [("memory", 1 << 30), ("files", 0)] {
        let directory =
            tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
        let log = open_log(directory.path(), memory_bytes);
        for first in (0..LOG_ROWS).step_by(1_000) {
            wait_for(log.push(request(first, 1_000))).expect("the log takes rows");
        }
        let budget = BatchBudget { rows: 8_192, bytes: 8 << 20 };
        assert_eq!(drain(&*log, budget), LOG_ROWS);
        group.bench_function(format!("rows from {from}"), |bencher| bencher.iter(|| drain(&*log, budget)));
    }
    group.finish();
}

/// Pushes beside the sync that each waits for.
fn push(_criterion: &mut Criterion) {
    let directory =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    let log = open_log(&directory.path().join("log"), 16 << 20);
    let probe = File::create(directory.path().join("probe")).expect("the target directory is writable");
    probe.write_all_at(&vec![0; 8 << 20], 0).expect("the target directory is writable");
    probe.sync_all().expect("the target directory is writable");
    let event = [b'x'; 200];
    let (mut syncs, mut pushes) = (Vec::new(), Vec::new());
    // In turns, so that both meet the same disk.
    for turn in 0..LONE_PUSHES {
        let begun = Instant::now();
        probe.write_all_at(&event, (turn * event.len()) as u64).expect("the space is there");
        probe.sync_data().expect("the disk works");
        syncs.push(begun.elapsed());
        let request = request(turn, 1);
        let begun = Instant::now();
        let ack = wait_for(log.push(request)).expect("the log takes rows");
        pushes.push(begun.elapsed());
        assert_eq!(ack.accepted, 1);
    }
    let (sync, push) = (percentiles(&mut syncs), percentiles(&mut pushes));
    println!("write and fdatasync of 200 bytes: p50 {:?}, p99 {:?}", sync.0, sync.1);
    println!(
        "push of one row, idle: p50 {:?}, p99 {:?}, {:.2} x the sync at p50",
        push.0,
        push.1,
        push.0.as_secs_f64() / sync.0.as_secs_f64()
    );
    for rows in [1, 100, 1_000] {
        let begun = Instant::now();
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let (log, request) = (Arc::clone(&log), request(connection * rows, rows));
                thread::spawn(move || {
                    let mut accepted = 0;
                    while begun.elapsed() < PUSHING {
                        let ack = wait_for(log.push(request.clone())).expect("the log takes rows");
                        accepted += ack.accepted as usize;
                    }
                    accepted
                })
            })
            .collect();
        let accepted: usize =
            threads.into_iter().map(|thread| thread.join().expect("pushing does not panic")).sum();
        let per_second = accepted as f64 / begun.elapsed().as_secs_f64();
        println!("push of {rows} rows a request, {CONNECTIONS} connections: {per_second:.0} rows/s");
    }
}

fn percentiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

criterion_group!(benches, read_file, read_log, push);
criterion_main!(benches);
