//! Our own endpoints: reads with status, time and version of each row, pushes of lines.

mod features;
mod push;

pub(crate) use features::{features_by_body, features_by_query};
pub(crate) use push::{
    MAX_PUSH_ROWS, PushOptions, Rows, not_pushable, push, push_rows, push_source, too_many_rows,
    write_refused,
};
