//! Output streams: one folder each, and the records that all of them carry.

pub mod file;
pub mod kafka;
mod keeper;
pub mod kinesis;
mod order;
pub mod record;
mod reply;
mod too_large;
