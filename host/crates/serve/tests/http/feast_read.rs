//! `POST /get-online-features`, to the byte where Feast's clients look.

use model::error::Failure;
use model::status::ViewState;
use serve::ServeSettings;

use crate::harness::{Host, micros};

#[track_caller]
fn check(body: &str, expected: &str) {
    let answer = Host::start().post("/get-online-features", body);
    let expected: String = expected.lines().map(str::trim_start).collect();
    assert_eq!((answer.status, answer.body.as_str()), (200, expected.as_str()));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[track_caller]
fn refuse(body: &str, status: u16, code: &str, message: &str) {
    let answer = Host::start().post("/get-online-features", body);
    assert_eq!((answer.status, answer.error()), (status, (code.to_owned(), message.to_owned())));
    assert_eq!(answer.json()["detail"].is_array(), status == 422, "{}", answer.body);
}

#[test]
fn columns_stand_join_keys_first_and_in_requested_order() {
    check(
        r#"{"features":["driver_stats:city","driver_stats:conv_rate","driver_stats:avg_daily_trips","driver_stats:active"],
            "entities":{"driver_id":[1001,5]}}"#,
        r#"{"results":[
            {"values":[1001,5],"statuses":["PRESENT","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","1970-01-01T00:00:00Z"]},
            {"values":["zurich",null],"statuses":["PRESENT","NOT_FOUND"],"event_timestamps":["2026-03-04T05:06:07.123456Z","1970-01-01T00:00:00Z"]},
            {"values":[0.5,null],"statuses":["PRESENT","NOT_FOUND"],"event_timestamps":["2026-03-04T05:06:07.123456Z","1970-01-01T00:00:00Z"]},
            {"values":[9007199254740993,null],"statuses":["PRESENT","NOT_FOUND"],"event_timestamps":["2026-03-04T05:06:07.123456Z","1970-01-01T00:00:00Z"]},
            {"values":[true,null],"statuses":["PRESENT","NOT_FOUND"],"event_timestamps":["2026-03-04T05:06:07.123456Z","1970-01-01T00:00:00Z"]}],
            "metadata":{"feature_names":["driver_id","city","conv_rate","avg_daily_trips","active"]}}"#,
    );
}

#[test]
fn full_names_and_version_metadata_as_asked() {
    check(
        r#"{"features":["driver_stats:conv_rate"],"entities":{"driver_id":[1001]},"full_feature_names":true,
            "include_feature_view_version_metadata":true}"#,
        r#"{"results":[
            {"values":[1001],"statuses":["PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z"]},
            {"values":[0.5],"statuses":["PRESENT"],"event_timestamps":["2026-03-04T05:06:07.123456Z"]}],
            "metadata":{"feature_names":["driver_id","driver_stats__conv_rate"],"feature_view_metadata":[{"name":"driver_stats"}]}}"#,
    );
}

#[test]
fn a_service_reads_several_views_and_statuses_are_true() {
    check(
        r#"{"feature_service":"promotion","entities":{"user_id":["u1","old","null","u9"]}}"#,
        r#"{"results":[
            {"values":["u1","old","null","u9"],"statuses":["PRESENT","PRESENT","PRESENT","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","1970-01-01T00:00:00Z","1970-01-01T00:00:00Z","1970-01-01T00:00:00Z"]},
            {"values":[1,null,null,null],"statuses":["PRESENT","OUTSIDE_MAX_AGE","PRESENT","NOT_FOUND"],"event_timestamps":["2026-03-04T05:06:07.832793Z","2024-01-01T00:00:00Z","2026-03-04T05:06:08Z","1970-01-01T00:00:00Z"]},
            {"values":[99.5,null,null,null],"statuses":["PRESENT","NOT_FOUND","NOT_FOUND","NOT_FOUND"],"event_timestamps":["2026-03-03T10:00:00.250Z","1970-01-01T00:00:00Z","1970-01-01T00:00:00Z","1970-01-01T00:00:00Z"]}],
            "metadata":{"feature_names":["user_id","impression","lifetime_value"]}}"#,
    );
}

#[test]
fn every_view_uses_its_own_join_keys() {
    check(
        r#"{"features":["ad_clicks:clicks","driver_stats:conv_rate","user_purchases:city"],
            "entities":{"ad_id":["7",8.0],"driver_id":[1001,1001],"user_id":["u1","u1"]}}"#,
        r#"{"results":[
            {"values":[7,8],"statuses":["PRESENT","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","1970-01-01T00:00:00Z"]},
            {"values":[1001,1001],"statuses":["PRESENT","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","1970-01-01T00:00:00Z"]},
            {"values":["u1","u1"],"statuses":["PRESENT","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","1970-01-01T00:00:00Z"]},
            {"values":[12,null],"statuses":["PRESENT","NOT_FOUND"],"event_timestamps":["2026-03-04T05:06:07.123456Z","1970-01-01T00:00:00Z"]},
            {"values":[0.5,0.5],"statuses":["PRESENT","PRESENT"],"event_timestamps":["2026-03-04T05:06:07.123456Z","2026-03-04T05:06:07.123456Z"]},
            {"values":["zurich","zurich"],"statuses":["PRESENT","PRESENT"],"event_timestamps":["2026-03-03T10:00:00.250Z","2026-03-03T10:00:00.250Z"]}],
            "metadata":{"feature_names":["ad_id","driver_id","user_id","clicks","conv_rate","city"]}}"#,
    );
}

#[test]
fn values_of_every_kind_and_null_keys() {
    check(
        r#"{"features":["profiles:embedding","profiles:raw","profiles:seen","profiles:price","profiles:home","profiles:score"],
            "entities":{"user_id":[null,"u1"]}}"#,
        r#"{"results":[
            {"values":[null,"u1"],"statuses":["PRESENT","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","1970-01-01T00:00:00Z"]},
            {"values":[null,[0.1,null,"NaN"]],"statuses":["NOT_FOUND","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","2026-03-04T05:06:07.123456Z"]},
            {"values":[null,"AP8="],"statuses":["NOT_FOUND","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","2026-03-04T05:06:07.123456Z"]},
            {"values":[null,1767323045],"statuses":["NOT_FOUND","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","2026-03-04T05:06:07.123456Z"]},
            {"values":[null,"-19.99"],"statuses":["NOT_FOUND","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","2026-03-04T05:06:07.123456Z"]},
            {"values":[null,{"lat":47.4,"tags":["a\"b"]}],"statuses":["NOT_FOUND","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","2026-03-04T05:06:07.123456Z"]},
            {"values":[null,"-Infinity"],"statuses":["NOT_FOUND","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","2026-03-04T05:06:07.123456Z"]}],
            "metadata":{"feature_names":["user_id","embedding","raw","seen","price","home","score"]}}"#,
    );
}

#[test]
fn keys_of_other_types_and_views_without_entities() {
    check(
        r#"{"features":["visits:n"],"entities":{"at":[1767323045],"token":["AQID"]}}"#,
        r#"{"results":[
            {"values":[1767323045],"statuses":["PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z"]},
            {"values":["AQID"],"statuses":["PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z"]},
            {"values":[18446744073709551615],"statuses":["PRESENT"],"event_timestamps":["2026-03-04T05:06:07.123456Z"]}],
            "metadata":{"feature_names":["at","token","n"]}}"#,
    );
    let total =
        r#"{"values":[42],"statuses":["PRESENT"],"event_timestamps":["2026-03-04T05:06:07.123456Z"]}"#;
    check(
        r#"{"features":["totals:n"],"entities":{}}"#,
        &format!(r#"{{"results":[{total}],"metadata":{{"feature_names":["n"]}}}}"#),
    );
    check(
        r#"{"features":["totals:n"],"entities":{"__dummy_id":[""]}}"#,
        &format!(
            r#"{{"results":[{{"values":[""],"statuses":["PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z"]}},{total}],"metadata":{{"feature_names":["__dummy_id","n"]}}}}"#
        ),
    );
    check(
        r#"{"features":["driver_stats:city"],"entities":{"driver_id":[]}}"#,
        r#"{"results":[{"values":[],"statuses":[],"event_timestamps":[]},{"values":[],"statuses":[],"event_timestamps":[]}],"metadata":{"feature_names":["driver_id","city"]}}"#,
    );
}

#[test]
fn unknown_names_suggest_near_ones() {
    refuse(
        r#"{"features":["user_impression_count:impression"],"entities":{"user_id":["u1"]}}"#,
        404,
        "unknown_view",
        "unknown feature view `user_impression_count`",
    );
    refuse(
        r#"{"features":["user_impression_counts:impresion"],"entities":{"user_id":["u1"]}}"#,
        404,
        "unknown_feature",
        "view `user_impression_counts` has no feature `impresion`",
    );
    refuse(
        r#"{"feature_service":"promotions","entities":{"user_id":["u1"]}}"#,
        404,
        "unknown_service",
        "unknown feature service `promotions`",
    );
    refuse(
        r#"{"feature_service":"broken","entities":{"user_id":["u1"]}}"#,
        404,
        "unknown_view",
        "unknown feature view `user_impression_count`",
    );
    refuse(
        r#"{"features":["driver_stats:city"],"entities":{"driver_id":[1],"user_idd":["u1"]}}"#,
        404,
        "unknown_join_key",
        "no view has a join key `user_idd`",
    );
    let answer = Host::start().post(
        "/get-online-features",
        r#"{"features":["user_impression_count:impression"],"entities":{"user_id":["u1"]}}"#,
    );
    assert_eq!(answer.json()["error"]["help"], "did you mean `user_impression_counts`?");
}

#[test]
fn bad_requests_say_what_is_wrong() {
    let bodies = [
        ("", "empty_body", "the body is empty"),
        ("{", "bad_body", "the body cannot be read: EOF while parsing an object at line 1 column 1"),
        (
            r#"{"features":["driver_stats:city"]}"#,
            "bad_body",
            "the body cannot be read: missing field `entities` at line 1 column 34",
        ),
        (
            r#"{"features":["driver_stats:city"],"entities":{"driver_id":1}}"#,
            "bad_body",
            "the body cannot be read: invalid type: integer `1`, expected a list with one element for each entity at line 1 column 59",
        ),
        (r#"{"entities":{"driver_id":[1]}}"#, "bad_request", "give `features` or `feature_service`"),
        (
            r#"{"features":["driver_stats:city"],"feature_service":"promotion","entities":{"driver_id":[1]}}"#,
            "bad_request",
            "give `features` or `feature_service`, not both",
        ),
        (
            r#"{"features":["driver_stats"],"entities":{"driver_id":[1]}}"#,
            "bad_request",
            "the feature `driver_stats` is not of the form `view:feature`",
        ),
        (
            r#"{"features":["driver_stats:city","user_purchases:city"],"entities":{"driver_id":[1],"user_id":["u1"]}}"#,
            "feature_name_collision",
            "the name `city` would stand twice in the answer",
        ),
        (
            r#"{"features":["ad_clicks:clicks"],"entities":{"user_id":["u1","u2"],"ad_id":[1]}}"#,
            "entity_lengths",
            "`user_id` has 2 values but `ad_id` has 1",
        ),
        (
            r#"{"features":["ad_clicks:clicks"],"entities":{"user_id":["u1"]}}"#,
            "missing_join_key",
            "view `ad_clicks` needs the join key `ad_id`",
        ),
        (
            r#"{"features":["ad_clicks:clicks"],"entities":{}}"#,
            "missing_join_key",
            "view `ad_clicks` needs the join key `user_id`",
        ),
        (
            r#"{"features":["driver_stats:city"],"entities":{"driver_id":[1,"x"]}}"#,
            "bad_join_key",
            "join key `driver_id` of entity 1: expected a whole number of 64 bits, found the string `x`",
        ),
        (
            r#"{"features":["driver_stats:city"],"entities":{"driver_id":[1],"driver_id":[2]}}"#,
            "bad_body",
            "the body cannot be read: `driver_id` stands twice at line 1 column 73",
        ),
    ];
    for (body, code, message) in bodies {
        refuse(body, 422, code, message);
    }
    let missing = Host::start().post("/get-online-features", r#"{"features":["driver_stats:city"]}"#);
    assert_eq!(missing.json()["detail"][0]["type"], "missing");
    assert_eq!(missing.json()["detail"][0]["loc"], serde_json::json!(["body", "entities"]));
    refuse(
        r#"{"features":["drafts:n"],"entities":{"user_id":["u1"]}}"#,
        400,
        "not_online",
        "view `drafts` keeps no rows in the online store",
    );
}

#[test]
fn age_is_judged_in_microseconds_with_its_end_included() {
    let host = Host::start();
    let body = r#"{"features":["driver_stats:conv_rate"],"entities":{"driver_id":[1001]}}"#;
    let status_at = |now: &str| {
        host.clock.0.store(micros(now), std::sync::atomic::Ordering::Relaxed);
        let json = host.post("/get-online-features", body).json();
        let column = &json["results"][1];
        assert_eq!(column["event_timestamps"][0], "2026-03-04T05:06:07.123456Z");
        (column["statuses"][0].as_str().unwrap().to_owned(), column["values"][0].clone())
    };
    assert_eq!(status_at("2026-03-05T05:06:07.123456Z"), ("PRESENT".to_owned(), 0.5.into()));
    assert_eq!(
        status_at("2026-03-05T05:06:07.123457Z"),
        ("OUTSIDE_MAX_AGE".to_owned(), serde_json::Value::Null)
    );
    assert_eq!(status_at("2020-01-01T00:00:00Z").0, "PRESENT");
}

#[test]
fn a_recovering_view_is_not_read_unless_it_may_be() {
    let host = Host::start();
    let body = r#"{"features":["user_impression_counts:impression"],"entities":{"user_id":["u1"]}}"#;
    host.overview.set_state("user_impression_counts", ViewState::Recovering);
    let answer = host.post("/get-online-features", body);
    assert_eq!((answer.status, answer.error().0.as_str()), (503, "recovering"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    // Other views do not care.
    let other = r#"{"features":["driver_stats:city"],"entities":{"driver_id":[1001]}}"#;
    assert_eq!(host.post("/get-online-features", other).status, 200);
    host.overview.set_state("user_impression_counts", ViewState::Paused { reason: "all rows fail".into() });
    assert_eq!(host.post("/get-online-features", body).status, 200);

    let host = Host::start_with(ServeSettings { serve_while_recovering: true, ..ServeSettings::default() });
    host.overview.set_state("user_impression_counts", ViewState::Recovering);
    let answer = host.post("/get-online-features", body);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["metadata"]["recovering"], serde_json::json!(["user_impression_counts"]));
}

#[test]
fn a_store_that_fails_says_so() {
    let host = Host::start();
    let body = r#"{"features":["driver_stats:city"],"entities":{"driver_id":[1001]}}"#;
    *host.reader.failure.lock().unwrap() = Some(Failure::retry("reach `cache:6379`"));
    let answer = host.post("/get-online-features", body);
    assert_eq!((answer.status, answer.error().0.as_str()), (503, "store_unavailable"));
    *host.reader.failure.lock().unwrap() = Some(Failure::stop("a checksum is wrong"));
    let answer = host.post("/get-online-features", body);
    let message = "failed to read view `driver_stats`: a checksum is wrong".to_owned();
    assert_eq!((answer.status, answer.error()), (500, ("store_failed".to_owned(), message)));
    assert_eq!(host.post("/get-online-features", body).status, 200);
}

#[test]
fn several_views_are_one_read() {
    let host = Host::start();
    let body = r#"{"features":["ad_clicks:clicks","driver_stats:conv_rate","user_purchases:city"],
        "entities":{"ad_id":["7",null],"driver_id":[1001,1001],"user_id":["u1",null]}}"#;
    let answer = host.post("/get-online-features", body);
    let column = |index: usize| answer.json()["results"][index]["values"].clone();
    assert_eq!(column(3), serde_json::json!([12, null]));
    assert_eq!(column(5), serde_json::json!(["zurich", null]));
    *host.reader.failure.lock().unwrap() = Some(Failure::retry("reach `cache:6379`"));
    let answer = host.post("/get-online-features", body);
    let message = "failed to read views `ad_clicks`, `driver_stats`, `user_purchases`: reach `cache:6379`";
    assert_eq!((answer.status, answer.error()), (503, ("store_unavailable".to_owned(), message.to_owned())));
    assert_eq!(*host.reader.together.lock().unwrap(), [3, 3]);
}
