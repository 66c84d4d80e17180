//! Reading features: Feast's shape with true statuses, and our own with versions.

use serde_json::{Value, json};
use tests::{Host, Workspace, eventually};

use crate::support::{ad_impressions, ad_view, impression};

fn running() -> (Workspace, Host) {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "2");
    workspace
        .write("views/service.yaml", "service: { name: promotion, features: [user_impression_counts] }\n");
    let host = Host::start(&workspace);
    host.push("ad_impressions", impression("u1", 5));
    eventually("the row is stored", || (workspace.lines("out.ndjson").len() == 1).then_some(()));
    (workspace, host)
}

#[track_caller]
fn read(host: &Host, request: &Value) -> Value {
    let answer = host.post("/get-online-features", request.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[test]
fn feast_clients_get_what_they_expect() {
    let (_workspace, host) = running();
    let body = read(
        &host,
        &json!({"features": ["user_impression_counts:impression"], "entities": {"user_id": ["u1", "nobody"]}}),
    );
    let expected = json!({
        "results": [
            {
                "values": ["u1", "nobody"],
                "statuses": ["PRESENT", "PRESENT"],
                "event_timestamps": ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"],
            },
            {
                "values": [1, null],
                "statuses": ["PRESENT", "NOT_FOUND"],
                "event_timestamps": ["2026-01-01T00:00:00.000005Z", "1970-01-01T00:00:00Z"],
            },
        ],
        "metadata": {"feature_names": ["user_id", "impression"]},
    });
    assert_eq!(body, expected);
    let body = read(
        &host,
        &json!({"feature_service": "promotion", "entities": {"user_id": ["u1"]}, "full_feature_names": true}),
    );
    assert_eq!(body["metadata"]["feature_names"], json!(["user_id", "user_impression_counts__impression"]));
    assert!(host.stop().success());
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let (_workspace, host) = running();
    for (request, status, contains) in [
        (
            json!({"features": ["user_impresion_counts:impression"], "entities": {"user_id": ["u"]}}),
            404,
            "user_impression_counts",
        ),
        (json!({"feature_service": "promotions", "entities": {"user_id": ["u"]}}), 404, "promotion"),
        (
            json!({"features": ["user_impression_counts:impressions"], "entities": {"user_id": ["u"]}}),
            404,
            "impression",
        ),
        (
            json!({"features": ["user_impression_counts:impression"], "entities": {"user": ["u"]}}),
            404,
            "user_id",
        ),
        (json!({"features": ["user_impression_counts:impression"]}), 422, "entities"),
    ] {
        let answer = host.post("/get-online-features", request.to_string());
        assert!(answer.text.contains(contains), "`{contains}` is not in {}", answer.text);
        assert_eq!(answer.status, status, "{request}: {}", answer.text);
    }
    assert!(host.stop().success());
}

#[test]
fn our_own_reads_say_time_and_version_of_each_row() {
    let (workspace, host) = running();
    let answer = host.get("/v1/features/user_impression_counts?user_id=u1");
    assert_eq!(answer.status, 200, "{}", answer.text);
    let record: Value = serde_json::from_str(&workspace.lines("out.ndjson")[0]).unwrap();
    let text = answer.text;
    assert!(text.contains("2026-01-01T00:00:00.000005Z"), "{text}");
    assert!(
        text.contains(record["token"].as_str().unwrap()),
        "the row's version is the record's token: {text} {record}"
    );
    let output = Host::command(
        &workspace,
        &["get", "user_impression_counts", "user_id=u1", "--url", &host.url, "--format", "json"],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(shown.to_string().contains("\"impression\":1"), "{shown}");
    assert!(host.stop().success());
}

#[test]
fn newer_wins_and_late_rows_are_emitted_but_not_served() {
    let (workspace, host) = running();
    host.push("ad_impressions", [impression("u1", 9), impression("u1", 7)].concat());
    let lines = eventually("all records are emitted", || {
        let lines = workspace.lines("out.ndjson");
        (lines.len() == 3).then_some(lines)
    });
    let applied: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["online_applied"].clone())
        .collect();
    assert_eq!(applied, [json!(true), json!(true), json!(false)]);
    let request = json!({"features": ["user_impression_counts:impression"], "entities": {"user_id": ["u1"]}});
    assert_eq!(read(&host, &request)["results"][1]["event_timestamps"][0], "2026-01-01T00:00:00.000009Z");
    assert!(host.stop().success());
}

#[test]
fn rows_past_their_time_to_live_are_said_to_be() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    workspace.write("views/ads.yaml", ad_view("1").replace("ttl: 36500d", "ttl: 1s"));
    let host = Host::start(&workspace);
    host.push("ad_impressions", impression("u1", 5));
    eventually("the row is stored", || (workspace.lines("out.ndjson").len() == 1).then_some(()));
    let request = json!({"features": ["user_impression_counts:impression"], "entities": {"user_id": ["u1"]}});
    let column = read(&host, &request)["results"][1].clone();
    assert_eq!(
        column,
        json!({
            "values": [null],
            "statuses": ["OUTSIDE_MAX_AGE"],
            "event_timestamps": ["2026-01-01T00:00:00.000005Z"],
        })
    );
    assert!(host.stop().success());
}

#[test]
fn probes_and_metrics_show_every_view() {
    let (workspace, host) = running();
    assert_eq!((host.get("/livez").status, host.get("/health").status), (200, 200));
    let ready = host.get("/readyz");
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json()["views"][0]["view"], "user_impression_counts");
    let metrics = host.get("/metrics").text;
    assert!(metrics.contains("view=\"user_impression_counts\""), "{metrics}");
    assert!(!metrics.contains("u1\""), "no entity is a label");
    let output = Host::command(&workspace, &["list", "views", "--url", &host.url]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("user_impression_counts") && table.contains("running"), "{table}");
    assert!(host.stop().success());
}
