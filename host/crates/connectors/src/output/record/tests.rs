//! Records of both versions, as consumers read them.

use std::sync::Arc;

use arrow_array::RecordBatch;
use model::codec::{Format, SourceColumn, TimestampUnit};
use model::position::{Covers, Partition, Position, PositionColumn, RowVersion};
use model::schema::arrow_schema;
use model::view::{Digest, Generation};

use super::super::record::RecordEncoder;
use crate::codec::json::JsonFormat;
use crate::codec::json::sample::raw_batch;
use model::batch::FeatureBatch;
use model::output::{OutputOptions, RecordVersion};
use model::schema::Field;
use model::view::ViewShape;

/// A view with these columns and a batch of these JSON rows.
fn batch(keys: &[(&str, &str)], features: &[(&str, &str)], rows: &[&str]) -> FeatureBatch {
    let fields = |columns: &[(&str, &str)]| -> Vec<Field> {
        columns.iter().map(|(name, data_type)| Field::nullable(*name, data_type.parse().unwrap())).collect()
    };
    let (keys, features) = (fields(keys), fields(features));
    let columns: Vec<Field> = keys.iter().chain(&features).cloned().collect();
    let source = columns.iter().map(|field| SourceColumn { field: field.clone(), unit: TimestampUnit::Text });
    let events = JsonFormat::new(source.collect()).decoder().decode(raw_batch(0, rows));
    assert!(events.rejected.is_empty(), "{:?}", events.rejected);
    let view = ViewShape {
        project: "default".into(),
        name: "user_impression_counts".into(),
        source: "ad_impressions".into(),
        id: "50475ab4990e5b0a".into(),
        keys,
        features,
        ttl_micros: None,
        online: true,
    };
    FeatureBatch {
        view: Arc::new(view),
        rows: RecordBatch::try_new(arrow_schema(&columns), events.columns.columns().to_vec()).unwrap(),
        event_times: vec![1_654_562_168_832_793; rows.len()],
        partition: Partition::new("shard 0"),
        positions: PositionColumn::counting(255, rows.len()),
        ordinals: Vec::new(),
        generation: Generation { number: 3, digest: Digest([0xab; 32]) },
        covers: Covers { first: Position::from_u64(255), through: Position::from_u64(300) },
    }
}

fn options(version: RecordVersion, include_features: bool) -> OutputOptions {
    OutputOptions { version, include_features, producer: "millrace".into() }
}

fn record(batch: &FeatureBatch, row: usize, options: &OutputOptions) -> String {
    let mut out = Vec::new();
    RecordEncoder::new(&batch.view, options).encode(batch, row, true, 7, &mut out);
    String::from_utf8(out).unwrap()
}

/// The feature values of a row with one feature, in both versions.
#[track_caller]
fn check(data_type: &str, value: &str, version_1: &str, version_2: &str) {
    let batch = batch(&[("k", "int32")], &[("f", data_type)], &[&format!("{{\"k\":1,\"f\":{value}}}")]);
    for (version, expected) in [(RecordVersion::V1, version_1), (RecordVersion::V2, version_2)] {
        let record = record(&batch, 0, &options(version, true));
        serde_json::from_str::<serde_json::Value>(&record).unwrap();
        let (_, values) = record.split_once("\"feature_values\":{").unwrap();
        assert!(values.starts_with(&format!("{expected}}}")), "{values}");
    }
}

#[test]
fn version_1_is_what_consumers_know() {
    let rows = [r#"{"user_id":"u1","impression":1}"#, r#"{"user_id":"\"ü\n","impression":null}"#];
    let batch = batch(&[("user_id", "string")], &[("impression", "int64")], &rows);
    let start = concat!(
        r#"{"version":"1","producer":"millrace","job_type":"stream","#,
        r#""feature_view_name":"user_impression_counts","feature_view_id":"50475ab4990e5b0a","#,
        r#""feature_timestamp":"2022-06-07T00:36:08.832793Z","#,
    );
    let with = options(RecordVersion::V1, true);
    let expected =
        format!(r#"{start}"entity_keys":{{"user_id":"u1"}},"feature_values":{{"impression":"1"}}}}"#);
    assert_eq!(record(&batch, 0, &with), expected);
    let expected = format!(r#"{start}"entity_keys":{{"user_id":"\"ü\n"}},"feature_values":{{}}}}"#);
    assert_eq!(record(&batch, 1, &with), expected);
    let without = options(RecordVersion::V1, false);
    assert_eq!(record(&batch, 0, &without), format!(r#"{start}"entity_keys":{{"user_id":"u1"}}}}"#));
    let tecton = OutputOptions { producer: "tecton".into(), ..without };
    assert!(record(&batch, 0, &tecton).starts_with(r#"{"version":"1","producer":"tecton","job_type""#));
}

#[test]
fn version_2_says_where_a_row_comes_from() {
    let rows = [r#"{"user_id":"u1","n":7,"impression":1}"#];
    let batch = batch(&[("user_id", "string"), ("n", "int64")], &[("impression", "int64")], &rows);
    let mut out = Vec::new();
    let mut encoder = RecordEncoder::new(&batch.view, &options(RecordVersion::V2, true));
    encoder.encode(&batch, 0, false, 7, &mut out);
    let expected = concat!(
        r#"{"version":"2","producer":"millrace","job_type":"stream","#,
        r#""feature_view_name":"user_impression_counts","feature_view_id":"50475ab4990e5b0a","#,
        r#""feature_timestamp":"2022-06-07T00:36:08.832793Z","#,
        r#""entity_keys":{"user_id":"u1","n":7},"feature_values":{"impression":1},"#,
        r#""op":"late","record_id":"user_impression_counts/ad_impressions/shard%200/00000000000000ff/0","#,
        r#""token":"1654562168832793.shard 0.00000000000000ff.3.0","#,
        r#""source":{"name":"ad_impressions","partition":"shard 0","position":"00000000000000ff","row":0},"#,
        r#""component":"abababababababab","generation":3,"epoch":7,"online_applied":false}"#,
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    let version = RowVersion {
        event_time: batch.event_times[0],
        partition: batch.partition.clone(),
        position: batch.positions.at(0),
        generation: batch.generation.number,
        row: batch.ordinal(0),
    };
    assert!(expected.contains(&format!(r#""token":"{}""#, version.token())));
}

#[test]
fn the_identity_is_one_line() {
    let batch = batch(&[("k", "int64")], &[], &[r#"{"k":1}"#]);
    let encoder = RecordEncoder::new(&batch.view, &options(RecordVersion::V1, false));
    let expected = "1;7;ad_impressions;shard%200;00000000000000ff;0;3;abababababababab;true";
    assert_eq!(encoder.identity(&batch, 0, true, 7), expected);
}

#[test]
fn values_of_all_types() {
    check("int8", "-7", r#""f":"-7""#, r#""f":-7"#);
    check("uint64", "18446744073709551615", r#""f":"18446744073709551615""#, r#""f":18446744073709551615"#);
    check("float64", "1", r#""f":"1.0""#, r#""f":1.0"#);
    check("float32", "0.1", r#""f":"0.1""#, r#""f":0.1"#);
    check("float64", "\"NaN\"", r#""f":"NaN""#, r#""f":"NaN""#);
    check("float32", "\"-Infinity\"", r#""f":"-Infinity""#, r#""f":"-Infinity""#);
    check("bool", "true", r#""f":"true""#, r#""f":true"#);
    check("string", r#""a\"b""#, r#""f":"a\"b""#, r#""f":"a\"b""#);
    check("bytes", r#""AP8=""#, r#""f":"AP8=""#, r#""f":"AP8=""#);
    let instant = r#""2022-06-07T00:36:08.500000Z""#;
    check("timestamp", instant, &format!(r#""f":{instant}"#), &format!(r#""f":{instant}"#));
    check("date", r#""2022-06-07""#, r#""f":"2022-06-07""#, r#""f":"2022-06-07""#);
    check("decimal(5,2)", "12.5", r#""f":"12.50""#, r#""f":"12.50""#);
    check("int64", "null", "", r#""f":null"#);
    check("list<float32>", "[0.5,null,\"NaN\"]", r#""f":"[0.5,null,\"NaN\"]""#, r#""f":[0.5,null,"NaN"]"#);
    check(
        "struct<s: string, l: list<int64>>",
        r#"{"s":"a\"b","l":[]}"#,
        r#""f":"{\"s\":\"a\\\"b\",\"l\":[]}""#,
        r#""f":{"s":"a\"b","l":[]}"#,
    );
    check(
        "map<int64, struct<d: date>>",
        r#"{"1":{"d":"2022-06-07"},"2":null}"#,
        r#""f":"{\"1\":{\"d\":\"2022-06-07\"},\"2\":null}""#,
        r#""f":{"1":{"d":"2022-06-07"},"2":null}"#,
    );
    check(
        "map<timestamp, bool>",
        &format!("{{{instant}:true}}"),
        &format!(r#""f":"{{\{}\":true}}""#, instant.trim_end_matches('"')),
        &format!(r#""f":{{{instant}:true}}"#),
    );
}

#[test]
fn slices_of_columns_are_read_at_their_place() {
    let rows = ["{\"k\":\"a\",\"f\":[1]}", "{\"k\":\"b\",\"f\":[2,3]}", "{\"k\":\"c\",\"f\":[4]}"];
    let mut batch = batch(&[("k", "string")], &[("f", "list<int64>")], &rows);
    batch.rows = batch.rows.slice(1, 2);
    let record = record(&batch, 0, &options(RecordVersion::V1, true));
    assert!(record.ends_with(r#""entity_keys":{"k":"b"},"feature_values":{"f":"[2,3]"}}"#), "{record}");
}
