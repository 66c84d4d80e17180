//! After a crash: events of the last checkpoint interval are taken again, by the component that took them first, and
//! until they are, nobody reads what is older than what was emitted.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Host, Workspace, eventually};

use crate::support::{ad_impressions, ad_view, impression, read, slow_ad_impressions};

const VIEW: &str = "user_impression_counts";
/// Each takes a millisecond or more.
const ROWS: u64 = 1500;

/// A slow view that was killed when all was emitted and nothing checkpointed.
fn killed() -> Workspace {
    let workspace = Workspace::new();
    slow_ad_impressions(&workspace);
    let host = Host::start(&workspace);
    let body: String = (0..ROWS).map(|row| impression(&format!("u{row}"), row)).collect();
    host.push("ad_impressions", body);
    emitted(&workspace, ROWS);
    host.kill();
    workspace
}

#[track_caller]
fn emitted(workspace: &Workspace, count: u64) {
    let count = usize::try_from(count).unwrap();
    eventually("all records are emitted", || (workspace.lines("out.ndjson").len() >= count).then_some(()));
    assert_eq!(workspace.lines("out.ndjson").len(), count);
}

#[test]
fn reads_wait_for_what_was_emitted() {
    let workspace = killed();
    // Another crash in the middle of it changes nothing.
    let host = Host::start(&workspace);
    assert_eq!(host.view(VIEW)["state"], "recovering", "{}", host.log());
    host.kill();
    let host = Host::start(&workspace);
    let last = format!("u{}", ROWS - 1);
    let answer = read(&host, &last);
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(answer.json()["error"]["code"], "recovering", "{}", answer.text);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(host.get(&format!("/v1/features/{VIEW}?user_id={last}")).status, 503);
    let ready = host.get("/readyz");
    assert_eq!(ready.status, 503, "{}", ready.text);
    assert!(ready.json()["reasons"].to_string().contains("recover"), "{}", ready.text);
    assert_eq!(host.get("/livez").status, 200);
    // Pushes are taken meanwhile: they wait in the log.
    host.push("ad_impressions", impression("new", ROWS));
    host.view_when(VIEW, "all is taken again", |view| view["state"] == "running");
    assert_eq!(read(&host, &last).json()["results"][1]["statuses"][0], "PRESENT");
    host.ready();
    emitted(&workspace, ROWS + 1);
    let identities: BTreeSet<String> = workspace
        .lines("out.ndjson")
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["source"].to_string())
        .collect();
    assert_eq!(identities.len(), workspace.lines("out.ndjson").len(), "no record stands twice");
    assert!(host.stop().success());
}

#[test]
fn reads_are_answered_and_marked_if_asked_for() {
    let workspace = killed();
    workspace.write(
        "host.yaml",
        "online_store: { embedded: { checkpoint_interval: 1h } }\nserve_while_recovering: true\n",
    );
    let host = Host::start(&workspace);
    let answer = read(&host, &format!("u{}", ROWS - 1));
    assert_eq!(
        (answer.status, &answer.json()["metadata"]["recovering"]),
        (200, &json!([VIEW])),
        "{}",
        answer.text
    );
    let own = host.get(&format!("/v1/features/{VIEW}?user_id=u0"));
    assert_eq!((own.status, &own.json()["recovering"]), (200, &json!(true)), "{}", own.text);
    assert_eq!(host.get("/readyz").status, 200);
    host.view_when(VIEW, "all is taken again", |view| view["state"] == "running");
    let answer = read(&host, &format!("u{}", ROWS - 1));
    assert_eq!(answer.json()["metadata"]["recovering"], Value::Null, "{}", answer.text);
    assert!(host.stop().success());
}

/// Value and generation of each user's row, through our own reads.
fn rows(host: &Host, users: std::ops::Range<u64>) -> BTreeSet<String> {
    let entities: Vec<Value> = users.map(|user| json!({"user_id": format!("u{user}")})).collect();
    let answer = host.post(&format!("/v1/features/{VIEW}"), json!({"entities": entities}).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = answer.json();
    let rows = body["rows"].as_array().unwrap().iter();
    rows.map(|row| format!("{} {} {}", row["status"], row["features"]["impression"], row["generation"]))
        .collect()
}

fn push_users(host: &Host, users: std::ops::Range<u64>) {
    host.push("ad_impressions", users.map(|user| impression(&format!("u{user}"), user)).collect::<String>());
}

fn only(text: &str) -> BTreeSet<String> {
    BTreeSet::from([text.to_owned()])
}

#[test]
fn what_was_taken_before_a_swap_is_taken_again_by_the_old_component() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "2");
    workspace.write("host.yaml", "online_store: { embedded: { checkpoint_interval: 1h } }\n");
    let host = Host::start(&workspace);
    push_users(&host, 0..50);
    emitted(&workspace, 50);
    workspace.component("user_impression_counts.wasm", "ad_impressions_v2");
    host.view_when(VIEW, "the second version is live", |view| view["generation"] == 2);
    push_users(&host, 50..90);
    emitted(&workspace, 90);
    // Durably: of what only was in the file, nobody knows after the crash who made it.
    host.view_when(VIEW, "the last is synced", |view| {
        view["positions"][0]["emitted"] == format!("{:016x}", 89)
    });
    host.kill();
    // Back to the first version while the host is down: a component that is not the newest is a new generation.
    workspace.component("user_impression_counts.wasm", "ad_impressions");
    let host = Host::start(&workspace);
    host.view_when(VIEW, "all is taken again", |view| view["state"] == "running");
    push_users(&host, 90..100);
    emitted(&workspace, 100);
    assert_eq!(rows(&host, 0..50), only("\"PRESENT\" 1 1"));
    assert_eq!(rows(&host, 50..90), only("\"PRESENT\" 10 2"));
    assert_eq!(rows(&host, 90..100), only("\"PRESENT\" 1 3"));
    // A clean stop writes a checkpoint: the same component keeps its generation, and its rows are still there.
    assert!(host.stop().success());
    let host = Host::start(&workspace);
    assert_eq!(host.view(VIEW)["generation"], 3);
    push_users(&host, 100..101);
    emitted(&workspace, 101);
    assert_eq!(rows(&host, 50..90), only("\"PRESENT\" 10 2"));
    let generations: Vec<u64> = workspace
        .lines("out.ndjson")
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["generation"].as_u64().unwrap())
        .collect();
    let expected = [vec![1; 50], vec![2; 40], vec![3; 11]].concat();
    assert_eq!(generations, expected);
    assert!(host.stop().success());
}

#[test]
fn changed_parameters_are_a_new_generation() {
    let workspace = Workspace::new();
    slow_ad_impressions(&workspace);
    let host = Host::start(&workspace);
    let view = std::fs::read_to_string(workspace.join("views/ads.yaml")).unwrap();
    workspace.write("views/ads.yaml", view.replace("do: dawdle", "do: nothing"));
    host.view_when(VIEW, "the new parameters are live", |view| view["generation"] == 2);
    assert!(host.stop().success());
    let host = Host::start(&workspace);
    assert_eq!(host.view(VIEW)["generation"], 2);
    assert!(host.stop().success());
}

#[test]
fn a_file_is_read_exactly_once_through_crashes() {
    const LINES: u64 = 60_000;
    let workspace = Workspace::new();
    ad_impressions(&workspace, "2");
    workspace.write("views/ads.yaml", ad_view("2").replace("push: {}", "file: { path: events.ndjson }"));
    workspace.write(
        "events.ndjson",
        (0..LINES).map(|row| impression(&format!("u{}", row % 50), row)).collect::<String>(),
    );
    for crash in 1..=3 {
        let host = Host::start(&workspace);
        let enough = usize::try_from(LINES * crash / 5).unwrap();
        eventually("a part is emitted", || (workspace.lines("out.ndjson").len() >= enough).then_some(()));
        host.kill();
    }
    let host = Host::start(&workspace);
    emitted(&workspace, LINES);
    for (number, line) in (0_u64..).zip(workspace.lines("out.ndjson")) {
        let expected = format!("\"user_id\":\"u{}\"", number % 50);
        assert!(line.contains(&expected), "line {number}: {line}");
    }
    host.view_when(VIEW, "it runs", |view| view["state"] == "running");
    assert_eq!(rows(&host, 0..50), only("\"PRESENT\" 1 1"));
    assert!(host.stop().success());
}
