//! A bad row hurts only itself, a bad view hurts only itself.

use serde_json::{Value, json};
use tests::{Host, Workspace, eventually};

use crate::support::{ad_impressions, ad_view, dead_letters, impression};

/// A second view on the same source whose transform misbehaves as the parameters say.
fn hostile_view(params: &str, more: &str) -> String {
    format!(
        "view:
  name: hostile
  source: ad_impressions
  entities: [user]
  transform:
    component: misbehave.wasm
    params: {{ {params} }}
    limits: {{ memory: 16MiB, time: 50ms, {more} }}
  features: {{ impression: int64 }}
  timestamp_field: timestamp
  output_stream: {{ file: {{ path: hostile.ndjson }} }}
"
    )
}

#[test]
fn undecodable_rows_of_a_file_are_dead_lettered_with_reason_and_position() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    workspace.write("views/ads.yaml", ad_view("1").replace("push: {}", "file: { path: events.ndjson }"));
    let good = impression("u", 1);
    let early = impression("w", 3).replace("2026-01-01", "1970-01-01");
    workspace.write(
        "events.ndjson",
        format!("{good}{{\"user_uuid\": 7}}\nnot json\n{}{early}", impression("v", 2)),
    );
    let host = Host::start(&workspace);
    eventually("good rows are emitted", || (workspace.lines("out.ndjson").len() == 2).then_some(()));
    let letters = eventually("bad rows are put aside", || {
        let letters = dead_letters(&workspace);
        (letters.len() == 3).then_some(letters)
    });
    assert_eq!(letters[2]["code"], "event_time", "{}", letters[2]);
    assert!(letters[2]["reason"].as_str().unwrap().contains("1970"), "{}", letters[2]);
    for (letter, payload) in letters.iter().zip(["{\"user_uuid\": 7}", "not json"]) {
        assert_eq!((&letter["code"], &letter["payload"]), (&json!("decode"), &json!(payload)), "{letter}");
        assert_eq!(letter["view"], "user_impression_counts", "{letter}");
        assert!(letter["position"].as_str().is_some_and(|position| position.len() == 16), "{letter}");
    }
    assert!(host.stop().success());
}

#[test]
fn a_view_whose_rows_all_fail_is_paused_and_goes_on_from_the_same_event() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let view = ad_view("1").replace(
        "component: user_impression_counts.wasm",
        "component: user_impression_counts.wasm, limits: { failures_to_pause: 20 }",
    );
    // A feature time of the year 1970 is refused for every row, whatever the transform.
    workspace.write(
        "views/ads.yaml",
        view.replace(
            "push: {}",
            "file: { path: events.ndjson }\n  earliest_event_time: 2026-06-01T00:00:00Z",
        ),
    );
    let events: String = (0..100).map(|row| impression(&format!("u{row}"), row)).collect();
    workspace.write("events.ndjson", events);
    let host = Host::start(&workspace);
    let paused =
        host.view_when("user_impression_counts", "the breaker pauses it", |view| view["state"] == "paused");
    assert!(paused["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{paused}");
    assert_eq!(host.get("/readyz").status, 200, "a paused view leaves the host ready");
    workspace.write("views/ads.yaml", view.replace("push: {}", "file: { path: events.ndjson }"));
    host.view_when("user_impression_counts", "it goes on", |view| view["state"] == "running");
    let put_aside = dead_letters(&workspace).len();
    eventually("the rest is emitted", || {
        (workspace.lines("out.ndjson").len() + put_aside >= 100).then_some(())
    });
    assert_eq!(
        workspace.lines("out.ndjson").len() + put_aside,
        100,
        "nothing is lost, nothing is taken twice"
    );
    assert!(host.stop().success());
}

#[test]
fn a_view_that_paused_for_something_outside_goes_on_when_its_file_is_saved() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    host.push("ad_impressions", impression("u", 1));
    let whole = eventually("the first record is out", || {
        (workspace.lines("out.ndjson").len() == 1)
            .then(|| std::fs::read_to_string(workspace.join("out.ndjson")).unwrap())
    });
    // Somebody else writes into the output file.
    workspace.write("out.ndjson", format!("{whole}what is this\n"));
    host.push("ad_impressions", impression("v", 2));
    let paused = host.view_when("user_impression_counts", "it is paused", |view| view["state"] == "paused");
    assert!(paused["reason"].as_str().is_some_and(|reason| reason.contains("save the view")), "{paused}");
    workspace.write("out.ndjson", &whole);
    // The very same text: saving says that it is mended.
    let view = std::fs::read_to_string(workspace.join("views/ads.yaml")).unwrap();
    workspace.write("views/ads.yaml", view);
    host.view_when("user_impression_counts", "it goes on", |view| view["state"] == "running");
    eventually("the second record is out", || (workspace.lines("out.ndjson").len() == 2).then_some(()));
    assert!(host.stop().success());
}

/// Runs a misbehaving view beside a good one: the good one emits everything, the reason of the bad one is shown.
#[track_caller]
fn check_hostile(params: &str, more: &str, expected: &str) {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    workspace
        .component("misbehave.wasm", "misbehave")
        .write("views/hostile.yaml", hostile_view(params, more));
    let host = Host::start(&workspace);
    for request in 0..10 {
        let body: String = (0..10).map(|row| impression(&format!("u{row}"), request * 10 + row)).collect();
        host.push("ad_impressions", body);
    }
    eventually("the good view emits everything", || {
        (workspace.lines("out.ndjson").len() == 100).then_some(())
    });
    eventually(&format!("`{expected}` is said somewhere"), || {
        let view = host.view("hostile").to_string();
        let letters = dead_letters(&workspace).iter().map(ToString::to_string).collect::<String>();
        (view.contains(expected) || letters.contains(expected)).then_some(())
    });
    assert_eq!(host.view("user_impression_counts")["state"], "running");
    assert_eq!(host.get("/readyz").status, 200);
    assert!(host.stop().success());
}

#[test]
fn hostile_guests_hurt_only_their_view() {
    check_hostile("do: spin", "failures_to_pause: 3", "limits.time");
    check_hostile("do: bomb", "failures_to_pause: 3", "limits.memory");
    check_hostile("do: panic", "failures_to_pause: 3", "cannot bear");
    check_hostile("do: recurse", "failures_to_pause: 3", "endless recursion");
    check_hostile("do: reject", "failures_to_pause: 3", "do not like");
}

#[test]
fn a_trapping_row_is_found_and_put_aside_and_its_neighbors_go_on() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    workspace
        .component("misbehave.wasm", "misbehave")
        .write("views/hostile.yaml", hostile_view("do: panic, only_bad: true", "log: 1KiB"));
    let host = Host::start(&workspace);
    let users = ["a", "bad", "b", "c", "bad", "d"];
    let body: String = (0..).zip(users).map(|(micros, user)| impression(user, micros)).collect();
    host.push("ad_impressions", body);
    let lines = eventually("the good rows are emitted", || {
        let lines = workspace.lines("hostile.ndjson");
        (lines.len() == 4).then_some(lines)
    });
    for (line, user) in lines.iter().zip(["a", "b", "c", "d"]) {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["entity_keys"]["user_id"], user, "order is kept: {line}");
    }
    let letters = dead_letters(&workspace);
    assert_eq!(letters.len(), 2, "{letters:?}");
    for letter in letters {
        assert_eq!((&letter["code"], &letter["view"]), (&json!("trap"), &json!("hostile")));
        assert!(letter["reason"].as_str().unwrap().contains("cannot bear bad"), "{letter}");
        assert!(letter["payload"].as_str().unwrap().contains("\"bad\""), "{letter}");
    }
    assert!(host.stop().success());
}

#[test]
fn a_slow_view_holds_nobody_back() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    workspace.component("misbehave.wasm", "misbehave");
    let slow = hostile_view("do: dawdle", "rows_per_row: 1").replace("time: 50ms", "time: 600s");
    workspace.write("views/hostile.yaml", slow);
    let host = Host::start(&workspace);
    for request in 0..30 {
        let body: String = (0..100).map(|row| impression(&format!("u{row}"), request * 100 + row)).collect();
        host.push("ad_impressions", body);
    }
    eventually("the quick view emits everything", || {
        (workspace.lines("out.ndjson").len() == 3000).then_some(())
    });
    let emitted = workspace.lines("hostile.ndjson").len();
    assert!(emitted < 3000, "the slow view was not slow");
    eventually("the slow view gets there", || {
        (workspace.lines("hostile.ndjson").len() == 3000).then_some(())
    });
    assert!(host.stop().success());
}

#[test]
fn a_view_that_cannot_write_its_output_fails_alone() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let view = hostile_view("do: nothing", "log: 1KiB").replace("hostile.ndjson", "taken/hostile.ndjson");
    workspace.component("misbehave.wasm", "misbehave").write("views/hostile.yaml", view);
    workspace.write("taken", "a file where a folder is wanted");
    let host = Host::start(&workspace);
    let failed = host.view("hostile");
    assert_eq!(failed["state"], "failed", "{failed}");
    assert!(failed["reason"].as_str().unwrap().contains("taken"), "{failed}");
    host.push("ad_impressions", impression("u", 1));
    eventually("the other view emits", || (workspace.lines("out.ndjson").len() == 1).then_some(()));
    assert!(host.stop().success());
}
