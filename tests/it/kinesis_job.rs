//! The ad-impression view from stream to stream: folders, streams, events, and what must come out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::kafka::name;
use tests::kinesis::{self, Client, Make, Proxy, Record};
use tests::{Host, Workspace, checkout};

use crate::kafka_job::{VIEW, user_of};
use crate::support::{EndLoad, impression};

/// Events in one write.
pub(crate) const ROWS: u64 = 20;

/// How a job differs from the usual one.
#[derive(Clone)]
pub(crate) struct Shape<'a> {
    /// Whose server.
    pub(crate) make: Make,
    /// Shards of the source stream.
    pub(crate) shards: usize,
    /// Shards of the output stream.
    pub(crate) outputs: usize,
    /// Further keys of the source's `kinesis`.
    pub(crate) source: &'a str,
    /// Further keys of the output's `kinesis`.
    pub(crate) output: &'a str,
    /// The component.
    pub(crate) component: &'a str,
    /// Further lines of `host.yaml`; those that are indented are further connections.
    pub(crate) host: String,
    /// Further keys of the connection.
    pub(crate) connection: &'a str,
    /// The line that says where rows are kept.
    pub(crate) store: &'a str,
    /// Where the host finds Kinesis; the shared server unless said otherwise.
    pub(crate) endpoint: Option<String>,
}

impl Default for Shape<'_> {
    fn default() -> Self {
        Self {
            make: Make::Kinesalite,
            shards: 2,
            outputs: 2,
            source: "start: trim_horizon",
            output: "",
            component: "ad_impressions",
            host: String::new(),
            connection: "",
            store: "online_store: { embedded: { checkpoint_interval: 100ms } }",
            endpoint: None,
        }
    }
}

/// Streams and a folder of one test.
pub(crate) struct Job {
    pub(crate) workspace: Workspace,
    pub(crate) client: Client,
    pub(crate) make: Make,
    pub(crate) source: String,
    pub(crate) output: String,
}

impl Job {
    /// Makes streams and files; nothing runs yet.
    #[track_caller]
    pub(crate) fn new(shape: &Shape<'_>) -> Self {
        let job = Self {
            workspace: Workspace::new(),
            client: kinesis::shared(shape.make).client(),
            make: shape.make,
            source: name("ads"),
            output: name("features"),
        };
        job.client.create(&job.source, shape.shards);
        job.client.create(&job.output, shape.outputs);
        job.write(&job.workspace, shape);
        job
    }

    /// A job whose host goes through a proxy.
    #[track_caller]
    pub(crate) fn proxied(shape: &Shape<'_>) -> (Self, Proxy) {
        let proxy = kinesis::shared(shape.make).proxy();
        let job = Self::new(&Shape { endpoint: Some(proxy.endpoint()), ..shape.clone() });
        (job, proxy)
    }

    /// Writes the files into a folder: the job's own, or that of a further host.
    pub(crate) fn write(&self, workspace: &Workspace, shape: &Shape<'_>) {
        let endpoint = shape.endpoint.clone().unwrap_or_else(|| kinesis::shared(shape.make).endpoint());
        workspace
            .write("views/ads.yaml", self.views(shape))
            .component("user_impression_counts.wasm", shape.component);
        workspace.write(
            "host.yaml",
            format!(
                "{}
connections:
  aws:
    kinesis: {{ region: us-east-1, endpoint_url: \"{endpoint}\", {} }}
{}
",
                shape.store, shape.connection, shape.host
            ),
        );
    }

    fn views(&self, shape: &Shape<'_>) -> String {
        let (from, to, source, output) = (&self.source, &self.output, shape.source, shape.output);
        format!(
            "entity: {{ name: user, join_keys: {{ user_id: string }} }}
---
source:
  name: ads
  kinesis: {{ connection: aws, stream_name: {from}, {source} }}
  schema:
    user_uuid: {{ type: string, nullable: false }}
    ad_id: int64
    timestamp: timestamp
  timestamp_field: timestamp
  batch: {{ parquet: {{ path: data/ads, timestamp_field: timestamp }} }}
---
view:
  name: {VIEW}
  source: ads
  entities: [user]
  transform: {{ component: user_impression_counts.wasm }}
  features: {{ impression: int64 }}
  timestamp_field: timestamp
  online: true
  ttl: 36500d
  output_stream:
    kinesis: {{ connection: aws, stream_name: {to}, {output} }}
    include_features: true
    version: \"2\"
"
        )
    }

    /// Puts these events into the source stream.
    #[track_caller]
    pub(crate) fn put(&self, events: std::ops::Range<u64>) -> Vec<Event> {
        put(&self.client, &self.source, events)
    }

    /// A consumer of the output stream, from its beginning.
    pub(crate) fn tail(&self) -> Tail {
        Tail {
            client: kinesis::shared(self.make).client(),
            stream: self.output.clone(),
            seen: Vec::new(),
            places: BTreeSet::new(),
        }
    }

    /// Waits until all of these events came out at least once.
    #[track_caller]
    pub(crate) fn emitted(&self, host: &Host, tail: &mut Tail, events: &[Event]) {
        let waited = Instant::now();
        loop {
            tail.look();
            let missing = events.iter().filter(|event| !tail.places.contains(&event.place())).count();
            if missing == 0 {
                return;
            }
            assert!(
                waited.elapsed() < tests::LIMIT,
                "{missing} of {} events did not come out; the view is {:#}; the host said:\n{}",
                events.len(),
                host.view(VIEW),
                host.log()
            );
            thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Waits until that many different events more have come out.
    #[track_caller]
    pub(crate) fn emits(&self, host: &Host, tail: &mut Tail, count: usize, what: &str) {
        tail.look();
        let (before, waited) = (tail.count(), Instant::now());
        while tail.count() < before + count {
            assert!(
                waited.elapsed() < tests::LIMIT,
                "{what}: {} more; the view is {:#}; the host said:\n{}",
                tail.count() - before,
                host.view(VIEW),
                host.log()
            );
            thread::park_timeout(Duration::from_millis(50));
            tail.look();
        }
    }

    /// Has the independent checker look at everything that was put and seen.
    #[track_caller]
    pub(crate) fn check(&self, mode: &str, events: &[Event], vectors: &Value) {
        let mut lines = String::new();
        for event in events {
            writeln!(lines, "{}", json!([event.shard, event.sequence, event.user, event.time])).unwrap();
        }
        self.workspace.write("events.ndjson", lines);
        let mut lines = String::new();
        for record in self.client.read(&self.output) {
            let line = json!([record.shard, record.sequence, record.key, record.json()]);
            writeln!(lines, "{line}").unwrap();
        }
        self.workspace.write("seen.ndjson", lines).write("vectors.json", vectors.to_string());
        let checker = Command::new("python3")
            .arg(checkout().join("tests/checker/check_stream.py"))
            .args([mode, "events.ndjson", "seen.ndjson", "vectors.json"])
            .current_dir(self.workspace.path())
            .output()
            .expect("python3 was found");
        let said = String::from_utf8_lossy(&checker.stdout);
        assert!(checker.status.success(), "{said}{}", String::from_utf8_lossy(&checker.stderr));
    }
}

/// A consumer of the output stream beside the test.
pub(crate) struct Tail {
    client: Client,
    stream: String,
    /// In the order in which they were read, shard by shard each time.
    pub(crate) seen: Vec<Record>,
    /// Shard and position of the events whose records were seen.
    places: BTreeSet<(String, String)>,
}

impl Tail {
    /// Reads what is there.
    pub(crate) fn look(&mut self) {
        for record in self.client.more(&self.stream) {
            let source = &record.json()["source"];
            let text =
                |name: &str| source[name].as_str().expect("version 2 says where events stood").to_owned();
            self.places.insert((text("partition"), text("position")));
            self.seen.push(record);
        }
    }

    /// How many events' records were seen.
    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }
}

/// An event as it was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) shard: String,
    pub(crate) sequence: String,
    pub(crate) user: String,
    pub(crate) time: String,
}

impl Event {
    /// Its shard and its position as records show it.
    pub(crate) fn place(&self) -> (String, String) {
        (self.shard.clone(), format!("{}{:016x}", hex(&self.sequence), 0))
    }
}

/// 24 bytes of a decimal number.
fn hex(decimal: &str) -> String {
    let mut bytes = [0_u8; 24];
    for digit in decimal.bytes() {
        let mut carry = u32::from(digit - b'0');
        for byte in bytes.iter_mut().rev() {
            let product = u32::from(*byte) * 10 + carry;
            *byte = u8::try_from(product & 255).expect("eight bits");
            carry = product >> 8;
        }
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts these events, keyed by user. Times of neighbors go back and forth, so some rows are late.
#[track_caller]
pub(crate) fn put(client: &Client, stream: &str, events: std::ops::Range<u64>) -> Vec<Event> {
    let made: Vec<(String, String)> = events
        .map(|index| {
            let user = user_of(index);
            let event = impression(&user, index ^ 0x2f);
            (user, event.trim_end().to_owned())
        })
        .collect();
    let records: Vec<Record> = made.iter().map(|(user, event)| Record::new(user, event.as_bytes())).collect();
    let places = client.put(stream, &records);
    places
        .into_iter()
        .zip(made)
        .map(|((shard, sequence), (user, event))| {
            let event: Value = serde_json::from_str(&event).unwrap();
            let time = event["timestamp"].as_str().unwrap().to_owned();
            Event { shard, sequence, user, time }
        })
        .collect()
}

/// Puts events in order until told to stop; notes what was acknowledged.
pub(crate) struct Load<'a> {
    job: &'a Job,
    stop: AtomicBool,
    events: Mutex<Vec<Event>>,
    written: AtomicU64,
    /// How long it waits after each write.
    pause: Duration,
}

impl<'a> Load<'a> {
    pub(crate) fn new(job: &'a Job) -> Self {
        Self {
            job,
            stop: AtomicBool::new(false),
            events: Mutex::default(),
            written: AtomicU64::new(0),
            // One of the servers slows with what a shard holds.
            pause: Duration::from_millis(if job.make == Make::Local { 100 } else { 40 }),
        }
    }

    /// Runs the load while something is done.
    pub(crate) fn during<T>(&self, something: impl FnOnce() -> T) -> T {
        self.stop.store(false, Ordering::Release);
        thread::scope(|scope| {
            let _end = EndLoad(&self.stop);
            scope.spawn(|| {
                let client = kinesis::shared(self.job.make).client();
                while !self.stop.load(Ordering::Acquire) {
                    let from = self.written.load(Ordering::Relaxed);
                    let written = put(&client, &self.job.source, from..from + ROWS);
                    self.events.lock().unwrap().extend(written);
                    self.written.store(from + ROWS, Ordering::Relaxed);
                    thread::park_timeout(self.pause);
                }
            });
            something()
        })
    }

    /// What was acknowledged.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
}
