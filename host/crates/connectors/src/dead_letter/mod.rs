//! Where events go that could not become features.

pub mod file;
pub mod kafka;
