//! Problems in files, said so that they can be mended: what, where, and how.
//!
//! A [`Diagnostic`] carries the text that it points into, so it can be shown at any later time and place: in a report
//! of `host check`, in the state of a running view, as JSON for a tool. Every [`Code`] has a page in `docs/errors/`.

mod code;
mod problem;
mod render;
mod spot;

pub use code::Code;
pub use problem::{Diagnostic, Severity};
pub use render::{render_text, to_json};
pub use spot::{SourceFile, Spot};
