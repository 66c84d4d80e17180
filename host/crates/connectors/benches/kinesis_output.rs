//! CPU of encoding, sending and hearing back, for each record, in front of a server in another process that takes
//! everything at once: `cargo bench -p connectors --bench kinesis_output [-- CASE]`.
//!
//! `KINESIS=http://127.0.0.1:4567` names another server, whose stream `bench-output` is there.

#![expect(clippy::print_stdout, reason = "a benchmark says what it found")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use connectors::dead_letter::file::FileDeadLetters;
use connectors::kinesis::{Connection, Shared, Stream};
use connectors::output::kinesis::{KinesisOutput, KinesisOutputOptions, Progress};
use futures_util::future::join_all;
use model::batch::{Applied, FeatureBatch};
use model::output::{Emission, OutputOptions, OutputStream, RecordVersion};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};
use model::view::{Digest, Generation, ViewShape};

/// The allocator of the host.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: u64 = 1_000;
const BATCHES: u64 = 1_000;
const LANES: u64 = 4;
const STREAM: &str = "bench-output";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments.find(|argument| !argument.starts_with('-')).unwrap_or_default();
    if wanted == "sink" {
        return sink();
    }
    let (_sink, url) = match std::env::var("KINESIS") {
        Ok(url) => (None, url),
        Err(_) => {
            let (sink, url) = Sink::start();
            (Some(sink), url)
        }
    };
    for round in 0..3 {
        println!("round {round}");
        for (name, ordered) in [("ordered", true), ("unordered", false)] {
            if name.contains(&wanted) {
                stream(&url, name, ordered);
            }
            let idle_name = format!("idle, {name}");
            if idle_name.contains(&wanted) {
                idle(&url, &idle_name, ordered);
            }
        }
    }
}

/// This program once more, as a server.
struct Sink(Child);

impl Sink {
    fn start() -> (Self, String) {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child =
            Command::new(program).arg("sink").stdout(Stdio::piped()).spawn().expect("it runs once more");
        let mut url = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut url).expect("it says where it is");
        (Self(child), url.trim().to_owned())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It has nothing to finish.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Takes every record of every request.
fn sink() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    println!("http://{}", listener.local_addr().expect("it is bound"));
    for stream in listener.incoming() {
        std::thread::spawn(move || serve(stream.expect("a connection")));
    }
}

fn serve(stream: TcpStream) {
    let mut reader = BufReader::with_capacity(1 << 20, stream.try_clone().expect("a socket can be shared"));
    let mut writer = stream;
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let (mut length, mut is_put) = (0, false);
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let lower = line.trim_end().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            is_put |= lower.ends_with(".putrecords");
            if let Some(value) = lower.strip_prefix("content-length: ") {
                length = value.parse().expect("a number");
            }
        }
        body.resize(length, 0);
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let answer = if is_put {
            let records = memchr::memmem::find_iter(&body, b"\"PartitionKey\":").count();
            let result = r#"{"SequenceNumber":"49590338271490256608559692538361571095921575989136588898","ShardId":"shardId-000000000000"}"#;
            format!("{{\"FailedRecordCount\":0,\"Records\":[{}]}}", vec![result; records].join(","))
        } else {
            format!(
                r#"{{"StreamDescriptionSummary":{{"StreamName":"{STREAM}","StreamARN":"a","StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":1,"EnhancedMonitoring":[],"OpenShardCount":1}}}}"#
            )
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        if writer.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// Processor time of this process, in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0).sum()
}

fn measure(name: &str, records: u64, work: impl FnOnce()) {
    let (start, before) = (Instant::now(), cpu());
    work();
    let (wall, spent) = (start.elapsed().as_secs_f64(), cpu() - before);
    println!(
        "{name:<28} {:>6.0} ns CPU a record, {:>9.0} records/s",
        spent * 1e9 / records as f64,
        records as f64 / wall
    );
}

/// The stream, as the host opens it, and what it runs on.
fn open(url: &str, ordered: bool) -> (tempfile::TempDir, tokio::runtime::Runtime, Arc<KinesisOutput>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let output = KinesisOutput::open(KinesisOutputOptions {
        project: "bench".into(),
        view: "v".into(),
        source: "s".into(),
        connection: Connection {
            name: "aws".into(),
            region: Some("us-east-1".into()),
            endpoint_url: Some(url.to_owned()),
            ..Connection::default()
        },
        stream: Stream::Name(STREAM.into()),
        ordered,
        progress: Progress::Ledger(Arc::new(testkit::fake::online::MemoryStore::default())),
        dead_letters: FileDeadLetters::open(&directory.path().join("dead")).expect("a new file opens"),
        shared: Shared::for_tests(runtime.handle().clone()),
    });
    (directory, runtime, output.expect("the server is there"))
}

/// One row after the other: how long until it is acknowledged.
fn idle(url: &str, name: &str, ordered: bool) {
    let (_directory, runtime, output) = open(url, ordered);
    let options = Arc::new(options());
    let mut times: Vec<u128> = (0..500)
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

fn stream(url: &str, name: &str, ordered: bool) {
    let (_directory, runtime, output) = open(url, ordered);
    let options = Arc::new(options());
    let mut batches: Vec<Vec<Arc<FeatureBatch>>> = (0..LANES)
        .map(|lane| {
            (0..BATCHES / LANES).map(|number| Arc::new(batch(number * ROWS, &format!("p-{lane}")))).collect()
        })
        .collect();
    measure(name, ROWS * BATCHES, || {
        let lanes = batches.iter_mut().map(|batches| {
            let (output, options) = (Arc::clone(&output), Arc::clone(&options));
            let batches = std::mem::take(batches);
            async move {
                let mut waiting = std::collections::VecDeque::new();
                for batch in batches {
                    let options = Arc::clone(&options);
                    waiting.push_back(output.emit(Emission {
                        batch,
                        applied: Applied::default(),
                        options,
                        epoch: 0,
                    }));
                    if waiting.len() == 4 {
                        waiting.pop_front().expect("there are four").await.expect("the server is there");
                    }
                }
                for emission in waiting {
                    emission.await.expect("the server is there");
                }
            }
        });
        runtime.block_on(join_all(lanes));
    });
}

fn options() -> OutputOptions {
    OutputOptions { version: RecordVersion::V1, include_features: true, producer: "millrace".into() }
}

/// Rows of the ad-impression view.
fn batch(first: u64, partition: &str) -> FeatureBatch {
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
