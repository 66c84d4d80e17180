//! Products and formats: the only crate that names vendors, storage engines and payload formats.
//!
//! One folder for each, in the order of the flow. None of them knows another, and the flow knows none of them.

pub mod catalog;
pub mod codec;
pub mod contact;
pub mod dead_letter;
pub mod finding;
pub mod kafka;
pub mod kinesis;
mod labels;
mod locked_file;
mod names;
pub mod online;
pub mod output;
pub mod redis;
pub mod source;
