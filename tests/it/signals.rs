//! Signals: SIGTERM finishes, a second one does not wait, SIGHUP looks at the files.

use serde_json::Value;
use tests::{Host, Workspace, eventually};

use crate::support::{ad_impressions, impression, read, slow_ad_impressions};

const VIEW: &str = "user_impression_counts";
const COMPONENT: &str = "user_impression_counts.wasm";

/// A host in the middle of a batch that takes it seconds.
fn busy(settings: &str) -> (Workspace, Host) {
    let workspace = Workspace::new();
    slow_ad_impressions(&workspace);
    workspace.write("host.yaml", settings);
    let host = Host::start(&workspace);
    push(&host, 0..500);
    push(&host, 500..8000);
    // When the first batch is emitted, the next is in the guest.
    eventually("the first batch is emitted", || (!workspace.lines("out.ndjson").is_empty()).then_some(()));
    (workspace, host)
}

fn push(host: &Host, rows: std::ops::Range<u64>) {
    host.push("ad_impressions", rows.map(|row| impression(&format!("u{row}"), row)).collect::<String>());
}

#[track_caller]
fn exits(host: Host, code: i32, contains: &str) {
    let (status, log) = host.wait();
    assert_eq!(status.code(), Some(code), "{log}");
    assert!(log.contains(contains), "`{contains}` is not in {log}");
}

#[test]
fn a_second_signal_does_not_wait() {
    let (_workspace, host) = busy("");
    host.signal("-TERM");
    eventually("it is stopping", || host.log().contains("stopping").then_some(()));
    host.signal("-TERM");
    exits(host, 70, "second signal");
}

#[test]
fn what_is_not_finished_within_the_grace_period_is_taken_again() {
    let (workspace, host) = busy("shutdown_grace: 100ms\n");
    host.signal("-INT");
    exits(host, 70, "replayed");
    workspace.write("host.yaml", "");
    let host = Host::start(&workspace);
    host.view_when(VIEW, "it has taken everything", |view| {
        view["positions"][0]["emitted"] == "0000000000001f3f"
    });
    let lines = workspace.lines("out.ndjson");
    assert_eq!(lines.len(), 8000);
    assert!(host.stop().success());
}

#[test]
fn a_hangup_makes_the_host_look() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start_with(&workspace, &["--no-watch"]);
    workspace.component(COMPONENT, "ad_impressions_v2");
    host.push("ad_impressions", impression("before", 1));
    eventually("the old version runs", || {
        (read(&host, "before").json()["results"][1]["values"][0] == 1).then_some(())
    });
    host.signal("-HUP");
    host.view_when(VIEW, "the new version is live", |view| view["generation"] == 2);
    assert!(host.stop().success());
}

#[test]
fn a_component_that_comes_during_the_stop_is_taken_by_the_next_start() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "2");
    let host = Host::start(&workspace);
    push(&host, 0..5000);
    eventually("all is emitted", || (workspace.lines("out.ndjson").len() == 5000).then_some(()));
    host.signal("-TERM");
    workspace.component(COMPONENT, "ad_impressions_v2");
    exits(host, 0, "stopped");
    assert_eq!(workspace.lines("out.ndjson").len(), 5000);
    let host = Host::start(&workspace);
    host.push("ad_impressions", impression("after", 9000));
    let lines = eventually("the next event is emitted", || {
        let lines = workspace.lines("out.ndjson");
        (lines.len() == 5001).then_some(lines)
    });
    let last: Value = serde_json::from_str(&lines[5000]).unwrap();
    assert_eq!(last["feature_values"]["impression"], 10, "{last}");
    assert!(host.stop().success());
}

#[test]
fn log_lines_can_be_json() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start_with(&workspace, &["--log-format", "json"]);
    let log = host.log();
    assert!(log.lines().count() > 1);
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry["level"].is_string() && entry["timestamp"].is_string(), "{line}");
    }
    assert!(host.stop().success());
}
