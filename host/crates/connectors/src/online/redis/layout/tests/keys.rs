//! Keys and field names.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use model::batch::FeatureBatch;
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};
use model::value::Value;
use model::view::{Digest, Generation, ViewShape};

use super::super::field::feature_field;
use super::super::{EntityKeys, Fields, KeyLayout};
use super::hex;

fn view(project: &str, keys: &[(&str, DataType)]) -> ViewShape {
    ViewShape {
        project: project.into(),
        name: "driver_stats".into(),
        source: "events".into(),
        id: String::new(),
        keys: keys.iter().map(|(name, data_type)| Field::required(*name, data_type.clone())).collect(),
        features: ["conv_rate", "trips", "city"].map(|name| Field::nullable(name, DataType::Int64)).to_vec(),
        ttl_micros: None,
        online: true,
    }
}

/// A batch with join keys only.
fn batch(view: ViewShape, columns: Vec<ArrayRef>, rows: usize) -> FeatureBatch {
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    let columns = RecordBatch::try_new_with_options(arrow_schema(&view.keys), columns, &options).unwrap();
    FeatureBatch {
        view: Arc::new(view),
        rows: columns,
        event_times: vec![0; rows],
        partition: Partition::new("0"),
        positions: PositionColumn::counting(0, rows),
        ordinals: Vec::new(),
        generation: Generation { number: 1, digest: Digest([0; 32]) },
        covers: Covers { first: Position::from_u64(0), through: Position::from_u64(0) },
    }
}

/// Checks the key of a single row, made of a column and of a value.
#[track_caller]
fn check(project: &str, keys: &[(&str, ArrayRef, DataType, Value)], expected: &str) {
    let named: Vec<_> = keys.iter().map(|(name, _, data_type, _)| (*name, data_type.clone())).collect();
    let view = view(project, &named);
    let layout = KeyLayout::new(&view);
    let mut of_columns = EntityKeys::default();
    let columns = keys.iter().map(|(_, column, ..)| Arc::clone(column)).collect();
    of_columns.encode(&layout, &batch(view, columns, 1)).unwrap();
    assert_eq!((of_columns.len(), hex(of_columns.get(0)).as_str()), (1, expected));
    let mut of_values = EntityKeys::default();
    let values: Vec<Value> = keys.iter().map(|(.., value)| value.clone()).collect();
    assert!(of_values.push(&layout, &values).unwrap());
    assert_eq!(hex(of_values.get(0)), expected);
}

fn text(name: &'static str, value: &str) -> (&'static str, ArrayRef, DataType, Value) {
    (name, Arc::new(StringArray::from(vec![value])), DataType::String, Value::String(value.into()))
}

fn int64(name: &'static str, value: i64) -> (&'static str, ArrayRef, DataType, Value) {
    (name, Arc::new(Int64Array::from(vec![value])), DataType::Int64, Value::Int(value))
}

fn instant(name: &'static str, micros: i64) -> (&'static str, ArrayRef, DataType, Value) {
    let column = TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC");
    (name, Arc::new(column), DataType::Timestamp, Value::Timestamp(micros))
}

#[test]
fn keys_are_those_of_feast() {
    check(
        "",
        &[int64("driver_id", 1001)],
        "0100000002000000090000006472697665725f69640400000008000000e903000000000000",
    );
    let int32 =
        ("driver_id", Arc::new(Int32Array::from(vec![1001])) as ArrayRef, DataType::Int32, Value::Int(1001));
    check("", &[int32], "0100000002000000090000006472697665725f69640300000004000000e9030000");
    check("", &[text("user", "u1")], "0100000002000000040000007573657202000000020000007531");
    check(
        "",
        &[text("user", "u1"), int64("ad", 7)],
        "02000000020000000200000061640200000004000000757365720400000008000000070000000000000002000000020000007531",
    );
    check(
        "",
        &[instant("t", 1_795_161_600_000_000)],
        "01000000020000000100000074080000000800000000feff6a00000000",
    );
    check("", &[], "01000000020000000a0000005f5f64756d6d795f69640200000000000000");
    check(
        "demo",
        &[int64("driver_id", 1001)],
        "0100000002000000090000006472697665725f69640400000008000000e90300000000000064656d6f",
    );
    let two = [text("user_id", "u1"), int64("driver_id", -2)];
    let two_names = "0200000002000000090000006472697665725f69640200000007000000757365725f6964";
    check(
        "peers",
        &two,
        &format!("{two_names}0400000008000000feffffffffffffff020000000200000075317065657273"),
    );
    let bytes = (
        "b",
        Arc::new(BinaryArray::from(vec![&b"\0\xff"[..]])) as ArrayRef,
        DataType::Bytes,
        Value::Bytes(b"\0\xff".to_vec()),
    );
    check("p", &[bytes], "01000000020000000100000062010000000200000000ff70");
}

#[test]
fn instants_within_a_second_stay_apart() {
    check(
        "",
        &[instant("t", 1_000_001)],
        "01000000020000000100000074080000000c000000010000000000000001000000",
    );
    check("", &[instant("t", -1)], "01000000020000000100000074080000000c000000ffffffffffffffff3f420f00");
}

#[test]
fn rows_of_a_batch_have_their_keys_in_order() {
    let names = [("b", DataType::Int64), ("a", DataType::Int32), ("c", DataType::String)];
    for count in [2, 3] {
        let view = view("demo", &names[..count]);
        let layout = KeyLayout::new(&view);
        let columns: [ArrayRef; 3] = [
            Arc::new(Int64Array::from_iter_values(0..100)),
            Arc::new(Int32Array::from_iter_values((0..100).rev())),
            Arc::new(StringArray::from_iter_values((0..100).map(|row| "x".repeat(row % 7)))),
        ];
        let mut keys = EntityKeys::default();
        keys.encode(&layout, &batch(view, columns[..count].to_vec(), 100)).unwrap();
        for row in 0..100_u32 {
            let text = "x".repeat(row as usize % 7);
            let values = [Value::Int(row.into()), Value::Int((99 - row).into()), Value::String(text)];
            let mut one = EntityKeys::default();
            assert!(one.push(&layout, &values[..count]).unwrap());
            assert_eq!(keys.get(row as usize), one.get(0));
        }
    }
}

#[test]
fn keys_that_no_entity_has_are_no_error() {
    let layout = KeyLayout::new(&view("p", &[("a", DataType::String), ("k", DataType::Int32)]));
    let mut keys = EntityKeys::default();
    let text = || Value::String("x".into());
    assert!(!keys.push(&layout, &[text(), Value::Null]).unwrap());
    assert!(!keys.push(&layout, &[text(), Value::Int(1 << 40)]).unwrap());
    assert!(keys.push(&layout, &[text(), Value::Bool(true)]).is_err());
    assert!(keys.push(&layout, &[]).is_err());
    assert!(keys.push(&layout, &[text(), Value::Int(1)]).unwrap());
    assert_eq!(keys.len(), 1);
}

#[test]
fn fields_are_those_of_feast() {
    for (view, feature, expected) in [
        ("driver_stats", "conv_rate", "fa731014"),
        ("driver_stats", "trips", "426aa434"),
        ("driver_stats", "city", "d89d016b"),
        ("driver_stats_v2", "trips", "2ada43a0"),
        ("a", "b", "436844a2"),
        ("dump_fv", "f_int", "27175fff"),
        ("dump_fv", "f_double", "d4938a74"),
        ("dump_fv", "f_string", "c8308f1b"),
        ("dump_fv", "f_bool", "0a5ab6cc"),
        ("dump_fv", "f_ts", "aa3f3eec"),
    ] {
        assert_eq!(hex(&feature_field(view, feature)), expected, "{view}:{feature}");
    }
    let fields = Fields::new(&view("p", &[])).unwrap();
    assert_eq!(fields.features.len(), 3);
    assert_eq!(hex(&fields.time), "5f74733a6472697665725f7374617473");
    assert_eq!(fields.version, b"_mv:driver_stats");
}

#[test]
fn features_that_share_a_field_are_refused() {
    // Found by trying names one after the other.
    let mut seen = std::collections::HashMap::new();
    let mut names = (0..).map(|number: u32| format!("f{number}"));
    let (first, second) = names
        .find_map(|name| {
            let before = seen.insert(feature_field("driver_stats", &name), name.clone());
            before.map(|before| (before, name))
        })
        .unwrap();
    let mut view = view("p", &[]);
    view.features = [&first, &second].map(|name| Field::nullable(name, DataType::Bool)).to_vec();
    let failure = Fields::new(&view).unwrap_err().to_string();
    assert!(failure.contains(&format!("features `{first}` and `{second}`")), "{failure}");
}
