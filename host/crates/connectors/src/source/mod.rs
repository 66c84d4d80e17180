//! Stream sources: one folder each.

pub mod file;
pub mod kafka;
pub mod kinesis;
pub mod push;

mod single;
