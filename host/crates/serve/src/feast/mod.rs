//! What stock Feast clients speak: bodies, column order, time forms and status codes of Feast's feature server.
//!
//! Where Feast answers 500 for a client's mistake, the answer here is the 4xx that says so; the statuses `NOT_FOUND` and
//! `OUTSIDE_MAX_AGE` are true, which Feast's own server leaves to the store. Unknown members of bodies are ignored, as
//! there. Errors have the one shape of this server; a 422 also has Feast's `detail`.

mod frame;
mod later;
mod parse;
mod push;
mod read;

pub(crate) use later::later;
pub(crate) use push::push;
pub(crate) use read::read;
