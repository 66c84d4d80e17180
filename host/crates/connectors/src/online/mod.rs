//! Online stores: one folder each.

mod columns;
pub mod embedded;
mod key_column;
pub mod migrate;
pub mod redis;
