//! `GET` and `POST /v1/features/{view}`.

use model::status::ViewState;
use serve::ServeSettings;

use crate::harness::Host;

const HEAD: &str = r#"{"view":"user_impression_counts","state":"running","generation":3,"positions":[{"partition":"0","applied":"0000000000000009","emitted":null}],"rows":["#;
const U1: &str = r#"{"entity":{"user_id":"u1"},"status":"PRESENT","feature_timestamp":"2026-03-04T05:06:07.832793Z","effective_time":"2026-03-04T05:06:07.832793Z","version":"1772600767832793.0.0000000000000007.3.0","generation":3,"features":{"impression":1}}"#;

#[track_caller]
fn refuse(answer: &crate::harness::Answer, status: u16, code: &str, message: &str) {
    assert_eq!((answer.status, answer.error()), (status, (code.to_owned(), message.to_owned())));
}

#[test]
fn one_entity_by_query() {
    let answer = Host::start().get("/v1/features/user_impression_counts?user_id=u1");
    assert_eq!((answer.status, answer.body), (200, format!("{HEAD}{U1}]}}")));
}

#[test]
fn many_entities_by_body() {
    let body =
        r#"{"entities":[{"user_id":"u1"},{"user_id":"old"},{"user_id":"u9"}],"features":["impression"]}"#;
    let answer = Host::start().post("/v1/features/user_impression_counts", body);
    let old = r#"{"entity":{"user_id":"old"},"status":"OUTSIDE_MAX_AGE","feature_timestamp":"2024-01-01T00:00:00.000000Z","effective_time":"2024-01-01T00:00:00.000000Z","version":"1704067200000000.0.0000000000000002.3.0","generation":3,"features":{"impression":null}}"#;
    let absent = r#"{"entity":{"user_id":"u9"},"status":"NOT_FOUND","feature_timestamp":null,"effective_time":null,"version":null,"generation":null,"features":{"impression":null}}"#;
    assert_eq!((answer.status, answer.body), (200, format!("{HEAD}{U1},{old},{absent}]}}")));
}

#[test]
fn values_are_typed_and_features_are_chosen() {
    let host = Host::start();
    let features = |path: &str| {
        let answer = host.get(path);
        let start = answer.body.rfind("\"features\":").unwrap();
        answer.body[start..].to_owned()
    };
    assert_eq!(
        features("/v1/features/profiles?user_id=u1"),
        r#""features":{"embedding":[0.1,null,"NaN"],"raw":"AP8=","seen":"2026-01-02T03:04:05.678000Z","price":"-19.99","home":{"lat":47.4,"tags":["a\"b"]},"score":"-Infinity"}}]}"#
    );
    assert_eq!(
        features("/v1/features/driver_stats?features=avg_daily_trips,city&driver_id=1001"),
        r#""features":{"avg_daily_trips":9007199254740993,"city":"zurich"}}]}"#
    );
    assert_eq!(
        features("/v1/features/visits?token=AQID&at=2026-01-02T03%3A04%3A05Z"),
        r#""features":{"n":18446744073709551615}}]}"#
    );
    assert_eq!(
        features("/v1/features/ad_clicks?user_id=u1&ad_id=7&features="),
        r#""features":{"clicks":12}}]}"#
    );
    assert_eq!(features("/v1/features/totals"), r#""features":{"n":42}}]}"#);
}

#[test]
fn bad_queries_say_what_is_wrong() {
    let host = Host::start();
    let get = |path: &str| host.get(&format!("/v1/features/{path}"));
    refuse(&get("nothing?user_id=u1"), 404, "unknown_view", "unknown feature view `nothing`");
    refuse(
        &get("driver_stats?driver_id=1&features=cityy"),
        404,
        "unknown_feature",
        "view `driver_stats` has no feature `cityy`",
    );
    refuse(
        &get("driver_stats?driver_id=1&features=city,city"),
        400,
        "feature_name_collision",
        "feature `city` stands twice",
    );
    refuse(
        &get("driver_stats?drivr_id=1"),
        400,
        "unknown_join_key",
        "view `driver_stats` has no join key `drivr_id`",
    );
    refuse(
        &get("ad_clicks?user_id=u1"),
        400,
        "missing_join_key",
        "entity 0 lacks the join key `ad_id` of view `ad_clicks`",
    );
    refuse(
        &get("driver_stats?driver_id=x"),
        400,
        "bad_join_key",
        "join key `driver_id` of entity 0: expected a whole number of 64 bits, found the string `x`",
    );
    refuse(&get("driver_stats?driver_id=1&driver_id=2"), 400, "bad_query", "`driver_id` stands twice");
    refuse(&get("driver_stats?driver_id=%ff"), 400, "bad_query", "the query is not percent-encoded UTF-8");
    refuse(&get(""), 400, "bad_name", "`/v1/features/` names nothing");
    refuse(&get("drafts?user_id=u1"), 400, "not_online", "view `drafts` keeps no rows in the online store");
}

#[test]
fn bad_bodies_say_what_is_wrong() {
    let host = Host::start();
    let post = |body: &str| host.post("/v1/features/driver_stats", body);
    refuse(&post(""), 400, "empty_body", "the body is empty");
    refuse(
        &post(r#"{"entities":[],"feature":[]}"#),
        400,
        "bad_body",
        "the body cannot be read: unknown field `feature`, expected `entities` or `features` at line 1 column 24",
    );
    refuse(
        &post(r#"{"entities":[{"driver_id":1},{}]}"#),
        400,
        "missing_join_key",
        "entity 1 lacks the join key `driver_id` of view `driver_stats`",
    );
    refuse(
        &post(r#"{"entities":[{"driver_id":[1]}]}"#),
        400,
        "bad_join_key",
        "join key `driver_id` of entity 0: expected a whole number of 64 bits, found a list or an object",
    );
    let many = format!(r#"{{"entities":[{}{{}}]}}"#, "{},".repeat(10_000));
    let (code, message) = post(&many).error();
    assert_eq!(code, "bad_body");
    assert!(message.contains("more than 10000 entities in one request"), "{message}");
}

#[test]
fn a_view_shows_how_it_is() {
    let host = Host::start();
    host.overview.set_state("driver_stats", ViewState::CatchingUp);
    let json = host.get("/v1/features/driver_stats?driver_id=1001").json();
    assert_eq!((json["state"].as_str(), json["recovering"].is_null()), (Some("catching_up"), true));
    host.overview.set_state("driver_stats", ViewState::Starting);
    let answer = host.get("/v1/features/driver_stats?driver_id=1001");
    assert_eq!((answer.status, answer.error().0.as_str()), (503, "starting"));

    let host = Host::start_with(ServeSettings { serve_while_recovering: true, ..ServeSettings::default() });
    host.overview.set_state("driver_stats", ViewState::Recovering);
    let json = host.get("/v1/features/driver_stats?driver_id=1001").json();
    assert_eq!((json["state"].as_str(), json["recovering"].as_bool()), (Some("recovering"), Some(true)));
}
