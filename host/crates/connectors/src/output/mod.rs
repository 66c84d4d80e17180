//! Output streams: one folder each, and the records that all of them carry.

pub mod file;
pub mod kafka;
pub mod kinesis;
pub mod record;
