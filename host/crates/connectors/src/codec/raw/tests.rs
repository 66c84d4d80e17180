//! Payloads become the one column, or are refused.

use arrow_array::cast::AsArray;
use model::codec::TimestampUnit;

use super::*;
use crate::codec::json::sample::raw_batch;

fn column(name: &str, data_type: DataType) -> SourceColumn {
    SourceColumn { field: Field::required(name, data_type), unit: TimestampUnit::Text }
}

#[test]
fn bytes_are_taken_as_they_are() {
    let format = RawFormat::new(vec![column("payload", DataType::Bytes)]).unwrap();
    let batch = format.decoder().decode(raw_batch(0, &[&b"\xff\x00"[..], b"", b"{}"]));
    let values: Vec<_> = batch.columns.column(0).as_binary::<i32>().iter().flatten().collect();
    assert_eq!(values, [&b"\xff\x00"[..], b"", b"{}"]);
    assert!(batch.rejected.is_empty() && batch.raw_rows.is_empty());
}

#[test]
fn text_must_be_utf8_and_a_bad_event_hurts_only_itself() {
    let columns = vec![column("line", DataType::String), column("_ingest_time", DataType::Timestamp)];
    let format = RawFormat::new(columns).unwrap();
    let batch = format.decoder().decode(raw_batch(0, &["ä".as_bytes(), b"ab\xff", b"z"]));
    let values: Vec<_> = batch.columns.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(values, ["ä", "z"]);
    assert_eq!(batch.columns.column(1).len(), 2);
    assert_eq!(batch.raw_rows, [0, 2]);
    assert_eq!((batch.rejected[0].row, batch.rejected[0].code), (1, "decode"));
    assert!(batch.rejected[0].message.contains("not UTF-8 at byte 2"), "{}", batch.rejected[0].message);
}

#[test]
fn other_schemas_are_refused_in_words() {
    #[track_caller]
    fn check(columns: Vec<SourceColumn>, expected: &str) {
        let message = RawFormat::new(columns).unwrap_err().to_string();
        assert!(message.ends_with(expected), "{message}");
    }
    check(Vec::new(), "the schema has none");
    check(vec![column("n", DataType::Int64)], "the schema has `n: int64 not null`");
    check(vec![column("a", DataType::Bytes), column("b", DataType::Bytes)], "remove `b` from the schema");
}
