//! What `#[transform]` makes of a function.

use crate::batch::{Context, Description, Field, Output};
use crate::params::Params;
use crate::rows::{Emit, InputRow, OutputRow};
use crate::source::Source;

/// A transform. `#[transform]` implements it for a type that has the function's name.
pub trait Transform {
    /// What it may be configured with.
    type Params: Params;

    /// What it says of itself.
    fn describe() -> Description;

    /// Transforms one batch.
    fn process(source: Source<'_>, params: &Self::Params, context: &Context) -> Result<Output, String>;
}

/// Stands for an argument of a function that is looked at and never called.
pub fn absent<T>() -> T {
    unreachable!("a description does not call the function")
}

/// Input columns of a row function.
pub fn input_fields<'a, I: InputRow<'a>, E>(_function: impl FnOnce(I) -> E) -> Vec<Field> {
    I::fields()
}

/// Output columns of a row function.
pub fn output_fields<I, E: Emit>(_function: impl FnOnce(I) -> E) -> Vec<Field> {
    E::Row::fields()
}

/// Input and output columns of a batch function.
pub fn column_schema<'a, I, O, R, F>(_function: F) -> (Vec<Field>, Vec<Field>)
where
    I: InputRow<'a>,
    O: OutputRow,
    F: FnOnce(crate::columns::Columns<'a, I>, &mut crate::columns::Builder<O>) -> R,
{
    (I::fields(), O::fields())
}

/// A description; parameters come from the type.
pub fn description<P: Params>(
    name: &str,
    version: &str,
    (input, output): (Vec<Field>, Vec<Field>),
) -> Description {
    Description {
        name: name.to_owned(),
        version: version.to_owned(),
        input,
        output,
        parameters: P::describe(),
    }
}
