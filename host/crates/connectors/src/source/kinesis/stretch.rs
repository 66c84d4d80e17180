//! One answer of a shard, unpacked: events that wait to be cut into batches.
//!
//! Each byte of an event is copied once, when its batch is cut. What records were packed in goes with the last of their
//! events.

use aws_sdk_kinesis::types::Record;
use bytes::Bytes;
use model::batch::{ABSENT, Attributes, RawBatch};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::source::BatchBudget;

use super::kpl::{self, Packed, Unpacked};
use crate::kinesis::position;

/// Bytes in a batch beyond which no further event joins: ranges within it have 32 bits.
const MAX_BATCH_BYTES: usize = 1 << 31;

/// What a record costs in memory beside its data and key.
const RECORD_BYTES: usize = 256;

/// Events of one shard, in order.
#[derive(Debug)]
pub(super) struct Stretch {
    records: Vec<Record>,
    /// Of each record: position of the first that it was packed from, and time of arrival in microseconds.
    marks: Vec<(Position, i64)>,
    events: Vec<Event>,
    /// Partition keys of packed records, within the data of their record.
    keys: Vec<(u32, u32)>,
    /// How many events were handed on.
    taken: usize,
    covers: Covers,
    /// Records that look packed and could not be unpacked.
    pub(super) unreadable: u64,
}

/// Where an event is.
#[derive(Debug, Clone, Copy)]
struct Event {
    record: u32,
    /// Which of the records that this one was packed from.
    sub: u32,
    /// Within the record's data.
    payload: (u32, u32),
    /// Place of its partition key; `None` = it is the record's.
    key: Option<u32>,
}

impl Stretch {
    /// Unpacks an answer whose records lie behind `after`; `None` if none does. Of packed records those whose hash keys
    /// are another shard's are left out: their producer, who had not heard of a split or merge, sends them there again.
    /// Fails with words if a record has no sequence number.
    pub(super) fn new(
        records: Vec<Record>,
        after: Option<&Position>,
        hash_keys: (u128, u128),
    ) -> Result<Option<Self>, String> {
        let mut marks = Vec::with_capacity(records.len());
        let (mut events, mut keys) = (Vec::with_capacity(records.len()), Vec::new());
        let (mut covers, mut unreadable) = (None::<Covers>, 0);
        for (index, record) in records.iter().enumerate() {
            let sequence = &record.sequence_number;
            let first = position::of_record(sequence, 0)
                .ok_or_else(|| format!("`{sequence}` is no sequence number of a record"))?;
            marks.push((first, arrival(record)));
            let data = record.data.as_ref();
            let index = narrow(index);
            let unpacked = kpl::unpack(data);
            unreadable += u64::from(unpacked == Unpacked::Unreadable);
            let count = if let Unpacked::Packed(packed) = &unpacked { packed.records.len() } else { 1 };
            // A packed record that holds nothing is done as well.
            let last = position::with_sub(&first, count.saturating_sub(1) as u64);
            if after.is_some_and(|after| last <= *after) {
                continue;
            }
            // The record of the position itself is done in part.
            let skip = match after.filter(|after| first <= **after).map(position::parse) {
                Some(Some(position::ShardPosition::Record { sub, .. })) => {
                    usize::try_from(sub).map_or(usize::MAX, |sub| sub.saturating_add(1))
                }
                _ => 0,
            };
            let begin = covers.map_or(position::with_sub(&first, skip as u64), |covers| covers.first);
            covers = Some(Covers { first: begin, through: last });
            match unpacked {
                Unpacked::Packed(packed) => {
                    unpack(&packed, data, index, skip, hash_keys, &mut events, &mut keys);
                }
                Unpacked::Plain | Unpacked::Unreadable => {
                    let payload = (0, narrow(data.len()));
                    events.push(Event { record: index, sub: 0, payload, key: None });
                }
            }
        }
        let stretch =
            covers.map(|covers| Self { records, marks, events, keys, taken: 0, covers, unreadable });
        Ok(stretch)
    }

    /// Number of events.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Bytes of their payloads.
    pub(super) fn bytes(&self) -> u64 {
        self.events.iter().map(|event| u64::from(event.payload.1 - event.payload.0)).sum()
    }

    /// The last position that it covers.
    pub(super) fn through(&self) -> Position {
        self.covers.through
    }

    /// Cuts the next batch. Answers it, and whether it was the last.
    pub(super) fn take(&mut self, partition: &Partition, budget: BatchBudget) -> (RawBatch, bool) {
        let start = self.taken;
        let end = self.cut(budget);
        let events = &self.events[start..end];
        let bytes: usize =
            events.iter().map(|event| self.payload(event).len() + self.key_length(event)).sum();
        let mut data = Vec::with_capacity(bytes);
        let mut payloads = Vec::with_capacity(events.len());
        let mut times = Vec::with_capacity(events.len());
        let mut keys = Vec::with_capacity(events.len());
        let mut positions = PositionColumn::new(32);
        // Events that were packed together share their keys.
        let mut last_key = None;
        for event in events {
            payloads.push(append(&mut data, self.payload(event)));
            let place = event.key.map(|key| (event.record, key));
            keys.push(match (place, last_key) {
                (Some(place), Some((known, range))) if place == known => range,
                _ => self.key(event).map_or(ABSENT, |key| append(&mut data, key)),
            });
            last_key = place.zip(keys.last().copied());
            let (first, time) = &self.marks[event.record as usize];
            positions.push(&position::with_sub(first, u64::from(event.sub)));
            times.push(*time);
        }
        if keys.iter().all(|key| *key == ABSENT) {
            keys.clear();
        }
        self.taken = end;
        let is_last = end == self.events.len();
        let covers = Covers {
            first: if start == 0 { self.covers.first } else { positions.at(0) },
            through: if is_last { self.covers.through } else { positions.at(positions.len() - 1) },
        };
        let attributes = Attributes { keys, ..Attributes::default() };
        let batch = RawBatch {
            partition: partition.clone(),
            data: Bytes::from(data),
            payloads,
            positions,
            ingest_times: times,
            ingest_time: 0,
            covers,
            attributes,
        };
        (batch, is_last)
    }

    /// Behind which event the next batch ends.
    fn cut(&self, budget: BatchBudget) -> usize {
        let rest = &self.events[self.taken..];
        let (mut payload, mut all) = (0, 0);
        let fits = rest.iter().take(budget.rows.max(1)).take_while(|event| {
            payload += self.payload(event).len();
            all += self.payload(event).len() + self.key_length(event);
            payload <= budget.bytes && all <= MAX_BATCH_BYTES
        });
        let count = fits.count().max(1).min(rest.len());
        self.taken + count
    }

    fn payload(&self, event: &Event) -> &[u8] {
        let (start, end) = event.payload;
        &self.data(event)[start as usize..end as usize]
    }

    fn key(&self, event: &Event) -> Option<&[u8]> {
        match event.key {
            Some(key) => {
                let (start, end) = self.keys[key as usize];
                Some(&self.data(event)[start as usize..end as usize])
            }
            None => self.records[event.record as usize].partition_key.as_ref().map(String::as_bytes),
        }
    }

    fn key_length(&self, event: &Event) -> usize {
        self.key(event).map_or(0, <[u8]>::len)
    }

    fn data(&self, event: &Event) -> &[u8] {
        self.records[event.record as usize].data.as_ref()
    }
}

/// Bytes that records have by themselves, as Kinesis counts them.
pub(super) fn bytes_of(records: &[Record]) -> usize {
    records.iter().map(|record| record.data.as_ref().len() + key_of(record).len()).sum()
}

/// Bytes that records take in memory.
pub(super) fn weight_of(records: &[Record]) -> usize {
    bytes_of(records) + records.len() * RECORD_BYTES
}

fn key_of(record: &Record) -> &str {
    record.partition_key.as_deref().unwrap_or_default()
}

/// When a record arrived, microseconds since the epoch; 0 if it does not say so.
fn arrival(record: &Record) -> i64 {
    let arrived = record.approximate_arrival_timestamp.as_ref();
    arrived.map_or(0, |time| i64::try_from(time.as_nanos().div_euclid(1000)).unwrap_or(0))
}

/// Adds the events that a record was packed from.
fn unpack(
    packed: &Packed<'_>,
    data: &[u8],
    record: u32,
    skip: usize,
    (lowest, highest): (u128, u128),
    events: &mut Vec<Event>,
    keys: &mut Vec<(u32, u32)>,
) {
    let first_key = keys.len();
    keys.extend(packed.keys.iter().map(|key| range_within(data, key)));
    let is_divided = (lowest, highest) != (0, u128::MAX);
    // The hash of each key, once it was needed.
    let mut hashes = vec![None; if is_divided { packed.keys.len() } else { 0 }];
    for (sub, part) in packed.records.iter().enumerate().skip(skip) {
        if is_divided {
            let explicit = part.hash_key.and_then(|place| kpl::explicit_hash(packed.hash_keys[place]));
            let hash = explicit.unwrap_or_else(|| {
                *hashes[part.key].get_or_insert_with(|| kpl::hash_of(packed.keys[part.key]))
            });
            if !(lowest..=highest).contains(&hash) {
                continue;
            }
        }
        let key = Some(narrow(first_key + part.key));
        events.push(Event { record, sub: narrow(sub), payload: range_within(data, part.data), key });
    }
}

/// Where a part is within the data that it borrows from.
fn range_within(data: &[u8], part: &[u8]) -> (u32, u32) {
    let start = part.as_ptr().addr() - data.as_ptr().addr();
    (narrow(start), narrow(start + part.len()))
}

/// Appends bytes; answers where they are.
fn append(data: &mut Vec<u8>, bytes: &[u8]) -> (u32, u32) {
    let start = data.len();
    data.extend_from_slice(bytes);
    (narrow(start), narrow(data.len()))
}

/// A place within an answer or a batch, which have fewer bytes than 32 bits can count.
fn narrow(place: usize) -> u32 {
    u32::try_from(place).expect("an answer has about ten megabytes, and batches end long before 4 GiB")
}
