//! The ad-impression view from topic to topic: folders, topics, events, and what must come out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::kafka::{self, Client, Record};
use tests::{Host, Workspace, checkout};

use crate::support::impression;

pub(crate) const VIEW: &str = "user_impression_counts";
/// The metric of events that a view has before it.
const LAG: &str = "millrace_view_lag_events";
/// How many users the events are about.
pub(crate) const USERS: u64 = 40;

/// How a job differs from the usual one.
pub(crate) struct Shape<'a> {
    /// Partitions of the source topic.
    pub(crate) partitions: i32,
    /// Partitions of the output topic; 0 = it is not made.
    pub(crate) outputs: i32,
    /// Further keys of the source's `kafka`.
    pub(crate) source: &'a str,
    /// The output's connection.
    pub(crate) output_connection: &'a str,
    /// Further keys of the output's `kafka`.
    pub(crate) output: &'a str,
    /// Further keys of the output stream.
    pub(crate) stream: &'a str,
    /// Further keys of the transform.
    pub(crate) transform: &'a str,
    /// The component.
    pub(crate) component: &'a str,
    /// Further lines of `host.yaml`; those that are indented are further connections.
    pub(crate) host: &'a str,
    /// Further keys of the connection.
    pub(crate) connection: &'a str,
    /// Addresses that the host is given; the shared broker's unless said otherwise.
    pub(crate) bootstrap: Option<String>,
    /// A client of the cluster; the shared broker's unless said otherwise.
    pub(crate) client: Option<Client>,
}

impl Default for Shape<'_> {
    fn default() -> Self {
        Self {
            partitions: 2,
            outputs: 3,
            source: "start: earliest",
            output_connection: "main",
            output: "",
            stream: "version: \"2\"",
            transform: "",
            component: "ad_impressions",
            host: "",
            connection: "",
            bootstrap: None,
            client: None,
        }
    }
}

/// Topics, a group and a folder of one test.
pub(crate) struct Job {
    pub(crate) workspace: Workspace,
    pub(crate) client: Client,
    pub(crate) source: String,
    pub(crate) output: String,
    pub(crate) group: String,
}

impl Job {
    /// Makes topics and files; nothing runs yet.
    #[track_caller]
    pub(crate) fn new(shape: &Shape<'_>) -> Self {
        let client = shape.client.clone().unwrap_or_else(|| kafka::shared().client());
        let job = Self {
            workspace: Workspace::new(),
            client,
            source: kafka::name("ads"),
            output: kafka::name("features"),
            group: kafka::name("group"),
        };
        job.client.create(&job.source, shape.partitions, &[]);
        if shape.outputs > 0 {
            job.client.create(&job.output, shape.outputs, &[]);
        }
        job.write(&job.workspace, shape);
        job
    }

    /// Writes the files into a folder: the job's own, or that of a further host.
    pub(crate) fn write(&self, workspace: &Workspace, shape: &Shape<'_>) {
        let bootstrap = shape.bootstrap.clone().unwrap_or_else(|| kafka::shared().bootstrap());
        workspace
            .write("views/ads.yaml", self.views(shape))
            .component("user_impression_counts.wasm", shape.component);
        workspace.write(
            "host.yaml",
            format!(
                "online_store: {{ embedded: {{ checkpoint_interval: 100ms }} }}
connections:
  main:
    kafka: {{ bootstrap_servers: \"{bootstrap}\", {} }}
{}
",
                shape.connection, shape.host
            ),
        );
    }

    fn views(&self, shape: &Shape<'_>) -> String {
        let Shape { source, output_connection, output, stream, transform, .. } = shape;
        let (from, to, group) = (&self.source, &self.output, &self.group);
        format!(
            "entity: {{ name: user, join_keys: {{ user_id: string }} }}
---
source:
  name: ads
  kafka: {{ connection: main, topic: {from}, group: {group}, {source} }}
  schema:
    user_uuid: {{ type: string, nullable: false }}
    ad_id: int64
    timestamp: timestamp
  timestamp_field: timestamp
---
view:
  name: {VIEW}
  source: ads
  entities: [user]
  transform: {{ component: user_impression_counts.wasm, {transform} }}
  features: {{ impression: int64 }}
  timestamp_field: timestamp
  online: true
  ttl: 36500d
  output_stream: {{ kafka: {{ connection: {output_connection}, topic: {to}, {output} }}, include_features: true, {stream} }}
"
        )
    }

    /// Produces these events to the source topic.
    #[track_caller]
    pub(crate) fn produce(&self, events: std::ops::Range<u64>) -> Vec<Event> {
        write(&self.client.writer(&self.source), events)
    }

    /// Waits until the output topic has that many records, and gives them.
    #[track_caller]
    pub(crate) fn records(&self, host: &Host, count: usize) -> Vec<Record> {
        let tail = self.client.tail(&self.output);
        let waited = Instant::now();
        while tail.count() < count {
            assert!(
                waited.elapsed() < tests::LIMIT,
                "{} of {count} records are there; the view is {:#}; the host said:\n{}",
                tail.count(),
                host.view(VIEW),
                host.log()
            );
            thread::park_timeout(Duration::from_millis(10));
        }
        drop(tail);
        let records = self.client.read(&self.output);
        assert_eq!(records.len(), count, "more records than expected");
        records
    }

    /// Waits until the view runs and has emitted everything that stands in the source topic.
    #[track_caller]
    pub(crate) fn caught_up(&self, host: &Host) {
        for (partition, (first, end)) in self.client.ends(&self.source) {
            if end == first {
                continue;
            }
            let (name, last) = (format!("{}-{partition}", self.source), format!("{:016x}", end - 1));
            host.view_when(VIEW, &format!("it is through {last} of {name}"), |view| {
                let positions = view["positions"].as_array().cloned().unwrap_or_default();
                let mut positions =
                    positions.iter().filter(|position| position["partition"] == name.as_str());
                view["state"] == "running" && positions.any(|position| position["emitted"] == last.as_str())
            });
        }
    }

    /// Has the independent checker look at everything that was produced and seen.
    #[track_caller]
    pub(crate) fn check(&self, mode: &str, events: &[Event], seen: &[Record], vectors: &Value) {
        let mut lines = String::new();
        for event in events {
            writeln!(lines, "{}", json!([event.partition, event.offset, event.user, event.time])).unwrap();
        }
        self.workspace.write("events.ndjson", lines);
        let mut lines = String::new();
        for record in seen {
            let header = record.header_text("millrace");
            let line = json!([record.partition, record.offset, record.key_text(), header, record.json()]);
            writeln!(lines, "{line}").unwrap();
        }
        self.workspace.write("seen.ndjson", lines).write("vectors.json", vectors.to_string());
        let outputs = self.client.ends(&self.output).len().to_string();
        let checker = Command::new("python3")
            .arg(checkout().join("tests/checker/check_topic.py"))
            .args([mode, &self.source, &outputs, "events.ndjson", "seen.ndjson", "vectors.json"])
            .current_dir(self.workspace.path())
            .output()
            .expect("python3 was found");
        assert!(checker.status.success(), "{}", String::from_utf8_lossy(&checker.stdout));
    }
}

/// An event as it was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) user: String,
    pub(crate) time: String,
}

/// Produces these events, keyed by user. Times of neighbors go back and forth, so some rows are late.
#[track_caller]
pub(crate) fn write(writer: &kafka::Writer, events: std::ops::Range<u64>) -> Vec<Event> {
    let made: Vec<(String, String)> = events
        .map(|index| {
            let user = user_of(index);
            let event = impression(&user, index ^ 0x2f);
            (user, event.trim_end().to_owned())
        })
        .collect();
    let places =
        writer.write(made.iter().map(|(user, event)| Record::new(event.as_bytes()).key(user.as_bytes())));
    places
        .into_iter()
        .zip(made)
        .map(|((partition, offset), (user, event))| {
            let event: Value = serde_json::from_str(&event).unwrap();
            let time = event["timestamp"].as_str().unwrap().to_owned();
            Event { partition, offset, user, time }
        })
        .collect()
}

/// Whom an event is about.
pub(crate) fn user_of(index: u64) -> String {
    format!("u{}", index.wrapping_mul(2_654_435_761) % USERS)
}

/// A metric's value, summed over the samples whose labels contain all of these texts; `None` without a sample.
pub(crate) fn metric(host: &Host, name: &str, labels: &[&str]) -> Option<f64> {
    let text = host.get("/metrics").text;
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (found, value) = rest.rsplit_once(' ')?;
        let exact = found.is_empty() || found.starts_with('{');
        (exact && labels.iter().all(|label| found.contains(label))).then(|| value.parse::<f64>().ok())?
    });
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// Waits until the view has that many partitions.
#[track_caller]
pub(crate) fn assigned(host: &Host, count: usize) {
    host.view_when(VIEW, "it has its partitions", |view| {
        let positions = view["positions"].as_array().map_or(0, Vec::len);
        view["state"] == "running" && positions == count
    });
}

/// Waits until the host says that the view has nothing before it.
#[track_caller]
pub(crate) fn no_lag(host: &Host) {
    let waited = Instant::now();
    while metric(host, LAG, &[VIEW]) != Some(0.0) {
        let metrics = host.get("/metrics").text;
        let lines: Vec<&str> = metrics.lines().filter(|line| line.starts_with(LAG)).collect();
        assert!(
            waited.elapsed() < tests::LIMIT,
            "the lag does not go away: {lines:#?}; the view is {:#}; the host said:\n{}",
            host.view(VIEW),
            host.log()
        );
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// Every user's vector, as the checker wants it: value and time by user.
#[track_caller]
pub(crate) fn vectors(host: &Host) -> Value {
    let entities: Vec<Value> = (0..USERS).map(|user| json!({"user_id": format!("u{user}")})).collect();
    let answer = host.post(&format!("/v1/features/{VIEW}"), json!({"entities": entities}).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = answer.json();
    let rows = body["rows"].as_array().expect("there is a row for each entity");
    let vectors: BTreeMap<String, &Value> =
        rows.iter().enumerate().map(|(user, row)| (format!("u{user}"), row)).collect();
    json!(vectors)
}
