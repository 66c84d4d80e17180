//! `POST /push` and the endpoints that come later.

use model::error::Failure;
use model::position::{Partition, Position};
use model::source::PushError;
use model::status::WaitError;
use serve::Phase;

use crate::harness::{Answer, Host};

const ONE: &str = r#"{"push_source_name":"driver_push","to":"online","allow_registry_cache":true,"transform_on_write":true,
    "df":{"driver_id":[1001],"event_timestamp":["2026-03-04T05:06:07.123456"],"created":["2026-03-04 05:06:07"],"conv_rate":[0.5]}}"#;

#[track_caller]
fn refuse(body: &str, status: u16, code: &str, message: &str) -> Answer {
    let host = Host::start();
    let answer = host.post("/push", body);
    assert_eq!((answer.status, answer.error()), (status, (code.to_owned(), message.to_owned())));
    assert_eq!(answer.json()["detail"].is_array(), status == 422, "{}", answer.body);
    answer
}

#[test]
fn a_frame_is_pushed_and_waited_for() {
    let host = Host::start();
    let answer = host.post("/push", ONE);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header("content-type"), None);
    let row = r#"{"driver_id":1001,"event_timestamp":"2026-03-04T05:06:07.123456","conv_rate":0.5}"#;
    assert_eq!(*host.driver_push.taken.lock().unwrap(), [row]);
    let waited = ("driver_push".to_owned(), Partition::new("0"), Position::from_u64(1));
    assert_eq!(*host.overview.waits.lock().unwrap(), [waited]);
}

#[test]
fn the_target_is_online_unless_said_and_nan_is_null() {
    let host = Host::start();
    let body = r#"{"push_source_name":"driver_push","df":{"driver_id":[1,2],"event_timestamp":[1767323045,"2026-01-02"],
        "conv_rate":[NaN,1.5],"city":["NaN",null]}}"#;
    assert_eq!(host.post("/push", body).status, 200);
    let rows = [
        r#"{"driver_id":1,"event_timestamp":"2026-01-02T03:04:05.000000Z","conv_rate":null,"city":"NaN"}"#,
        r#"{"driver_id":2,"event_timestamp":"2026-01-02","conv_rate":1.5,"city":null}"#,
    ];
    assert_eq!(*host.driver_push.taken.lock().unwrap(), rows);
}

#[test]
fn bad_pushes_take_nothing() {
    refuse("", 422, "empty_body", "the body is empty");
    let answer = refuse(
        r#"{"df":{"driver_id":[1]}}"#,
        422,
        "bad_body",
        "the body cannot be read: missing field `push_source_name` at line 1 column 24",
    );
    assert_eq!(answer.json()["detail"][0]["loc"], serde_json::json!(["body", "push_source_name"]));
    refuse(
        r#"{"push_source_name":"driver_pus","df":{"driver_id":[1]}}"#,
        422,
        "unknown_source",
        "unknown push source `driver_pus`",
    );
    refuse(
        r#"{"push_source_name":"history","df":{"driver_id":[1]}}"#,
        409,
        "not_a_push_source",
        "source `history` is a file source: it takes no pushes",
    );
    refuse(
        r#"{"push_source_name":"driver_push","df":{"driver_id":[1,2],"event_timestamp":[1]}}"#,
        422,
        "column_lengths",
        "column `driver_id` has 2 values but `event_timestamp` has 1",
    );
    let answer = refuse(
        r#"{"push_source_name":"driver_push","df":{"city":["x"]}}"#,
        422,
        "missing_column",
        "`df` lacks `driver_id`, `event_timestamp`",
    );
    assert_eq!(answer.json()["detail"][0]["type"], "missing");
    refuse(r#"{"push_source_name":"driver_push","df":{}}"#, 422, "empty_frame", "`df` has no columns");
    refuse(
        r#"{"push_source_name":"driver_push","df":{"driver_id":[1]},"to":"sideways"}"#,
        422,
        "bad_to",
        "`to: sideways` is unknown",
    );
    for to in ["offline", "online_and_offline"] {
        refuse(
            &format!(r#"{{"push_source_name":"driver_push","df":{{"driver_id":[1]}},"to":"{to}"}}"#),
            501,
            "offline_not_implemented",
            &format!("`to: {to}`: the offline store arrives in a later version; nothing was taken"),
        );
    }
}

#[test]
fn refused_rows_are_listed_and_the_others_counted() {
    let host = Host::start();
    let body =
        r#"{"push_source_name":"driver_push","df":{"driver_id":[1,null,3],"event_timestamp":["a","b","c"]}}"#;
    let answer = host.post("/push", body);
    assert_eq!(answer.status, 422);
    let message = "1 of 3 rows were refused, the other 2 are logged and will be applied; row 1: column `driver_id` (string) is not nullable, but its value is missing or null";
    assert_eq!(answer.error(), ("rows_refused".to_owned(), message.to_owned()));
    let json = answer.json();
    assert_eq!(json["accepted"], 2);
    let rejected = serde_json::json!([{"row": 1, "code": "decode", "message": "column `driver_id` (string) is not nullable, but its value is missing or null"}]);
    assert_eq!(json["rejected"], rejected);
    assert_eq!(host.driver_push.taken.lock().unwrap().len(), 2);
}

#[test]
fn what_is_not_visible_in_time_is_an_error_that_does_not_invite_a_repeat() {
    let host = Host::start();
    *host.overview.wait_error.lock().unwrap() = Some(WaitError::TimedOut { view: "driver_stats".into() });
    let answer = host.post("/push", ONE);
    let message = "the events are logged, but view `driver_stats` did not apply them within 5 s".to_owned();
    assert_eq!((answer.status, answer.error()), (504, ("not_applied_in_time".to_owned(), message)));
    let paused = WaitError::NotRunning { view: "driver_stats".into(), state: "paused" };
    *host.overview.wait_error.lock().unwrap() = Some(paused);
    let answer = host.post("/push", ONE);
    let message = "the events are logged, but view `driver_stats` is paused".to_owned();
    assert_eq!((answer.status, answer.error()), (409, ("view_not_running".to_owned(), message)));
    assert_eq!(answer.header("retry-after"), None);
}

#[test]
fn a_log_that_takes_nothing_says_why() {
    let host = Host::start();
    *host.driver_push.error.lock().unwrap() = Some(PushError::Full("driver_push".into()));
    let answer = host.post("/push", ONE);
    assert_eq!((answer.status, answer.error().0.as_str()), (429, "log_full"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    *host.driver_push.error.lock().unwrap() =
        Some(PushError::Failed(Failure::retry("no space left on device")));
    let answer = host.post("/push", ONE);
    assert_eq!((answer.status, answer.error().0.as_str()), (503, "log_unavailable"));
    *host.driver_push.error.lock().unwrap() = Some(PushError::Failed(Failure::stop("the log is damaged")));
    let answer = host.post("/push", ONE);
    assert_eq!((answer.status, answer.error().0.as_str()), (500, "log_failed"));
    *host.driver_push.error.lock().unwrap() = Some(PushError::Stopping);
    let answer = host.post("/push", ONE);
    assert_eq!((answer.status, answer.error().0.as_str()), (503, "log_unavailable"));
    host.health.set_phase(Phase::Draining);
    let answer = host.post("/push", ONE);
    assert_eq!((answer.status, answer.error().0.as_str()), (503, "draining"));
    assert!(host.driver_push.taken.lock().unwrap().is_empty());
}

#[test]
fn later_endpoints_say_so() {
    let host = Host::start();
    for path in ["/write-to-online-store", "/materialize", "/materialize-incremental"] {
        let answer = host.post(path, "{}");
        let message = format!("`{path}` arrives in a later version");
        assert_eq!((answer.status, answer.error()), (501, ("not_implemented".to_owned(), message)));
    }
}
