//! How far a view is in one partition, as its work unit knows it.
//!
//! What is *durable* is known by the store and the output stream alone; these marks are what is visible now. Also the
//! fence between a unit and the next owner of its partition: once it is up, the unit emits nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

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

/// Something that a unit waits for.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    /// What it waits for: `output`, `online`, `read` and so on.
    pub(crate) what: &'static str,
    pub(crate) since: Instant,
    /// What the last attempt said, if one came to an end.
    pub(crate) reason: String,
}

/// Marks that one unit moves and others read.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) partition: Partition,
    /// Where the unit began: all sinks have what lies before.
    pub(crate) began: Option<Position>,
    /// Through where the output stream had everything when the unit began.
    pub(crate) emitted_before: Option<Position>,
    /// How often the view was rewound here.
    pub(crate) epoch: u32,
    state: Mutex<State>,
    fence: Mutex<bool>,
    /// The partition goes to another host, or the view begins anew here.
    leaving: AtomicBool,
    ended: AtomicBool,
    /// The ledger has it that the source's group has a commit here.
    pub(crate) group_noted: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    marks: Marks,
    /// When the source recorded the last event that is applied, microseconds since the epoch.
    applied_time: Option<i64>,
    /// When the oldest batch was handed to the output stream that has not acknowledged it.
    handed_over: Option<Instant>,
    trouble: Option<Waiting>,
}

impl Progress {
    /// A unit that stands behind `began`.
    pub(crate) fn new(partition: Partition, began: Option<Position>, marks: Marks, epoch: u32) -> Self {
        Self {
            partition,
            began,
            emitted_before: marks.emitted,
            epoch,
            state: Mutex::new(State { marks, ..State::default() }),
            fence: Mutex::default(),
            leaving: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            group_noted: AtomicBool::new(false),
        }
    }

    pub(crate) fn marks(&self) -> Marks {
        lock(&self.state).marks
    }

    /// When the source recorded the last event that is applied, if any was since the unit began.
    pub(crate) fn applied_time(&self) -> Option<i64> {
        lock(&self.state).applied_time
    }

    /// Rows through this position are visible online. Going back does not take that back.
    pub(crate) fn applied(&self, through: Position, recorded: i64) {
        let mut state = lock(&self.state);
        state.marks.applied = state.marks.applied.max(Some(through));
        state.applied_time = Some(recorded);
    }

    /// Rows through this position are in the output stream.
    pub(crate) fn emitted(&self, through: Position) {
        let mut state = lock(&self.state);
        state.marks.emitted = state.marks.emitted.max(Some(through));
    }

    /// When the oldest batch that is not acknowledged was handed to the output stream.
    pub(crate) fn handed_over(&self, oldest: Option<Instant>) {
        lock(&self.state).handed_over = oldest;
    }

    /// An attempt has failed and will be made again.
    pub(crate) fn set_trouble(&self, what: &'static str, reason: String) {
        let mut state = lock(&self.state);
        let known = state.trouble.take().filter(|known| known.what == what);
        let since = known.map_or_else(Instant::now, |known| known.since);
        state.trouble = Some(Waiting { what, since, reason });
    }

    /// It works again.
    pub(crate) fn clear_trouble(&self, what: &'static str) {
        let mut state = lock(&self.state);
        state.trouble = state.trouble.take().filter(|known| known.what != what);
    }

    /// What the unit waits for, if it does.
    pub(crate) fn waiting(&self) -> Option<Waiting> {
        let state = lock(&self.state);
        state.trouble.clone().or_else(|| {
            let since = state.handed_over?;
            Some(Waiting { what: "output", since, reason: "no acknowledgement has come".to_owned() })
        })
    }

    /// Held while something is handed to the output stream; `true` = nothing may be any more.
    pub(crate) fn pass(&self) -> MutexGuard<'_, bool> {
        lock(&self.fence)
    }

    /// On return the unit hands nothing more to its output stream, whatever it is doing.
    pub(crate) fn raise_fence(&self) {
        *lock(&self.fence) = true;
    }

    /// The unit is to end, and its place is to be free then.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Nothing of the unit is left.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
