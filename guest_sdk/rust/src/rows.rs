//! Structs as rows: what the derives implement, and the loop that calls a row function.

use std::fmt::Display;

use crate::batch::{Field, Output, Rejection};
use crate::read::Problem;
use crate::source::{ColumnView, Source};
use crate::write::{Built, flatten};

/// A struct that derives `Input`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no input of a transform",
    note = "put `#[derive(Input)]` on the struct"
)]
pub trait InputRow<'a>: Sized {
    /// A struct with one bound column, [`crate::read::In`], per field.
    type Columns;

    /// Number of fields.
    const COUNT: usize;

    /// Name, type and nullability of the fields.
    fn fields() -> Vec<Field>;

    /// Binds the fields to as many columns.
    fn bind(views: &[ColumnView<'a>]) -> Result<Self::Columns, String>;

    /// Whether some row could lack a value that it needs.
    fn flawed(columns: &Self::Columns) -> bool;

    /// The first field of a row that lacks a value that it needs, and in what way.
    fn problem(columns: &Self::Columns, row: usize) -> Option<(&'static str, Problem)>;

    /// Reads a row that has no problem.
    fn read(columns: &Self::Columns, row: usize) -> Self;

    /// Uses every field. A batch function reads columns and never the struct, whose fields are needed all the same:
    /// without this the compiler would call them unused.
    #[doc(hidden)]
    fn touch(&self);
}

/// A struct that derives `Output`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no output of a transform",
    note = "put `#[derive(Output)]` on the struct"
)]
pub trait OutputRow: Sized {
    /// A struct with one column under construction, [`crate::write::Out`], per field.
    type Columns;

    /// Name, type and nullability of the fields.
    fn fields() -> Vec<Field>;

    /// Columns with room for as many rows.
    fn columns(capacity: usize) -> Self::Columns;

    /// Appends this row.
    fn push(self, columns: &mut Self::Columns);

    /// Appends a row that only fills the place of a null.
    fn push_default(columns: &mut Self::Columns);

    /// Name and length of each column.
    fn lengths(columns: &Self::Columns) -> Vec<(&'static str, usize)>;

    /// The finished columns.
    fn finish(columns: Self::Columns) -> Result<Vec<Built>, String>;
}

/// Why an input row cannot be used. Anything that can be displayed becomes one, so `?` works on any error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// For the people who read dead letters.
    pub reason: String,
}

impl<E: Display> From<E> for Reject {
    fn from(reason: E) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// What a row function may return: a row, an `Option`, `Vec`, array or iterator of rows, or a `Result` of these.
#[diagnostic::on_unimplemented(
    message = "a transform cannot return `{Self}`",
    note = "return a struct that derives Output, an Option, Vec, array or `impl Iterator` of one, or a Result of these \
            whose error can be displayed"
)]
pub trait Emit {
    /// The row.
    type Row: OutputRow;

    /// Hands the rows over, or the reason for which there are none.
    fn emit(self, sink: &mut Sink<Self::Row>) -> Result<(), Reject>;
}

impl<R: OutputRow> Emit for Option<R> {
    type Row = R;

    #[inline]
    fn emit(self, sink: &mut Sink<R>) -> Result<(), Reject> {
        if let Some(row) = self {
            sink.push(row);
        }
        Ok(())
    }
}

impl<R: OutputRow> Emit for Vec<R> {
    type Row = R;

    fn emit(self, sink: &mut Sink<R>) -> Result<(), Reject> {
        Rows(self).emit(sink)
    }
}

impl<R: OutputRow, const N: usize> Emit for [R; N] {
    type Row = R;

    fn emit(self, sink: &mut Sink<R>) -> Result<(), Reject> {
        Rows(self).emit(sink)
    }
}

impl<E: Emit, X: Into<Reject>> Emit for Result<E, X> {
    type Row = E::Row;

    #[inline]
    fn emit(self, sink: &mut Sink<E::Row>) -> Result<(), Reject> {
        match self {
            Ok(rows) => rows.emit(sink),
            Err(reject) => Err(reject.into()),
        }
    }
}

/// The rows of an iterator. `#[transform]` wraps `impl Iterator`; elsewhere write `Rows(iterator)`.
pub struct Rows<I>(pub I);

impl<I: IntoIterator<Item: OutputRow>> Emit for Rows<I> {
    type Row = I::Item;

    fn emit(self, sink: &mut Sink<I::Item>) -> Result<(), Reject> {
        for row in self.0 {
            sink.push(row);
        }
        Ok(())
    }
}

/// Collects output rows and which input row each one comes from.
pub struct Sink<R: OutputRow> {
    columns: R::Columns,
    /// Output rows so far.
    len: usize,
    /// Input row of each output row; stays empty as long as they are one to one.
    input_rows: Vec<u8>,
    one_to_one: bool,
    rejected: Vec<Rejection>,
}

impl<R: OutputRow> Sink<R> {
    fn new(capacity: usize) -> Self {
        let columns = R::columns(capacity);
        Self { columns, len: 0, input_rows: Vec::new(), one_to_one: true, rejected: Vec::new() }
    }

    /// Appends an output row.
    #[inline(always)]
    pub fn push(&mut self, row: R) {
        row.push(&mut self.columns);
        self.len += 1;
    }

    /// Notes that an input row has given what came since `len`.
    #[inline(always)]
    fn end_row(&mut self, row: usize, len: usize) {
        if !self.one_to_one || self.len != row + 1 {
            self.map_row(row, len);
        }
    }

    fn map_row(&mut self, row: usize, len: usize) {
        if self.one_to_one {
            self.one_to_one = false;
            for earlier in 0..row {
                self.input_rows.extend_from_slice(&(earlier as u32).to_le_bytes());
            }
        }
        for _ in len..self.len {
            self.input_rows.extend_from_slice(&(row as u32).to_le_bytes());
        }
    }

    #[cold]
    fn reject(&mut self, row: usize, reason: String) {
        self.rejected.push(Rejection { row: row as u32, reason });
    }

    fn finish(self) -> Result<Output, String> {
        let batch = flatten(self.len, R::finish(self.columns)?);
        Ok(Output { batch, input_rows: self.input_rows, rejected: self.rejected })
    }
}

/// Calls a function for each row of a batch.
pub fn run_rows<'a, I, E>(source: Source<'a>, mut function: impl FnMut(I) -> E) -> Result<Output, String>
where
    I: InputRow<'a>,
    E: Emit,
{
    let input = I::bind(&source.views(I::COUNT)?)?;
    let flawed = I::flawed(&input);
    let mut sink = Sink::<E::Row>::new(source.rows());
    for row in 0..source.rows() {
        let len = sink.len;
        let emitted = match if flawed { I::problem(&input, row) } else { None } {
            None => function(I::read(&input, row)).emit(&mut sink),
            Some((name, problem)) => Err(Reject { reason: lacking(name, problem) }),
        };
        if let Err(Reject { reason }) = emitted {
            sink.reject(row, reason);
        }
        sink.end_row(row, len);
    }
    sink.finish()
}

#[cold]
pub(crate) fn lacking(name: &str, problem: Problem) -> String {
    ["column `", name, "` ", problem, ", which this transform does not expect"].concat()
}

/// The type of a struct with these fields.
pub fn struct_type(text: &mut String, fields: &[Field]) {
    text.push_str("struct<");
    for (index, field) in fields.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { ", " });
        text.push_str(&field.name);
        text.push_str(": ");
        text.push_str(&field.data_type);
    }
    text.push('>');
}
