//! The columns that the host fills, whole and in slices.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use bytes::Bytes;
use model::batch::{ABSENT, Attributes, EventBatch, Header, RawBatch};
use model::codec::{SourceColumn, TimestampUnit, metadata};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};

use super::{InputLayout, Slice, input};

fn columns() -> Vec<SourceColumn> {
    vec![SourceColumn { field: Field::required("n", DataType::Int64), unit: TimestampUnit::default() }]
}

fn wanted(names: &[&str]) -> Vec<Field> {
    let all = [
        Field::nullable(metadata::KEY, DataType::Bytes),
        Field::nullable(metadata::OFFSET, DataType::Int64),
        Field::required(metadata::POSITION, DataType::Bytes),
        Field::required(metadata::HEADERS, "list<struct<name: string, value: bytes>>".parse().unwrap()),
    ];
    names.iter().map(|name| all.iter().find(|field| field.name == *name).unwrap().clone()).collect()
}

/// Puts texts one behind the other.
#[derive(Default)]
struct Text(Vec<u8>);

impl Text {
    fn add(&mut self, text: Option<&[u8]>) -> (u32, u32) {
        let Some(text) = text else { return ABSENT };
        let start = self.0.len();
        self.0.extend_from_slice(text);
        (u32::try_from(start).unwrap(), u32::try_from(self.0.len()).unwrap())
    }
}

type TestHeader<'a> = (&'a [u8], Option<&'a [u8]>);

/// Events at these positions, with keys and headers; `decoded` says which could be decoded.
fn events(rows: &[(u64, Option<&str>, &[TestHeader<'_>])], decoded: &[u32]) -> Arc<EventBatch> {
    let mut text = Text::default();
    let mut positions = PositionColumn::new(8);
    let mut attributes = Attributes::default();
    let mut payloads = Vec::new();
    for (position, key, headers) in rows {
        payloads.push(text.add(Some(b"{}")));
        positions.push_u64(*position);
        attributes.keys.push(text.add(key.map(str::as_bytes)));
        for (name, value) in *headers {
            attributes.headers.push(Header { name: text.add(Some(name)), value: text.add(*value) });
        }
        attributes.header_ends.push(u32::try_from(attributes.headers.len()).unwrap());
    }
    of(positions, payloads, attributes, text, decoded)
}

fn of(
    positions: PositionColumn,
    payloads: Vec<(u32, u32)>,
    attributes: Attributes,
    text: Text,
    decoded: &[u32],
) -> Arc<EventBatch> {
    let numbers: ArrayRef = Arc::new(decoded.iter().map(|row| i64::from(*row)).collect::<Int64Array>());
    let schema = arrow_schema(&[Field::required("n", DataType::Int64)]);
    Arc::new(EventBatch {
        raw: RawBatch {
            partition: Partition::new("clicks-3"),
            data: Bytes::from(text.0),
            covers: Covers { first: positions.at(0), through: positions.at(positions.len() - 1) },
            payloads,
            positions,
            ingest_times: Vec::new(),
            ingest_time: 0,
            attributes,
        },
        columns: RecordBatch::try_new(schema, vec![numbers]).unwrap(),
        raw_rows: decoded.to_vec(),
        rejected: Vec::new(),
    })
}

fn keys(batch: &RecordBatch) -> Vec<Option<&[u8]>> {
    batch.column_by_name(metadata::KEY).unwrap().as_binary::<i32>().iter().collect()
}

fn offsets(batch: &RecordBatch) -> Vec<Option<i64>> {
    batch.column_by_name(metadata::OFFSET).unwrap().as_primitive::<Int64Type>().iter().collect()
}

/// Headers of each row as `name=value`.
fn headers(batch: &RecordBatch) -> Vec<Vec<String>> {
    let lists = batch.column_by_name(metadata::HEADERS).unwrap().as_list::<i32>();
    assert_eq!(lists.null_count(), 0, "a row without headers has none, not null");
    let of_row = |row: ArrayRef| {
        let row = row.as_struct();
        let (names, values) = (row.column(0).as_string::<i32>(), row.column(1).as_binary::<i32>());
        let text = |value: Option<&[u8]>| {
            value.map_or("absent".to_owned(), |value| String::from_utf8_lossy(value).into_owned())
        };
        names.iter().zip(values).map(|(name, value)| format!("{}={}", name.unwrap(), text(value))).collect()
    };
    lists.iter().map(|row| of_row(row.unwrap())).collect()
}

fn five() -> Arc<EventBatch> {
    events(
        &[
            (10, Some("a"), &[(b"x", Some(b"1")), (b"x", Some(b"2"))]),
            (11, None, &[]),
            (13, Some(""), &[(b"y", None)]),
            (14, Some("not decoded"), &[(b"z", Some(b"not decoded"))]),
            (20, Some("e"), &[(b"w\xff", Some(b"")), (b"", Some(b"v"))]),
        ],
        &[0, 1, 2, 4],
    )
}

#[test]
fn keys_offsets_and_headers_are_those_of_each_row() {
    let names = [metadata::KEY, metadata::OFFSET, metadata::POSITION, metadata::HEADERS];
    let batch = input(&wanted(&names), &columns(), &five()).unwrap();
    assert_eq!(keys(&batch), [Some(&b"a"[..]), None, Some(b""), Some(b"e")]);
    assert_eq!(offsets(&batch), [Some(10), Some(11), Some(13), Some(20)]);
    let expected: [&[&str]; 4] = [&["x=1", "x=2"], &[], &["y=absent"], &["w\u{fffd}=", "=v"]];
    assert_eq!(headers(&batch), expected);
    let positions = batch.column_by_name(metadata::POSITION).unwrap().as_binary::<i32>();
    assert_eq!(positions.value(3), 20_u64.to_be_bytes());
}

#[test]
fn a_slice_has_the_columns_of_its_rows() {
    let names = [metadata::KEY, metadata::OFFSET, metadata::HEADERS];
    let layout = InputLayout::new(&wanted(&names), &columns()).unwrap();
    let after = |position| Some(Position::from_u64(position));
    let slice = Slice::of(&five(), after(11), after(14)).unwrap();
    let batch = layout.select(&slice);
    assert_eq!((keys(&batch), offsets(&batch)), (vec![Some(&b""[..])], vec![Some(13)]));
    assert_eq!(headers(&batch), [["y=absent"]]);
    let empty = Slice::of(&five(), after(13), after(14)).unwrap();
    assert_eq!(layout.select(&empty).num_rows(), 0);
}

#[test]
fn sources_without_keys_headers_and_numbers_have_none() {
    let mut positions = PositionColumn::new(32);
    positions.push(&Position::from_bytes(&[7; 32]).unwrap());
    let events = of(positions, vec![(0, 0)], Attributes::default(), Text::default(), &[0]);
    let names = [metadata::KEY, metadata::OFFSET, metadata::HEADERS];
    let batch = input(&wanted(&names), &columns(), &events).unwrap();
    assert_eq!((keys(&batch), offsets(&batch)), (vec![None], vec![None]));
    assert_eq!(headers(&batch), [Vec::<String>::new()]);
}

#[test]
fn a_number_that_is_no_offset_is_null() {
    let events = events(&[(u64::MAX, None, &[]), (i64::MAX.unsigned_abs(), None, &[])], &[0, 1]);
    let batch = input(&wanted(&[metadata::OFFSET]), &columns(), &events).unwrap();
    assert_eq!(offsets(&batch), [None, Some(i64::MAX)]);
}

#[test]
fn a_column_of_the_source_comes_before_one_of_the_host() {
    let own = vec![SourceColumn {
        field: Field::nullable(metadata::OFFSET, DataType::Int64),
        unit: TimestampUnit::default(),
    }];
    let events = events(&[(7, None, &[])], &[0]);
    let batch = input(&wanted(&[metadata::OFFSET]), &own, &events).unwrap();
    assert_eq!(offsets(&batch), [Some(0)]);
}
