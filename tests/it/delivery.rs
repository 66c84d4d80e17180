//! kill -9 under load, again and again: nothing acknowledged is lost, nothing is repeated, order is kept, and what is
//! stored is the newest. A checker in another language recomputes all of it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Host, Workspace, eventually};

use crate::checker::check;
use crate::load::{EndLoad, push_in_order};
use crate::support::{Impression, USERS, VIEW, ad_impressions, python, rounds};

/// How often the host is killed.
pub(crate) const KILLS: u64 = 8;
/// Impressions in one request.
const ROWS: u64 = 50;

/// What one request carries. Within a request and between neighbors times go back and forth, so some rows are late.
pub(crate) fn request(number: u64) -> String {
    (number * ROWS..(number + 1) * ROWS).map(|number| Impression::new(number).line).collect()
}

#[test]
fn kill_loses_nothing_and_repeats_nothing() {
    kill_rounds(|_, _, _| {});
}

/// The same while components are replaced: what was made by one version before the crash is made by it after it, too.
#[test]
fn kill_during_swaps_mixes_nothing() {
    kill_rounds(|workspace, host, round| {
        let built = ["ad_impressions", "ad_impressions_v2"][usize::from(round % 2 == 0)];
        workspace.component("user_impression_counts.wasm", built);
        // Now and then the swap is over before the kill, else it is under way.
        if round % 3 == 0 {
            host.view_when(VIEW, "the new version is live", |view| {
                view["component"].as_str().is_some_and(|name| name.starts_with(&format!("{built} ")))
            });
        }
    });
}

/// Kills hosts under load, then lets the checker look at everything.
fn kill_rounds(disturb: impl Fn(&Workspace, &Host, u64)) {
    if !python() {
        return;
    }
    let workspace = Workspace::new();
    ad_impressions(&workspace, "2");
    let acknowledged = AtomicU64::new(0);
    for round in 0..rounds(KILLS) {
        let host = Host::start(&workspace);
        under_load(&host, &acknowledged, 5 + round % 7, || {
            disturb(&workspace, &host, round);
            // A different moment each time, in terms of work done rather than of time.
            thread::park_timeout(Duration::from_millis(13 * (round % 11)));
            host.signal("-KILL");
        });
        host.kill();
    }
    let host = Host::start(&workspace);
    // The last request may have been logged without an answer; as every client, this one asks until it has one.
    under_load(&host, &acknowledged, 1, || {});
    let events: String = (0..acknowledged.load(Ordering::Relaxed)).map(request).collect();
    host.view_when(VIEW, "all is replayed", |view| view["state"] == "running");
    let count = events.lines().count();
    eventually("all records are emitted", || (workspace.lines("out.ndjson").len() >= count).then_some(()));
    let vectors = read_all(&host);
    assert!(host.stop().success());
    workspace.write("acknowledged.ndjson", &events).write("vectors.json", vectors.to_string());
    check(&workspace, "check.py", &["acknowledged.ndjson", "out.ndjson", "vectors.json"]);
}

/// Does something once that many more requests are acknowledged, while others go on.
pub(crate) fn under_load(host: &Host, acknowledged: &AtomicU64, requests: u64, then: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = EndLoad(&stop);
        scope.spawn(|| {
            push_in_order(&host.url, "ad_impressions", &stop, acknowledged, Duration::ZERO, request);
        });
        let before = acknowledged.load(Ordering::Relaxed);
        eventually("the load gets going", || {
            (acknowledged.load(Ordering::Relaxed) >= before + requests).then_some(())
        });
        then();
    });
}

/// Every user's vector, as the checker wants it.
pub(crate) fn read_all(host: &Host) -> Value {
    let users: Vec<String> = (0..USERS).map(|user| format!("u{user}")).collect();
    let request = json!({"features": ["user_impression_counts:impression"], "entities": {"user_id": users}});
    let body = host.post("/get-online-features", request.to_string()).json();
    let column = &body["results"][1];
    let vectors: BTreeMap<&String, Value> = users
        .iter()
        .enumerate()
        .map(|(index, user)| {
            let time = column["event_timestamps"][index].as_str().unwrap_or_default();
            let value = &column["values"][index];
            (
                user,
                json!({"status": column["statuses"][index], "timestamp": six_digits(time), "value": value}),
            )
        })
        .collect();
    json!(vectors)
}

/// Feast's timestamps have as many fraction digits as they need; records always have six.
fn six_digits(time: &str) -> String {
    let time = time.trim_end_matches('Z');
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    format!("{whole}.{fraction:0<6}Z")
}

#[test]
fn a_clean_stop_leaves_nothing_to_replay() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    host.push("ad_impressions", request(0));
    let count = usize::try_from(ROWS).unwrap();
    eventually("all is emitted", || (workspace.lines("out.ndjson").len() == count).then_some(()));
    assert!(host.stop().success());
    let lines = workspace.lines("out.ndjson");
    let host = Host::start(&workspace);
    assert_eq!(host.view("user_impression_counts")["state"], "running");
    assert_eq!(workspace.lines("out.ndjson"), lines);
    assert!(host.stop().success());
}

#[test]
fn a_torn_end_of_the_output_is_cut_and_emitted_again() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    host.push("ad_impressions", request(0));
    eventually("records are there", || (workspace.lines("out.ndjson").len() >= 50).then_some(()));
    host.kill();
    let whole = fs::read(workspace.join("out.ndjson")).unwrap();
    // What a crash in the middle of a write leaves behind: bytes beyond what was recorded as synced.
    fs::write(workspace.join("out.ndjson"), [whole.as_slice(), b"{\"version\":\"1\",\"prod"].concat())
        .unwrap();
    let host = Host::start(&workspace);
    host.view_when("user_impression_counts", "running again", |view| view["state"] == "running");
    host.push("ad_impressions", request(1));
    let lines = eventually("the new records are there", || {
        let lines = workspace.lines("out.ndjson");
        (lines.len() >= 100).then_some(lines)
    });
    assert_eq!(lines.len(), 100);
    for line in &lines {
        let record: Value = serde_json::from_str(line).expect("no line is torn");
        assert_eq!(record["version"], "1");
    }
    assert!(host.stop().success());
}
