//! The ad-impression view from stream to stream: folders, streams, events, and what must come out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tests::kafka::name;
use tests::kinesis::{self, Client, Make, Proxy, Record};
use tests::{Host, Workspace};

use crate::checker;
use crate::load::Target;
use crate::support::{Impression, ad_view_over};

/// Between two looks at the output: each is work for a server that has little time.
const BETWEEN: Duration = Duration::from_millis(50);

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
        let source = format!(
            "kinesis: {{ connection: aws, stream_name: {from}, {source} }}
  batch: {{ parquet: {{ path: data/ads, timestamp_field: timestamp }} }}"
        );
        let output = format!("kinesis: {{ connection: aws, stream_name: {to}, {output} }}");
        ad_view_over(("ads", &source), "", &format!("{{ {output}, include_features: true, version: \"2\" }}"))
    }

    /// Puts these events into the source stream.
    #[track_caller]
    pub(crate) fn put(&self, events: Range<u64>) -> Vec<Event> {
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
        host.eventually("all events come out", || {
            tail.look();
            let missing = events.iter().filter(|event| !tail.places.contains(&event.place())).count();
            if missing == 0 { Ok(()) } else { Err(format!("{missing} of {} did not", events.len())) }
        });
    }

    /// Waits until that many different events more have come out.
    #[track_caller]
    pub(crate) fn emits(&self, host: &Host, tail: &mut Tail, count: usize, what: &str) {
        tail.look();
        let before = tail.count();
        host.eventually(what, || {
            tail.look();
            let more = tail.count() - before;
            if more >= count { Ok(()) } else { Err(format!("{more} more")) }
        });
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
        let arguments = [mode, "events.ndjson", "seen.ndjson", "vectors.json"];
        checker::check(&self.workspace, "check_stream.py", &arguments);
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
    /// Reads what is there, after a while in which more may have come.
    pub(crate) fn look(&mut self) {
        thread::park_timeout(BETWEEN);
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

impl Target for Job {
    type Event = Event;

    const ROWS: u64 = 20;

    fn pause(&self) -> Duration {
        // One of the servers slows with what a shard holds.
        Duration::from_millis(if self.make == Make::Local { 100 } else { 40 })
    }

    fn writer(&self) -> impl FnMut(Range<u64>) -> Vec<Event> {
        let client = kinesis::shared(self.make).client();
        move |events| put(&client, &self.source, events)
    }
}

/// Puts these events, keyed by user.
#[track_caller]
fn put(client: &Client, stream: &str, events: Range<u64>) -> Vec<Event> {
    let made: Vec<Impression> = events.map(Impression::new).collect();
    let records: Vec<Record> = made.iter().map(|event| Record::new(&event.user, event.json())).collect();
    let places = client.put(stream, &records);
    let event = |((shard, sequence), Impression { user, time, .. })| Event { shard, sequence, user, time };
    places.into_iter().zip(made).map(event).collect()
}
