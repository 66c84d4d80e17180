//! YAML text as a tree that remembers where everything stands.
//!
//! The tree keeps scalars as they are written; what a text means depends on the key that it stands under. A document
//! that is broken does not hide those behind it. Budgets keep small files from becoming large trees.

mod tree;
mod build;

pub(crate) use build::{Document, read};
pub(crate) use tree::{Key, Meaning, Node, NodeValue, Scalar, Style};
