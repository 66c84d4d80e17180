//! Views and events that several tests use.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tests::{Answer, Host, Workspace};

/// The name of the ad-impression view.
pub(crate) const VIEW: &str = "user_impression_counts";
/// How many users a load of impressions is about.
pub(crate) const USERS: u64 = 40;

/// The ad-impression view with an output stream of that record version; checkpoints are frequent, so that crashes fall
/// before, into and after them.
pub(crate) fn ad_impressions(workspace: &Workspace, version: &str) {
    workspace
        .write("views/ads.yaml", ad_view(version))
        .component("user_impression_counts.wasm", "ad_impressions");
    workspace.write("host.yaml", "online_store: { embedded: { checkpoint_interval: 100ms } }\n");
}

/// The text of that view.
pub(crate) fn ad_view(version: &str) -> String {
    ad_view_over(
        ("ad_impressions", "push: {}"),
        "",
        &format!("{{ file: {{ path: out.ndjson }}, include_features: true, version: \"{version}\" }}"),
    )
}

/// The ad-impression view over a source of that name and kind; with further keys of its transform, and an output stream.
pub(crate) fn ad_view_over((source, kind): (&str, &str), transform: &str, output: &str) -> String {
    format!(
        "entity: {{ name: user, join_keys: {{ user_id: string }} }}
---
source:
  name: {source}
  {kind}
  schema:
    user_uuid: {{ type: string, nullable: false }}
    ad_id: int64
    timestamp: timestamp
  timestamp_field: timestamp
---
view:
  name: {VIEW}
  source: {source}
  entities: [user]
  transform: {{ component: user_impression_counts.wasm{transform} }}
  features: {{ impression: int64 }}
  timestamp_field: timestamp
  online: true
  ttl: 36500d
  output_stream: {output}
"
    )
}

/// The ad-impression view, but a row takes it a millisecond or more, and checkpoints are as good as none: time to look
/// at what lies between.
pub(crate) fn slow_ad_impressions(workspace: &Workspace) {
    let view = ad_view("2").replace(
        "component: user_impression_counts.wasm",
        "component: user_impression_counts.wasm, params: { do: dawdle }, limits: { time: 600s }",
    );
    workspace.write("views/ads.yaml", view).component("user_impression_counts.wasm", "misbehave");
    workspace.write("host.yaml", "online_store: { embedded: { checkpoint_interval: 1h } }\n");
}

/// A Feast-shaped read of one user's count.
pub(crate) fn read(host: &Host, user: &str) -> Answer {
    let request = json!({"features": ["user_impression_counts:impression"], "entities": {"user_id": [user]}});
    host.post("/get-online-features", request.to_string())
}

/// One ad impression. `micros` counts from 2026-01-01 and makes its time unique.
pub(crate) fn impression(user: &str, micros: u64) -> String {
    format!("{{\"user_uuid\":\"{user}\",\"ad_id\":7,\"timestamp\":\"{}\"}}\n", time(micros))
}

/// That many microseconds after the beginning of 2026-01-01.
pub(crate) fn time(micros: u64) -> String {
    let (second, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    format!("2026-01-01T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
}

/// An impression of a load.
pub(crate) struct Impression {
    pub(crate) user: String,
    pub(crate) time: String,
    /// As [`impression`] has it.
    pub(crate) line: String,
}

impl Impression {
    /// The one of that number. Times of neighbors go back and forth, so some rows are late.
    pub(crate) fn new(number: u64) -> Self {
        let user = format!("u{}", number.wrapping_mul(2_654_435_761) % USERS);
        let micros = number ^ 0x2f;
        Self { time: time(micros), line: impression(&user, micros), user }
    }

    /// Without the end of the line.
    pub(crate) fn json(&self) -> &[u8] {
        self.line.trim_end().as_bytes()
    }
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

/// The dead letters so far.
pub(crate) fn dead_letters(workspace: &Workspace) -> Vec<Value> {
    let lines = workspace.lines(".millrace/dead_letter.ndjson");
    lines.iter().map(|line| serde_json::from_str(line).expect("dead letters are JSON lines")).collect()
}

/// Whether Python 3 is there.
pub(crate) fn python() -> bool {
    tests::require(
        "python3",
        Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()),
    )
}

/// A Python with Feast and its Redis client, or a skip that names the test.
pub(crate) fn feast() -> Option<PathBuf> {
    let venv = std::env::var_os("MILLRACE_FEAST_VENV").map(PathBuf::from);
    let python = venv.map(|venv| venv.join("bin/python")).filter(|python| python.is_file());
    tests::require("Feast in the virtual environment that MILLRACE_FEAST_VENV names", python.is_some());
    python
}

/// How often a host is killed: `MILLRACE_KILL_ROUNDS` for long runs.
pub(crate) fn rounds(usual: u64) -> u64 {
    std::env::var("MILLRACE_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
