//! Whole batches: the columns that a batch function gets and the ones that it fills.

use std::ops::{Deref, DerefMut};

use crate::batch::{Output, Rejection};
use crate::rows::{InputRow, OutputRow, Reject, lacking};
use crate::source::Source;
use crate::write::flatten;

/// The columns of a batch: one field, [`crate::read::In`], per field of `T`.
pub struct Columns<'a, T: InputRow<'a>> {
    rows: usize,
    columns: T::Columns,
}

impl<'a, T: InputRow<'a>> Columns<'a, T> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// One row as a struct.
    pub fn row(&self, row: usize) -> T {
        T::read(&self.columns, row)
    }
}

impl<'a, T: InputRow<'a>> Deref for Columns<'a, T> {
    type Target = T::Columns;

    fn deref(&self) -> &T::Columns {
        &self.columns
    }
}

/// The columns to fill: one field, [`crate::write::Out`], per field of `T`. All must end with equally many rows.
pub struct Builder<T: OutputRow> {
    columns: T::Columns,
    input_rows: Vec<u8>,
    rejected: Vec<Rejection>,
}

impl<T: OutputRow> Builder<T> {
    /// Says which input row the next output row comes from.
    ///
    /// Call it for every output row in ascending order, or never if output row i comes from input row i.
    pub fn from_input_row(&mut self, row: usize) {
        self.input_rows.extend_from_slice(&(row as u32).to_le_bytes());
    }

    /// Refuses an input row. It gives no output rows, so [`Builder::from_input_row`] is needed for the others.
    pub fn reject(&mut self, row: usize, reason: impl Into<Reject>) {
        self.rejected.push(Rejection { row: row as u32, reason: reason.into().reason });
    }
}

impl<T: OutputRow> Deref for Builder<T> {
    type Target = T::Columns;

    fn deref(&self) -> &T::Columns {
        &self.columns
    }
}

impl<T: OutputRow> DerefMut for Builder<T> {
    fn deref_mut(&mut self) -> &mut T::Columns {
        &mut self.columns
    }
}

/// What a batch function may return: nothing, or a `Result` whose error refuses the whole batch.
#[diagnostic::on_unimplemented(
    message = "a transform of whole batches cannot return `{Self}`",
    note = "fill the builder and return nothing, or a Result of nothing whose error can be displayed"
)]
pub trait Outcome {
    /// The error, if there is one.
    fn outcome(self) -> Result<(), Reject>;
}

impl Outcome for () {
    fn outcome(self) -> Result<(), Reject> {
        Ok(())
    }
}

impl<X: Into<Reject>> Outcome for Result<(), X> {
    fn outcome(self) -> Result<(), Reject> {
        self.map_err(Into::into)
    }
}

/// Calls a function for a whole batch.
///
/// Rows that lack a value which `I` cannot do without refuse the batch: the host repeats it in parts until it knows
/// them. A function over rows has only those rows rejected.
pub fn run_columns<'a, I, O, R>(
    source: Source<'a>,
    function: impl FnOnce(Columns<'a, I>, &mut Builder<O>) -> R,
) -> Result<Output, String>
where
    I: InputRow<'a>,
    O: OutputRow,
    R: Outcome,
{
    let rows = source.rows();
    let columns = I::bind(&source.views(I::COUNT)?)?;
    if I::flawed(&columns) {
        for row in 0..rows {
            if let Some((name, problem)) = I::problem(&columns, row) {
                return Err(lacking(name, problem));
            }
        }
    }
    let mut builder = Builder { columns: O::columns(rows), input_rows: Vec::new(), rejected: Vec::new() };
    function(Columns { rows, columns }, &mut builder).outcome().map_err(|reject| reject.reason)?;
    let lengths = O::lengths(&builder.columns);
    let (first, len) = lengths.first().copied().unwrap_or_default();
    if let Some((name, other)) = lengths.iter().find(|(_, other)| *other != len) {
        return Err(format!("output column `{first}` has {len} rows, `{name}` has {other}"));
    }
    let Builder { columns, input_rows, rejected } = builder;
    Ok(Output { batch: flatten(len, O::finish(columns)?), input_rows, rejected })
}
