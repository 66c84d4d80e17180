//! From the embedded store to Redis: a view stays where its rows are until they are moved, and then goes on; and what the
//! command says when it cannot.

use std::ops::Range;
use std::process::Output;

use serde_json::{Value, json};
use tests::redis::{self, Server};
use tests::{Host, Workspace};

use crate::redis_job::{at, entities};
use crate::support::{VIEW, ad_impressions, impression, read};

/// The store of all views.
fn settings(workspace: &Workspace, server: &Server, default_store: bool) {
    let store = if default_store { "redis: { connection: cache }, " } else { "" };
    workspace.write(
        "host.yaml",
        format!(
            "connections: {{ cache: {{ redis: {{ {} }} }} }}\n\
             online_store: {{ {store}embedded: {{ checkpoint_interval: 100ms }} }}\n",
            at(server)
        ),
    );
}

fn migrate(workspace: &Workspace, more: &[&str]) -> Output {
    let arguments = ["migrate-store", "--view", VIEW, "--views", "views", "--config", "host.yaml"];
    Host::command(workspace, &[&arguments[..], more].concat())
}

/// Values, statuses and times of a user's row.
fn row(host: &Host, user: u64) -> Value {
    read(host, &format!("u{user}")).json()["results"].clone()
}

/// Impressions of fifty users in turn.
fn impressions(numbers: Range<u64>) -> String {
    numbers.map(|number| impression(&format!("u{}", number % 50), number)).collect()
}

#[test]
fn rows_move_with_the_host_stopped_and_the_view_goes_on() {
    if !redis::there() {
        return;
    }
    let server = Server::start();
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    settings(&workspace, &server, false);
    let host = Host::start(&workspace);
    host.push("ad_impressions", impressions(0..500));
    host.view_when(VIEW, "everything is applied", |view| view["rows_out"] == json!(500));
    let before: Vec<Value> = (0..50).map(|user| row(&host, user)).collect();
    // While the host runs its data is its own.
    let refused = migrate(&workspace, &["--to", "cache"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("has it open"), "{refused:?}");
    assert!(host.stop().success());

    // Another store, and nothing was moved.
    settings(&workspace, &server, true);
    let host = Host::start(&workspace);
    let view = host.view_when(VIEW, "it is refused", |view| view["state"] == "failed");
    let reason = view["reason"].as_str().unwrap();
    assert!(reason.contains("host migrate-store --view user_impression_counts --to cache"), "{reason}");
    assert_eq!(row(&host, 7), before[7], "rows are read where they are");
    assert!(host.stop().success());

    assert_eq!(entities(&server).len(), 0);
    for _ in 0..2 {
        let moved = migrate(&workspace, &["--to", "cache", "--format", "json"]);
        assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
        let moved: Value = serde_json::from_slice(&moved.stdout).unwrap();
        assert_eq!(moved[0]["store"], "redis/cache");
        assert!(moved[0]["rows"].as_u64() >= Some(50) && moved[0]["unnamed"] == 0, "{moved}");
    }
    assert_eq!(entities(&server).len(), 50);
    let host = Host::start(&workspace);
    host.view_when(VIEW, "it runs", |view| view["state"] == "running");
    assert!(before.iter().all(|row| row.to_string().contains("PRESENT")), "{before:?}");
    let after: Vec<Value> = (0..50).map(|user| row(&host, user)).collect();
    assert_eq!(after, before);
    host.push("ad_impressions", impressions(500..600));
    host.view_when(VIEW, "everything is applied", |view| view["rows_out"] == json!(100));
    let newest = row(&host, 7);
    assert_ne!(newest, before[7]);
    assert!(host.stop().success());
    assert_eq!(workspace.lines("out.ndjson").len(), 600, "nothing is emitted again");

    // Back again, only if somebody says so.
    settings(&workspace, &server, false);
    let host = Host::start(&workspace);
    let view = host.view_when(VIEW, "it is refused", |view| view["state"] == "failed");
    assert!(view["reason"].as_str().unwrap().contains("they are in Redis at connection `cache`"), "{view}");
    assert_eq!(row(&host, 7), newest, "rows are read where they are");
    assert!(host.stop().success());
    assert!(migrate(&workspace, &["--to", "embedded", "--note-only"]).status.success());
    let host = Host::start(&workspace);
    host.view_when(VIEW, "it runs", |view| view["state"] == "running");
}

#[test]
fn what_cannot_be_moved_is_said() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    workspace.write(
        "host.yaml",
        "connections:\n  cache: { redis: { address: \"127.0.0.1:1\" } }\n  main: { kafka: { bootstrap_servers: \"a:1\" } }\n",
    );
    let told = |more: &[&str], code: i32, what: &str| {
        let output = migrate(&workspace, more);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(what), "{text}");
    };
    told(&["--to", "nowhere"], 2, "host.yaml has no connection `nowhere`");
    told(&["--to", "main"], 2, "connection `main` is one to `kafka`");
    told(&["--to", "embedded"], 2, "not copied from Redis to the embedded store; with --note-only");
    told(&["--to", "cache", "--view", "nobody"], 2, "there is no view `nobody`");
    told(&["--to", "cache"], 1, "there is no data of a host");
}
