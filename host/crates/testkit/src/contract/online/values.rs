//! Every type comes back as it went in; old rows are read by views that have changed.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, MapBuilder, StringBuilder};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array, new_null_array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::Field as ArrowField;
use model::schema::{DataType, SIMPLE_TYPE_NAMES};
use model::value::Value;
use model::view::ViewRef;

use super::rows::{TestRow, batch, columns_batch, counts_view, view};
use super::{Place, block_on};

/// Two rows of a column, the second null, and what the first is when it is read.
fn samples() -> Vec<(DataType, ArrayRef, Value)> {
    fn column<A: Array + 'static>(array: A) -> ArrayRef {
        Arc::new(array)
    }
    let named = |name: &str, array: ArrayRef, value| (name.parse().expect("a type"), array, value);
    let mut samples = vec![
        named("bool", column(BooleanArray::from(vec![Some(true), None])), Value::Bool(true)),
        named("int8", column(Int8Array::from(vec![Some(-8), None])), Value::Int(-8)),
        named("int16", column(Int16Array::from(vec![Some(-16), None])), Value::Int(-16)),
        named("int32", column(Int32Array::from(vec![Some(-32), None])), Value::Int(-32)),
        named("int64", column(Int64Array::from(vec![Some(i64::MIN), None])), Value::Int(i64::MIN)),
        named("uint8", column(UInt8Array::from(vec![Some(255), None])), Value::UInt(255)),
        named("uint16", column(UInt16Array::from(vec![Some(65_535), None])), Value::UInt(65_535)),
        named("uint32", column(UInt32Array::from(vec![Some(7), None])), Value::UInt(7)),
        named("uint64", column(UInt64Array::from(vec![Some(u64::MAX), None])), Value::UInt(u64::MAX)),
        named("float32", column(Float32Array::from(vec![Some(0.1), None])), Value::Float32(0.1)),
        named("float64", column(Float64Array::from(vec![Some(-0.1), None])), Value::Float64(-0.1)),
        named(
            "string",
            column(StringArray::from(vec![Some("gr\u{fc}n"), None])),
            Value::String("gr\u{fc}n".into()),
        ),
        named(
            "bytes",
            column(BinaryArray::from(vec![Some(&b"\0\xff"[..]), None])),
            Value::Bytes(b"\0\xff".to_vec()),
        ),
        named("date", column(Date32Array::from(vec![Some(-1), None])), Value::Date(-1)),
    ];
    let instants = TimestampMicrosecondArray::from(vec![Some(12), None]).with_timezone("UTC");
    samples.push(named("timestamp", column(instants), Value::Timestamp(12)));
    let decimals = Decimal128Array::from(vec![Some(-12_345), None]).with_precision_and_scale(30, 2);
    let decimals = column(decimals.expect("a precision of 30 is allowed"));
    samples.push(named("decimal(30,2)", decimals, Value::Decimal(-12_345, 2)));
    let embedding = ListArray::from_iter_primitive::<arrow_array::types::Float32Type, _, _>([
        Some(vec![Some(1.5), None, Some(-2.5)]),
        None,
    ]);
    let expected = Value::List(vec![Value::Float32(1.5), Value::Null, Value::Float32(-2.5)]);
    samples.push(named("list<float32>", column(embedding), expected));
    samples.push(list_of_structs());
    samples.push(map_of_counts());
    samples
}

fn list_of_structs() -> (DataType, ArrayRef, Value) {
    let data_type: DataType = "list<struct<name: string, at: int32>>".parse().expect("a type");
    let DataType::List(item) = &data_type else { unreachable!("it is a list") };
    let arrow_schema::DataType::Struct(fields) = item.to_arrow() else { unreachable!("of structs") };
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("")]));
    let places: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None]));
    let nulls = NullBuffer::from(vec![true, true, false]);
    let structs = StructArray::new(fields, vec![names, places], Some(nulls));
    let field = Arc::new(ArrowField::new("item", item.to_arrow(), true));
    let offsets = OffsetBuffer::new(vec![0, 3, 3].into());
    let lists = ListArray::new(field, offsets, Arc::new(structs), Some(NullBuffer::from(vec![true, false])));
    let entry = |name: Value, at: Value| Value::Struct(vec![("name".into(), name), ("at".into(), at)]);
    let expected = Value::List(vec![
        entry(Value::String("a".into()), Value::Int(1)),
        entry(Value::Null, Value::Int(2)),
        Value::Null,
    ]);
    (data_type, Arc::new(lists), expected)
}

fn map_of_counts() -> (DataType, ArrayRef, Value) {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    builder.keys().append_value("x");
    builder.values().append_value(1);
    builder.keys().append_value("y");
    builder.values().append_null();
    builder.append(true).expect("keys and values are as many");
    builder.append(false).expect("keys and values are as many");
    let expected = Value::Map(vec![
        (Value::String("x".into()), Value::Int(1)),
        (Value::String("y".into()), Value::Null),
    ]);
    ("map<string, int64>".parse().expect("a type"), Arc::new(builder.finish()), expected)
}

/// Features of every type are read back, before and after a restart; so are their nulls.
pub fn all_types(place: &dyn Place) {
    let samples = samples();
    for name in SIMPLE_TYPE_NAMES {
        assert!(samples.iter().any(|(data_type, ..)| data_type.to_string() == *name), "no sample of {name}");
    }
    let names: Vec<String> = (0..samples.len()).map(|index| format!("f{index}")).collect();
    let features =
        names.iter().map(String::as_str).zip(samples.iter().map(|sample| sample.0.clone())).collect();
    let view = view("wide", vec![("id", DataType::Int64)], features);
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![-1, 1]))];
    columns.extend(samples.iter().map(|sample| Arc::clone(&sample.1)));
    let written = Arc::new(columns_batch(&view, columns, 0));
    let check = |place: &dyn Place, write: bool| {
        let subject = place.open();
        if write {
            subject.write(Arc::clone(&written));
        }
        let rows = subject.get(&view, vec![vec![Value::Int(-1)], vec![Value::Int(1)]]);
        for (index, (data_type, _, expected)) in samples.iter().enumerate() {
            let values = |row: usize| &rows[row].as_ref().expect("the row is there").values[index];
            assert_eq!(values(0), expected, "{data_type}");
            assert_eq!(values(1), &Value::Null, "{data_type}");
        }
        // Any choice of features, in any order.
        let some =
            block_on(subject.reader.get(&view, vec![vec![Value::Int(-1)]], vec![11, 4, 11])).expect("reads");
        let expected: Vec<Value> = [11, 4, 11].map(|index: usize| samples[index].2.clone()).to_vec();
        assert_eq!(some[0].as_ref().expect("the row is there").values, expected);
        subject.checkpoint();
    };
    check(place, true);
    check(place, false);
}

/// A null replaces a value and a value a null, with rows of one width or of many.
pub fn nulls(place: &dyn Place) {
    let subject = place.open();
    let view =
        view("mixed", vec![("id", DataType::Int64)], vec![("a", DataType::Int64), ("b", DataType::String)]);
    let rows = [
        (Some(1), Some("long enough to move")),
        (None, None),
        (Some(2), Some("")),
        (None, Some("x")),
        (Some(3), None),
    ];
    for (at, (number, text)) in (0..).zip(rows) {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![9])),
            Arc::new(Int64Array::from(vec![number])),
            Arc::new(StringArray::from(vec![text])),
        ];
        subject.write(Arc::new(columns_batch(&view, columns, at)));
        let found = subject.get(&view, vec![vec![Value::Int(9)]]).pop().flatten().expect("the row is there");
        let text = text.map_or(Value::Null, |text| Value::String(text.into()));
        assert_eq!(found.values, [number.map_or(Value::Null, Value::Int), text]);
    }
}

/// Many entities in one read, known and unknown, each in its place.
pub fn many_keys(place: &dyn Place) {
    let view = counts_view("counts");
    let rows: Vec<TestRow> =
        (0..3000).map(|entity| TestRow::new(entity, 1, entity.into(), entity.into())).collect();
    let check = |place: &dyn Place, write: bool| {
        let subject = place.open();
        if write {
            assert_eq!(subject.write(batch(&view, "0", 1, &rows)), []);
            subject.checkpoint();
        }
        let keys = (0..6000).rev().map(|entity| vec![Value::String(format!("u{entity}"))]).collect();
        for (entity, row) in (0..6000).rev().zip(subject.get(&view, keys)) {
            let found = row.map(|row| row.values);
            assert_eq!(found, (entity < 3000).then(|| vec![Value::Int(entity)]), "u{entity}");
        }
        assert_eq!(subject.get(&view, Vec::new()), []);
        assert_eq!(subject.get(&counts_view("unknown"), vec![vec![Value::String("u1".into())]]), [None]);
    };
    check(place, true);
    check(place, false);
}

/// A view whose features changed reads old rows by name; what is not there, or is of another type, is null.
pub fn schema_evolution(place: &dyn Place) {
    let with = |features: Vec<(&str, DataType)>| view("changing", vec![("id", DataType::Int64)], features);
    let write = |place: &dyn Place, view: &ViewRef, at: u64, features: Vec<ArrayRef>| {
        let subject = place.open();
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from_iter_values([i64::try_from(at).expect("small")]))];
        columns.extend(features);
        subject.write(Arc::new(columns_batch(view, columns, at)));
        subject.checkpoint();
    };
    let first = with(vec![("a", DataType::Int64), ("b", DataType::String), ("c", DataType::Int64)]);
    let second = with(vec![("d", DataType::Int64), ("b", DataType::String), ("a", DataType::Float64)]);
    let number: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["t"]));
    write(place, &first, 1, vec![Arc::clone(&number), Arc::clone(&text), Arc::clone(&number)]);
    write(
        place,
        &second,
        2,
        vec![Arc::clone(&number), text, new_null_array(&arrow_schema::DataType::Float64, 1)],
    );
    let subject = place.open();
    let read = |view: &ViewRef, id: i64| {
        subject.get(view, vec![vec![Value::Int(id)]]).pop().flatten().expect("the row is there").values
    };
    let text = Value::String("t".into());
    assert_eq!(
        read(&second, 1),
        [Value::Null, text.clone(), Value::Null],
        "`d` is new, `a` had another type"
    );
    assert_eq!(read(&first, 2), [Value::Null, text.clone(), Value::Null], "the other way round");
    assert_eq!(read(&second, 2), [Value::Int(5), text.clone(), Value::Null]);
    assert_eq!(read(&first, 1), [Value::Int(5), text, Value::Int(5)]);
}

/// Rows of other join keys, and of other views, are not found.
pub fn other_join_keys(place: &dyn Place) {
    let subject = place.open();
    let features = || vec![("count", DataType::Int64)];
    let by_number = view("counts", vec![("id", DataType::Int64)], features());
    let by_time = view("counts", vec![("id", DataType::Timestamp)], features());
    let other = view("others", vec![("id", DataType::Int64)], features());
    let column = || -> ArrayRef { Arc::new(Int64Array::from(vec![5])) };
    subject.write(Arc::new(columns_batch(&by_number, vec![column(), column()], 1)));
    assert_eq!(subject.get(&by_time, vec![vec![Value::Timestamp(5)]]), [None]);
    assert_eq!(subject.get(&other, vec![vec![Value::Int(5)]]), [None]);
    assert!(subject.get(&by_number, vec![vec![Value::Int(5)]])[0].is_some());
}
