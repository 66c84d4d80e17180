//! YAML text as a tree that remembers where everything stands.
//!
//! The tree keeps scalars as they are written; what a text means depends on the key that it stands under. A document
//! that is broken does not hide those behind it. Budgets keep small files from becoming large trees.
//! Secrets that stand in a file are covered before anything can point at them.

mod tree;
mod cover;
mod build;

pub(crate) use build::{Document, read};
pub(crate) use cover::{Cover, is_reference, looks_secret};
pub(crate) use tree::{Key, Meaning, Node, NodeValue, Scalar, Style};
