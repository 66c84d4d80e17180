//! JSON: one object an event, decoded straight into columns.
//!
//! Two ways lead from the bytes of an event to a row. The *expected* way (`format.rs`) walks the object once and bets
//! that the text between two values (comma, key, colon, white space) is the same as in the event before; where it is
//! not, that one key is looked up and the bet renewed. The *careful* way (`careful.rs`) finds the text of every value
//! first and reads them afterwards. It alone says why an event is rejected: an event that the expected way does not
//! like, for whatever reason, is read again the careful way. Tests hold both equal to `serde_json`.
//!
//! What is read:
//!
//! - One object, white space around it allowed; no byte-order mark. All of it is UTF-8, also what is ignored.
//! - Unknown keys are ignored; their values must be JSON. A key that stands twice counts with its last value, at the top
//!   and in structs and maps.
//! - A missing key and `null` are null; in a column that is not nullable the event is rejected.
//! - At most 127 levels of objects and lists, the object of the event included.
//! - `bool`: `true`, `false`. Integers: digits without fraction or exponent (`1.0` is rejected, `-0` is 0), in range.
//! - Floats: any JSON number, nearest value, overflow rejected; also `"NaN"`, `"Infinity"`, `"-Infinity"`.
//! - `string`: text. `bytes`: text in base64, standard alphabet, padding optional.
//! - `timestamp`: RFC 3339 text, or a whole number where the schema says `timestamp_s|ms|us`, also inside nested types.
//! - `date`: `YYYY-MM-DD`. `decimal`: a number, or text that holds one, which fits without rounding.
//! - `list`: a list. `struct`: an object. `map`: an object; keys that are not text are written as the text of their
//!   value (`{"1": …}`, `{"true": …}`); maps cannot have nested keys.
//! - A column named `_ingest_time` is filled from the batch, not from the payload.

pub mod sample;

mod careful;
mod column;
mod texts;
mod scalar;
mod fast;
mod bits;
mod cursor;
mod expectation;
mod format;
mod instant;
mod nested;
mod number;
mod problem;
mod scan;
mod skip;

#[cfg(test)]
mod tests;

pub use format::JsonFormat;
pub(crate) use number::decimal_of_text;
