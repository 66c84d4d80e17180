//! Our own endpoints: reads with status, time and version of each row, pushes of lines, rewinds.

mod features;
mod push;
mod rewind;

pub(crate) use features::{features_by_body, features_by_query};
pub(crate) use push::{
    MAX_PUSH_ROWS, PushOptions, Rows, not_pushable, push, push_rows, push_source, too_many_rows,
    write_refused,
};
pub(crate) use rewind::rewind;
