//! View files and `host.yaml`: from text to a checked plan, and from one plan to the next.
//!
//! The stages, each with types of its own, in the order in which a file meets them:
//!
//! ```text
//! files ─▶ yaml ─▶ raw ─▶ check ─▶ plan ─▶ diff
//! bytes    tree,   what   all      what    what a running
//!          spans   stands problems runs    host has to do
//! ```
//!
//! [`files`] and [`host::load`] read the disk, and [`check::missing_files`] looks whether files exist; everything else
//! is a function of its arguments. Nothing here starts anything, knows WebAssembly or a store.

pub mod check;
pub mod component;
mod connection;
pub mod diagnostic;
pub mod diff;
pub mod files;
pub mod host;
mod kafka;
mod kinesis;
pub mod plan;
mod raw;
pub mod schema;
mod suggest;
mod yaml;
