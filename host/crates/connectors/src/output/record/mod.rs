//! Output records: what a consumer of an output stream reads, whatever carries it.
//!
//! Version 1 has only texts, in the fields and the spelling that consumers of Tecton's output stream know. Version 2 has
//! the same fields with typed values, and says besides which event and which transform made the row.
//!
//! | type | version 1 (always a text) | version 2, and parts of nested values in both |
//! |---|---|---|
//! | integers | `"42"` | `42` |
//! | floats | shortest text that reads back as the same: `"1.0"`, `"NaN"`, `"Infinity"` | `1.0`, `"NaN"`, `"Infinity"` |
//! | `bool` | `"true"` | `true` |
//! | `string` | itself | itself |
//! | `bytes` | base64 with padding | base64 with padding |
//! | `timestamp` | RFC 3339, UTC, six digits | the same, as text |
//! | `date` | `"2022-06-07"` | the same, as text |
//! | `decimal` | at its scale: `"12.50"` | the same, as text, so that no digit is lost |
//! | `list`, `struct`, `map` | compact JSON within the text | `[…]`, `{…}`; keys of maps as texts |
//! | null | the feature is left out | `null` |
//!
//! Nothing here writes anywhere; [`RecordEncoder`] appends to a buffer.

mod cell;
mod encoder;
mod identity;
mod last_encoder;
mod text;

#[cfg(test)]
mod tests;

pub use encoder::RecordEncoder;
pub use identity::Identities;
pub(crate) use last_encoder::LastEncoder;
pub(crate) use text::{base64 as append_base64, decimal as append_decimal, escaped as append_escaped};
