//! Rows become columns and the same rows again, for every type that a field may have.

use std::collections::BTreeMap;

use millrace::native::{batch_of, rows_of};
use millrace::prelude::*;
use millrace::source::Arena;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Strategy, any, proptest};

#[derive(Input, Output, Debug, Clone, PartialEq)]
struct Scalars {
    bool: bool,
    int8: i8,
    int16: i16,
    int32: i32,
    int64: i64,
    uint8: u8,
    uint16: u16,
    uint32: u32,
    uint64: u64,
    float32: Option<f32>,
    float64: f64,
    string: String,
    bytes: Vec<u8>,
    timestamp: Timestamp,
    date: Option<Date>,
    decimal: Decimal<20, 3>,
    #[millrace(name = "type")]
    flag: Option<bool>,
    text: Option<String>,
}

#[derive(Input, Output, Debug, Clone, PartialEq)]
struct Point {
    x: f64,
    label: Option<String>,
}

#[derive(Input, Output, Debug, Clone, PartialEq)]
struct Nested {
    ints: Vec<i64>,
    bools: Vec<bool>,
    texts: Option<Vec<String>>,
    gaps: Vec<Option<f32>>,
    bytes: Vec<Option<u8>>,
    lists: Vec<Vec<i16>>,
    map: BTreeMap<String, Option<i32>>,
    point: Point,
    maybe: Option<Point>,
    points: Vec<Point>,
    some_points: Option<Vec<Option<Point>>>,
}

/// What [`Scalars`] and [`Nested`] own can be had without copies.
#[derive(Input, Debug, PartialEq)]
struct Borrowed<'a> {
    string: &'a str,
    bytes: &'a [u8],
    text: Option<&'a str>,
}

#[derive(Input, Debug, PartialEq)]
struct Slices<'a> {
    ints: &'a [i64],
    embedding: Option<&'a [f32]>,
    texts: Vec<&'a str>,
}

#[derive(Output, Clone)]
struct Lists<'a> {
    ints: &'a [i64],
    embedding: Option<[f32; 3]>,
    texts: Vec<&'a str>,
}

#[track_caller]
fn check<T>(rows: &[T])
where
    T: Clone + PartialEq + std::fmt::Debug + millrace::rows::OutputRow + for<'a> millrace::rows::InputRow<'a>,
{
    let batch = batch_of(rows.to_vec()).expect("rows fit in columns");
    assert_eq!(batch.rows as usize, rows.len());
    for (index, column) in batch.columns.iter().enumerate() {
        assert!(
            column.children.iter().all(|child| *child as usize > index),
            "a child stands behind its parent"
        );
    }
    let arena = Arena::default();
    assert_eq!(rows_of::<T>(&batch, &arena).expect("the columns hold these rows"), rows);
}

fn scalars() -> impl Strategy<Value = Scalars> {
    let numbers = (any::<(bool, i8, i16, i32, i64)>(), any::<(u8, u16, u32, u64)>());
    let floats = (option::of(-1e30f32..1e30), -1e300f64..1e300);
    let rest = (any::<String>(), any::<Vec<u8>>(), any::<i64>(), option::of(any::<i32>()), any::<i128>());
    let last = (option::of(any::<bool>()), option::of(any::<String>()));
    (numbers, floats, rest, last).prop_map(|((signed, unsigned), floats, rest, last)| Scalars {
        bool: signed.0,
        int8: signed.1,
        int16: signed.2,
        int32: signed.3,
        int64: signed.4,
        uint8: unsigned.0,
        uint16: unsigned.1,
        uint32: unsigned.2,
        uint64: unsigned.3,
        float32: floats.0,
        float64: floats.1,
        string: rest.0,
        bytes: rest.1,
        timestamp: Timestamp(rest.2),
        date: rest.3.map(Date),
        decimal: Decimal(rest.4),
        flag: last.0,
        text: last.1,
    })
}

fn point() -> impl Strategy<Value = Point> {
    (-1e9f64..1e9, option::of(any::<String>())).prop_map(|(x, label)| Point { x, label })
}

fn nested() -> impl Strategy<Value = Nested> {
    let plain = (vec(any::<i64>(), 0..4), vec(any::<bool>(), 0..12), option::of(vec(any::<String>(), 0..3)));
    let gaps = (vec(option::of(-1f32..1.0), 0..4), vec(option::of(any::<u8>()), 0..4));
    let deep =
        (vec(vec(any::<i16>(), 0..3), 0..3), btree_map(any::<String>(), option::of(any::<i32>()), 0..3));
    let points =
        (point(), option::of(point()), vec(point(), 0..3), option::of(vec(option::of(point()), 0..3)));
    (plain, gaps, deep, points).prop_map(|(plain, gaps, deep, points)| Nested {
        ints: plain.0,
        bools: plain.1,
        texts: plain.2,
        gaps: gaps.0,
        bytes: gaps.1,
        lists: deep.0,
        map: deep.1,
        point: points.0,
        maybe: points.1,
        points: points.2,
        some_points: points.3,
    })
}

proptest! {
    #[test]
    fn scalars_come_back(rows in vec(scalars(), 0..20)) {
        check(&rows);
        let batch = batch_of(rows.clone()).expect("rows fit in columns");
        let columns = [11, 12, 17].map(|index: usize| batch.columns[index].clone()).to_vec();
        let batch = millrace::batch::Batch { rows: batch.rows, columns };
        let arena = Arena::default();
        for (row, borrowed) in rows.iter().zip(rows_of::<Borrowed>(&batch, &arena).expect("the columns hold these rows")) {
            assert_eq!((&*row.string, &*row.bytes, row.text.as_deref()), (borrowed.string, borrowed.bytes, borrowed.text));
        }
    }

    #[test]
    fn nested_values_come_back(rows in vec(nested(), 0..12)) {
        check(&rows);
    }

    #[test]
    fn lists_are_read_where_they_lie(rows in vec((vec(any::<i64>(), 0..5), option::of(any::<[i8; 3]>())), 0..12)) {
        let embedding = |values: &[i8; 3]| values.map(f32::from);
        let lists = rows.iter().map(|(ints, values)| Lists { ints, embedding: values.as_ref().map(embedding), texts: vec!["a", ""] });
        let batch = batch_of(lists).expect("rows fit in columns");
        let arena = Arena::default();
        for ((ints, values), row) in rows.iter().zip(rows_of::<Slices>(&batch, &arena).expect("the columns hold these rows")) {
            let values = values.as_ref().map(embedding);
            assert_eq!(row, Slices { ints, embedding: values.as_ref().map(<[f32; 3]>::as_slice), texts: vec!["a", ""] });
        }
    }

    /// Columns from anybody: an error or rows, never a bad access.
    #[test]
    fn hostile_columns_are_refused(
        rows in 0u32..6,
        buffers in vec((any::<Vec<u8>>(), any::<Vec<u8>>(), any::<Vec<u8>>(), vec(0u32..8, 0..3)), 0..8),
    ) {
        let column = |(validity, offsets, values, children)| millrace::batch::Column { validity, offsets, values, children };
        let batch = millrace::batch::Batch { rows, columns: buffers.into_iter().map(column).collect() };
        // Bad offsets panic by Rust's bounds checks; that is all that may happen.
        let _ = std::panic::catch_unwind(|| rows_of::<Borrowed>(&batch, &Arena::default()).map(|rows| rows.len()));
        let _ = std::panic::catch_unwind(|| rows_of::<Slices>(&batch, &Arena::default()).map(|rows| rows.len()));
    }
}

#[test]
fn schemas_say_types_and_nullability() {
    let of = |fields: Vec<millrace::batch::Field>| -> Vec<String> {
        let text = |field: millrace::batch::Field| {
            format!("{}: {}{}", field.name, field.data_type, if field.nullable { "?" } else { "" })
        };
        fields.into_iter().map(text).collect()
    };
    let scalars = [
        "bool: bool",
        "int8: int8",
        "int16: int16",
        "int32: int32",
        "int64: int64",
        "uint8: uint8",
        "uint16: uint16",
        "uint32: uint32",
        "uint64: uint64",
        "float32: float32?",
        "float64: float64",
        "string: string",
        "bytes: bytes",
        "timestamp: timestamp",
        "date: date?",
        "decimal: decimal(20,3)",
        "type: bool?",
        "text: string?",
    ];
    let nested = [
        "ints: list<int64>",
        "bools: list<bool>",
        "texts: list<string>?",
        "gaps: list<float32>",
        "bytes: list<uint8>",
        "lists: list<list<int16>>",
        "map: map<string, int32>",
        "point: struct<x: float64, label: string>",
        "maybe: struct<x: float64, label: string>?",
        "points: list<struct<x: float64, label: string>>",
        "some_points: list<struct<x: float64, label: string>>?",
    ];
    assert_eq!(of(<Scalars as millrace::rows::OutputRow>::fields()), scalars);
    assert_eq!(of(<Scalars as millrace::rows::InputRow>::fields()), scalars);
    assert_eq!(of(<Nested as millrace::rows::OutputRow>::fields()), nested);
    assert_eq!(of(<Nested as millrace::rows::InputRow>::fields()), nested);
}
