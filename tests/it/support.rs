//! Views and events that several tests use.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tests::{Answer, Host, Workspace};

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
    format!(
        "entity: {{ name: user, join_keys: {{ user_id: string }} }}
---
source:
  name: ad_impressions
  push: {{}}
  schema:
    user_uuid: {{ type: string, nullable: false }}
    ad_id: int64
    timestamp: timestamp
  timestamp_field: timestamp
---
view:
  name: user_impression_counts
  source: ad_impressions
  entities: [user]
  transform: {{ component: user_impression_counts.wasm }}
  features: {{ impression: int64 }}
  timestamp_field: timestamp
  online: true
  ttl: 36500d
  output_stream: {{ file: {{ path: out.ndjson }}, include_features: true, version: \"{version}\" }}
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
    let (second, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    format!(
        "{{\"user_uuid\":\"{user}\",\"ad_id\":7,\"timestamp\":\"2026-01-01T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z\"}}\n"
    )
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

/// Ends the load of a test when it goes, also by a panic: a scope would wait for the thread that makes it for ever.
pub(crate) struct EndLoad<'a>(pub(crate) &'a AtomicBool);

impl Drop for EndLoad<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
