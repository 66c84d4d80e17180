//! How far a view is in one partition, as its work unit knows it.
//!
//! What is *durable* is known by the store and the output stream alone; these marks are what is visible now.

use std::sync::Mutex;

use model::position::{Partition, Position};

use crate::pool::lock;

/// How far a view is in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    /// Transformed, and visible online.
    pub(crate) applied: Option<Position>,
    /// In the output stream, which has acknowledged it.
    pub(crate) emitted: Option<Position>,
}

/// Marks that one unit moves and others read.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) partition: Partition,
    marks: Mutex<Marks>,
    /// Where the unit began: all sinks have what lies before.
    pub(crate) began: Option<Position>,
}

impl Progress {
    pub(crate) fn new(partition: Partition, began: Option<Position>, marks: Marks) -> Self {
        Self { partition, marks: Mutex::new(marks), began }
    }

    pub(crate) fn marks(&self) -> Marks {
        *lock(&self.marks)
    }

    /// Rows through this position are visible online. Going back does not take that back.
    pub(crate) fn applied(&self, through: Position) {
        let mut marks = lock(&self.marks);
        marks.applied = marks.applied.max(Some(through));
    }

    /// Rows through this position are in the output stream.
    pub(crate) fn emitted(&self, through: Position) {
        let mut marks = lock(&self.marks);
        marks.emitted = marks.emitted.max(Some(through));
    }
}
