//! From what a transform made to feature rows: columns in the view's order, positions, ordinals, bounds.
//!
//! Nothing is copied row by row where the output has one row for each event and no row has to go. Rows that must not
//! be kept (a missing or absurd event time, a null join key) become letters here; writing them is not done here.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{
    Array, ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow_schema::{Field as ArrowField, Schema, SchemaRef};
use arrow_select::concat::concat;
use arrow_select::take::take;
use model::batch::{EventBatch, FeatureBatch};
use model::error::Failure;
use model::position::{Partition, PositionColumn};
use model::schema::{DataType, Field};
use model::time::EventTime;
use model::view::{Generation, ViewRef, ViewShape};

use crate::transform::{Made, Slice};

/// Where each column of a view comes from in a component's output.
#[derive(Debug)]
pub(crate) struct OutputLayout {
    schema: SchemaRef,
    /// Output column of each column of the view; `None` = null.
    columns: Vec<Option<usize>>,
    keys: usize,
    event_time: usize,
}

impl OutputLayout {
    /// Looks up the columns that a view wants. Where the component is that of an earlier generation, features that it
    /// does not produce are null.
    pub(crate) fn new(
        shape: &ViewShape,
        event_time_column: &str,
        output: &[Field],
        is_older: bool,
    ) -> Result<Self, Failure> {
        let find = |name: &str, data_type: &DataType| {
            let index = output.iter().position(|field| field.name == name).ok_or_else(|| {
                let known: Vec<_> = output.iter().map(|field| field.name.as_str()).collect();
                let known = known.join(", ");
                Failure::stop(format!("find the output column `{name}`: the component produces {known}"))
            })?;
            if output[index].data_type == *data_type {
                return Ok(index);
            }
            Err(Failure::stop(format!(
                "use the output column `{name}`: the view wants {data_type}, the component produces {}",
                output[index].data_type
            )))
        };
        let fields = shape.columns().enumerate().map(|(index, field)| {
            // Keys without a value never get into a batch; features may lack one.
            ArrowField::new(&field.name, field.data_type.to_arrow(), shape.keys.len() <= index)
        });
        let columns =
            shape.columns().enumerate().map(|(index, field)| match find(&field.name, &field.data_type) {
                Err(_) if is_older && shape.keys.len() <= index => Ok(None),
                found => found.map(Some),
            });
        Ok(Self {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            columns: columns.collect::<Result<_, _>>()?,
            keys: shape.keys.len(),
            event_time: find(event_time_column, &DataType::Timestamp)?,
        })
    }
}

/// Which event times are believed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Microseconds since the epoch.
    pub(crate) earliest: i64,
    /// Microseconds after the source recorded the event.
    pub(crate) max_future: i64,
}

/// An event that goes to the dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    /// The event, as a row of the batch as it was read.
    pub(crate) raw_row: u32,
    /// The stable code.
    pub(crate) code: &'static str,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// A slice, ready to be delivered.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) batch: FeatureBatch,
    /// In the order of events, at most one for each.
    pub(crate) letters: Vec<Letter>,
    /// Events of which nothing is left: a subset of those in `letters`.
    pub(crate) failed: Vec<u32>,
}

/// Puts the rows of a slice together.
pub(crate) fn assemble(
    view: &ViewRef,
    layout: &OutputLayout,
    bounds: Bounds,
    generation: &Generation,
    slice: &Slice,
    made: Made,
) -> Assembled {
    let mut letters = decode_letters(&slice.events, &slice.raw);
    let mut rows = OutputRows::gather(layout, slice, made, &mut letters);
    let bad = bad_rows(layout, bounds, slice, &rows);
    let mut spared = Vec::new();
    if !bad.is_empty() {
        let kept = rows.drop_rows(bad.iter().map(|(row, _)| *row));
        // An event of which another row is kept has not failed, although it is in the dead letter.
        let kept: Vec<usize> = kept.into_iter().map(|row| slice.raw_row(row)).collect();
        spared = bad.iter().map(|(_, letter)| letter.raw_row).collect::<Vec<u32>>();
        spared.retain(|raw_row| kept.binary_search(&(*raw_row as usize)).is_ok());
        letters.extend(bad.into_iter().map(|(_, letter)| letter));
    }
    letters.sort_by_key(|letter| letter.raw_row);
    letters.dedup_by_key(|letter| letter.raw_row);
    let failed = letters.iter().map(|letter| letter.raw_row).filter(|row| spared.binary_search(row).is_err());
    let failed = failed.collect();
    let batch = rows.into_batch(view, layout, generation, slice);
    Assembled { batch, letters, failed }
}

fn decode_letters(events: &EventBatch, raw: &Range<usize>) -> Vec<Letter> {
    let here = events.rejected.iter().filter(|rejected| raw.contains(&(rejected.row as usize)));
    here.map(|rejected| Letter {
        raw_row: rejected.row,
        code: rejected.code,
        reason: rejected.message.clone(),
    })
    .collect()
}

/// Output rows and the input row of each.
struct OutputRows {
    /// View columns, then the event time.
    columns: Vec<ArrayRef>,
    len: usize,
    /// Input row within the slice; `None` = one to one.
    inputs: Option<Vec<u32>>,
    /// Which output of its input row; empty = all the first.
    ordinals: Vec<u32>,
}

impl OutputRows {
    fn gather(layout: &OutputLayout, slice: &Slice, made: Made, letters: &mut Vec<Letter>) -> Self {
        let raw_row = |row: usize| u32::try_from(slice.raw_row(row)).unwrap_or(u32::MAX);
        for (row, fault) in made.faults {
            letters.push(Letter { raw_row: raw_row(row), code: fault.kind.code(), reason: fault.message });
        }
        let mut pieces = made.pieces;
        for piece in &mut pieces {
            for (row, reason) in piece.output.rejected.drain(..) {
                let row = raw_row(piece.offset + row as usize);
                letters.push(Letter { raw_row: row, code: "rejected", reason });
            }
        }
        let wanted = layout.columns.iter().copied().chain(std::iter::once(Some(layout.event_time)));
        if let [piece] = pieces.as_slice() {
            let output = &piece.output;
            let len = output.columns.num_rows();
            let one_to_one = output.input_rows.is_empty() && len == slice.rows.len();
            let columns = wanted.enumerate().map(|(column, index)| match index {
                Some(index) => Arc::clone(output.columns.column(index)),
                None => layout.null_column(column, len),
            });
            let columns = columns.collect();
            let inputs = (!one_to_one).then(|| input_rows(piece.offset, piece.rows, output));
            let ordinals = inputs.as_deref().map(ordinals).unwrap_or_default();
            return Self { columns, len, inputs, ordinals };
        }
        let inputs: Vec<u32> =
            pieces.iter().flat_map(|piece| input_rows(piece.offset, piece.rows, &piece.output)).collect();
        let columns = wanted.enumerate().map(|(column, index)| match index {
            Some(index) if !pieces.is_empty() => {
                let parts = pieces.iter().map(|piece| piece.output.columns.column(index).as_ref());
                let parts: Vec<&dyn Array> = parts.collect();
                concat(&parts).expect("all parts come from one component, whose types were checked")
            }
            _ => layout.null_column(column, inputs.len()),
        });
        let columns = columns.collect();
        let ordinals = ordinals(&inputs);
        Self { columns, len: inputs.len(), inputs: Some(inputs), ordinals }
    }

    fn input(&self, row: usize) -> usize {
        self.inputs.as_ref().map_or(row, |inputs| inputs[row] as usize)
    }

    fn event_times(&self) -> &TimestampMicrosecondArray {
        self.columns
            .last()
            .expect("the event time is always there")
            .as_primitive::<TimestampMicrosecondType>()
    }

    /// Drops rows, given ascending. Returns the input rows of those that stay.
    fn drop_rows(&mut self, bad: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut bad = bad.peekable();
        let kept = (0..self.len).filter(|row| bad.next_if_eq(row).is_none());
        let kept: Vec<u32> = kept.map(|row| u32::try_from(row).unwrap_or(u32::MAX)).collect();
        let inputs: Vec<u32> =
            kept.iter().map(|row| u32::try_from(self.input(*row as usize)).unwrap_or(u32::MAX)).collect();
        if !self.ordinals.is_empty() {
            self.ordinals = kept.iter().map(|row| self.ordinals[*row as usize]).collect();
        }
        let kept = UInt32Array::from(kept);
        for column in &mut self.columns {
            *column = take(column.as_ref(), &kept, None).expect("the rows that are kept exist");
        }
        self.len = kept.len();
        let rows = inputs.iter().map(|row| *row as usize).collect();
        self.inputs = Some(inputs);
        rows
    }

    fn into_batch(
        mut self,
        view: &ViewRef,
        layout: &OutputLayout,
        generation: &Generation,
        slice: &Slice,
    ) -> FeatureBatch {
        let event_times = self.event_times().values().to_vec();
        let positions = self.positions(slice);
        self.columns.pop();
        let options = RecordBatchOptions::new().with_row_count(Some(self.len));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&layout.schema), self.columns, &options)
            .expect("the types were compared when the layout was made, and null keys were taken out");
        FeatureBatch {
            view: Arc::clone(view),
            rows,
            event_times,
            partition: Partition::clone(&slice.events.raw.partition),
            positions,
            ordinals: self.ordinals,
            generation: generation.clone(),
            covers: slice.covers,
        }
    }

    fn positions(&self, slice: &Slice) -> PositionColumn {
        let (raw, raw_rows) = (&slice.events.raw, &slice.events.raw_rows);
        match &self.inputs {
            None if raw_rows.is_empty() => {
                if slice.rows.len() == raw.len() {
                    raw.positions.clone()
                } else {
                    raw.positions.slice(slice.rows.start, slice.rows.len())
                }
            }
            None => raw.positions.take(&raw_rows[slice.rows.clone()]),
            Some(inputs) => {
                let rows = inputs.iter().map(|row| slice.raw_row(*row as usize));
                let rows: Vec<u32> = rows.map(|row| u32::try_from(row).unwrap_or(u32::MAX)).collect();
                raw.positions.take(&rows)
            }
        }
    }
}

impl OutputLayout {
    /// A column that the component did not make: of a view, or behind those the event time.
    fn null_column(&self, column: usize, len: usize) -> ArrayRef {
        let data_type = self.schema.fields().get(column).map(|field| field.data_type().clone());
        new_null_array(&data_type.unwrap_or_else(|| DataType::Timestamp.to_arrow()), len)
    }
}

/// Input rows of a piece, within the slice.
fn input_rows(offset: usize, rows: usize, output: &model::transform::TransformOutput) -> Vec<u32> {
    let offset = u32::try_from(offset).unwrap_or(u32::MAX);
    if !output.input_rows.is_empty() {
        return output.input_rows.iter().map(|row| offset + row).collect();
    }
    // One to one, or nothing at all: all rows were filtered out or refused.
    let len = if output.columns.num_rows() == rows { rows } else { 0 };
    (offset..).take(len).collect()
}

/// For each row the number of rows before it with the same input row; empty if that is 0 for all.
fn ordinals(inputs: &[u32]) -> Vec<u32> {
    if inputs.windows(2).all(|pair| pair[0] != pair[1]) {
        return Vec::new();
    }
    let mut last = None;
    let mut count = 0;
    let ordinals = inputs.iter().map(|input| {
        count = if last == Some(*input) { count + 1 } else { 0 };
        last = Some(*input);
        count
    });
    ordinals.collect()
}

/// Output rows that cannot be kept, ascending, each with its letter.
fn bad_rows(layout: &OutputLayout, bounds: Bounds, slice: &Slice, rows: &OutputRows) -> Vec<(usize, Letter)> {
    let times = rows.event_times();
    let keys = &rows.columns[..layout.keys];
    if times_are_good(bounds, slice, times) && keys.iter().all(|key| key.null_count() == 0) {
        return Vec::new();
    }
    let mut bad = Vec::new();
    for row in 0..rows.len {
        let raw_row = slice.raw_row(rows.input(row));
        let ingest_time = slice.events.raw.ingest_time(raw_row);
        let latest = ingest_time.saturating_add(bounds.max_future);
        let problem = if let Some(key) = keys.iter().position(|key| key.is_null(row)) {
            Some(("null_key", format!("join key `{}` is null", layout.schema.field(key).name())))
        } else if times.is_null(row) {
            Some(("event_time", "the event time is null".to_owned()))
        } else {
            let time = times.value(row);
            let problem = (time < bounds.earliest || latest < time)
                .then(|| absurd_time(time, bounds.earliest, latest, ingest_time));
            problem.map(|reason| ("event_time", reason))
        };
        if let Some((code, reason)) = problem {
            bad.push((row, Letter { raw_row: u32::try_from(raw_row).unwrap_or(u32::MAX), code, reason }));
        }
    }
    bad
}

/// Whether no event time needs a closer look; without a branch for each row in the usual case.
fn times_are_good(bounds: Bounds, slice: &Slice, times: &TimestampMicrosecondArray) -> bool {
    if times.null_count() > 0 {
        return false;
    }
    let raw = &slice.events.raw;
    // The earliest possible limit holds for all rows; where it does not, each is looked at.
    let recorded = if raw.ingest_times.is_empty() {
        raw.ingest_time
    } else {
        raw.ingest_times[slice.raw.clone()].iter().copied().min().unwrap_or(raw.ingest_time)
    };
    let latest = recorded.saturating_add(bounds.max_future);
    let (least, greatest) = times
        .values()
        .iter()
        .fold((i64::MAX, i64::MIN), |(least, greatest), time| (least.min(*time), greatest.max(*time)));
    times.is_empty() || (bounds.earliest <= least && greatest <= latest)
}

fn absurd_time(time: i64, earliest: i64, latest: i64, ingest_time: i64) -> String {
    let (time_text, earliest_text) = (EventTime(time), EventTime(earliest));
    if time < earliest {
        return format!(
            "the event time {time_text} is before {earliest_text}: is it in another unit than microseconds?"
        );
    }
    let (latest, recorded) = (EventTime(latest), EventTime(ingest_time));
    format!(
        "the event time {time_text} is after {latest}, too far ahead of when the event was recorded ({recorded})"
    )
}
