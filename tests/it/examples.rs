//! The examples do what they say: each folder is run by a real host, and its output compared byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tests::{Host, Workspace, checkout, eventually};

use crate::support::{dead_letters, python};

/// Every folder of `guest_examples`; each has a test below.
const EXAMPLES: [&str; 4] = ["01_ad_impressions", "02_driver_stats", "03_cart_promotion", "04_search_clicks"];

#[test]
fn every_example_is_run() {
    let folders: BTreeSet<String> = fs::read_dir(checkout().join("guest_examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("view.yaml").is_file())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders, EXAMPLES.map(str::to_owned).into(), "each example needs a test here");
}

#[test]
fn ad_impressions() {
    let (workspace, host) = start("01_ad_impressions");
    push(&workspace, &host, "ad_impressions", "events.ndjson");
    emitted(&workspace, "user_impression_counts", "expected.ndjson");
    assert!(dead_letters(&workspace).is_empty());
    assert!(host.stop().success());
}

/// The same transform in two languages, on one file: the records differ in the view's name and id only.
#[test]
fn driver_stats_in_rust_and_python() {
    let (workspace, host) = start("02_driver_stats");
    let rust = emitted(&workspace, "driver_hourly_stats_stream", "expected.ndjson");
    let python = emitted(&workspace, "driver_hourly_stats_python", "python/expected.ndjson");
    assert_eq!(features(&rust), features(&python));
    assert!(dead_letters(&workspace).is_empty());
    assert!(host.stop().success());
}

/// The whole workflow: events, output stream, feature vectors, decisions.
#[test]
fn cart_promotion() {
    if !python() {
        return;
    }
    let (workspace, host) = start("03_cart_promotion");
    push(&workspace, &host, "orders", "orders.ndjson");
    host.view_when("user_purchases", "all orders are stored", |view| view["rows_out"] == 4);
    let refused = push(&workspace, &host, "add_item_to_cart", "events.ndjson");
    emitted(&workspace, "user_items_added_to_cart", "expected.ndjson");
    rejected(&workspace, &refused);
    let consumer = Command::new("python3")
        .args([
            "views/consumer.py",
            "out/user_items_added_to_cart.ndjson",
            "--stop-after-idle",
            "0.2",
            "--url",
            &host.url,
        ])
        .current_dir(workspace.path())
        .output()
        .unwrap();
    assert!(consumer.status.success(), "{}", String::from_utf8_lossy(&consumer.stderr));
    // The last decision for each user stands.
    let decisions: BTreeMap<String, Value> = String::from_utf8(consumer.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|decision| (decision["user_id"].as_str().unwrap().to_owned(), decision["promote"].clone()))
        .collect();
    let expected: Value =
        serde_json::from_str(&workspace.lines("views/expected_decisions.json").concat()).unwrap();
    assert_eq!(json!(decisions), expected);
    assert!(host.stop().success());
}

#[test]
fn search_clicks() {
    let (workspace, host) = start("04_search_clicks");
    let refused = push(&workspace, &host, "searches", "events.ndjson");
    emitted(&workspace, "search_clicks", "expected.ndjson");
    rejected(&workspace, &refused);
    assert!(host.stop().success());
}

#[test]
fn examples_pass_the_check() {
    let workspace = Workspace::new();
    // The second one has an interpreter in it, which takes long to compile; its run shows the same.
    for example in EXAMPLES.iter().filter(|example| **example != "02_driver_stats") {
        let folder = checkout().join("guest_examples").join(example);
        // File sources lie under the folder that the host is started in.
        workspace.write("host.yaml", format!("files_root: {}\n", folder.display()));
        let output = Host::command(&workspace, &["check", &folder.to_string_lossy()]);
        let findings = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{example}: {findings}");
    }
}

/// The example's folder as the views of a workspace; its input beside them, where file sources are looked for.
fn copied(example: &str) -> Workspace {
    let workspace = Workspace::new();
    let from = checkout().join("guest_examples").join(example);
    copy(&from, &workspace.views());
    fs::copy(from.join("events.ndjson"), workspace.join("events.ndjson")).unwrap();
    workspace
}

/// View files, components and data; guests' sources stay where they are.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            if !path.join("Cargo.toml").exists() {
                copy(&path, &target);
            }
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Runs an example; all of its views must run.
#[track_caller]
fn start(example: &str) -> (Workspace, Host) {
    let workspace = copied(example);
    let host = Host::start_with(&workspace, &["--require-healthy"]);
    (workspace, host)
}

/// Pushes a file of the example; gives the refused rows, each with its line.
#[track_caller]
fn push(workspace: &Workspace, host: &Host, source: &str, file: &str) -> Vec<(usize, String)> {
    let events = fs::read(workspace.views().join(file)).unwrap();
    let answer = host.post(&format!("/v1/push/{source}"), events);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = answer.json();
    let refused = body["rejected"].as_array().unwrap().iter();
    refused
        .map(|row| {
            (
                usize::try_from(row["row"].as_u64().unwrap()).unwrap() + 1,
                row["code"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

/// Waits for the output of a view and compares it with a file of the example.
#[track_caller]
fn emitted(workspace: &Workspace, view: &str, expected: &str) -> String {
    let expected = fs::read_to_string(workspace.views().join(expected)).unwrap();
    let path = workspace.join(&format!("out/{view}.ndjson"));
    let actual = eventually(&format!("all records of {view}"), || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        (text.lines().count() >= expected.lines().count() && text.ends_with('\n')).then_some(text)
    });
    assert_eq!(actual, expected, "{view}");
    actual
}

/// Compares what was refused and put aside with the example's list.
#[track_caller]
fn rejected(workspace: &Workspace, refused: &[(usize, String)]) {
    let events = workspace.lines("views/events.ndjson");
    let line_of = |payload: &str| events.iter().position(|event| event == payload).map(|index| index + 1);
    let letters = dead_letters(workspace);
    let mut actual: Vec<(usize, String, Option<String>)> =
        refused.iter().map(|(line, code)| (*line, code.clone(), None)).collect();
    actual.extend(letters.iter().map(|letter| {
        let text = |name: &str| letter[name].as_str().unwrap().to_owned();
        let line = line_of(&text("payload")).unwrap_or_else(|| panic!("no such event: {letter}"));
        (line, text("code"), Some(text("reason")))
    }));
    actual.sort();
    let expected: Vec<Value> = workspace
        .lines("views/expected_rejected.ndjson")
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(actual.len(), expected.len(), "{actual:#?}");
    for ((line, code, reason), expected) in actual.iter().zip(&expected) {
        assert_eq!((json!(line), json!(code)), (expected["line"].clone(), expected["code"].clone()));
        if let Some(text) = expected["reason"].as_str() {
            assert_eq!(reason.as_deref(), Some(text), "line {line}");
        }
    }
}

/// Times, keys and values of records.
fn features(records: &str) -> Vec<[Value; 3]> {
    let fields = |record: Value| {
        ["feature_timestamp", "entity_keys", "feature_values"].map(|name| record[name].clone())
    };
    records.lines().map(|line| fields(serde_json::from_str(line).unwrap())).collect()
}
