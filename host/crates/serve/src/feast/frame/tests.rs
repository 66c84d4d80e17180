//! Frames become rows.

use model::schema::Field;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn entry(raw: bool) -> PushEntry {
    let column = |field, unit| SourceColumn { field, unit };
    let text = TimestampUnit::Text;
    PushEntry {
        push: None,
        columns: vec![
            column(Field::required("driver_id", DataType::Int64), text),
            column(Field::required("event_timestamp", DataType::Timestamp), text),
            column(Field::nullable("millis", DataType::Timestamp), TimestampUnit::Millis),
            column(Field::nullable("city", DataType::String), text),
        ],
        kind: "push",
        raw,
        shared: None,
    }
}

#[track_caller]
fn check(frame: &str, raw: bool, expected: Result<&[&str], &str>) {
    let parsed: Frame<'_> = serde_json::from_str(frame).unwrap();
    let actual = rows(&parsed, &entry(raw), frame.len()).map_err(|problem| problem.message().to_owned());
    let actual = actual.as_ref().map_err(String::as_str).map(|rows| {
        rows.ranges
            .iter()
            .map(|(start, end)| std::str::from_utf8(&rows.body[*start as usize..*end as usize]).unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(actual.as_deref(), expected.as_deref());
}

#[test]
fn columns_become_rows_in_the_order_of_the_schema() {
    check(
        r#"{"city":["a\"b",null],"created":["x","y"],"driver_id":[1001,9007199254740993],
            "event_timestamp":["2026-03-04T05:06:07.123456","2026-03-04 05:06:08+00:00"]}"#,
        false,
        Ok(&[
            r#"{"driver_id":1001,"event_timestamp":"2026-03-04T05:06:07.123456","city":"a\"b"}"#,
            r#"{"driver_id":9007199254740993,"event_timestamp":"2026-03-04 05:06:08+00:00","city":null}"#,
        ]),
    );
}

#[test]
fn times_are_translated_where_the_source_wants_them_otherwise() {
    check(
        r#"{"driver_id":[1,2],"event_timestamp":[1767323045,null],"millis":["2026-01-02T03:04:05.006Z",7]}"#,
        false,
        Ok(&[
            r#"{"driver_id":1,"event_timestamp":"2026-01-02T03:04:05.000000Z","millis":1767323045006}"#,
            r#"{"driver_id":2,"event_timestamp":null,"millis":7}"#,
        ]),
    );
    // Left as they are, for the source to refuse.
    check(
        r#"{"driver_id":[1],"event_timestamp":[1.5],"millis":["soon"]}"#,
        false,
        Ok(&[r#"{"driver_id":1,"event_timestamp":1.5,"millis":"soon"}"#]),
    );
}

#[test]
fn raw_sources_get_every_column() {
    check(r#"{"b":[1],"a":[{"x": 1}]}"#, true, Ok(&[r#"{"b":1,"a":{"x": 1}}"#]));
}

#[test]
fn bad_frames_are_refused_whole() {
    check("{}", false, Err("`df` has no columns"));
    check(r#"{"driver_id":[],"event_timestamp":[]}"#, false, Err("`df` has no rows"));
    check(
        r#"{"driver_id":[1,2],"event_timestamp":["2026-01-02T03:04:05Z"]}"#,
        false,
        Err("column `driver_id` has 2 values but `event_timestamp` has 1"),
    );
    check(r#"{"city":["x"]}"#, false, Err("`df` lacks `driver_id`, `event_timestamp`"));
}

#[test]
fn long_names_cannot_fill_the_memory() {
    let frame = format!(r#"{{"{}":[{}1]}}"#, "x".repeat(100_000), "1,".repeat(50_000));
    let message =
        "50001 rows with the names of their columns take 5000500012 bytes as events: too many for one push";
    check(&frame, true, Err(message));
}

fn cell() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        vec(any::<String>(), 0..3).prop_map(|texts| json!({ "nested": texts })),
    ]
}

proptest! {
    /// The same as turning a tree of values on its side.
    #[test]
    fn rows_are_the_columns_turned(rows_in in vec(vec(cell(), 3), 1..20), pretty: bool) {
        let names = ["a", "b \"quoted\"", "c"];
        let column = |index: usize| rows_in.iter().map(|row| row[index].clone()).collect::<Vec<_>>();
        let frame = json!({ names[0]: column(0), names[1]: column(1), names[2]: column(2) });
        let text = if pretty { format!("{frame:#}") } else { frame.to_string() };
        let parsed: Frame<'_> = serde_json::from_str(&text).unwrap();
        let made = rows(&parsed, &entry(true), text.len()).unwrap();
        prop_assert_eq!(made.ranges.len(), rows_in.len());
        for ((start, end), row) in made.ranges.iter().zip(&rows_in) {
            let object: Value = serde_json::from_slice(&made.body[*start as usize..*end as usize]).unwrap();
            let expected = json!({ names[0]: row[0], names[1]: row[1], names[2]: row[2] });
            prop_assert_eq!(object, expected);
        }
    }
}
