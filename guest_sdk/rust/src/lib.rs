//! Write Millrace transforms in Rust.
//!
//! A transform is a function over rows (or over whole batches) between two plain structs. The derives turn columns
//! into rows and back, `#[transform]` makes a WebAssembly component of it:
//!
//! ```
//! use millrace::prelude::*;
//!
//! #[derive(Input)]
//! struct Impression<'a> { user_uuid: &'a str, timestamp: Timestamp }
//!
//! #[derive(Output)]
//! struct Count<'a> { user_id: &'a str, impression: i64, timestamp: Timestamp }
//!
//! #[transform]
//! fn user_impression_counts<'a>(event: Impression<'a>) -> Count<'a> {
//!     Count { user_id: event.user_uuid, impression: 1, timestamp: event.timestamp }
//! }
//! ```
//!
//! On other targets than wasm32 everything compiles but the exports, so that transforms can be tested and measured
//! natively ([`native`]).
//!
//! Modules stand in the order in which data meets them. What this crate deliberately does not have: a clock,
//! randomness, files, or anything by which a transform could see more than its input.

#[cfg(target_endian = "big")]
compile_error!("columns are little-endian and are read in place");

// The generated bindings and the derives name this crate by its public name, here as elsewhere.
extern crate self as millrace;

pub mod batch;
pub mod columns;
#[cfg(target_arch = "wasm32")]
pub mod guest;
pub mod log;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
pub mod params;
pub mod read;
pub mod read_nested;
pub mod rows;
pub mod scalar;
pub mod source;
pub mod transform;
pub mod write;
pub mod write_nested;

pub use batch::Context;
pub use columns::{Builder, Columns};
pub use millrace_derive::{Input, Output, Params, transform};
pub use rows::{Reject, Rows};
pub use scalar::{Date, Decimal, Timestamp};

#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
pub use wit_bindgen;

/// What a guest needs: `use millrace::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Builder, Columns, Context, Date, Decimal, Input, Output, Params, Reject, Rows, Timestamp, debug,
        error, info, reject, trace, transform, warn,
    };
}

/// The examples of the guide for authors, compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guests.md")]
struct Guide;
