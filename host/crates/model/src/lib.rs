//! The vocabulary of Millrace and the contracts between its parts.
//!
//! Modules stand in the order in which data meets them: what a value is, when it happened, where it stood in its
//! source, how it travels in batches, who reads it, who transforms it, who keeps it.
//! Nothing here does IO, starts a thread, knows a vendor or can be serialized; the edges own mirror types.

pub mod batch;
pub mod codec;
pub mod dead_letter;
pub mod error;
pub mod online;
pub mod output;
pub mod plug;
pub mod position;
pub mod schema;
pub mod source;
pub mod status;
pub mod time;
pub mod transform;
pub mod value;
pub mod view;
