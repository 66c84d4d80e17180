//! kill -9 with the rows in Redis, beside a host that only reads: nothing is lost or repeated, what is stored is the
//! newest, and whoever saw a record could read its row. A checker in another language recomputes the rest.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tests::redis::{self, Server};
use tests::{Host, Workspace, eventually};

use crate::checker::check;
use crate::delivery::{KILLS, read_all, request, under_load};
use crate::load::EndLoad;
use crate::redis_job::{SHARED, at, host_file};
use crate::support::{VIEW, ad_impressions, python, rounds};

fn folder(server: &Server) -> Workspace {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "2");
    host_file(&workspace, &at(server), SHARED);
    workspace
}

#[test]
fn kill_with_rows_in_redis_loses_nothing_and_what_is_emitted_is_readable() {
    if !redis::there() || !python() {
        return;
    }
    let server = Server::start();
    let (workspace, other) = (folder(&server), folder(&server));
    let reader = Host::start(&other);
    let (stop, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (host, acknowledged) = thread::scope(|scope| {
        let _end = EndLoad(&stop);
        scope.spawn(|| consume(&workspace, &reader, &stop, &seen));
        let acknowledged = AtomicU64::new(0);
        for round in 0..rounds(KILLS) {
            let host = Host::start(&workspace);
            under_load(&host, &acknowledged, 5 + round % 7, || {
                // A different moment each time, in terms of work done rather than of time.
                thread::park_timeout(Duration::from_millis(13 * (round % 11)));
                host.signal("-KILL");
            });
            host.kill();
        }
        let host = Host::start(&workspace);
        // The last request may have been logged without an answer; as every client, this one asks until it has one.
        under_load(&host, &acknowledged, 1, || {});
        let count =
            (0..acknowledged.load(Ordering::Relaxed)).map(request).map(|text| text.lines().count()).sum();
        host.view_when(VIEW, "all is replayed", |view| view["state"] == "running");
        eventually("all records are emitted", || {
            (workspace.lines("out.ndjson").len() >= count).then_some(())
        });
        eventually("all records were looked at", || (seen.load(Ordering::Acquire) >= count).then_some(()));
        (host, acknowledged)
    });
    let events: String = (0..acknowledged.load(Ordering::Relaxed)).map(request).collect();
    let vectors = read_all(&reader);
    assert_eq!(read_all(&host), vectors);
    assert!(host.stop().success());
    assert!(reader.stop().success());
    workspace.write("acknowledged.ndjson", &events).write("vectors.json", vectors.to_string());
    check(&workspace, "check.py", &["acknowledged.ndjson", "out.ndjson", "vectors.json"]);
}

/// Follows the output, and asks another host for the row of each record as soon as it is there.
fn consume(workspace: &Workspace, reader: &Host, stop: &AtomicBool, seen: &AtomicUsize) {
    let mut from = 0;
    while !stop.load(Ordering::Acquire) {
        let bytes = fs::read(workspace.join("out.ndjson")).unwrap_or_default();
        if bytes.len() < from {
            // A crash cuts what was not synced, and it is emitted again.
            from = 0;
            seen.store(0, Ordering::Release);
        }
        let new = &bytes[from..];
        let Some(end) = new.iter().rposition(|byte| *byte == b'\n') else {
            thread::park_timeout(Duration::from_millis(5));
            continue;
        };
        let lines = new[..end].split(|byte| *byte == b'\n');
        let Ok(records) = lines.map(serde_json::from_slice).collect::<Result<Vec<Value>, _>>() else {
            // It was cut and has grown again meanwhile, so this is the middle of a line.
            from = 0;
            seen.store(0, Ordering::Release);
            continue;
        };
        let mut newest: BTreeMap<&str, &str> = BTreeMap::new();
        for record in &records {
            let user = record["entity_keys"]["user_id"].as_str().unwrap();
            let time = record["feature_timestamp"].as_str().unwrap();
            let known = newest.entry(user).or_insert(time);
            *known = time.max(known);
        }
        let entities: Vec<Value> = newest.keys().map(|user| json!({"user_id": user})).collect();
        let answer = reader.post(&format!("/v1/features/{VIEW}"), json!({"entities": entities}).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text);
        for (row, (user, time)) in answer.json()["rows"].as_array().unwrap().iter().zip(&newest) {
            let stored = row["feature_timestamp"].as_str().unwrap_or_default();
            assert!(stored >= *time, "a record of {user} at {time} was received, but the row is {row}");
        }
        from += end + 1;
        seen.fetch_add(records.len(), Ordering::AcqRel);
    }
}
