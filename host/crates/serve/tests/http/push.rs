//! `POST /v1/push/{source}`.

use model::error::Failure;
use model::source::PushError;
use serve::{Phase, ServeSettings};

use crate::harness::{Answer, Host};

const GOOD: &str = r#"{"user_uuid":"u1","ad_id":7,"timestamp":"2026-03-04T05:06:07Z"}"#;
const PATH: &str = "/v1/push/ad_impressions";

#[track_caller]
fn refuse(answer: &Answer, status: u16, code: &str, message: &str) {
    assert_eq!((answer.status, answer.error()), (status, (code.to_owned(), message.to_owned())));
}

#[test]
fn good_rows_are_taken_and_bad_ones_refused_by_index() {
    let host = Host::start();
    let answer = host.post(PATH, &format!("{GOOD}\n\n{{}}\r\nnonsense\n{GOOD}"));
    let expected = r#"{"accepted":2,"rejected":[{"row":1,"code":"decode","message":"column `user_uuid` (string) is not nullable, but its value is missing or null"},{"row":2,"code":"decode","message":"expected ident at line 1 column 2"}]}"#;
    assert_eq!((answer.status, answer.body.as_str()), (200, expected));
    assert_eq!(*host.ad_impressions.taken.lock().unwrap(), [GOOD, GOOD]);
    let answer = host.post(PATH, GOOD);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"accepted":1,"rejected":[]}"#));
    // Our own push does not wait for reads to see it.
    assert!(host.overview.waits.lock().unwrap().is_empty());
}

#[test]
fn nothing_good_is_an_error() {
    let host = Host::start();
    let answer = host.post(PATH, "{}\n7");
    refuse(
        &answer,
        400,
        "no_good_rows",
        "none of 2 events was taken; event 0: column `user_uuid` (string) is not nullable, but its value is missing or null",
    );
    assert_eq!(answer.json()["accepted"], 0);
    assert_eq!(answer.json()["rejected"][1]["message"], "not an object");
    for body in ["", " \n\r\n"] {
        refuse(&host.post(PATH, body), 400, "empty_body", "the body holds no events");
    }
}

#[test]
fn json_arrays_and_raw_lines_are_taken() {
    let host = Host::start();
    let json = [("Content-Type", "application/json; charset=utf-8")];
    let answer = host.send("POST", PATH, &json, &format!("[{GOOD},\n {GOOD}]"));
    assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (200, Some(2)));
    assert_eq!(*host.ad_impressions.taken.lock().unwrap(), [GOOD, GOOD]);
    let answer = host.send("POST", PATH, &json, "[1,");
    assert_eq!((answer.status, answer.error().0.as_str()), (400, "bad_body"));
    assert_eq!(host.post("/v1/push/lines", "a b\n[c\n").status, 200);
    assert_eq!(*host.lines.taken.lock().unwrap(), ["a b", "[c"]);
}

#[test]
fn sources_that_take_no_pushes_say_so() {
    let host = Host::start();
    let answer = host.post("/v1/push/ad_impression", GOOD);
    refuse(&answer, 404, "unknown_source", "unknown source `ad_impression`");
    assert_eq!(answer.json()["error"]["help"], "did you mean `ad_impressions`?");
    assert!(answer.json()["detail"].is_null());
    let message = "source `history` is a file source: it takes no pushes";
    refuse(&host.post("/v1/push/history", GOOD), 409, "not_a_push_source", message);
}

#[test]
fn repeats_are_recognized_by_producer_and_sequence() {
    let host = Host::start();
    let send = |sequence: &str| {
        host.send("POST", PATH, &[("Millrace-Producer", "web-1"), ("Millrace-Sequence", sequence)], GOOD)
    };
    assert_eq!(send("1").body, r#"{"accepted":1,"rejected":[]}"#);
    assert_eq!(send("2").body, r#"{"accepted":1,"rejected":[]}"#);
    assert_eq!(send("2").body, r#"{"accepted":1,"rejected":[],"repeated":true}"#);
    refuse(&send("1"), 409, "out_of_sequence", "producer `web-1` sent sequence 1 after 2");
    assert_eq!(host.ad_impressions.taken.lock().unwrap().len(), 2);
    refuse(&send("-1"), 400, "bad_producer", "`Millrace-Sequence: -1` is not a whole number of 64 bits");
    let answer = host.send("POST", PATH, &[("Millrace-Producer", "web-1")], GOOD);
    refuse(&answer, 400, "bad_producer", "`Millrace-Producer` without `Millrace-Sequence`");
    let answer = host.send("POST", PATH, &[("Millrace-Sequence", "1")], GOOD);
    refuse(&answer, 400, "bad_producer", "`Millrace-Sequence` without `Millrace-Producer`");
    let answer = host.send("POST", PATH, &[("Millrace-Producer", ""), ("Millrace-Sequence", "1")], GOOD);
    refuse(&answer, 400, "bad_producer", "`Millrace-Producer` must have 1 to 128 visible ASCII characters");
}

#[test]
fn back_pressure_and_failures() {
    let host = Host::start();
    let fail = |error| {
        *host.ad_impressions.error.lock().unwrap() = Some(error);
        host.post(PATH, GOOD)
    };
    let answer = fail(PushError::Full("ad_impressions".into()));
    let message = "the log of source `ad_impressions` is full: its views have to catch up first";
    refuse(&answer, 429, "log_full", message);
    assert_eq!(answer.header("retry-after"), Some("1"));
    let answer = fail(PushError::Failed(Failure::retry("no space left on device")));
    let message = "failed to log the events of source `ad_impressions`: no space left on device";
    refuse(&answer, 503, "log_unavailable", message);
    assert_eq!(answer.header("retry-after"), Some("1"));
    refuse(
        &fail(PushError::Stopping),
        503,
        "log_unavailable",
        "source `ad_impressions` is being opened anew after a change of its declaration",
    );
    host.health.set_phase(Phase::Draining);
    refuse(&host.post(PATH, GOOD), 503, "draining", "the host is stopping");
    host.health.set_phase(Phase::Starting);
    refuse(&host.post(PATH, GOOD), 503, "starting", "the host is starting");
}

#[test]
fn compressed_bodies_are_refused_in_words() {
    let host = Host::start();
    let answer = host.send("POST", PATH, &[("Content-Encoding", "gzip")], GOOD);
    refuse(&answer, 415, "unsupported_encoding", "bodies with `Content-Encoding: gzip` are not taken");
    assert_eq!(host.send("POST", PATH, &[("Content-Encoding", "identity")], GOOD).status, 200);
}

#[test]
fn large_bodies_name_the_limit_and_its_key() {
    let settings = ServeSettings { max_body_bytes: 1 << 20, ..ServeSettings::default() };
    let host = Host::start_with(settings);
    // Larger than the socket's buffers: the client only gets to read once all of it is taken away.
    let answer = host.post(PATH, &"x".repeat(10 << 20));
    refuse(&answer, 413, "body_too_large", "the body has 10485760 bytes; at most 1048576 bytes are taken");
    let help = answer.json()["error"]["help"].as_str().unwrap().to_owned();
    assert!(help.contains("`push.max_body_bytes`"), "{help}");
    assert_eq!(host.post(PATH, GOOD).status, 200);
    let answer = host.post(PATH, &"x\n".repeat(100_001));
    refuse(&answer, 413, "too_many_rows", "100001 rows are too many for one push; at most 100000 are taken");
}
