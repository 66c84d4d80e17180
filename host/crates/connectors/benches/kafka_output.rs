//! CPU of encoding, producing and hearing back, for each record: the output stream against a plain loop with the client
//! library's own threaded producer, a callback a message and `OwnedHeaders`, the records ready-made or encoded.
//!
//! Needs a broker: `KAFKA=127.0.0.1:9092 cargo bench -p connectors --bench kafka_output [-- CASE]`. Further settings of
//! the stream's producer: `KAFKA_OPTIONS=linger.ms=1,…`.

#![expect(clippy::print_stdout, reason = "a benchmark says what it found")]

mod output;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use connectors::dead_letter::file::FileDeadLetters;
use connectors::kafka::{BrokerHook, Connection, CreateTopic, KafkaMetrics, Shared};
use connectors::output::kafka::{KafkaOutput, KafkaOutputOptions, Progress};
use connectors::output::record::RecordEncoder;
use model::output::OutputStream;
use output::{BATCHES, ROWS, batch, idle, measure, options, stream, wanted};
use prometheus_client::registry::Registry;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::runtime::Runtime;

/// The allocator of the host.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOPIC: &str = "bench-output";

fn main() {
    let Ok(servers) = std::env::var("KAFKA") else {
        println!("skipped: KAFKA names no broker");
        return;
    };
    let wanted = wanted();
    for round in 0..3 {
        println!("round {round}");
        let case = |name: &str, work: &dyn Fn(&str)| {
            if name.contains(&wanted) {
                work(name);
            }
        };
        case("plain loop, ready-made", &|name| plain(&servers, name, false));
        case("plain loop, encoding", &|name| plain(&servers, name, true));
        case("stream, at least once", &|name| run(&servers, name, false, stream));
        case("stream, exactly once", &|name| run(&servers, name, true, stream));
        case("idle, at least once", &|name| run(&servers, name, false, idle));
        case("idle, exactly once", &|name| run(&servers, name, true, idle));
    }
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

/// One run of a stream of its own.
fn run(servers: &str, name: &str, exactly_once: bool, work: impl FnOnce(&Runtime, &dyn OutputStream, &str)) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = open(servers, directory.path(), exactly_once);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    work(&runtime, &*output, name);
}
