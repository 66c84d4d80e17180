//! Probes, metrics, and what no endpoint answers.

use model::status::ViewState;
use serve::{Phase, ServeSettings, Trouble};

use crate::harness::Host;

#[track_caller]
fn reasons(host: &Host) -> (u16, Vec<String>) {
    let answer = host.get("/readyz");
    let json = answer.json();
    let codes =
        json["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap().to_owned());
    assert_eq!(json["views"].as_array().unwrap().len(), 8);
    assert_eq!(json["status"] == "ready", answer.status == 200);
    (answer.status, codes.collect())
}

#[test]
fn readiness_follows_what_hurts_all_views() {
    let host = Host::start();
    assert_eq!(reasons(&host), (200, vec![]));
    for state in [
        ViewState::Paused { reason: "all rows fail".into() },
        ViewState::Failed { reason: "no component".into() },
        ViewState::Starting,
        ViewState::CatchingUp,
        ViewState::Draining,
        ViewState::Stopped,
    ] {
        host.overview.set_state("totals", state);
        assert_eq!(reasons(&host), (200, vec![]));
    }
    host.overview.set_state("totals", ViewState::Recovering);
    assert_eq!(reasons(&host), (503, vec!["recovering".to_owned()]));
    host.overview.set_state("totals", ViewState::Running);
    host.health.raise(Trouble::DiskFull, "/var/lib/millrace", "no space left on device");
    host.health.raise(Trouble::DependencyAway, "cache", "connection refused");
    assert_eq!(reasons(&host), (503, vec!["dependency_away".to_owned(), "disk_full".to_owned()]));
    host.health.clear(Trouble::DiskFull, "/var/lib/millrace");
    host.health.clear(Trouble::DependencyAway, "cache");
    assert_eq!(reasons(&host), (200, vec![]));
    host.health.set_phase(Phase::Draining);
    assert_eq!(reasons(&host), (503, vec!["draining".to_owned()]));

    let host = Host::start_with(ServeSettings { serve_while_recovering: true, ..ServeSettings::default() });
    host.overview.set_state("totals", ViewState::Recovering);
    assert_eq!(reasons(&host), (200, vec![]));
}

#[test]
fn a_paused_view_is_shown_with_its_reason() {
    let host = Host::start();
    host.overview.set_state("driver_stats", ViewState::Paused { reason: "the last 1000 rows failed".into() });
    host.overview.views.lock().unwrap().get_mut("driver_stats").unwrap().last_error =
        Some("a \"bad\" file".into());
    let answer = host.get("/readyz");
    let shown = format!(
        r#"{{"view":"driver_stats","source":"driver_push","state":"paused","reason":"the last 1000 rows failed","component":"driver_stats 0.1.0","generation":3,"digest":"{}","last_error":"a \"bad\" file","rows_in":10,"rows_out":9,"dead_letters":1,"positions":[{{"partition":"0","applied":"0000000000000009","emitted":null}}]}}"#,
        "ab".repeat(32)
    );
    assert!(answer.body.contains(&shown), "{}", answer.body);
}

#[test]
fn liveness_never_changes_and_health_follows_the_phase() {
    let host = Host::start();
    for (phase, health) in [(Phase::Starting, 503), (Phase::Ready, 200), (Phase::Draining, 503)] {
        host.health.set_phase(phase);
        assert_eq!(host.get("/livez").status, 200);
        assert_eq!(host.get("/health").status, health);
    }
    host.health.set_phase(Phase::Ready);
    host.overview.set_state("totals", ViewState::Recovering);
    let answer = host.get("/health");
    assert_eq!((answer.status, answer.body.as_str(), answer.header("content-type")), (200, "", None));
}

#[test]
fn nothing_is_read_before_views_are_known() {
    let host = Host::start();
    host.health.set_phase(Phase::Starting);
    for answer in
        [host.get("/v1/features/totals"), host.post("/get-online-features", "{}"), host.post("/push", "{}")]
    {
        assert_eq!((answer.status, answer.error().0.as_str()), (503, "starting"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}

#[test]
fn metrics_count_requests_and_rows() {
    let host = Host::start();
    host.get("/v1/features/user_impression_counts?user_id=u1");
    host.get("/v1/features/user_impression_counts?user_id=u9");
    host.get("/v1/features/nothing?user_id=u9");
    host.get("/nowhere");
    host.post("/v1/push/lines", "a\nb");
    let answer = host.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(
        answer.header("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0")
    );
    for line in [
        r#"millrace_http_request_duration_seconds_count{endpoint="/v1/features/{view}",status="2xx"} 2"#,
        r#"millrace_http_request_duration_seconds_count{endpoint="/v1/features/{view}",status="4xx"} 1"#,
        r#"millrace_http_request_duration_seconds_count{endpoint="other",status="4xx"} 1"#,
        r#"millrace_http_read_rows_total{result="present"} 1"#,
        r#"millrace_http_read_rows_total{result="not_found"} 1"#,
        r#"millrace_http_push_rows_total{result="accepted"} 2"#,
        "# TYPE millrace_http_connections gauge",
        "# EOF",
    ] {
        assert!(answer.body.lines().any(|known| known == line), "no `{line}` in\n{}", answer.body);
    }
}

#[test]
fn unknown_paths_and_methods_are_told_apart() {
    let host = Host::start();
    let answer = host.get("/readz");
    assert_eq!(answer.error(), ("unknown_path".to_owned(), "there is nothing at `/readz`".to_owned()));
    assert_eq!(
        (answer.status, answer.json()["error"]["help"].as_str()),
        (404, Some("did you mean `/readyz`?"))
    );
    let answer = host.get("/push");
    assert_eq!(answer.error(), ("method_not_allowed".to_owned(), "`/push` does not take GET".to_owned()));
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    let answer = host.post("/readyz", "");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    let answer = host.send("HEAD", "/readyz", &[], "");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

#[test]
fn a_new_directory_counts_for_the_next_request() {
    let host = Host::start();
    assert_eq!(host.get("/v1/features/totals").status, 200);
    host.directory.store(std::sync::Arc::new(serve::Directory::default()));
    let answer = host.get("/v1/features/totals");
    assert_eq!((answer.status, answer.error().0.as_str()), (404, "unknown_view"));
}
