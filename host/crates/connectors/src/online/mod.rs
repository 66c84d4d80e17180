//! Online stores: one folder each.

pub mod embedded;
mod key_column;
pub mod redis;
