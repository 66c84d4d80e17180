//! `host.yaml`: read, filled in from the environment, checked.
//!
//! Paths in the file are relative to the folder that holds it; defaults are relative to the working directory.

mod check;
mod connections;
mod kinesis;
mod redis;
mod substitute;

pub use check::{check, load};
pub use substitute::{Environment, ProcessEnvironment};
