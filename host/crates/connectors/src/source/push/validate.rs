//! Checks pushed rows before they are logged: size, schema, event time.
//!
//! A row that is refused is told to the client by its index and goes nowhere else. Rows are decoded to be checked, and
//! decoded again when they are read: the log keeps what was sent.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use model::batch::{EventBatch, RawBatch};
use model::codec::{Decoder, Format, TimestampUnit, metadata};
use model::error::Failure;
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::DataType;
use model::source::{PushRequest, RefusedRow};
use model::time::EventTime;

/// Decoders that are kept for the next push; more pushes at once make their own.
const POOLED_DECODERS: usize = 8;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Start and end of each good row within the body, in order.
    pub(super) good: Vec<(u32, u32)>,
    /// The others, in order.
    pub(super) refused: Vec<RefusedRow>,
}

/// The column that says when events happened.
#[derive(Debug)]
struct TimeColumn {
    index: usize,
    name: String,
    unit: TimestampUnit,
}

/// Checks rows of one source.
pub(super) struct Validator {
    format: Arc<dyn Format>,
    partition: Partition,
    /// `None` where events happen when they are taken.
    time: Option<TimeColumn>,
    earliest: i64,
    max_future: i64,
    max_row_bytes: usize,
    decoders: Mutex<Vec<Box<dyn Decoder>>>,
}

impl Validator {
    /// A validator of rows of this format, whose event time is in `timestamp_column`.
    pub(super) fn new(
        format: Arc<dyn Format>,
        partition: Partition,
        timestamp_column: &str,
        (earliest, max_future): (i64, i64),
        max_row_bytes: usize,
    ) -> Result<Self, Failure> {
        let time = if timestamp_column == metadata::INGEST_TIME {
            None
        } else {
            Some(find_time_column(&*format, timestamp_column)?)
        };
        let decoders = Mutex::default();
        Ok(Self { format, partition, time, earliest, max_future, max_row_bytes, decoders })
    }

    /// Checks the rows of a request as of `now`, microseconds since the epoch.
    pub(super) fn check(&self, request: &PushRequest, now: i64) -> Checked {
        let mut refused = self.check_sizes(request);
        // While nothing is refused, places in the batch and in the request are the same.
        let (payloads, request_rows) = if refused.is_empty() {
            (request.rows.clone(), Vec::new())
        } else {
            let mut bad = refused.iter().map(|refused| refused.row).peekable();
            let rows = (0..).zip(&request.rows).filter(|(row, _)| bad.next_if_eq(row).is_none());
            rows.map(|(row, payload)| (*payload, row)).unzip()
        };
        if payloads.is_empty() {
            return Checked { good: Vec::new(), refused };
        }
        let request_row = |batch_row: u32| request_rows.get(batch_row as usize).copied().unwrap_or(batch_row);
        let events = self.decode(request, payloads, now);
        let known_by_size = refused.len();
        refused.extend(events.rejected.iter().map(|rejected| RefusedRow {
            row: request_row(rejected.row),
            code: rejected.code,
            message: rejected.message.clone(),
        }));
        if let Some(time) = &self.time {
            self.check_times(time, &events, now, |row, message| {
                refused.push(RefusedRow { row: request_row(row), code: "event_time", message });
            });
        }
        if refused.len() == known_by_size {
            return Checked { good: events.raw.payloads, refused };
        }
        refused.sort_by_key(|refused| refused.row);
        let mut bad = refused.iter().map(|refused| refused.row).peekable();
        let good = (0..).zip(&request.rows).filter(|(row, _)| bad.next_if_eq(row).is_none());
        Checked { good: good.map(|(_, payload)| *payload).collect(), refused }
    }

    fn check_sizes(&self, request: &PushRequest) -> Vec<RefusedRow> {
        let mut refused = Vec::new();
        for (row, (start, end)) in (0..).zip(&request.rows) {
            if start > end || *end as usize > request.body.len() {
                let message = format!("bytes {start} to {end} are not in the body of {}", request.body.len());
                refused.push(RefusedRow { row, code: "decode", message });
            } else if (end - start) as usize > self.max_row_bytes {
                let (bytes, most) = (end - start, self.max_row_bytes);
                let message = format!(
                    "the event has {bytes} bytes, more than the {most} of `max_row_bytes`: send less in one event"
                );
                refused.push(RefusedRow { row, code: "too_large", message });
            }
        }
        refused
    }

    fn decode(&self, request: &PushRequest, payloads: Vec<(u32, u32)>, now: i64) -> EventBatch {
        let rows = payloads.len();
        let raw = RawBatch {
            partition: self.partition.clone(),
            data: request.body.clone(),
            payloads,
            // Positions are given when the rows are logged; no decoder's verdict depends on them.
            positions: PositionColumn::counting(0, rows),
            ingest_times: Vec::new(),
            ingest_time: now,
            covers: Covers {
                first: Position::from_u64(0),
                through: Position::from_u64((rows as u64).saturating_sub(1)),
            },
            attributes: model::batch::Attributes::default(),
        };
        let pooled = self.decoders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // A decoder that panics is not put back.
        let mut decoder = pooled.unwrap_or_else(|| self.format.decoder());
        let events = decoder.decode(raw);
        let mut decoders = self.decoders.lock().unwrap_or_else(PoisonError::into_inner);
        if decoders.len() < POOLED_DECODERS {
            decoders.push(decoder);
        }
        events
    }

    fn check_times(
        &self,
        time: &TimeColumn,
        events: &EventBatch,
        now: i64,
        mut refuse: impl FnMut(u32, String),
    ) {
        let column = events.columns.column(time.index);
        let Some(values) = column.as_primitive_opt::<TimestampMicrosecondType>() else {
            // Found out when the log was opened, unless the format breaks its word.
            debug_assert!(false, "the event time column holds timestamps");
            return;
        };
        let latest = now.saturating_add(self.max_future);
        let bounds = self.earliest..=latest;
        // One pass without branches first: nearly always all is well.
        let all_within = values.values().iter().fold(true, |all, value| all & bounds.contains(value));
        if all_within && values.null_count() == 0 {
            return;
        }
        for (row, value) in values.iter().enumerate() {
            let raw_row = || u32::try_from(events.raw_row(row)).expect("a request has fewer than 2^32 rows");
            match value {
                None => {
                    refuse(raw_row(), format!("`{}` is null: every event needs an event time", time.name))
                }
                Some(value) if !bounds.contains(&value) => {
                    refuse(raw_row(), self.out_of_bounds(time, value, latest))
                }
                Some(_) => {}
            }
        }
    }

    fn out_of_bounds(&self, time: &TimeColumn, value: i64, latest: i64) -> String {
        let (name, is) = (&time.name, EventTime(value));
        let verdict = if value < self.earliest {
            format!(
                "`{name}` is {is}, before {} (the source's `earliest_event_time`)",
                EventTime(self.earliest)
            )
        } else {
            format!("`{name}` is {is}, after {} (now and the source's `max_future`)", EventTime(latest))
        };
        let hint = hint(time.unit, value, self.earliest..=latest);
        hint.map_or(verdict.clone(), |(unit, type_name)| {
            format!("{verdict}: are these {unit}? declare `{type_name}`")
        })
    }
}

/// Another unit in which the number that stood in the payload would be within bounds.
fn hint(
    declared: TimestampUnit,
    value: i64,
    bounds: std::ops::RangeInclusive<i64>,
) -> Option<(&'static str, &'static str)> {
    let number = match declared {
        TimestampUnit::Text => return None,
        TimestampUnit::Seconds => value / 1_000_000,
        TimestampUnit::Millis => value / 1_000,
        TimestampUnit::Micros => value,
    };
    let units = [
        (1_000_000, "seconds", "timestamp_s"),
        (1_000, "milliseconds", "timestamp_ms"),
        (1, "microseconds", "timestamp_us"),
    ];
    let fits = units
        .into_iter()
        .find(|(factor, ..)| number.checked_mul(*factor).is_some_and(|micros| bounds.contains(&micros)));
    fits.map(|(_, unit, type_name)| (unit, type_name))
}

fn find_time_column(format: &dyn Format, name: &str) -> Result<TimeColumn, Failure> {
    let columns = format.columns();
    let Some(index) = columns.iter().position(|column| column.field.name == name) else {
        let known =
            columns.iter().map(|column| format!("`{}`", column.field.name)).collect::<Vec<_>>().join(", ");
        return Err(Failure::stop(format!("find the event time: no column `{name}` among {known}")));
    };
    let column = &columns[index];
    if column.field.data_type != DataType::Timestamp {
        let found = &column.field.data_type;
        return Err(Failure::stop(format!(
            "read the event time: column `{name}` is a {found}, not a timestamp"
        )));
    }
    Ok(TimeColumn { index, name: name.to_owned(), unit: column.unit })
}
