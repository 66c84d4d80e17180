//! `cargo xtask demo --kinesis` and `--redis`: the driver-statistics example between other parts than its files.
//!
//! The example's own view is taken; only where events come from, where records go and where rows are kept is changed.

mod files;
mod kinesis;
mod process;
mod redis;

pub(crate) use kinesis::demo as kinesis;
pub(crate) use redis::demo as redis;
