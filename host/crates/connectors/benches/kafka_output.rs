//! CPU of encoding, producing and hearing back, for each record: the output stream against a plain loop with the client
//! library's own threaded producer, a callback a message and `OwnedHeaders`, the records ready-made or encoded.
//!
//! Needs a broker: `KAFKA=127.0.0.1:9092 cargo bench -p connectors --bench kafka_output [-- CASE]`. Further settings of
//! the stream's producer: `KAFKA_OPTIONS=linger.ms=1,…`.

#![expect(clippy::print_stdout, reason = "a benchmark says what it found")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use connectors::dead_letter::file::FileDeadLetters;
use connectors::kafka::{BrokerHook, Connection, CreateTopic, KafkaMetrics, Shared};
use connectors::output::kafka::{KafkaOutput, KafkaOutputOptions, Progress};
use connectors::output::record::RecordEncoder;
use futures_util::future::join_all;
use model::batch::{Applied, FeatureBatch};
use model::output::{Emission, OutputOptions, OutputStream, RecordVersion};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};
use model::view::{Digest, Generation, ViewShape};
use prometheus_client::registry::Registry;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

/// The allocator of the host.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: u64 = 1_000;
const BATCHES: u64 = 1_000;
const LANES: u64 = 4;
const TOPIC: &str = "bench-output";

fn main() {
    let Ok(servers) = std::env::var("KAFKA") else {
        println!("skipped: KAFKA names no broker");
        return;
    };
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for round in 0..3 {
        println!("round {round}");
        let run = |name: &str, work: &dyn Fn(&str)| {
            if name.contains(&wanted) {
                work(name);
            }
        };
        run("plain loop, ready-made", &|name| plain(&servers, name, false));
        run("plain loop, encoding", &|name| plain(&servers, name, true));
        run("stream, at least once", &|name| stream(&servers, name, false));
        run("stream, exactly once", &|name| stream(&servers, name, true));
        run("idle, at least once", &|name| idle(&servers, name, false));
        run("idle, exactly once", &|name| idle(&servers, name, true));
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

#[derive(Default)]
struct Counting(Arc<AtomicU64>);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: Box<u64>) {
        assert!(result.is_ok());
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn plain(servers: &str, name: &str, encoding: bool) {
    let counted = Arc::new(AtomicU64::new(0));
    let producer: ThreadedProducer<Counting> = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("partitioner", "murmur2")
        .set("queue.buffering.max.kbytes", "32768")
        .set("queue.buffering.max.messages", "200000")
        .create_with_context(Counting(Arc::clone(&counted)))
        .expect("the settings are known");
    let batch = batch(0, "p-0");
    let options = options();
    let mut encoder = RecordEncoder::new(&batch.view, &options);
    let mut value = Vec::new();
    encoder.encode(&batch, 0, true, 0, &mut value);
    println!("{} bytes a record", value.len());
    let records = ROWS * BATCHES;
    measure(name, records, || {
        let (mut key, mut identity) = (b"u0001".to_vec(), encoder.identity(&batch, 0, true, 0));
        for record in 0..records {
            let row = (record % ROWS) as usize;
            if encoding {
                value.clear();
                key.clear();
                encoder.key(&batch, row, &mut key);
                encoder.encode(&batch, row, true, 0, &mut value);
                identity = encoder.identity(&batch, row, true, 0);
            } else {
                key.clear();
                encoder.key(&batch, row, &mut key);
            }
            let headers = OwnedHeaders::new_with_capacity(1)
                .insert(Header { key: "millrace", value: Some(identity.as_str()) });
            let mut next = BaseRecord::with_opaque_to(TOPIC, Box::new(record))
                .key(&key)
                .payload(&value)
                .headers(headers);
            while let Err((_, again)) = producer.send(next) {
                next = again;
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
        producer.flush(Duration::from_secs(60)).expect("the broker is there");
    });
    assert_eq!(counted.load(Ordering::Relaxed), records);
}

/// The stream, as the host opens it.
fn open(servers: &str, directory: &Path, exactly_once: bool) -> Arc<KafkaOutput> {
    let ledger = Arc::new(testkit::fake::online::MemoryStore::default());
    let hook: BrokerHook = Arc::new(|_, _| {});
    KafkaOutput::open(KafkaOutputOptions {
        project: "bench".into(),
        view: "v".into(),
        source: "s".into(),
        connection: Connection {
            name: "main".into(),
            bootstrap_servers: servers.into(),
            tls: None,
            sasl: None,
            options: BTreeMap::new(),
        },
        topic: TOPIC.into(),
        create: Some(CreateTopic { partitions: 4, replication: None }),
        max_message_bytes: None,
        exactly_once,
        options: std::env::var("KAFKA_OPTIONS")
            .iter()
            .flat_map(|options| options.split(','))
            .filter_map(|option| option.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        instance: directory.display().to_string(),
        progress: if exactly_once { Progress::Topic { group: None } } else { Progress::Ledger(ledger) },
        dead_letters: FileDeadLetters::open(&directory.join("dead")).expect("a new file opens"),
        shared: Shared::new(KafkaMetrics::register(&mut Registry::default()), hook),
    })
    .expect("the broker is there")
}

/// One row after the other: how long until it is acknowledged.
fn idle(servers: &str, name: &str, exactly_once: bool) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = open(servers, directory.path(), exactly_once);
    let options = Arc::new(options());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
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
            runtime.block_on(output.emit(emission)).expect("the broker is there");
            start.elapsed().as_micros()
        })
        .collect();
    times.sort_unstable();
    println!("{name:<28} p50 {} us, p99 {} us", times[times.len() / 2], times[times.len() * 99 / 100]);
}

fn stream(servers: &str, name: &str, exactly_once: bool) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = open(servers, directory.path(), exactly_once);
    let options = Arc::new(options());
    let mut batches: Vec<Vec<Arc<FeatureBatch>>> = (0..LANES)
        .map(|lane| {
            (0..BATCHES / LANES).map(|number| Arc::new(batch(number * ROWS, &format!("p-{lane}")))).collect()
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
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
                        waiting.pop_front().expect("there are four").await.expect("the broker is there");
                    }
                }
                for emission in waiting {
                    emission.await.expect("the broker is there");
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
