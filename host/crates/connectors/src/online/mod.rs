//! Online stores: one folder each.

pub mod embedded;
pub mod redis;
