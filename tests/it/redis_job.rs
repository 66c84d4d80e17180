//! The driver-statistics view from pushes into Redis: folders, events, and what must be stored.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tests::redis::Server;
use tests::{Answer, Host, Workspace};

use crate::load::{EndLoad, push_in_order};
use crate::support::time;

pub(crate) const VIEW: &str = "driver_hourly_stats";
pub(crate) const SOURCE: &str = "driver_stats";
/// The keys that hosts use among each other.
pub(crate) const CLAIM: &str = "millrace:default:claim:driver_hourly_stats";
pub(crate) const WRITERS: &str = "millrace:default:writers:driver_hourly_stats";
/// How many drivers the events are about.
pub(crate) const DRIVERS: u64 = 40;
/// Events in one push of a load.
pub(crate) const ROWS: u64 = 50;
/// Between two pushes of a load.
const PAUSE: Duration = Duration::from_millis(10);
/// So many events have their times in no order, before all that follow.
const DISORDER: u64 = 1024;

/// Rows of all views go to Redis.
pub(crate) const SHARED: &str =
    "online_store: { redis: { connection: cache }, embedded: { checkpoint_interval: 100ms } }";

/// The keys of a connection to a server.
pub(crate) fn at(server: &Server) -> String {
    format!("address: \"{}\"", server.address())
}

/// A folder with the view and a connection to Redis, of which these are the keys.
pub(crate) fn folder(redis: &str) -> Workspace {
    let workspace = Workspace::new();
    write(&workspace, redis, SHARED);
    workspace
}

/// Writes the files; `store` is the line that says where rows are kept, and whatever else `host.yaml` has.
pub(crate) fn write(workspace: &Workspace, redis: &str, store: &str) {
    workspace.write("views/drivers.yaml", views()).component("driver_stats.wasm", "driver_stats");
    host_file(workspace, redis, store);
}

/// Writes `host.yaml` alone.
pub(crate) fn host_file(workspace: &Workspace, redis: &str, store: &str) {
    workspace.write("host.yaml", format!("{store}\nconnections: {{ cache: {{ redis: {{ {redis} }} }} }}\n"));
}

/// The text of the view: the driver statistics of Feast's documentation, pushed.
pub(crate) fn views() -> String {
    format!(
        "entity: {{ name: driver, join_keys: {{ driver_id: int64 }} }}
---
source:
  name: {SOURCE}
  push: {{}}
  schema:
    driver_id: int64 not null
    event_timestamp: timestamp
    conv_rate: float64
    acc_rate: float64
    created: timestamp
  timestamp_field: event_timestamp
  watermark_delay_threshold: 5m
  batch: {{ parquet: {{ path: data/driver_stats.parquet, timestamp_field: event_timestamp }} }}
---
view:
  name: {VIEW}
  source: {SOURCE}
  entities: [driver]
  transform: {{ component: driver_stats.wasm }}
  features: {{ conv_percentage: float32, acc_percentage: float32 }}
  timestamp_field: event_timestamp
  online: true
  ttl: 8640000000s
  output_stream: {{ file: {{ path: out.ndjson }}, include_features: true, version: \"2\" }}
"
    )
}

/// Writes a file with the same view under another name and without output; `change` does something to its text.
pub(crate) fn further_view(workspace: &Workspace, name: &str, change: impl FnOnce(String) -> String) {
    let views = views();
    let (view, _) = views.split("---\n").last().unwrap().split_once("  output_stream:").unwrap();
    let view = change(view.replace(&format!("name: {VIEW}"), &format!("name: {name}")));
    workspace.write(&format!("views/{name}.yaml"), view);
}

/// The keys of entities: all but those that hosts use among each other.
#[track_caller]
pub(crate) fn entities(server: &Server) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = server.ask(&["KEYS", "*"]);
    keys.retain(|key| !key.starts_with(b"millrace:"));
    keys
}

/// Whom an event is about.
pub(crate) fn driver_of(index: u64) -> u64 {
    index.wrapping_mul(2_654_435_761) / 7 % DRIVERS
}

/// When it happened: each index has a time of its own.
pub(crate) fn time_of(index: u64) -> String {
    let micros = index / DISORDER * DISORDER + index * 421 % DISORDER;
    time(micros)
}

/// One event. Its percentage is its index; its second rate is missing now and then.
pub(crate) fn event(index: u64) -> String {
    event_of(driver_of(index), index)
}

/// The same about another driver.
pub(crate) fn event_of(driver: u64, index: u64) -> String {
    let rate = |number: u64| f64::from(u32::try_from(number).unwrap()) / 100.0;
    let acc = if index.is_multiple_of(3) { Value::Null } else { json!(rate(index % 100)) };
    let event = json!({
        "driver_id": driver, "event_timestamp": time_of(index), "conv_rate": rate(index), "acc_rate": acc, "created": null,
    });
    format!("{event}\n")
}

/// Events of these indexes.
pub(crate) fn events(indexes: impl IntoIterator<Item = u64>) -> String {
    indexes.into_iter().map(event).collect()
}

/// The newest event of each driver, recomputed: time and index.
pub(crate) fn newest(indexes: impl IntoIterator<Item = u64>) -> BTreeMap<u64, (String, u64)> {
    let mut newest = BTreeMap::new();
    for index in indexes {
        let this = (time_of(index), index);
        let known = newest.entry(driver_of(index)).or_insert_with(|| this.clone());
        if *known < this {
            *known = this;
        }
    }
    newest
}

/// How many records came out so far.
pub(crate) fn emitted(workspace: &Workspace) -> usize {
    let bytes = fs::read(workspace.join("out.ndjson")).unwrap_or_default();
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Waits until there are that many records, and no more.
#[track_caller]
pub(crate) fn all_emitted(workspace: &Workspace, host: &Host, count: usize) {
    host.eventually("all records come out", || match emitted(workspace) {
        there if there >= count => Ok(()),
        there => Err(format!("{there} of {count} are there")),
    });
    assert_eq!(emitted(workspace), count, "a record stands twice");
}

/// Waits until that many records more came out.
#[track_caller]
pub(crate) fn emits(workspace: &Workspace, host: &Host, count: usize, what: &str) {
    let before = emitted(workspace);
    host.eventually(what, || match emitted(workspace).saturating_sub(before) {
        more if more >= count => Ok(()),
        more => Err(format!("{more} more")),
    });
}

/// The rows of drivers, through our own reads.
#[track_caller]
pub(crate) fn rows(host: &Host, view: &str, drivers: impl IntoIterator<Item = u64>) -> Vec<Value> {
    try_rows(host, view, drivers).unwrap_or_else(|answer| panic!("{} {}", answer.status, answer.text))
}

#[track_caller]
fn try_rows(host: &Host, view: &str, drivers: impl IntoIterator<Item = u64>) -> Result<Vec<Value>, Answer> {
    let entities: Vec<Value> = drivers.into_iter().map(|driver| json!({"driver_id": driver})).collect();
    let answer = host.post(&format!("/v1/features/{view}"), json!({"entities": entities}).to_string());
    if answer.status != 200 {
        return Err(answer);
    }
    // Whoever is asked answers for every entity.
    assert_eq!(answer.header("millrace-partial"), None, "{:?}", answer.headers);
    let body = answer.json();
    assert_eq!(body["partial"], Value::Null, "{body}");
    Ok(body["rows"].as_array().unwrap().clone())
}

/// What is stored is the newest of each driver, time and values.
#[track_caller]
pub(crate) fn check(host: &Host, newest: &BTreeMap<u64, (String, u64)>) {
    let wrong = differences(&rows(host, VIEW, newest.keys().copied()), newest);
    assert!(wrong.is_empty(), "{}\nthe host said:\n{}", wrong.join("\n"), host.log());
}

/// The same, once what was lost at a failover is found and made again.
#[track_caller]
pub(crate) fn repaired(host: &Host, newest: &BTreeMap<u64, (String, u64)>) {
    host.eventually("what was lost is made again", || {
        host.view_when(VIEW, "it runs", |view| view["state"] == "running");
        let wrong = match try_rows(host, VIEW, newest.keys().copied()) {
            Ok(rows) => differences(&rows, newest),
            // It has found out just now.
            Err(answer) => vec![answer.text],
        };
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    });
}

fn differences(rows: &[Value], newest: &BTreeMap<u64, (String, u64)>) -> Vec<String> {
    assert!(!newest.is_empty());
    let mut wrong = Vec::new();
    for ((driver, (time, index)), row) in newest.iter().zip(rows) {
        let percentage = row["features"]["conv_percentage"].as_f64();
        let expected = Some(f64::from(u32::try_from(*index).unwrap()));
        let is_null = row["features"]["acc_percentage"].is_null();
        if row["feature_timestamp"] != time.as_str()
            || percentage != expected
            || is_null != (index.is_multiple_of(3))
        {
            wrong.push(format!("driver {driver}: {row}, but the newest is {index} of {time}"));
        }
    }
    wrong
}

/// Pushes every so many-th event to a host until told to stop, each request until it has an answer.
pub(crate) struct Load {
    lane: u64,
    lanes: u64,
    stop: AtomicBool,
    /// Requests that were acknowledged.
    requests: AtomicU64,
}

impl Load {
    /// The events whose index is `lane`, modulo `lanes`.
    pub(crate) fn new(lane: u64, lanes: u64) -> Self {
        Self { lane, lanes, stop: AtomicBool::new(false), requests: AtomicU64::new(0) }
    }

    fn request(&self, number: u64) -> impl Iterator<Item = u64> {
        let (lane, lanes) = (self.lane, self.lanes);
        (number * ROWS..(number + 1) * ROWS).map(move |index| index * lanes + lane)
    }

    /// The indexes of what was acknowledged.
    pub(crate) fn events(&self) -> impl Iterator<Item = u64> {
        (0..self.requests.load(Ordering::Acquire)).flat_map(|number| self.request(number))
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.requests.load(Ordering::Acquire) * ROWS).unwrap()
    }

    /// Runs the load while something is done.
    pub(crate) fn during<T>(&self, host: &Host, something: impl FnOnce() -> T) -> T {
        self.stop.store(false, Ordering::Release);
        thread::scope(|scope| {
            let _end = EndLoad(&self.stop);
            scope.spawn(|| {
                let request = |number| events(self.request(number));
                push_in_order(&host.url, SOURCE, &self.stop, &self.requests, PAUSE, request);
            });
            something()
        })
    }
}
