//! Events at the limit and beyond it.

use arrow_array::Array;
use model::codec::TimestampUnit;
use model::schema::{DataType, Field};

use super::*;
use crate::codec::json::JsonFormat;
use crate::codec::json::sample::raw_batch;
use crate::codec::raw::RawFormat;

fn column(data_type: DataType) -> Vec<SourceColumn> {
    vec![SourceColumn { field: Field::required("v", data_type), unit: TimestampUnit::Text }]
}

#[track_caller]
fn check(format: Arc<dyn Format>, events: &[&str], good: &[u32], bad: &[u32]) {
    let batch = BoundedFormat::new(format, 8).decoder().decode(raw_batch(0, events));
    let rows: Vec<u32> =
        (0..batch.columns.num_rows()).map(|row| u32::try_from(batch.raw_row(row)).unwrap()).collect();
    assert_eq!(rows, good);
    assert_eq!(batch.rejected.iter().map(|rejected| rejected.row).collect::<Vec<_>>(), bad);
    for rejected in batch.rejected.iter().filter(|rejected| events[rejected.row as usize].len() > 8) {
        assert!(rejected.message.contains("the 8 bytes of `max_row_bytes`"), "{}", rejected.message);
    }
    assert!(batch.columns.column(0).null_count() == 0);
}

#[test]
fn long_events_are_rejected_whatever_the_format_makes_of_them() {
    let json = || Arc::new(JsonFormat::new(column(DataType::Int64))) as Arc<dyn Format>;
    check(json(), &[r#"{"v":12}"#, r#"{"v":3}"#], &[0, 1], &[]);
    // The second is good but for its length, the third is cut, the fourth is bad for its own reason.
    check(json(), &[r#"{"v":1}"#, r#"{"v":123}"#, r#"{"v":1234"#, "{}", r#"{"v":2}"#], &[0, 4], &[1, 2, 3]);
    let raw = || Arc::new(RawFormat::new(column(DataType::Bytes)).unwrap()) as Arc<dyn Format>;
    check(raw(), &["12345678", "123456789", ""], &[0, 2], &[1]);
    check(raw(), &["123456789"], &[], &[0]);
}
