//! Calls a transform without a sandbox: for tests and for measuring what the sandbox costs.

use std::marker::PhantomData;

use crate::batch::{Batch, Context, Description, Output};
use crate::params::Params;
use crate::rows::{InputRow, OutputRow};
use crate::source::{Arena, Source};
use crate::transform::Transform;
use crate::write::flatten;

/// An opened transform.
pub struct Runner<T: Transform> {
    params: T::Params,
}

/// A batch whose texts were checked for a transform.
pub struct Checked<T> {
    batch: Batch,
    of: PhantomData<T>,
}

impl<T: Transform> Runner<T> {
    /// Opens the transform with parameters, one JSON object.
    pub fn open(parameters: &str) -> Result<Self, String> {
        Ok(Self { params: T::Params::from_json(parameters)? })
    }

    /// What the transform says of itself.
    pub fn describe() -> Description {
        T::describe()
    }

    /// Transforms a batch that may come from anywhere.
    pub fn run(&self, batch: &Batch) -> Result<Output, String> {
        let arena = Arena::default();
        T::process(Source::new(batch, &arena), &self.params, &Context::default())
    }

    /// Checks a batch by transforming it once, so that [`Runner::run_checked`] need not do it again.
    pub fn check(&self, batch: Batch) -> Result<Checked<T>, String> {
        self.run(&batch)?;
        Ok(Checked { batch, of: PhantomData })
    }

    /// Transforms a batch at the price that it has in a guest: without looking at texts.
    pub fn run_checked(&self, batch: &Checked<T>) -> Result<Output, String> {
        let arena = Arena::default();
        // SAFETY: `check` has bound the same columns as the same types.
        let source = unsafe { Source::trusted(&batch.batch, &arena) };
        T::process(source, &self.params, &Context::default())
    }
}

/// Transforms one batch without parameters.
pub fn run<T: Transform>(batch: &Batch) -> Result<Output, String> {
    Runner::<T>::open("{}")?.run(batch)
}

/// Columns from rows.
pub fn batch_of<R: OutputRow>(rows: impl IntoIterator<Item = R>) -> Result<Batch, String> {
    let mut columns = R::columns(0);
    let mut count = 0;
    for row in rows {
        row.push(&mut columns);
        count += 1;
    }
    Ok(flatten(count, R::finish(columns)?))
}

/// Rows from columns; the arena keeps what has to be copied to be read. Fails at the first row that lacks a value which `I` cannot do without.
pub fn rows_of<'a, I: InputRow<'a>>(batch: &'a Batch, arena: &'a Arena) -> Result<Vec<I>, String> {
    let source = Source::new(batch, arena);
    let columns = I::bind(&source.views(I::COUNT)?)?;
    (0..source.rows())
        .map(|row| match I::problem(&columns, row) {
            None => Ok(I::read(&columns, row)),
            Some((name, problem)) => Err(crate::rows::lacking(name, problem)),
        })
        .collect()
}
