//! Which segments there are: where a row is found, how much is not released, what may be deleted.
//!
//! The list is shared by the writer, which lengthens it, and by readers and releases. It reads and writes no rows.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::segment::{self, Segment, Walk};

/// The segments of a log.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// By first sequence, without gaps, never empty: the last one is written to.
    segments: VecDeque<Segment>,
    /// The sequence behind the last durable row.
    next: u64,
    /// The sequence behind the last row that everybody has finished with, in this process.
    released: u64,
}

/// A segment that was opened for reading.
#[derive(Debug)]
pub(super) struct Located {
    /// First sequence of the segment.
    pub(super) first: u64,
    /// Its file, for messages.
    pub(super) path: PathBuf,
    /// Stands at or before the row that was asked for.
    pub(super) walk: Walk,
}

impl Files {
    /// These segments, behind which the row `next` will come.
    pub(super) fn new(directory: PathBuf, segments: VecDeque<Segment>, next: u64) -> Self {
        let state = State { segments, next, released: 0 };
        Self { directory, state: Mutex::new(state) }
    }

    /// Sequence of the oldest row that is kept.
    pub(super) fn first(&self) -> u64 {
        let state = self.lock();
        state.segments.front().map_or(state.next, |segment| segment.first)
    }

    /// Bytes of rows that are not released, up to the distance of index entries too many.
    pub(super) fn unreleased(&self) -> u64 {
        self.lock().unreleased()
    }

    /// Opens the segment that holds a row; `None` if it was deleted.
    pub(super) fn locate(&self, sequence: u64) -> io::Result<Option<Located>> {
        // Opened under the lock: a segment leaves the list before its file is deleted.
        let state = self.lock();
        let behind = state.segments.partition_point(|segment| segment.first <= sequence);
        let Some(segment) = behind.checked_sub(1).and_then(|at| state.segments.get(at)) else {
            return Ok(None);
        };
        let file = File::open(&segment.path)?;
        let walk = Walk::new(file, segment.offset_of(sequence));
        Ok(Some(Located { first: segment.first, path: segment.path.clone(), walk }))
    }

    /// End of the durable frames of a segment, and the first sequence of the one behind it; `None` if it was deleted.
    pub(super) fn extent(&self, first: u64) -> Option<(u64, Option<u64>)> {
        let state = self.lock();
        let at = state.segments.binary_search_by_key(&first, |segment| segment.first).ok()?;
        Some((state.segments[at].end, state.segments.get(at + 1).map(|segment| segment.first)))
    }

    /// Notes a new segment, which is written to from now on. It replaces one that begins with the same row.
    pub(super) fn begin(&self, first: u64, path: PathBuf, end: u64) {
        let mut state = self.lock();
        state.segments.pop_back_if(|last| last.first == first);
        let base = state.segments.back().map_or(0, |last| last.base + last.end);
        state.segments.push_back(Segment::new(first, path, base, end));
    }

    /// Notes durable rows in the last segment, in a frame at `offset`.
    pub(super) fn grow(&self, first: u64, next: u64, offset: u64, end: u64) {
        let mut state = self.lock();
        state.next = next;
        if let Some(active) = state.segments.back_mut() {
            active.grown(first, offset, end);
        }
    }

    /// Deletes the segments that hold no row at or above `next`.
    pub(super) fn release(&self, next: u64) -> io::Result<()> {
        let mut doomed = Vec::new();
        let mut state = self.lock();
        state.released = state.released.max(next.min(state.next));
        while let Some(following) = state.segments.get(1)
            && following.first <= state.released
        {
            doomed.extend(state.segments.pop_front());
        }
        drop(state);
        if doomed.is_empty() {
            return Ok(());
        }
        // Oldest first: a crash in between leaves no gap.
        for segment in doomed {
            fs::remove_file(&segment.path)?;
        }
        segment::sync_directory(&self.directory)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn unreleased(&self) -> u64 {
        let (Some(oldest), Some(newest)) = (self.segments.front(), self.segments.back()) else { return 0 };
        let end = newest.base + newest.end;
        if self.released >= self.next {
            return 0;
        }
        let behind = self.segments.partition_point(|segment| segment.first <= self.released);
        let begin = match behind.checked_sub(1).and_then(|at| self.segments.get(at)) {
            Some(segment) => segment.base + segment.offset_of(self.released),
            None => oldest.base,
        };
        end - begin.min(end)
    }
}
