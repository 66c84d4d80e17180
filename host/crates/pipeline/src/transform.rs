//! Calls a transform with one stretch of events, and finds the bad rows when a call fails.
//!
//! A stretch that fails is halved until single rows are left; each call after a failure runs on a fresh instance.
//! That takes about 2 log₂ n calls for each bad row. The search goes from the first row to the last, so that failures
//! in a row are seen in their order, and it is done in steps of one call, so that it delays no other unit. It does not
//! decide what becomes of the rows.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, Int64Builder, ListBuilder, StringBuilder, StructBuilder,
};
use arrow_array::{
    ArrayRef, BinaryArray, Int64Array, ListArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
    new_null_array,
};
use arrow_schema::{DataType as ArrowType, Field as ArrowField, Schema, SchemaRef};
use model::batch::EventBatch;
use model::codec::{SourceColumn, metadata};
use model::error::Failure;
use model::position::{Covers, Position};
use model::schema::{DataType, Field};
use model::transform::{CallContext, Fault, FaultKind, Transform, TransformOutput};

/// Part of a batch of events: what one transform makes at a time.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    /// The batch.
    pub(crate) events: Arc<EventBatch>,
    /// Which of the events as they were read.
    pub(crate) raw: Range<usize>,
    /// Which of the decoded rows.
    pub(crate) rows: Range<usize>,
    /// The input that is done with it.
    pub(crate) covers: Covers,
}

impl Slice {
    /// The events behind `after`, through `through`; `None` where there is nothing.
    ///
    /// What the batch covers between its events counts as well: an empty slice may move the position.
    pub(crate) fn of(
        events: &Arc<EventBatch>,
        after: Option<Position>,
        through: Option<Position>,
    ) -> Option<Self> {
        let covers = events.raw.covers;
        if after.is_some_and(|after| covers.through <= after) {
            return None;
        }
        let raw = &events.raw;
        let start = match after {
            Some(after) if covers.first <= after => first_behind(events, after),
            _ => 0,
        };
        let (end, covered) = match through {
            Some(through) if through < covers.through => (first_behind(events, through), through),
            _ => (raw.len(), covers.through),
        };
        let first = if start < end { raw.positions.at(start) } else { covered };
        let rows = match events.raw_rows.as_slice() {
            // No event could be decoded: that is not one to one.
            [] if events.columns.num_rows() == 0 => 0..0,
            [] => start..end,
            raw_rows => {
                let row_of = |raw_row: usize| raw_rows.partition_point(|row| (*row as usize) < raw_row);
                row_of(start)..row_of(end)
            }
        };
        // A whole batch covers what stands before its first event, too.
        let first = if start == 0 { covers.first } else { first };
        let covers = Covers { first: first.min(covered), through: covered };
        Some(Self { events: Arc::clone(events), raw: start..end, rows, covers })
    }

    /// The event as it was read behind the decoded row `row` of this slice.
    pub(crate) fn raw_row(&self, row: usize) -> usize {
        self.events.raw_row(self.rows.start + row)
    }
}

fn first_behind(events: &EventBatch, position: Position) -> usize {
    let (mut low, mut high) = (0, events.raw.positions.len());
    while low < high {
        let middle = (low + high) / 2;
        if events.raw.positions.bytes_at(middle) <= position.as_bytes() {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Where each input column of a component comes from.
#[derive(Debug)]
pub(crate) struct InputLayout {
    schema: SchemaRef,
    columns: Vec<InputColumn>,
}

#[derive(Debug)]
enum InputColumn {
    Source(usize),
    IngestTime,
    Key,
    Partition,
    Position,
    Offset,
    Headers,
}

impl InputLayout {
    /// Looks up the columns that a component asks for.
    pub(crate) fn new(wanted: &[Field], columns: &[SourceColumn]) -> Result<Self, Failure> {
        let mut fields = Vec::with_capacity(wanted.len());
        let mut found = Vec::with_capacity(wanted.len());
        for field in wanted {
            let own = columns.iter().position(|column| column.field.name == field.name);
            let (column, data_type, nullable) = match (own, field.name.as_str()) {
                (Some(index), _) => {
                    let own = &columns[index].field;
                    (InputColumn::Source(index), own.data_type.clone(), own.nullable)
                }
                (None, metadata::INGEST_TIME) => (InputColumn::IngestTime, DataType::Timestamp, false),
                (None, metadata::KEY) => (InputColumn::Key, DataType::Bytes, true),
                (None, metadata::PARTITION) => (InputColumn::Partition, DataType::String, false),
                (None, metadata::POSITION) => (InputColumn::Position, DataType::Bytes, false),
                (None, metadata::OFFSET) => (InputColumn::Offset, DataType::Int64, true),
                (None, metadata::HEADERS) => (InputColumn::Headers, headers_type(), false),
                (None, name) => {
                    let known: Vec<_> = columns.iter().map(|column| column.field.name.as_str()).collect();
                    return Err(Failure::stop(format!(
                        "give the component its input column `{name}`: the source has {}",
                        known.join(", ")
                    )));
                }
            };
            if data_type != field.data_type {
                return Err(Failure::stop(format!(
                    "give the component its input column `{}`: it asks for {}, the source has {data_type}",
                    field.name, field.data_type
                )));
            }
            fields.push(ArrowField::new(&field.name, data_type.to_arrow(), nullable));
            found.push(column);
        }
        Ok(Self { schema: Arc::new(Schema::new(fields)), columns: found })
    }

    /// The columns of a slice, exactly as the component wants them. Source columns are not copied.
    pub(crate) fn select(&self, slice: &Slice) -> RecordBatch {
        let events = &slice.events;
        let len = slice.rows.len();
        let whole = len == events.columns.num_rows();
        let columns = self.columns.iter().zip(self.schema.fields()).map(|(column, field)| -> ArrayRef {
            match column {
                InputColumn::Source(index) => {
                    let column = events.columns.column(*index);
                    if whole { Arc::clone(column) } else { column.slice(slice.rows.start, len) }
                }
                InputColumn::IngestTime => {
                    let times = (0..len).map(|row| events.raw.ingest_time(slice.raw_row(row)));
                    Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
                }
                InputColumn::Key if events.raw.attributes.keys.is_empty() => {
                    new_null_array(field.data_type(), len)
                }
                InputColumn::Key => Arc::new(key_column(slice, len)),
                InputColumn::Partition => Arc::new(partition_column(slice, len)),
                InputColumn::Position => Arc::new(position_column(slice, len)),
                InputColumn::Offset if events.raw.positions.width() != OFFSET_BYTES => {
                    new_null_array(field.data_type(), len)
                }
                InputColumn::Offset => Arc::new(offset_column(slice, len)),
                InputColumn::Headers => Arc::new(headers_column(slice, len, field.data_type())),
            }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(len));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.collect(), &options)
            .expect("the types were compared when the layout was made, and decoders keep to theirs")
    }
}

/// All rows of a batch as a component asks for them: what a trial outside of the flow gives it.
///
/// `columns` are those of the source's format. Fails if the source has not what the component wants.
pub fn input(
    wanted: &[Field],
    columns: &[SourceColumn],
    events: &Arc<EventBatch>,
) -> Result<RecordBatch, Failure> {
    let layout = InputLayout::new(wanted, columns)?;
    let slice = Slice::of(events, None, None).expect("a batch reaches beyond the beginning");
    Ok(layout.select(&slice))
}

fn partition_column(slice: &Slice, len: usize) -> arrow_array::StringArray {
    let name = slice.events.raw.partition.as_str();
    let mut builder = StringBuilder::with_capacity(len, len * name.len());
    (0..len).for_each(|_| builder.append_value(name));
    builder.finish()
}

fn position_column(slice: &Slice, len: usize) -> BinaryArray {
    let positions = &slice.events.raw.positions;
    let mut builder = BinaryBuilder::with_capacity(len, len * positions.width());
    (0..len).for_each(|row| builder.append_value(positions.bytes_at(slice.raw_row(row))));
    builder.finish()
}

/// Bytes of the positions of sources that count.
const OFFSET_BYTES: usize = 8;

fn key_column(slice: &Slice, len: usize) -> BinaryArray {
    let raw = &slice.events.raw;
    (0..len).map(|row| raw.key(slice.raw_row(row))).collect()
}

/// The positions as numbers. One beyond 2^63 is no offset of any source, and null here.
fn offset_column(slice: &Slice, len: usize) -> Int64Array {
    let positions = &slice.events.raw.positions;
    let mut builder = Int64Builder::with_capacity(len);
    for row in 0..len {
        let bytes: [u8; OFFSET_BYTES] =
            positions.bytes_at(slice.raw_row(row)).try_into().expect("the width was looked at");
        builder.append_option(i64::try_from(u64::from_be_bytes(bytes)).ok());
    }
    builder.finish()
}

/// `list<struct<name: string, value: bytes>>`.
fn headers_type() -> DataType {
    let header = vec![("name".to_owned(), DataType::String), ("value".to_owned(), DataType::Bytes)];
    DataType::List(Box::new(DataType::Struct(header)))
}

/// A name that is no UTF-8 has a replacement character where it is not: a source hands over names as they came.
fn headers_column(slice: &Slice, len: usize, data_type: &ArrowType) -> ListArray {
    let ArrowType::List(item) = data_type else { unreachable!("headers are a list") };
    let ArrowType::Struct(fields) = item.data_type() else { unreachable!("headers are a list of structs") };
    const FIELDS: &str = "a header has a name and a value";
    let columns: Vec<Box<dyn ArrayBuilder>> =
        vec![Box::new(StringBuilder::new()), Box::new(BinaryBuilder::new())];
    let mut builder =
        ListBuilder::new(StructBuilder::new(fields.clone(), columns)).with_field(Arc::clone(item));
    for row in 0..len {
        for (name, value) in slice.events.raw.headers(slice.raw_row(row)) {
            let header = builder.values();
            let names = header.field_builder::<StringBuilder>(0).expect(FIELDS);
            names.append_value(String::from_utf8_lossy(name));
            header.field_builder::<BinaryBuilder>(1).expect(FIELDS).append_option(value);
            header.append(true);
        }
        builder.append(true);
    }
    builder.finish()
}

/// What a transform made of some rows in a row.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The first of them, within the slice.
    pub(crate) offset: usize,
    /// How many.
    pub(crate) rows: usize,
    pub(crate) output: TransformOutput,
}

/// What a transform made of a slice.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// In order; rows that no piece has are in `faults`.
    pub(crate) pieces: Vec<Piece>,
    /// Single rows that cannot be processed, ascending.
    pub(crate) faults: Vec<(usize, Fault)>,
}

/// A slice on its way through a transform.
pub(crate) struct Attempt {
    pub(crate) slice: Slice,
    input: RecordBatch,
    /// Rows that are still to be done; the next are last.
    ranges: Vec<Range<usize>>,
    made: Made,
    context: CallContext,
    began: Instant,
    /// Failures in a row so far, including those of earlier batches.
    run: u32,
}

/// When to stop looking for bad rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Failures in a row; 0 = no limit.
    pub(crate) failures: u32,
    /// Time without one good row.
    pub(crate) time: Duration,
}

/// What came of one step.
#[derive(Debug)]
pub(crate) enum Step {
    /// There is more to do.
    More,
    /// All rows are done.
    Done,
    /// The host has no room for an instance; the same step again, later.
    NoRoom(Fault),
    /// So many rows fail that it is not about rows.
    GiveUp {
        /// The last failure.
        fault: Fault,
        /// How many there were in a row; `None` if it took too long to find out.
        failures: Option<u32>,
    },
}

impl Attempt {
    /// `run`: failures in a row at the end of the batch before.
    pub(crate) fn new(slice: Slice, layout: &InputLayout, context: CallContext, run: u32) -> Self {
        let input = layout.select(&slice);
        let rows = input.num_rows();
        let ranges = std::iter::once(0..rows).filter(|all| !all.is_empty()).collect();
        Self { slice, input, ranges, made: Made::default(), context, began: Instant::now(), run }
    }

    /// Rows that go into the next call.
    pub(crate) fn next_rows(&self) -> usize {
        self.ranges.last().map_or(0, Range::len)
    }

    /// Rows that no call has settled.
    pub(crate) fn rows_left(&self) -> usize {
        self.ranges.iter().map(Range::len).sum()
    }

    /// Makes one call.
    pub(crate) fn step(&mut self, transform: &mut dyn Transform, patience: Patience) -> Step {
        let Some(range) = self.ranges.pop() else { return Step::Done };
        let whole = range.len() == self.input.num_rows();
        let outcome = if whole {
            transform.process(&self.input, &self.context)
        } else {
            transform.process(&self.input.slice(range.start, range.len()), &self.context)
        };
        match outcome {
            Ok(output) => {
                self.made.pieces.push(Piece { offset: range.start, rows: range.len(), output });
                self.run = 0;
            }
            Err(fault) if fault.kind == FaultKind::Capacity => {
                self.ranges.push(range);
                return Step::NoRoom(fault);
            }
            Err(fault) => {
                self.context.attempt = self.context.attempt.saturating_add(1);
                if self.made.pieces.is_empty() && patience.time <= self.began.elapsed() {
                    return Step::GiveUp { fault, failures: None };
                }
                if range.len() > 1 {
                    let middle = range.start + range.len() / 2;
                    self.ranges.push(middle..range.end);
                    self.ranges.push(range.start..middle);
                    return Step::More;
                }
                self.run = self.run.saturating_add(1);
                if patience.failures > 0 && patience.failures <= self.run {
                    return Step::GiveUp { fault, failures: Some(self.run) };
                }
                self.made.faults.push((range.start, fault));
            }
        }
        if self.ranges.is_empty() { Step::Done } else { Step::More }
    }

    /// The result, once a step said that all is done.
    pub(crate) fn finish(self) -> (Slice, Made) {
        (self.slice, self.made)
    }
}

#[cfg(test)]
mod tests;
