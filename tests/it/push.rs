//! Pushing over HTTP: what is acknowledged is durable, bad rows are refused alone, repeats are recognized.

use serde_json::{Value, json};
use tests::{Host, Workspace, eventually};

use crate::support::{ad_impressions, ad_view, impression};

#[track_caller]
fn check(host: &Host, path: &str, body: impl AsRef<[u8]>, status: u16, contains: &str) -> Value {
    let answer = host.post(path, body);
    assert_eq!(answer.status, status, "{}", answer.text);
    assert!(answer.text.contains(contains), "`{contains}` is not in {}", answer.text);
    serde_json::from_str(&answer.text).unwrap_or(Value::Null)
}

#[test]
fn good_rows_are_taken_and_bad_ones_refused_by_index() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    let body = [
        impression("u1", 1),
        "{\"user_uuid\":\"u2\",\"ad_id\":\"seven\",\"timestamp\":\"2026-01-01T00:00:00Z\"}\n".to_owned(),
        "\n".to_owned(),
        "{\"user_uuid\":null,\"ad_id\":7,\"timestamp\":\"2026-01-01T00:00:00Z\"}\n".to_owned(),
        "{\"user_uuid\":\"u3\",\"ad_id\":7,\"timestamp\":\"1970-01-21T10:00:00Z\"}\n".to_owned(),
        "{\"user_uuid\":\"u4\",\"ad_id\":7,\"timestamp\":\"2099-01-01T00:00:00Z\"}\n".to_owned(),
        "{\"user_uuid\":\"u5\",\n".to_owned(),
        impression("u6", 2),
    ]
    .concat();
    let answer = check(&host, "/v1/push/ad_impressions", body, 200, "ad_id");
    assert_eq!(answer["accepted"], 2);
    let rejected: Vec<(u64, &str)> = answer["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["row"].as_u64().unwrap(), row["code"].as_str().unwrap()))
        .collect();
    // Blank lines do not count as rows.
    assert_eq!(rejected, [(1, "decode"), (2, "decode"), (3, "event_time"), (4, "event_time"), (5, "decode")]);
    eventually("the good rows are emitted", || (workspace.lines("out.ndjson").len() == 2).then_some(()));
    assert!(host.stop().success());
}

#[test]
fn requests_that_cannot_be_taken_are_answered_in_words() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    workspace.write("host.yaml", "push: { max_body_bytes: 64KiB, max_row_bytes: 1KiB }\n");
    let host = Host::start(&workspace);
    check(&host, "/v1/push/ad_impresions", impression("u", 1), 404, "ad_impressions");
    check(&host, "/v1/push/ad_impressions", "", 400, "empty");
    check(&host, "/v1/push/ad_impressions", "not json\n", 400, "rejected");
    check(&host, "/v1/push/ad_impressions", vec![b' '; 65 << 10], 413, "max_body");
    let large = format!(
        "{{\"user_uuid\":\"{}\",\"ad_id\":1,\"timestamp\":\"2026-01-01T00:00:00Z\"}}\n",
        "x".repeat(2048)
    );
    check(&host, "/v1/push/ad_impressions", large, 400, "too_large");
    check(&host, "/v1/push/ad_impressions", impression("still works", 1), 200, "\"accepted\":1");
    assert!(host.stop().success());
}

#[test]
fn feast_push_waits_for_the_online_write() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    for number in 0..20 {
        let user = format!("u{number}");
        let frame = json!({
            "push_source_name": "ad_impressions",
            "df": {
                "user_uuid": [user, "other"],
                "ad_id": [1, 2],
                "timestamp": [format!("2026-01-01T00:00:{number:02}Z"), format!("2026-01-01T00:01:{number:02}Z")],
            },
            "to": "online",
        });
        let answer = host.post("/push", frame.to_string());
        assert_eq!((answer.status, answer.text.as_str()), (200, ""));
        // No waiting here: the answer says that reads see it.
        let request =
            json!({"features": ["user_impression_counts:impression"], "entities": {"user_id": [user]}});
        let body = host.post("/get-online-features", request.to_string()).json();
        assert_eq!(body["results"][1]["statuses"][0], "PRESENT", "{body}");
    }
    for to in ["offline", "online_and_offline"] {
        let frame = json!({"push_source_name": "ad_impressions", "df": {}, "to": to});
        let answer = host.post("/push", frame.to_string());
        assert!(answer.status >= 400 && answer.text.contains("offline"), "{} {}", answer.status, answer.text);
    }
    let frame = json!({"push_source_name": "nothing", "df": {}, "to": "online"});
    check(&host, "/push", frame.to_string(), 422, "nothing");
    assert!(host.stop().success());
}

#[test]
fn a_full_log_asks_clients_to_wait() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    // A view whose component is missing holds its positions, so the log cannot be released.
    std::fs::remove_file(workspace.views().join("user_impression_counts.wasm")).unwrap();
    workspace.write("views/ads.yaml", ad_view("1").replace("push: {}", "push: {}\n  start: earliest"));
    workspace.write("host.yaml", "push: { max_log_bytes: 1MiB, segment_bytes: 64KiB }\n");
    let host = Host::start(&workspace);
    let body: String = (0..500).map(|row| impression("u", row)).collect();
    let mut accepted = 0;
    let answer = loop {
        let answer = host.post("/v1/push/ad_impressions", &body);
        if answer.status != 200 {
            break answer;
        }
        accepted += 500;
        assert!(accepted < 50_000, "the log has no limit");
    };
    assert_eq!(answer.status, 429, "{}", answer.text);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(answer.text.contains("full"), "{}", answer.text);
    // The component comes, the view catches up, pushes are taken again, and nothing that was accepted is missing.
    workspace.component("user_impression_counts.wasm", "ad_impressions");
    eventually("everything accepted is emitted", || {
        (workspace.lines("out.ndjson").len() == accepted).then_some(())
    });
    eventually("pushes are taken again", || {
        (host.post("/v1/push/ad_impressions", &body).status == 200).then_some(())
    });
    assert!(host.stop().success());
}
