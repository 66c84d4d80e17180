//! Components from file to admitted: read whole, hashed, compiled, compared with the view, tried on its samples.
//!
//! Nothing here touches what is running. The bytes of every component that ever produced rows are kept in the data
//! directory until no replay can need them.

mod kept;
mod library;
mod trial;

pub(crate) use kept::Kept;
pub(crate) use library::{Admitted, Library, Refusal, Stamp};
