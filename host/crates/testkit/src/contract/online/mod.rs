//! What every online store has to do: newest row wins, whatever order, repetition and splits writes come in.
//!
//! An implementation's test hands over a function that makes a [`Place`] with nothing in it, and calls [`suite`], or the
//! single checks for better names of failing tests. Stores without a ledger or deletions skip what needs them.

mod durable;
mod order;
mod rewind;
mod rows;
mod values;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::error::Failure;
use model::online::{Ledger, OnlineReader, OnlineStore};
use model::position::RowVersion;
use model::value::Value;
use model::view::ViewRef;

pub use crate::fake::wait::block_on;

pub use durable::{advance_without_rows, empty_batch, generations, reopen};
pub use order::{late_rows, newer_wins, replay, tombstones};
pub use rewind::{rewind, set_back};
pub use rows::{TestRow, batch, counts_view};
pub use values::{all_types, many_keys, nulls, other_join_keys, schema_evolution};

/// Deletes entities as of a version; says of each whether the deletion was the newest.
pub type Delete = Box<dyn Fn(&ViewRef, &[Vec<Value>], &RowVersion) -> Result<Vec<bool>, Failure>>;

/// A store under test.
pub struct Subject {
    /// Takes rows.
    pub store: Arc<dyn OnlineStore>,
    /// Reads them.
    pub reader: Arc<dyn OnlineReader>,
    /// Keeps positions, where the store does.
    pub ledger: Option<Arc<dyn Ledger>>,
    /// Deletes entities, where the store does.
    pub delete: Option<Delete>,
}

/// Somewhere that a store keeps its rows.
pub trait Place {
    /// Opens the store. Opening again, after the last subject was dropped, is a restart after a crash.
    fn open(&self) -> Subject;
}

/// Runs every check, each in a place of its own.
pub fn suite(fresh: &dyn Fn() -> Box<dyn Place>) {
    newer_wins(&*fresh());
    replay(&*fresh());
    late_rows(&*fresh());
    tombstones(&*fresh());
    all_types(&*fresh());
    nulls(&*fresh());
    many_keys(&*fresh());
    schema_evolution(&*fresh());
    other_join_keys(&*fresh());
    reopen(&*fresh());
    empty_batch(&*fresh());
    advance_without_rows(&*fresh());
    generations(&*fresh());
    rewind(&*fresh());
    set_back(&*fresh());
}
