//! The file source: the lines of a file, followed as it grows and rotates if asked.
//!
//! One partition named `0`. A position is 8 bytes, big-endian: which file it was in the high 24 bits, counted from the
//! first one that was met under the path, and the byte at which the line begins in the low 40.
//!
//! - **Lines** end with `\n`; a `\r` before it does not belong to the line. Blank lines are skipped: the next batch
//!   covers them. With `follow` a last line without its end waits for it; without `follow` it is taken as it is.
//! - **Long lines** are cut to the greatest size of a row and handed on, covering their whole length: no format that
//!   has a structure can read the rest, so that they end up in the dead letter. A raw format takes them as they are.
//! - **Rotation.** When another file takes the path, the old one is read to its end, given a moment for its writer to
//!   let go of it, and the new one gets the next number. Files that came and went while the host was down are found by
//!   their names beside the path (`events.ndjson.1`, `events.ndjson-20260101`).
//! - **Truncation.** A file whose beginning changed or that became shorter than what was read is a new file under the
//!   next number, with a warning. A file that is rewritten with the same first kilobyte, to at least its old length and
//!   between two looks, cannot be told from one that grew.
//! - **Replay** needs the files of the positions it begins at. Where one is known to hold unread lines and cannot be
//!   found, reading stops and says which.
//!
//! Which numbers were given to which files is kept in a state file; it is replaced as a whole and synced before a
//! position with a new number leaves this module.

mod find;
mod ledger;
mod lines;
mod reader;
mod source;
#[cfg(test)]
mod tests;

pub use source::{FileOptions, FileSource};
