//! Every type comes back as it went in, and bytes of any kind do no harm.

use std::sync::Arc;

use arrow_array::builder::{ArrayBuilder, Int64Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray, UInt8Array,
    UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::Field as ArrowField;
use model::schema::{DataType, Field};
use model::value::Value;
use proptest::prelude::*;

use super::super::{ValueColumn, decode};

/// Checks that each row of a column is read back as this value, alone and as a bulk string, whole and sliced.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "columns are made where they are checked")]
fn check(data_type: &str, column: ArrayRef, expected: &[Value]) {
    let field = Field::nullable("f", data_type.parse().unwrap());
    assert_eq!(column.len(), expected.len(), "{data_type}");
    for start in 0..expected.len() {
        let sliced = column.slice(start, expected.len() - start);
        let sliced = ValueColumn::new(&field, &sliced).unwrap();
        for (row, expected) in expected[start..].iter().enumerate() {
            let mut out = Vec::new();
            sliced.append(row, &mut out);
            assert_eq!(&decode(&out, &field.data_type).unwrap(), expected, "{data_type}");
            let mut bulk = Vec::new();
            sliced.append_bulk(row, &mut bulk);
            let framed = [format!("${}\r\n", out.len()).as_bytes(), &out[..], b"\r\n"].concat();
            assert_eq!(bulk, framed, "{data_type}");
        }
    }
}

fn list_of(item: &str, items: ArrayRef, ends: &[i32]) -> ArrayRef {
    let item: DataType = item.parse().unwrap();
    let offsets = std::iter::once(0).chain(ends.iter().copied()).collect::<Vec<i32>>();
    let field = Arc::new(ArrowField::new("item", item.to_arrow(), true));
    Arc::new(ListArray::new(field, OffsetBuffer::new(offsets.into()), items, None))
}

fn int(number: i64) -> Value {
    Value::Int(number)
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

#[test]
fn scalars_of_every_type() {
    check("int8", Arc::new(Int8Array::from(vec![Some(-128), None])), &[int(-128), Value::Null]);
    check("int16", Arc::new(Int16Array::from(vec![i16::MIN, i16::MAX])), &[int(-32_768), int(32_767)]);
    check("uint8", Arc::new(UInt8Array::from(vec![255])), &[Value::UInt(255)]);
    check("uint16", Arc::new(UInt16Array::from(vec![65_535])), &[Value::UInt(65_535)]);
    check("uint32", Arc::new(UInt32Array::from(vec![u32::MAX])), &[Value::UInt(u32::MAX.into())]);
    check(
        "uint64",
        Arc::new(UInt64Array::from(vec![1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX])),
        &[1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX].map(Value::UInt),
    );
    check("int64", Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX])), &[int(i64::MIN), int(i64::MAX)]);
    let instants = [0, -1, 12, 1_000_000, i64::MIN, i64::MAX];
    check(
        "timestamp",
        Arc::new(TimestampMicrosecondArray::from(instants.to_vec()).with_timezone("UTC")),
        &instants.map(Value::Timestamp),
    );
    let days = [0, -1, i32::MIN, i32::MAX];
    check("date", Arc::new(Date32Array::from(days.to_vec())), &days.map(Value::Date));
    let unscaled = [0, 5, -12_345, 10_i128.pow(30) - 1];
    let decimals = Decimal128Array::from(unscaled.to_vec()).with_precision_and_scale(30, 3).unwrap();
    check("decimal(30,3)", Arc::new(decimals), &unscaled.map(|number| Value::Decimal(number, 3)));
    let long = "x".repeat(10_000);
    let texts = ["", "1234567", "12345678", &long].map(Some);
    check("string", Arc::new(StringArray::from(texts.to_vec())), &texts.map(|value| text(value.unwrap())));
    let floats = [f32::INFINITY, -0.0, f32::MIN_POSITIVE];
    check("float32", Arc::new(Float32Array::from(floats.to_vec())), &floats.map(Value::Float32));
}

#[test]
fn what_is_not_a_number_is_null_as_in_feast() {
    check("float32", Arc::new(Float32Array::from(vec![f32::NAN])), &[Value::Null]);
    check("float64", Arc::new(Float64Array::from(vec![f64::NAN, 1.0])), &[Value::Null, Value::Float64(1.0)]);
}

#[test]
fn lists_of_every_kind() {
    let instants = TimestampMicrosecondArray::from(vec![1, 2_000_000, 3_000_000, -1]).with_timezone("UTC");
    let expected = [
        Value::List(vec![Value::Timestamp(1), Value::Timestamp(2_000_000)]),
        Value::List(vec![Value::Timestamp(3_000_000)]),
        Value::List(vec![]),
        Value::List(vec![Value::Timestamp(-1)]),
    ];
    check("list<timestamp>", list_of("timestamp", Arc::new(instants), &[2, 3, 3, 4]), &expected);
    let numbers = UInt64Array::from(vec![Some(1), Some(u64::MAX), None, Some(4)]);
    let expected = [
        Value::List(vec![Value::UInt(1), Value::UInt(u64::MAX)]),
        Value::List(vec![Value::Null]),
        Value::List(vec![Value::UInt(4)]),
    ];
    check("list<uint64>", list_of("uint64", Arc::new(numbers), &[2, 3, 4]), &expected);
    let days = Date32Array::from(vec![1, -1]);
    check(
        "list<date>",
        list_of("date", Arc::new(days), &[2]),
        &[Value::List(vec![Value::Date(1), Value::Date(-1)])],
    );
    let decimals = Decimal128Array::from(vec![1, -1]).with_precision_and_scale(3, 1).unwrap();
    check(
        "list<decimal(3,1)>",
        list_of("decimal(3,1)", Arc::new(decimals), &[2]),
        &[Value::List(vec![Value::Decimal(1, 1), Value::Decimal(-1, 1)])],
    );
    let inner = list_of("int64", Arc::new(Int64Array::from(vec![1, 2, 3])), &[1, 1, 3]);
    let expected = [
        Value::List(vec![Value::List(vec![int(1)]), Value::List(vec![])]),
        Value::List(vec![Value::List(vec![int(2), int(3)])]),
    ];
    check("list<list<int64>>", list_of("list<int64>", inner, &[2, 3]), &expected);
}

fn struct_column(data_type: &str, columns: Vec<ArrayRef>, nulls: Option<Vec<bool>>) -> ArrayRef {
    let data_type: DataType = data_type.parse().unwrap();
    let arrow_schema::DataType::Struct(fields) = data_type.to_arrow() else { panic!("it is a struct") };
    Arc::new(StructArray::new(fields, columns, nulls.map(Into::into)))
}

#[test]
fn structs_and_lists_of_them() {
    const TYPE: &str = "struct<name: string, at: timestamp>";
    let columns = || -> Vec<ArrayRef> {
        let instants = TimestampMicrosecondArray::from(vec![Some(7), None]).with_timezone("UTC");
        vec![Arc::new(StringArray::from(vec![Some("a"), Some("")])), Arc::new(instants)]
    };
    let value = |name: &str, at: Value| Value::Struct(vec![("name".into(), text(name)), ("at".into(), at)]);
    let both = [value("a", Value::Timestamp(7)), value("", Value::Null)];
    check(TYPE, struct_column(TYPE, columns(), None), &both);
    let list_type = format!("list<{TYPE}>");
    let list = list_of(TYPE, struct_column(TYPE, columns(), None), &[2]);
    check(&list_type, list, &[Value::List(both.to_vec())]);
    let list = list_of(TYPE, struct_column(TYPE, columns(), Some(vec![true, false])), &[2]);
    check(&list_type, list, &[Value::List(vec![both[0].clone(), Value::Null])]);
}

/// A map of two entries in its first row and none in its second.
fn map_column<K: ArrayBuilder>(keys: K, append: impl FnOnce(&mut K)) -> ArrayRef {
    let mut map = MapBuilder::new(None, keys, Int64Builder::new());
    append(map.keys());
    map.values().append_value(1);
    map.values().append_null();
    map.append(true).unwrap();
    map.append(true).unwrap();
    Arc::new(map.finish())
}

#[test]
fn maps_of_every_kind_of_key() {
    let expected = |keys: [Value; 2]| {
        [Value::Map(keys.into_iter().zip([int(1), Value::Null]).collect()), Value::Map(vec![])]
    };
    let column = map_column(StringBuilder::new(), |keys| {
        keys.append_value("x");
        keys.append_value("");
    });
    check("map<string, int64>", Arc::clone(&column), &expected([text("x"), text("")]));
    let list = list_of("map<string, int64>", column, &[2]);
    check("list<map<string, int64>>", list, &[Value::List(expected([text("x"), text("")]).to_vec())]);
    let column =
        map_column(arrow_array::builder::BooleanBuilder::new(), |keys| keys.append_slice(&[true, false]));
    check("map<bool, int64>", column, &expected([true, false].map(Value::Bool)));
    macro_rules! check_keys {
        ($name:literal, $builder:ident, $keys:expr, $value:expr) => {
            let column = map_column(arrow_array::builder::$builder::new(), |keys| keys.append_slice(&$keys));
            check(concat!("map<", $name, ", int64>"), column, &expected($keys.map($value)));
        };
    }
    check_keys!("int8", Int8Builder, [-1, 1], |key| int(key.into()));
    check_keys!("int64", Int64Builder, [i64::MIN, i64::MAX], int);
    check_keys!("uint32", UInt32Builder, [0, u32::MAX], |key| Value::UInt(key.into()));
    check_keys!("uint64", UInt64Builder, [0, u64::MAX], Value::UInt);
    check_keys!("float32", Float32Builder, [0.5, -1.0], Value::Float32);
    check_keys!("float64", Float64Builder, [0.5, -1.0], Value::Float64);
    check_keys!("date", Date32Builder, [5, -5], Value::Date);
    let nested = map_column(ListBuilder::new(StringBuilder::new()), |keys| {
        keys.append_value([Some("a")]);
        keys.append_value([None::<&str>]);
    });
    let keys = [Value::List(vec![text("a")]), Value::List(vec![Value::Null])];
    check("map<list<string>, int64>", nested, &expected(keys));
}

#[test]
fn a_column_of_another_type_is_refused_by_name() {
    let field = Field::nullable("rate", DataType::Float64);
    let column: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    let failure = ValueColumn::new(&field, &column).err().unwrap().to_string();
    assert!(
        failure.contains("feature `rate`, declared as `float64`: its column came as Boolean"),
        "{failure}"
    );
}

/// Bytes that look like messages: small numbers, tags and lengths that fit now and then.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        Just(0x0a_u8),
        Just(0x12),
        Just(0xd2),
        Just(0x02),
        Just(0xfa),
        Just(0xa2),
        Just(0x01),
        0..12_u8,
        any::<u8>()
    ];
    proptest::collection::vec(byte, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever Redis gives back is read or refused, never a reason to panic.
    #[test]
    fn hostile_bytes_do_no_harm(bytes in any_bytes()) {
        for data_type in [
            "bool", "int32", "uint64", "float32", "string", "bytes", "timestamp", "date", "decimal(38,10)",
            "list<int64>", "list<float64>", "list<timestamp>", "list<decimal(3,1)>", "list<list<string>>",
            "map<string, list<int64>>", "map<uint64, string>", "map<list<int64>, bool>",
            "list<struct<a: bool, b: list<bytes>>>",
        ] {
            let _ = decode(&bytes, &data_type.parse().unwrap());
        }
    }

    /// One byte less, more or other is no harm either, and seldom nonsense.
    #[test]
    fn bytes_that_were_changed_do_no_harm(at in 0..60_usize, byte: u8, cut in 0..60_usize) {
        const TYPE: &str = "list<struct<name: string, at: timestamp>>";
        let instants = TimestampMicrosecondArray::from(vec![Some(7), None]).with_timezone("UTC");
        let item = TYPE.strip_prefix("list<").and_then(|item| item.strip_suffix('>')).unwrap();
        let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec![Some("a"), Some("")])), Arc::new(instants)];
        let list = list_of(item, struct_column(item, columns, Some(vec![true, false])), &[2]);
        let field = Field::nullable("f", TYPE.parse().unwrap());
        let mut out = Vec::new();
        ValueColumn::new(&field, &list).unwrap().append(0, &mut out);
        let end = cut.min(out.len());
        let _ = decode(&out[..end], &field.data_type);
        if let Some(changed) = out.get_mut(at) {
            *changed = byte;
        }
        let _ = decode(&out, &field.data_type);
    }
}
