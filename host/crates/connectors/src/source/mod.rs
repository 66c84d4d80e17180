//! Stream sources: one folder each.

pub mod file;
pub mod kafka;
pub mod kinesis;
pub mod push;

mod out_of_range;
mod single;

pub use out_of_range::OutOfRange;
