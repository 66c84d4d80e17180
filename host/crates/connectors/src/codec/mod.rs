//! Payload formats: one folder each; and what holds for all of them.

pub mod bounded;
pub mod json;
pub mod raw;
