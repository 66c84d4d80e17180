//! Rows that a host has written, read by a stock Feast client from the same Redis: the same rows, value by value.
//!
//! `cargo xtask test` installs Feast and says where; `MILLRACE_FEAST_VENV` names the virtual environment.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tests::redis::{self, Server};
use tests::{Host, eventually};

use crate::checker::command;
use crate::redis_job::{
    SOURCE, VIEW, all_emitted, at, entities, event_of, events, folder, further_view, newest, rows,
};
use crate::support::{feast, impression};

/// What Feast would declare.
fn declared() -> Value {
    let percentages = json!({"conv_percentage": "float32", "acc_percentage": "float32"});
    let driver = json!({"driver_id": "int64"});
    json!([
        {"name": VIEW, "keys": driver, "features": percentages},
        {"name": "recent", "keys": driver, "features": percentages},
        {"name": "user_impression_counts", "keys": {"user_id": "string"}, "features": {"impression": "int64"}},
    ])
}

/// Has Feast write these rows, and then read those.
#[track_caller]
fn ask_feast(python: &Path, server: &Server, write: &Value, rows: &[Value]) {
    let task = json!({
        "connection": server.address(), "project": "default", "views": declared(), "write": write, "rows": rows,
    });
    let mut client = command(python, "feast_redis.py")
        // Nobody is told that it was used.
        .env("FEAST_USAGE", "False")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(task.to_string().as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}

/// A row of ours as the task wants it.
fn task_row(view: &str, row: &Value) -> Value {
    json!({"view": view, "event_time": row["feature_timestamp"], "key": row["entity"], "values": row["features"]})
}

#[test]
fn stock_feast_reads_the_same_rows() {
    if !redis::there() {
        return;
    }
    let Some(python) = feast() else { return };
    let server = Server::start();
    let workspace = folder(&at(&server));
    // A second view in the same hashes, whose rows are served for an hour; and one of another entity.
    further_view(&workspace, "recent", |view| view.replace("8640000000s", "1h"));
    workspace.write("views/ads.yaml", crate::support::ad_view("2").replace("out.ndjson", "ads.ndjson"));
    workspace.component("user_impression_counts.wasm", "ad_impressions");
    let host = Host::start_with(&workspace, &["--require-healthy"]);
    host.push(SOURCE, events(0..500));
    all_emitted(&workspace, &host, 500);
    host.push(
        "ad_impressions",
        (0..50).map(|row| impression(&format!("ü{}", row % 20), row)).collect::<String>(),
    );
    eventually("the other view has all", || (workspace.lines("ads.ndjson").len() == 50).then_some(()));
    let expected = newest(0..500);
    let drivers: Vec<u64> = expected.keys().copied().chain([u64::from(u32::MAX)]).collect();
    crate::redis_job::check(&host, &expected);
    let long = rows(&host, VIEW, drivers.iter().copied());
    assert_eq!(long.last().unwrap()["status"], "NOT_FOUND");
    assert!(long.iter().any(|row| row["features"]["acc_percentage"].is_null() && row["status"] == "PRESENT"));
    // Ours are too old for the second view; Feast does not look at ages.
    let recent = eventually("the second view has them too", || {
        let recent = rows(&host, "recent", drivers.iter().copied());
        recent
            .iter()
            .zip(&long)
            .all(|(recent, long)| recent["feature_timestamp"] == long["feature_timestamp"])
            .then_some(recent)
    });
    for row in &recent[..recent.len() - 1] {
        assert_eq!(
            (&row["status"], &row["features"]["conv_percentage"]),
            (&json!("OUTSIDE_MAX_AGE"), &Value::Null),
            "{row}"
        );
    }
    let users: Vec<Value> = (0..21).map(|user| json!({"user_id": format!("ü{user}")})).collect();
    let answer =
        host.post("/v1/features/user_impression_counts", json!({"entities": users}).to_string()).json();
    let mut all: Vec<Value> = answer["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| task_row("user_impression_counts", row))
        .collect();
    all.extend(long.iter().map(|row| task_row(VIEW, row)));
    all.extend(long.iter().map(|row| task_row("recent", row)));
    // Views of one entity share a hash, which does not expire before the one that lives longest.
    let hashes = entities(&server);
    assert_eq!(hashes.len(), expected.len() + 20);
    for key in hashes {
        let left: i64 = ::redis::cmd("PTTL").arg(&key).query(&mut server.connection()).unwrap();
        // The users' view is served for a hundred years, and not a day longer.
        let is_driver = key.windows(9).any(|bytes| bytes == b"driver_id");
        assert_eq!(left == -1, is_driver, "{left} {}", String::from_utf8_lossy(&key));
    }
    // Feast writes a row as well, of a driver whom the host does not know.
    let theirs = json!({
        "view": VIEW, "event_time": crate::redis_job::time_of(700), "key": {"driver_id": 5000},
        "values": {"conv_percentage": 12.5, "acc_percentage": null},
    });
    all.push(theirs.clone());
    ask_feast(&python, &server, &json!([theirs]), &all);
    let row = &rows(&host, VIEW, [5000])[0];
    assert_eq!((&row["status"], &row["features"]), (&json!("PRESENT"), &theirs["values"]), "{row}");
    // What is older leaves Feast's row alone, what is newer replaces it.
    host.push(SOURCE, event_of(5000, 600));
    all_emitted(&workspace, &host, 501);
    assert_eq!(rows(&host, VIEW, [5000])[0]["features"], theirs["values"]);
    host.push(SOURCE, event_of(5000, 800));
    all_emitted(&workspace, &host, 502);
    let ours = rows(&host, VIEW, [5000]);
    assert_eq!(ours[0]["features"]["conv_percentage"], 800.0);
    ask_feast(&python, &server, &json!([]), &[task_row(VIEW, &ours[0])]);
    assert!(host.stop().success());
}
