//! The driver-statistics view from pushes into Redis: folders, events, and what must be stored.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Answer, Host, Workspace};

use crate::support::EndLoad;

pub(crate) const VIEW: &str = "driver_hourly_stats";
pub(crate) const SOURCE: &str = "driver_stats";
/// The keys that hosts use among each other.
pub(crate) const CLAIM: &str = "millrace:default:claim:driver_hourly_stats";
pub(crate) const WRITERS: &str = "millrace:default:writers:driver_hourly_stats";
/// How many drivers the events are about.
pub(crate) const DRIVERS: u64 = 40;
/// Events in one push of a load.
pub(crate) const ROWS: u64 = 50;
/// So many events have their times in no order, before all that follow.
const DISORDER: u64 = 1024;

/// Rows of all views go to Redis.
pub(crate) const SHARED: &str =
    "online_store: { redis: { connection: cache }, embedded: { checkpoint_interval: 100ms } }";

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

/// Whom an event is about.
pub(crate) fn driver_of(index: u64) -> u64 {
    index.wrapping_mul(2_654_435_761) / 7 % DRIVERS
}

/// When it happened: each index has a time of its own.
pub(crate) fn time_of(index: u64) -> String {
    let micros = index / DISORDER * DISORDER + index * 421 % DISORDER;
    let (second, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (minute, second) = (second / 60, second % 60);
    format!("2026-01-01T00:{minute:02}:{second:02}.{fraction:06}Z")
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
    let waited = Instant::now();
    while emitted(workspace) < count {
        assert!(
            waited.elapsed() < tests::LIMIT,
            "{} of {count} records came out; {}; the host said:\n{}",
            emitted(workspace),
            host.get("/readyz").text,
            host.log()
        );
        thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(emitted(workspace), count, "a record stands twice");
}

/// Waits until that many records more came out.
#[track_caller]
pub(crate) fn emits(workspace: &Workspace, host: &Host, count: usize, what: &str) {
    let (before, waited) = (emitted(workspace), Instant::now());
    while emitted(workspace) < before + count {
        assert!(
            waited.elapsed() < tests::LIMIT,
            "{what}: {} more; {}; the host said:\n{}",
            emitted(workspace) - before,
            host.try_get("/readyz").map(|answer| answer.text).unwrap_or_default(),
            host.log()
        );
        thread::park_timeout(Duration::from_millis(20));
    }
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
    let waited = Instant::now();
    loop {
        host.view_when(VIEW, "it runs", |view| view["state"] == "running");
        let wrong = match try_rows(host, VIEW, newest.keys().copied()) {
            Ok(rows) => differences(&rows, newest),
            // It has found out just now.
            Err(answer) => vec![answer.text],
        };
        if wrong.is_empty() {
            return;
        }
        assert!(waited.elapsed() < tests::LIMIT, "{}\nthe host said:\n{}", wrong.join("\n"), host.log());
        thread::park_timeout(Duration::from_millis(100));
    }
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
            scope.spawn(|| self.push(&host.url));
            something()
        })
    }

    fn push(&self, url: &str) {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)));
        let agent: ureq::Agent = config.build().into();
        while !self.stop.load(Ordering::Acquire) {
            let number = self.requests.load(Ordering::Relaxed);
            let response = agent
                .post(format!("{url}/v1/push/{SOURCE}"))
                .header("Millrace-Producer", "load")
                .header("Millrace-Sequence", (number + 1).to_string())
                .send(events(self.request(number)));
            // Without an answer nothing is known: it is sent again, and recognized.
            if response.is_ok_and(|response| response.status() == 200) {
                self.requests.store(number + 1, Ordering::Release);
                thread::park_timeout(Duration::from_millis(10));
            }
        }
    }
}
