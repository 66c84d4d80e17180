//! Hot reload: new versions go live between two batches, bad ones leave the running one alone, whatever the save style.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use tests::{Host, Workspace, eventually, guest};

use crate::load::EndLoad;
use crate::support::{ad_impressions, ad_view, impression};

const VIEW: &str = "user_impression_counts";
const COMPONENT: &str = "user_impression_counts.wasm";

/// What the feature of a user is now.
fn feature(host: &Host, user: &str) -> Value {
    let request = json!({"features": [format!("{VIEW}:impression")], "entities": {"user_id": [user]}});
    host.post("/get-online-features", request.to_string()).json()["results"][1]["values"][0].clone()
}

/// Pushes one event for a user and waits for the value that it gives.
#[track_caller]
fn push_and_expect(host: &Host, user: &str, micros: u64, expected: i64) {
    host.push("ad_impressions", impression(user, micros));
    eventually(&format!("`{user}` has {expected}"), || (feature(host, user) == expected).then_some(()));
}

/// Waits until that generation is live.
#[track_caller]
fn generation(host: &Host, number: u64) {
    host.view_when(VIEW, &format!("generation {number}"), |view| view["generation"] == number);
}

/// Replaces the component in one way and expects the new version to go live.
#[track_caller]
fn check_save(save: impl FnOnce(&Path, &Path)) {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    push_and_expect(&host, "before", 1, 1);
    save(&guest("ad_impressions_v2"), &workspace.views().join(COMPONENT));
    generation(&host, 2);
    push_and_expect(&host, "after", 2, 10);
    assert!(host.stop().success());
    assert_eq!(workspace.lines("out.ndjson").len(), 2);
}

#[test]
fn a_copied_component_goes_live() {
    check_save(|new, target| {
        fs::copy(new, target).unwrap();
    });
}

#[test]
fn a_renamed_component_goes_live() {
    check_save(|new, target| {
        let beside = target.with_extension("tmp");
        fs::copy(new, &beside).unwrap();
        fs::rename(beside, target).unwrap();
    });
}

#[test]
fn a_deleted_and_recreated_component_goes_live() {
    check_save(|new, target| {
        fs::remove_file(target).unwrap();
        fs::copy(new, target).unwrap();
    });
}

#[test]
fn a_component_behind_a_switched_link_goes_live() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    // As mounted configuration does it: the file is a link through a folder that is itself a link.
    let views = workspace.views();
    for (folder, built) in [("..one", "ad_impressions"), ("..two", "ad_impressions_v2")] {
        fs::create_dir(views.join(folder)).unwrap();
        fs::copy(guest(built), views.join(folder).join(COMPONENT)).unwrap();
    }
    symlink("..one", views.join("..data")).unwrap();
    fs::remove_file(views.join(COMPONENT)).unwrap();
    symlink(Path::new("..data").join(COMPONENT), views.join(COMPONENT)).unwrap();
    let host = Host::start(&workspace);
    push_and_expect(&host, "before", 1, 1);
    symlink("..two", views.join("..data_new")).unwrap();
    fs::rename(views.join("..data_new"), views.join("..data")).unwrap();
    generation(&host, 2);
    push_and_expect(&host, "after", 2, 10);
    assert!(host.stop().success());
}

#[test]
fn a_slowly_written_component_goes_live_when_it_is_whole() {
    check_save(|new, target| {
        use std::io::Write;
        let bytes = fs::read(new).unwrap();
        let mut file = fs::File::create(target).unwrap();
        for chunk in bytes.chunks(bytes.len() / 7 + 1) {
            file.write_all(chunk).unwrap();
            file.sync_all().unwrap();
            thread::park_timeout(std::time::Duration::from_millis(30));
        }
    });
}

#[test]
fn saving_the_same_bytes_changes_nothing() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    push_and_expect(&host, "u", 1, 1);
    workspace.component(COMPONENT, "ad_impressions");
    // A later change proves that the host has looked at the earlier one.
    workspace.component(COMPONENT, "ad_impressions_v2");
    generation(&host, 2);
    assert!(host.stop().success());
}

/// Replaces the component by something that must be refused: the old version goes on, the reason is shown, and a good
/// version afterwards is taken.
#[track_caller]
fn check_refused(bad: &[u8], reason: &str) {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    push_and_expect(&host, "before", 1, 1);
    fs::write(workspace.views().join(COMPONENT), bad).unwrap();
    let view = host.view_when(VIEW, "the refusal is shown", |view| !view["last_error"].is_null());
    let shown = view["last_error"].as_str().unwrap();
    assert!(shown.contains(reason), "`{reason}` is not in: {shown}");
    assert_eq!((&view["state"], &view["generation"]), (&json!("running"), &json!(1)));
    push_and_expect(&host, "meanwhile", 2, 1);
    workspace.component(COMPONENT, "ad_impressions_v2");
    host.view_when(VIEW, "the good version is live and the old reason is gone", |view| {
        view["generation"] == 2 && view["last_error"].is_null()
    });
    push_and_expect(&host, "after", 3, 10);
    assert!(host.stop().success());
}

#[test]
fn bad_components_are_refused_in_words() {
    let whole = fs::read(guest("ad_impressions")).unwrap();
    check_refused(&whole[..whole.len() / 2], "incomplete");
    check_refused(b"", "empty");
    check_refused(b"#!/bin/sh\necho no wasm\n", "not a component");
    // The smallest core module.
    check_refused(b"\0asm\x01\0\0\0", "core module");
    // Fits the contract, but not this view.
    check_refused(&fs::read(guest("driver_stats")).unwrap(), "driver_id");
}

#[test]
fn a_vanished_component_goes_on_with_a_warning() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    fs::remove_file(workspace.views().join(COMPONENT)).unwrap();
    host.view_when(VIEW, "the warning is shown", |view| {
        view["last_error"].as_str().is_some_and(|text| text.contains("not there"))
    });
    push_and_expect(&host, "u", 1, 1);
    assert!(host.stop().success());
}

#[test]
fn a_broken_view_file_changes_nothing_and_a_mended_one_is_taken() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    workspace.write("views/ads.yaml", ad_view("1").replace("features:", "featurs:"));
    let view = host.view_when(VIEW, "the problem is shown", |view| !view["last_error"].is_null());
    assert!(view["last_error"].as_str().unwrap().contains("featurs"), "{view}");
    push_and_expect(&host, "u", 1, 1);
    workspace.write("views/ads.yaml", ad_view("1"));
    host.view_when(VIEW, "the problem is gone", |view| view["last_error"].is_null());
    assert_eq!(host.view(VIEW)["generation"], 1);
    assert!(host.stop().success());
}

#[test]
fn views_come_go_and_return_with_their_rows() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start_with(&workspace, &["--watch-poll", "1"]);
    push_and_expect(&host, "u", 1, 1);
    // A second view beside the first: it starts at the source's end.
    workspace.write("views/copy.yaml", copy_of_view());
    host.view_when("copy", "it runs", |view| view["state"] == "running");
    host.push("ad_impressions", impression("v", 2));
    eventually("both views emit", || {
        (workspace.lines("out.ndjson").len() == 2 && workspace.lines("copy.ndjson").len() == 1).then_some(())
    });
    fs::remove_file(workspace.views().join("copy.yaml")).unwrap();
    host.view_when("copy", "it has stopped", |view| view["state"] == "stopped" || view.is_null());
    let series = || host.get("/metrics").text.contains("view=\"copy\"");
    eventually("its series are gone with it", || (!series()).then_some(()));
    workspace.write("views/copy.yaml", copy_of_view());
    host.view_when("copy", "it is back", |view| view["state"] == "running");
    let request = json!({"features": ["copy:impression"], "entities": {"user_id": ["v"]}});
    eventually("rows are kept for its return", || {
        let body = host.post("/get-online-features", request.to_string()).json();
        (body["results"][1]["statuses"][0] == "PRESENT").then_some(())
    });
    assert!(host.stop().success());
}

#[test]
fn limits_and_ttl_change_without_a_new_generation() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    push_and_expect(&host, "u", 1, 1);
    workspace.write("views/ads.yaml", ad_view("1").replace("ttl: 36500d", "ttl: 1s"));
    let request = json!({"features": [format!("{VIEW}:impression")], "entities": {"user_id": ["u"]}});
    eventually("the new time to live counts", || {
        let body = host.post("/get-online-features", request.to_string()).json();
        (body["results"][1]["statuses"][0] == "OUTSIDE_MAX_AGE").then_some(())
    });
    assert_eq!(host.view(VIEW)["generation"], 1);
    assert!(host.stop().success());
}

#[test]
fn swaps_under_load_lose_repeat_and_reorder_nothing() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "2");
    let host = Host::start(&workspace);
    let stop = AtomicBool::new(false);
    let pushed = thread::scope(|scope| {
        let pusher = scope.spawn(|| {
            let mut pushed = 0;
            while !stop.load(Ordering::Acquire) {
                let body: String = (0..20).map(|row| impression(&format!("u{row}"), pushed + row)).collect();
                host.push("ad_impressions", body);
                pushed += 20;
            }
            pushed
        });
        let _end = EndLoad(&stop);
        for swap in 0..12_u64 {
            let built = if swap % 2 == 0 { "ad_impressions_v2" } else { "ad_impressions" };
            workspace.component(COMPONENT, built);
            generation(&host, swap + 2);
        }
        stop.store(true, Ordering::Release);
        pusher.join().unwrap()
    });
    let count = usize::try_from(pushed).unwrap();
    eventually("all records are emitted", || (workspace.lines("out.ndjson").len() >= count).then_some(()));
    assert!(host.stop().success());
    let lines = workspace.lines("out.ndjson");
    assert_eq!(lines.len(), count);
    check_order(&lines);
    let times: std::collections::BTreeSet<&str> = lines
        .iter()
        .map(|line| line.split("\"feature_timestamp\":\"").nth(1).unwrap().split('"').next().unwrap())
        .collect();
    assert_eq!(times.len(), count, "each event once");
}

#[test]
fn views_that_share_a_component_all_get_the_new_one() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    workspace.write("views/copy.yaml", copy_of_view());
    let host = Host::start(&workspace);
    workspace.component(COMPONENT, "ad_impressions_v2");
    generation(&host, 2);
    host.view_when("copy", "generation 2", |view| view["generation"] == 2);
    push_and_expect(&host, "u", 1, 10);
    eventually("both have emitted", || {
        let both = [workspace.lines("out.ndjson"), workspace.lines("copy.ndjson")].concat();
        (both.len() == 2).then(|| assert!(both.iter().all(|line| line.contains("\"10\"")), "{both:?}"))
    });
    assert!(host.stop().success());
}

#[test]
fn a_replaced_views_folder_is_followed() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start_with(&workspace, &["--watch-poll", "1"]);
    push_and_expect(&host, "before", 1, 1);
    // As a deployment does it: the new folder takes the place of the old one.
    let next = workspace.join("views.next");
    fs::create_dir(&next).unwrap();
    fs::copy(workspace.views().join("ads.yaml"), next.join("ads.yaml")).unwrap();
    fs::copy(guest("ad_impressions_v2"), next.join(COMPONENT)).unwrap();
    fs::rename(workspace.views(), workspace.join("views.old")).unwrap();
    push_and_expect(&host, "meanwhile", 2, 1);
    fs::rename(next, workspace.views()).unwrap();
    generation(&host, 2);
    push_and_expect(&host, "after", 3, 10);
    // The new folder is watched like the old one.
    workspace.component(COMPONENT, "ad_impressions");
    generation(&host, 3);
    assert!(host.stop().success());
}

#[test]
fn a_storm_of_saves_ends_in_the_last_one() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "2");
    let host = Host::start(&workspace);
    let versions = [guest("ad_impressions"), guest("ad_impressions_v2")];
    for save in 0..=40_usize {
        // In place, then by rename: every other reader of the first kind may see half of it.
        if save % 4 < 2 {
            fs::copy(&versions[save % 2], workspace.views().join(COMPONENT)).unwrap();
        } else {
            fs::copy(&versions[save % 2], workspace.join("beside")).unwrap();
            fs::rename(workspace.join("beside"), workspace.views().join(COMPONENT)).unwrap();
        }
        host.push("ad_impressions", impression("u", u64::try_from(save).unwrap()));
        thread::park_timeout(std::time::Duration::from_millis(50));
    }
    // The last one saved is the first version; one more change shows when all before it were seen.
    fs::copy(&versions[1], workspace.views().join(COMPONENT)).unwrap();
    let last = host.view_when(VIEW, "the last one is live", |view| {
        view["component"].as_str().is_some_and(|name| name.contains("ad_impressions_v2"))
    });
    assert_eq!((&last["state"], &last["last_error"]), (&json!("running"), &Value::Null));
    push_and_expect(&host, "last", 100, 10);
    let lines = eventually("all is emitted", || {
        let lines = workspace.lines("out.ndjson");
        (lines.len() == 42).then_some(lines)
    });
    check_order(&lines);
    assert!(host.stop().success());
}

#[test]
fn a_source_may_change_while_it_flows() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    push_and_expect(&host, "before", 1, 1);
    // A column that the view does not need.
    let more = ad_view("1").replace("    ad_id: int64\n", "    ad_id: int64\n    bid: float64\n");
    workspace.write("views/ads.yaml", &more);
    eventually("pushes are checked by the new schema", || {
        let event = impression("typed", 2).replace("\"ad_id\":7", "\"ad_id\":7,\"bid\":\"dear\"");
        let answer = host.post("/v1/push/ad_impressions", event);
        (answer.status == 400 && answer.text.contains("bid")).then_some(())
    });
    push_and_expect(&host, "after", 3, 1);
    // Without a column that it does need, the source stays as it is.
    workspace.write("views/ads.yaml", more.replace("    user_uuid: { type: string, nullable: false }\n", ""));
    let view = host.view_when(VIEW, "the reason is shown", |view| !view["last_error"].is_null());
    assert!(view["last_error"].as_str().unwrap().contains("user_uuid"), "{view}");
    push_and_expect(&host, "still", 4, 1);
    workspace.write("views/ads.yaml", more);
    host.view_when(VIEW, "the reason is gone", |view| view["last_error"].is_null());
    push_and_expect(&host, "again", 5, 1);
    eventually("all is emitted", || (workspace.lines("out.ndjson").len() >= 4).then_some(()));
    assert!(host.stop().success());
}

/// A second view on the same source and component, with an output stream of its own.
fn copy_of_view() -> String {
    let view =
        ad_view("1").split("---\n").last().unwrap().replace(VIEW, "copy").replace("copy.wasm", COMPONENT);
    view.replace("out.ndjson", "copy.ndjson")
}

/// Positions rise, generations do not fall, and each generation has one value: no batch is of two versions.
#[track_caller]
fn check_order(lines: &[String]) {
    let mut last = (String::new(), 0);
    let mut values = std::collections::BTreeMap::new();
    for line in lines {
        let record: Value = serde_json::from_str(line).unwrap();
        let position = record["source"]["position"].as_str().unwrap().to_owned();
        let generation = record["generation"].as_u64().unwrap();
        assert!(position > last.0 && generation >= last.1, "{line} after {last:?}");
        let value = record["feature_values"]["impression"].clone();
        assert_eq!(*values.entry(generation).or_insert_with(|| value.clone()), value, "{line}");
        last = (position, generation);
    }
}
