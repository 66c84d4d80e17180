//! Reading a topic: the source's reader against a loop over the client's own `poll`.
//!
//! Needs a broker: `BOOTSTRAP=127.0.0.1:9092 cargo bench -p connectors --bench kafka`. It fills a topic of four
//! partitions with ad events once, reads it several times in turn, and prints events a second and CPU of this process,
//! librdkafka's threads included. Then it measures how long an event takes on an idle stream.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use connectors::kafka::limit::{Cluster, Load, generate};
use connectors::kafka::{Connection, Shared};
use connectors::source::OutOfRange;
use connectors::source::kafka::{TopicSet, TopicSetOptions};
use model::position::{Partition, Position};
use model::source::{BatchBudget, Positions, ReadEvent};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events in the topic that is read.
const EVENTS: u64 = 2_000_000;
/// Partitions of each topic.
const PARTITIONS: u16 = 4;
/// How often each way is measured.
const ROUNDS: usize = 3;
/// What the host gives a reader.
const BUDGET: BatchBudget = BatchBudget { rows: 8192, bytes: 1 << 20 };
/// Events on the idle stream.
const LONE_EVENTS: u64 = 1000;

fn main() {
    let Ok(bootstrap) = std::env::var("BOOTSTRAP") else {
        println!("skipped: set BOOTSTRAP to the address of a broker");
        return;
    };
    let cluster = Cluster::new(bootstrap.clone());
    let topic = "millrace-bench-read";
    let filled = cluster.ends(topic, PARTITIONS).and_then(|ends| ends.sum()).unwrap_or(0);
    if filled < EVENTS {
        cluster.create(topic, PARTITIONS).expect("the broker makes topics");
        let bytes = generate(&cluster, topic, Load { events: EVENTS, users: 50_000, rate: None })
            .expect("the broker takes events");
        println!("{EVENTS} events of {} bytes", bytes / EVENTS);
    }
    for _ in 0..ROUNDS {
        measure("poll loop, payload copied", || poll_loop(&bootstrap, topic));
        measure("reader", || reader(&bootstrap, topic, false));
        measure("reader with headers", || reader(&bootstrap, topic, true));
    }
    latency(&bootstrap, &cluster);
}

fn measure(what: &str, read: impl FnOnce() -> (u64, u64)) {
    let (cpu, began) = (cpu_seconds(), Instant::now());
    let (events, batches) = read();
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    assert!(events >= EVENTS, "{what} read {events}");
    println!(
        "{what:<28} {:>9.0} events/s  {:>6.3} CPU s per million  {:>6.0} events a batch",
        events as f64 / seconds,
        cpu / events as f64 * 1e6,
        events as f64 / batches as f64,
    );
}

/// What one would write by hand: a consumer at explicit offsets, one record at a time, payloads in one buffer.
fn poll_loop(bootstrap: &str, topic: &str) -> (u64, u64) {
    let consumer = by_hand(bootstrap, topic, Offset::Beginning);
    let (mut events, mut batches, mut data) = (0, 0, Vec::with_capacity(BUDGET.bytes));
    while events < EVENTS {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.expect("the broker is there");
        if data.len() + message.payload_len() > BUDGET.bytes {
            black_box(&data);
            data.clear();
            batches += 1;
        }
        data.extend_from_slice(message.payload().unwrap_or_default());
        events += 1;
    }
    (events, batches)
}

fn by_hand(bootstrap: &str, topic: &str, from: Offset) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.queue.backoff.ms", "10")
        .create()
        .expect("the settings are right");
    let mut places = TopicPartitionList::new();
    for partition in 0..i32::from(PARTITIONS) {
        places.add_partition_offset(topic, partition, from).expect("the offset can be said");
    }
    consumer.assign(&places).expect("no group assigns anything");
    consumer
}

fn topic_set(bootstrap: &str, topic: &str, with_headers: bool) -> TopicSet {
    let connection = Connection {
        name: "bench".to_owned(),
        bootstrap_servers: bootstrap.to_owned(),
        tls: None,
        sasl: None,
        options: BTreeMap::new(),
    };
    TopicSet::new(TopicSetOptions {
        name: "bench".to_owned(),
        connection,
        topics: vec![topic.to_owned()],
        out_of_range: OutOfRange::Stop,
        with_headers,
        options: BTreeMap::new(),
        shared: Shared::for_tests(),
    })
}

fn partitions(topic: &str) -> Vec<Partition> {
    (0..PARTITIONS).map(|number| Partition::new(format!("{topic}-{number}"))).collect()
}

fn reader(bootstrap: &str, topic: &str, with_headers: bool) -> (u64, u64) {
    let topics = topic_set(bootstrap, topic, with_headers);
    let mut reader = topics.read(&partitions(topic), &Positions::new()).expect("the topic is there");
    let (mut events, mut batches) = (0, 0);
    while events < EVENTS {
        if let ReadEvent::Batch(batch) =
            reader.next(BUDGET, Duration::from_millis(100)).expect("the broker is there")
        {
            events += batch.len() as u64;
            batches += 1;
            black_box(batch);
        }
    }
    (events, batches)
}

/// From `send` until the event is seen, one at a time.
fn latency(bootstrap: &str, cluster: &Cluster) {
    let topic = format!("millrace-bench-lone-{}", std::process::id());
    cluster.create(&topic, PARTITIONS).expect("the broker makes topics");
    let positions = |topics: &TopicSet| -> Positions {
        let end = |partition: &Partition| topics.end(partition).expect("the topic is there");
        let start = |partition: Partition| end(&partition).map(|end: Position| (partition, end));
        partitions(&topic).into_iter().filter_map(start).collect()
    };
    for _ in 0..2 {
        report(
            "poll loop",
            |stop, seen| {
                let consumer = by_hand(bootstrap, &topic, Offset::End);
                while !stop.load(Ordering::Relaxed) {
                    if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                        seen(message.payload().unwrap_or_default());
                    }
                }
            },
            bootstrap,
            &topic,
        );
        report(
            "reader",
            |stop, seen| {
                let topics = topic_set(bootstrap, &topic, false);
                let mut reader =
                    topics.read(&partitions(&topic), &positions(&topics)).expect("the topic is there");
                while !stop.load(Ordering::Relaxed) {
                    if let ReadEvent::Batch(batch) =
                        reader.next(BUDGET, Duration::from_millis(100)).expect("the broker is there")
                    {
                        (0..batch.len()).for_each(|row| seen(batch.payload(row)));
                    }
                }
            },
            bootstrap,
            &topic,
        );
    }
    cluster.delete(&[&topic]).expect("the broker deletes topics");
}

fn report(
    what: &str,
    read: impl Fn(&AtomicBool, &mut dyn FnMut(&[u8])) + Sync,
    bootstrap: &str,
    topic: &str,
) {
    let origin = Instant::now();
    let stop = AtomicBool::new(false);
    let mut micros: Vec<u64> = Vec::new();
    thread::scope(|scope| {
        let (stop, read) = (&stop, &read);
        let reading = scope.spawn(move || {
            let mut micros = Vec::new();
            read(stop, &mut |payload| {
                let sent = u64::from_be_bytes(payload.try_into().expect("events are times"));
                micros.push(origin.elapsed().as_micros() as u64 - sent);
            });
            micros
        });
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("linger.ms", "0")
            .create()
            .expect("the settings are right");
        pause(Duration::from_secs(2));
        for number in 0..LONE_EVENTS {
            let payload = (origin.elapsed().as_micros() as u64).to_be_bytes();
            let key = number.to_be_bytes();
            producer.send(BaseRecord::to(topic).key(&key).payload(&payload)).expect("the queue has room");
            pause(Duration::from_millis(5));
        }
        producer.flush(Duration::from_secs(10)).expect("the broker takes events");
        pause(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        micros = reading.join().expect("reading does not panic");
    });
    micros.sort_unstable();
    let at = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!("{what:<28} {} lone events: p50 {:.2} ms, p99 {:.2} ms", micros.len(), at(0.5), at(0.99));
}

fn pause(duration: Duration) {
    let began = Instant::now();
    while let Some(left) = duration.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").expect("Linux tells");
    let fields: Vec<&str> = text.rsplit_once(')').expect("the name ends").1.split_whitespace().collect();
    // Ticks of 10 ms, after the name: user is the 12th, system the 13th.
    (fields[11].parse::<f64>().expect("a number") + fields[12].parse::<f64>().expect("a number")) / 100.0
}
