//! What Feast writes, as our types: the same bytes both ways where a type has one form, and read-only where Feast has others.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array,
    ListArray, StringArray, TimestampMicrosecondArray, types,
};
use model::schema::{DataType, Field};
use model::value::Value;

use super::super::{ValueColumn, decode};
use super::{bytes, hex};

/// Checks that a column's first row has these bytes, and that they are read as this value.
#[track_caller]
fn check(data_type: &str, column: impl arrow_array::Array + 'static, value: Value, expected: &str) {
    let field = Field::nullable("f", data_type.parse().unwrap());
    let column: ArrayRef = Arc::new(column);
    let mut out = Vec::new();
    ValueColumn::new(&field, &column).unwrap().append(0, &mut out);
    assert_eq!(hex(&out), expected, "{data_type}");
    assert_eq!(decode(&out, &field.data_type), Ok(value), "{data_type}");
}

#[test]
fn scalars() {
    let text = |text: &str| Value::String(text.into());
    check("bytes", BinaryArray::from(vec![&b"\0\xff"[..]]), Value::Bytes(b"\0\xff".to_vec()), "0a0200ff");
    check("string", StringArray::from(vec![""]), text(""), "1200");
    check("string", StringArray::from(vec!["oslo"]), text("oslo"), "12046f736c6f");
    check("int32", Int32Array::from(vec![7]), Value::Int(7), "1807");
    check("int32", Int32Array::from(vec![-1]), Value::Int(-1), "18ffffffffffffffffff01");
    for (number, expected) in [(0, "2000"), (7, "2007"), (300, "20ac02"), (-1, "20ffffffffffffffffff01")] {
        check("int64", Int64Array::from(vec![number]), Value::Int(number), expected);
    }
    check("float64", Float64Array::from(vec![0.5]), Value::Float64(0.5), "29000000000000e03f");
    check("float64", Float64Array::from(vec![0.0]), Value::Float64(0.0), "290000000000000000");
    check("float32", Float32Array::from(vec![0.5]), Value::Float32(0.5), "350000003f");
    check("bool", BooleanArray::from(vec![true]), Value::Bool(true), "3801");
    check("bool", BooleanArray::from(vec![false]), Value::Bool(false), "3800");
    let instants =
        |seconds: i64| TimestampMicrosecondArray::from(vec![seconds * 1_000_000]).with_timezone("UTC");
    let instant = |seconds: i64| Value::Timestamp(seconds * 1_000_000);
    check("timestamp", instants(1_795_161_600), instant(1_795_161_600), "4080fcffd706");
    check("timestamp", instants(1_767_323_045), instant(1_767_323_045), "40a5ebdcca06");
}

#[test]
fn lists() {
    let ints = |numbers: &[i64]| Value::List(numbers.iter().map(|number| Value::Int(*number)).collect());
    let list64 = |numbers: &[i64]| {
        let numbers: Vec<_> = numbers.iter().copied().map(Some).collect();
        ListArray::from_iter_primitive::<types::Int64Type, _, _>([Some(numbers)])
    };
    let mut texts = arrow_array::builder::ListBuilder::new(arrow_array::builder::StringBuilder::new());
    texts.append_value([Some("a"), Some("b")]);
    let expected = Value::List(vec![Value::String("a".into()), Value::String("b".into())]);
    check("list<string>", texts.finish(), expected, "62060a01610a0162");
    check("list<int64>", list64(&[1, 2, 300]), ints(&[1, 2, 300]), "72060a040102ac02");
    check("list<int64>", list64(&[]), ints(&[]), "7200");
    let list32 = ListArray::from_iter_primitive::<types::Int32Type, _, _>([Some(vec![Some(1), Some(2)])]);
    check("list<int32>", list32, ints(&[1, 2]), "6a040a020102");
    let doubles = ListArray::from_iter_primitive::<types::Float64Type, _, _>([Some(vec![Some(0.5)])]);
    check("list<float64>", doubles, Value::List(vec![Value::Float64(0.5)]), "7a0a0a08000000000000e03f");
    let floats =
        ListArray::from_iter_primitive::<types::Float32Type, _, _>([Some(vec![Some(0.5), Some(1.0)])]);
    let expected = Value::List(vec![Value::Float32(0.5), Value::Float32(1.0)]);
    check("list<float32>", floats, expected, "82010a0a080000003f0000803f");
    let mut bools = arrow_array::builder::ListBuilder::new(arrow_array::builder::BooleanBuilder::new());
    bools.append_value([Some(true), Some(false)]);
    let expected = Value::List(vec![Value::Bool(true), Value::Bool(false)]);
    check("list<bool>", bools.finish(), expected, "8a01040a020100");
    let mut blobs = arrow_array::builder::ListBuilder::new(arrow_array::builder::BinaryBuilder::new());
    blobs.append_value([Some(&[1_u8][..])]);
    check("list<bytes>", blobs.finish(), Value::List(vec![Value::Bytes(vec![1])]), "5a030a0101");
}

#[test]
fn maps_and_decimals() {
    let mut map = arrow_array::builder::MapBuilder::new(
        None,
        arrow_array::builder::StringBuilder::new(),
        arrow_array::builder::Int64Builder::new(),
    );
    map.keys().append_value("a");
    map.values().append_value(1);
    map.append(true).unwrap();
    let expected = Value::Map(vec![(Value::String("a".into()), Value::Int(1))]);
    check("map<string, int64>", map.finish(), expected, "a201090a070a016112022001");
    let decimals = Decimal128Array::from(vec![-5]).with_precision_and_scale(5, 2).unwrap();
    check("decimal(5,2)", decimals, Value::Decimal(-5, 2), "e202052d302e3035");
}

#[track_caller]
fn check_read(hex: &str, data_type: &str, expected: Value) {
    let data_type: DataType = data_type.parse().unwrap();
    assert_eq!(decode(&bytes(hex), &data_type), Ok(expected), "{hex} as {data_type}");
}

#[test]
fn nulls_have_two_forms() {
    check_read("", "int64", Value::Null);
    check_read("980100", "string", Value::Null);
    // The least number of seconds is Feast's null among instants.
    check_read("4080808080808080808001", "timestamp", Value::Null);
    check_read("92010c0a0a80808080808080808001", "list<timestamp>", Value::List(vec![Value::Null]));
}

#[test]
fn kinds_of_like_values_are_taken_for_each_other() {
    check_read("1807", "int64", Value::Int(7));
    check_read("2007", "int32", Value::Int(7));
    check_read("2007", "uint8", Value::UInt(7));
    check_read("350000003f", "float64", Value::Float64(0.5));
    check_read("29000000000000e03f", "float32", Value::Float32(0.5));
    check_read("8202077b2261223a317d", "string", Value::String("{\"a\":1}".into()));
    check_read("a20203616263", "string", Value::String("abc".into()));
    check_read("e202033145 31", "decimal(4,2)", Value::Decimal(1000, 2));
    // Numbers that are not packed.
    check_read("720408010802", "list<int64>", Value::List(vec![Value::Int(1), Value::Int(2)]));
    // A set.
    check_read("c201030a010 5", "list<int32>", Value::List(vec![Value::Int(5)]));
    // Zoned: seconds and the name of a zone.
    check_read("82030a0803120645 75726f7065", "timestamp", Value::Timestamp(3_000_000));
    check_read("4080fcffd706", "date", Value::Date(20_777));
}

#[test]
fn values_of_other_types_are_null() {
    for (hex, data_type) in [
        ("2007", "float64"),
        ("2007", "string"),
        ("2007", "timestamp"),
        ("2007", "list<int64>"),
        ("20ac02", "int8"),
        ("20ffffffffffffffffff01", "uint64"),
        ("12046f736c6f", "int64"),
        ("12046f736c6f", "bytes"),
        ("72060a040102ac02", "list<string>"),
        ("7200", "list<string>"),
        ("72060a040102ac02", "map<string, int64>"),
        ("e20203312e35", "decimal(4,0)"),
        ("e202034e614e", "decimal(4,0)"),
    ] {
        check_read(hex, data_type, Value::Null);
    }
}

#[test]
fn damaged_bytes_are_refused() {
    for (hex, data_type) in [
        ("20", "int64"),
        ("20ffffffffffffffffffff", "int64"),
        ("1205616263", "string"),
        ("1201ff", "string"),
        ("3500", "float32"),
        ("23", "bool"),
        ("40ffffffffffffffff7f", "timestamp"),
        ("4001c03ec0843d", "timestamp"),
        ("72030a0180", "list<int64>"),
        ("82010 50a03000000", "list<float32>"),
        ("a201030a0507", "map<string, int64>"),
    ] {
        let data_type: DataType = data_type.parse().unwrap();
        assert!(decode(&bytes(hex), &data_type).is_err(), "{hex} as {data_type}");
    }
}
