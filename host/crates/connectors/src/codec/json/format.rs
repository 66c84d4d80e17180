//! The format and its decoder: batches in, batches out, rows that fail taken back.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use model::batch::{EventBatch, RawBatch, Rejected};
use model::codec::{Decoder, Format, SourceColumn, metadata};
use model::schema::{DataType, Field, arrow_schema};

use super::careful;
use super::column::Column;
use super::cursor::Cursor;
use super::expectation::{At, Expectations, Place};
use super::problem::{Kind, Problem};

/// Room for texts beyond what the last batch needed for each row: one part of so many.
const TEXT_ROOM: usize = 8;

/// JSON objects, decoded into these columns.
#[derive(Debug, Clone)]
pub struct JsonFormat {
    columns: Arc<[SourceColumn]>,
}

impl JsonFormat {
    /// The format for a source with these columns.
    pub fn new(columns: Vec<SourceColumn>) -> Self {
        Self { columns: columns.into() }
    }
}

impl Format for JsonFormat {
    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(JsonDecoder::new(Arc::clone(&self.columns)))
    }

    fn columns(&self) -> &[SourceColumn] {
        &self.columns
    }
}

/// Decodes on one thread.
pub(super) struct JsonDecoder {
    declared: Arc<[SourceColumn]>,
    schema: Arc<Schema>,
    columns: Vec<Column>,
    /// Index of a column that the source fills with the time at which it recorded the event.
    ingest_time: Option<usize>,
    expectations: Expectations,
    /// Bytes of text for each row that each column had in the last batch.
    text_widths: Vec<usize>,
    found: Vec<Option<(usize, usize)>>,
    scratch: Vec<u8>,
    /// Whether bets are placed at all; the tests decode without, to compare.
    careful_only: bool,
}

impl JsonDecoder {
    /// A decoder that has seen nothing yet.
    pub(super) fn new(declared: Arc<[SourceColumn]>) -> Self {
        let fields: Vec<Field> = declared.iter().map(|column| column.field.clone()).collect();
        let ingest_time = declared.iter().position(|column| {
            column.field.name == metadata::INGEST_TIME && column.field.data_type == DataType::Timestamp
        });
        let names = (0_u32..).zip(&fields).filter(|(index, _)| Some(*index as usize) != ingest_time);
        let count = u32::try_from(fields.len()).expect("a schema has fewer columns than 2^32");
        let expectations = Expectations::new(count, names.map(|(index, field)| (index, field.name.as_str())));
        let columns = declared
            .iter()
            .map(|column| Column::new(&column.field.data_type, column.field.nullable, column.unit))
            .collect();
        Self {
            schema: arrow_schema(&fields),
            columns,
            ingest_time,
            expectations,
            text_widths: vec![0; fields.len()],
            found: vec![None; fields.len()],
            scratch: Vec::new(),
            declared,
            careful_only: false,
        }
    }

    /// A decoder that reads every event the careful way.
    #[cfg(test)]
    pub(super) fn careful_only(declared: Arc<[SourceColumn]>) -> Self {
        Self { careful_only: true, ..Self::new(declared) }
    }

    /// Appends one event; takes it back and says why if that fails.
    fn event(&mut self, raw: &RawBatch, event: usize, row: usize) -> Result<(), String> {
        if !self.careful_only {
            if self.expected(raw, event, row).is_ok() {
                return Ok(());
            }
            self.truncate(row);
        }
        let payload = raw.payload(event);
        if let Err(problem) = careful::find(payload, &self.expectations, &mut self.found, &mut self.scratch) {
            return Err(problem.describe(payload, None));
        }
        for index in 0..self.columns.len() {
            if Some(index) == self.ingest_time {
                self.columns[index].append_instant(raw.ingest_time(event));
                continue;
            }
            if let Err(problem) = careful::append(payload, self.found[index], &mut self.columns[index]) {
                self.truncate(row);
                return Err(problem.describe(payload, Some(&self.declared[index])));
            }
        }
        Ok(())
    }

    /// The expected way. On any problem columns may hold a part of the row.
    #[inline]
    fn expected(&mut self, raw: &RawBatch, event: usize, row: usize) -> Result<(), Problem> {
        let (start, end) = raw.payloads[event];
        let mut cursor = Cursor::within(&raw.data, start as usize, end as usize);
        let mut place = Place::START;
        let mut filled = 0;
        loop {
            place = self.expectations.step(place, &mut cursor)?;
            match self.expectations.at(place) {
                At::Column(index) => {
                    let column = &mut self.columns[index];
                    if column.len() != row {
                        // The key stands twice: which value counts is known only at the end.
                        return Err(cursor.problem(Kind::Unexpected));
                    }
                    column.append(&mut cursor)?;
                    filled += 1;
                }
                At::Unknown => cursor.aside(Cursor::skip_value)?,
                At::End => break,
            }
        }
        if filled < self.columns.len() {
            self.fill(raw.ingest_time(event), row)?;
        }
        Ok(())
    }

    /// Gives a value to columns that the payload did not fill.
    fn fill(&mut self, ingest_time: i64, row: usize) -> Result<(), Problem> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            if column.len() == row {
                if Some(index) == self.ingest_time {
                    column.append_instant(ingest_time);
                } else {
                    column.append_null().map_err(|kind| Problem::new(0, kind))?;
                }
            }
        }
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    fn reserve(&mut self, rows: usize) {
        for (column, width) in self.columns.iter_mut().zip(&self.text_widths) {
            column.reserve(rows, rows * width + rows * width / TEXT_ROOM);
        }
    }

    fn finish(&mut self, rows: usize) -> RecordBatch {
        for (width, column) in self.text_widths.iter_mut().zip(&self.columns) {
            *width = column.text_bytes().div_ceil(rows.max(1));
        }
        let arrays = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .expect("every column has one value of its declared type for each row")
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, raw: RawBatch) -> EventBatch {
        self.reserve(raw.len());
        let mut raw_rows: Vec<u32> = Vec::new();
        let mut rejected: Vec<Rejected> = Vec::new();
        let mut rows = 0;
        for (event, number) in (0..raw.len()).zip(0_u32..) {
            match self.event(&raw, event, rows) {
                Ok(()) => {
                    rows += 1;
                    if !rejected.is_empty() {
                        raw_rows.push(number);
                    }
                }
                Err(message) => {
                    if rejected.is_empty() {
                        raw_rows.extend(0..number);
                    }
                    rejected.push(Rejected { row: number, code: "decode", message });
                }
            }
        }
        let columns = self.finish(rows);
        EventBatch { raw, columns, raw_rows, rejected }
    }
}
