//! The ad event that speed is measured with, and what it is measured against: `serde_json` into a typed struct.
//!
//! Used by the benchmarks and by `host bench`. Not used by the flow.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{
    BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, OffsetBuffer, ScalarBuffer};
use bytes::Bytes;
use model::batch::RawBatch;
use model::codec::{SourceColumn, TimestampUnit};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};
use model::time::{parse_rfc3339, write_rfc3339};
use serde::Deserialize;

/// Users that the events are spread over.
pub const USERS: u64 = 50_000;
/// 2022-06-07T00:00:00Z in microseconds: the time of the first event.
const FIRST_MICROS: i64 = 1_654_560_000_000_000;
/// Microseconds from one event to the next.
const STEP_MICROS: i64 = 40_000;

/// One ad event, about 139 bytes. Equal numbers give equal events.
pub fn ad_event(number: u64) -> Vec<u8> {
    let mut event = Vec::with_capacity(144);
    write_ad_event(&mut event, number, USERS);
    event
}

/// Appends one ad event of one of so many users.
pub fn write_ad_event(out: &mut Vec<u8>, number: u64, users: u64) {
    let (dice, user) = (mix(number), mix(number ^ 0xad) % users.max(1));
    let (high, low) = (mix(user ^ 0x5eed), mix(user ^ 0xfeed));
    out.extend_from_slice(br#"{"timestamp":""#);
    let jitter = (dice % STEP_MICROS.cast_unsigned()).cast_signed();
    write_rfc3339(out, FIRST_MICROS + (number % (1 << 40)).cast_signed() * STEP_MICROS + jitter);
    write!(
        out,
        r#"","user_uuid":"{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}","ad_id":{},"clicked":{},"bid":{}.{:08}}}"#,
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0xfff,
        low & 0xffff_ffff_ffff,
        dice >> 8 & 0x1fff,
        dice >> 40 & 1 == 0,
        dice >> 50 & 7,
        dice >> 20 & 0x5f5_e0ff,
    )
    .expect("writing to memory does not fail");
}

/// The columns of the ad event.
pub fn ad_columns() -> Vec<SourceColumn> {
    [
        Field::required("timestamp", DataType::Timestamp),
        Field::required("user_uuid", DataType::String),
        Field::nullable("ad_id", DataType::Int64),
        Field::nullable("clicked", DataType::Bool),
        Field::nullable("bid", DataType::Float64),
    ]
    .into_iter()
    .map(|field| SourceColumn { field, unit: TimestampUnit::Text })
    .collect()
}

/// A batch of consecutive ad events, one a line, at positions that are their numbers.
pub fn ad_batch(first: u64, count: usize) -> RawBatch {
    let events: Vec<Vec<u8>> = (first..).take(count).map(ad_event).collect();
    raw_batch(first, &events)
}

/// A batch of these payloads, one a line, at positions that count up from `first`.
pub fn raw_batch<P: AsRef<[u8]>>(first: u64, events: &[P]) -> RawBatch {
    let (mut data, mut payloads) = (Vec::new(), Vec::with_capacity(events.len()));
    for event in events {
        let start = u32::try_from(data.len()).expect("a batch has less than 4 GiB");
        data.extend_from_slice(event.as_ref());
        let end = u32::try_from(data.len()).expect("a batch has less than 4 GiB");
        payloads.push((start, end));
        data.push(b'\n');
    }
    let last = first + (events.len() as u64).saturating_sub(1);
    RawBatch {
        partition: Partition::new("0"),
        data: Bytes::from(data),
        payloads,
        positions: PositionColumn::counting(first, events.len()),
        ingest_times: Vec::new(),
        ingest_time: FIRST_MICROS,
        covers: Covers { first: Position::from_u64(first), through: Position::from_u64(last) },
        attributes: model::batch::Attributes::default(),
    }
}

/// The ad event as one would declare it for `serde_json`.
#[derive(Deserialize)]
struct AdEvent<'a> {
    timestamp: &'a str,
    user_uuid: &'a str,
    ad_id: i64,
    clicked: bool,
    bid: f64,
}

/// The peer: each event into a typed struct with borrowed texts, then pushed to the same columns.
///
/// Panics on anything but ad events.
pub fn decode_with_serde(raw: &RawBatch) -> RecordBatch {
    let rows = raw.len();
    let (mut timestamps, mut ad_ids, mut bids) =
        (Vec::with_capacity(rows), Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut clicked = BooleanBufferBuilder::new(rows);
    let (mut offsets, mut users) = (Vec::with_capacity(rows + 1), Vec::with_capacity(rows * 36));
    offsets.push(0);
    for row in 0..rows {
        let event: AdEvent<'_> = serde_json::from_slice(raw.payload(row)).expect("the sample is an ad event");
        timestamps.push(parse_rfc3339(event.timestamp.as_bytes()).expect("the sample has RFC 3339 times"));
        users.extend_from_slice(event.user_uuid.as_bytes());
        offsets.push(i32::try_from(users.len()).expect("a sample has less than 2 GiB of text"));
        ad_ids.push(event.ad_id);
        clicked.append(event.clicked);
        bids.push(event.bid);
    }
    let fields: Vec<Field> = ad_columns().into_iter().map(|column| column.field).collect();
    let users =
        StringArray::new(OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(users), None);
    RecordBatch::try_new(
        arrow_schema(&fields),
        vec![
            Arc::new(
                TimestampMicrosecondArray::new(ScalarBuffer::from(timestamps), None).with_timezone("UTC"),
            ),
            Arc::new(users),
            Arc::new(Int64Array::new(ScalarBuffer::from(ad_ids), None)),
            Arc::new(BooleanArray::new(clicked.finish(), None)),
            Arc::new(Float64Array::new(ScalarBuffer::from(bids), None)),
        ],
    )
    .expect("every column has one value for each row")
}

/// Spreads a number over 64 bits (the finalizer of splitmix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
