//! Rewinds: what points are understood, and what a client is told when there is none.

use std::collections::BTreeMap;

use model::error::Failure;
use model::position::Partition;
use model::source::Point;
use model::status::ViewState;

use crate::harness::{Host, micros};

const PATH: &str = "/v1/views/user_purchases/rewind";

fn numbers(of: &[(&str, u64)]) -> Point {
    let numbers: BTreeMap<_, _> = of.iter().map(|(name, number)| (Partition::new(name), *number)).collect();
    Point::Numbers(numbers)
}

/// A host whose view reads three partitions of two topics.
fn host() -> Host {
    let host = Host::start();
    let mut views = host.overview.views.lock().unwrap();
    let partitions = &mut views.get_mut("user_purchases").unwrap().partitions;
    let template = partitions[0].clone();
    *partitions = ["web-ads-0", "web-ads-1", "shop-1"]
        .map(|name| {
            let mut partition = template.clone();
            partition.partition = Partition::new(name);
            partition
        })
        .to_vec();
    drop(views);
    host
}

#[track_caller]
fn understood(body: &str, expected: Point) {
    let host = host();
    let answer = host.post(PATH, body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(*host.overview.rewinds.lock().unwrap(), [("user_purchases".to_owned(), expected)]);
}

#[test]
fn points_are_words_times_numbers_and_numbers_by_partition() {
    understood(r#"{"to":"earliest"}"#, Point::Earliest);
    understood(r#"{"to":"latest"}"#, Point::Latest);
    understood(r#"{"to":"committed"}"#, Point::Committed);
    understood(r#"{"to":"2026-03-04T05:06:07.5Z"}"#, Point::Time(micros("2026-03-04T05:06:07.5Z")));
    understood(r#"{ "to" : 12 }"#, numbers(&[("web-ads-0", 12), ("web-ads-1", 12), ("shop-1", 12)]));
    understood(r#"{"to":{"web-ads-1":0,"shop-1":18446744073709551615}}"#, {
        numbers(&[("web-ads-1", 0), ("shop-1", u64::MAX)])
    });
    // Only one topic has a partition 0.
    understood(r#"{"to":{"0":7}}"#, numbers(&[("web-ads-0", 7)]));
}

#[test]
fn the_answer_names_epoch_and_partitions() {
    let host = host();
    let answer = host.post(PATH, r#"{"to":{"web-ads-0":0,"shop-1":3}}"#);
    let expected = r#"{"view":"user_purchases","epoch":1,"partitions":[{"partition":"shop-1","after":"0000000000000002"},{"partition":"web-ads-0","after":null}]}"#;
    assert_eq!(answer.body, expected);
}

#[track_caller]
fn refused(host: &Host, path: &str, body: &str, status: u16, code: &str, message: &str) {
    let answer = host.post(path, body);
    let (known, text) = answer.error();
    assert_eq!((answer.status, known.as_str()), (status, code), "{}", answer.body);
    assert!(text.contains(message), "{text}");
    assert!(host.overview.rewinds.lock().unwrap().is_empty());
}

#[test]
fn what_is_no_point_is_refused() {
    let host = host();
    refused(&host, PATH, "", 400, "empty_body", "the body is empty");
    refused(&host, PATH, "{}", 400, "bad_body", "missing field `to`");
    refused(&host, PATH, r#"{"to":"earliest","force":true}"#, 400, "bad_body", "unknown field `force`");
    refused(&host, PATH, r#"{"to":"yesterday"}"#, 400, "bad_rewind", "`yesterday` is none of");
    for body in [r#"{"to":-1}"#, r#"{"to":1.5}"#, r#"{"to":null}"#, r#"{"to":[1]}"#] {
        refused(&host, PATH, body, 400, "bad_rewind", "`to` is neither");
    }
    refused(&host, PATH, r#"{"to":{}}"#, 400, "bad_rewind", "no partition");
    refused(&host, PATH, r#"{"to":{"shop-1":"x"}}"#, 400, "bad_rewind", "`shop-1` has no number");
    refused(&host, PATH, r#"{"to":{"web-ads-0":1,"0":1}}"#, 400, "bad_rewind", "stands twice");
    // Two topics have a partition 1.
    refused(&host, PATH, r#"{"to":{"1":1}}"#, 404, "unknown_partition", "no partition `1`");
    refused(&host, PATH, r#"{"to":{"shop-2":1}}"#, 404, "unknown_partition", "no partition `shop-2`");
    refused(&host, "/v1/views/user_purchase/rewind", "{}", 404, "unknown_view", "unknown feature view");
    refused(&host, "/v1/views//rewind", "{}", 400, "bad_name", "names nothing");
    assert_eq!(host.get(PATH).header("allow"), Some("POST"));
}

#[test]
fn a_view_that_does_not_run_cannot_be_rewound() {
    let host = host();
    host.overview.set_state("user_purchases", ViewState::Stopped);
    refused(&host, PATH, r#"{"to":"earliest"}"#, 409, "view_not_running", "view `user_purchases` is stopped");
    host.overview.set_state("user_purchases", ViewState::Paused { reason: "out of range".into() });
    assert_eq!(host.post(PATH, r#"{"to":"earliest"}"#).status, 200);
}

#[test]
fn what_the_flow_refuses_says_whether_to_repeat() {
    let host = host();
    *host.overview.rewind_failure.lock().unwrap() = Some(Failure::retry("find offsets: no broker answers"));
    refused(
        &host,
        PATH,
        r#"{"to":"earliest"}"#,
        503,
        "rewind_unavailable",
        "failed to find offsets: no broker",
    );
    *host.overview.rewind_failure.lock().unwrap() = Some(Failure::stop("find that place: it is gone"));
    refused(
        &host,
        PATH,
        r#"{"to":"earliest"}"#,
        409,
        "cannot_rewind",
        "failed to find that place: it is gone",
    );
    host.overview.views.lock().unwrap().get_mut("user_purchases").unwrap().partitions.clear();
    refused(&host, PATH, r#"{"to":12}"#, 409, "cannot_rewind", "reads no partition on this host");
}
