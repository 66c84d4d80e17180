//! Stream sources: one folder each.

pub mod file;
pub mod push;
