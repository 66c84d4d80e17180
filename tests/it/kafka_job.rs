//! The ad-impression view from topic to topic: folders, topics, events, and what must come out.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};
use tests::kafka::{self, Client, Record};
use tests::{Host, Workspace};

use crate::checker;
use crate::load::Target;
use crate::support::{Impression, VIEW, ad_view_over, metric};

/// The metric of events that a view has before it.
const LAG: &str = "millrace_view_lag_events";

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
        let source = format!("kafka: {{ connection: main, topic: {from}, group: {group}, {source} }}");
        let output = format!("kafka: {{ connection: {output_connection}, topic: {to}, {output} }}");
        let output = format!("{{ {output}, include_features: true, {stream} }}");
        ad_view_over(("ads", &source), &format!(", {transform}"), &output)
    }

    /// Produces these events to the source topic.
    #[track_caller]
    pub(crate) fn produce(&self, events: Range<u64>) -> Vec<Event> {
        write(&self.client.writer(&self.source), events)
    }

    /// Waits until the output topic has that many records, and gives them.
    #[track_caller]
    pub(crate) fn records(&self, host: &Host, count: usize) -> Vec<Record> {
        let tail = self.client.tail(&self.output);
        host.eventually("records come out", || match tail.count() {
            there if there >= count => Ok(()),
            there => Err(format!("{there} of {count} are there")),
        });
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
        let arguments = [mode, &self.source, &outputs, "events.ndjson", "seen.ndjson", "vectors.json"];
        checker::check(&self.workspace, "check_topic.py", &arguments);
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

impl Target for Job {
    type Event = Event;

    const ROWS: u64 = 50;

    fn pause(&self) -> Duration {
        Duration::from_millis(10)
    }

    fn writer(&self) -> impl FnMut(Range<u64>) -> Vec<Event> {
        let writer = self.client.writer(&self.source);
        move |events| write(&writer, events)
    }
}

/// Produces these events, keyed by user.
#[track_caller]
pub(crate) fn write(writer: &kafka::Writer, events: Range<u64>) -> Vec<Event> {
    let made: Vec<Impression> = events.map(Impression::new).collect();
    let places = writer.write(made.iter().map(|event| Record::new(event.json()).key(event.user.as_bytes())));
    let event =
        |((partition, offset), Impression { user, time, .. })| Event { partition, offset, user, time };
    places.into_iter().zip(made).map(event).collect()
}

/// Waits until the host says that the view has nothing before it.
#[track_caller]
pub(crate) fn no_lag(host: &Host) {
    host.eventually("the view has nothing before it", || match metric(host, LAG, &[VIEW]) {
        Some(0.0) => Ok(()),
        lag => Err(format!("its lag is {lag:?}")),
    });
}
