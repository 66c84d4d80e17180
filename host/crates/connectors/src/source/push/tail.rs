//! The newest rows in memory, for readers that keep up, and the bell that wakes them.
//!
//! Only durable rows come here. What no longer fits in memory is read from the files.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::source::BatchBudget;

use super::frame::Chunk;

/// What waits behind a sequence.
#[derive(Debug)]
pub(super) enum Waiting {
    /// Chunks without gaps, the first of which holds the row that was asked for.
    Chunks(Vec<Arc<Chunk>>),
    /// The row is durable, but no longer in memory.
    Older,
    /// Nothing came within the time given.
    Nothing,
}

/// The newest chunks.
#[derive(Debug)]
pub(super) struct Tail {
    state: Mutex<State>,
    grown: Condvar,
    memory_bytes: usize,
}

#[derive(Debug)]
struct State {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
    /// The sequence behind the last durable row.
    next: u64,
}

impl Tail {
    /// An empty tail behind which the row `next` will come.
    pub(super) fn new(next: u64, memory_bytes: usize) -> Self {
        let state = State { chunks: VecDeque::new(), bytes: 0, next };
        Self { state: Mutex::new(state), grown: Condvar::new(), memory_bytes }
    }

    /// The sequence behind the last durable row.
    pub(super) fn next(&self) -> u64 {
        self.lock().next
    }

    /// Adds rows that are durable, and wakes readers. The newest chunk is kept whatever its size.
    pub(super) fn publish(&self, chunk: Arc<Chunk>) {
        let mut forgotten = Vec::new();
        let mut state = self.lock();
        state.next = chunk.next();
        state.bytes += chunk.weight();
        state.chunks.push_back(chunk);
        while state.bytes > self.memory_bytes && state.chunks.len() > 1 {
            let Some(oldest) = state.chunks.pop_front() else { break };
            state.bytes -= oldest.weight();
            forgotten.push(oldest);
        }
        drop(state);
        self.grown.notify_all();
        // Memory is given back after the readers were woken.
        drop(forgotten);
    }

    /// What waits from the row `sequence` on, as far as the budget goes; waits at most `wait` for the first row.
    pub(super) fn after(&self, sequence: u64, budget: BatchBudget, wait: Duration) -> Waiting {
        let mut state = self.lock();
        if state.next <= sequence {
            let deadline = Instant::now() + wait;
            while state.next <= sequence {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Waiting::Nothing;
                }
                (state, _) = self.grown.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let begin = state.chunks.partition_point(|chunk| chunk.next() <= sequence);
        if state.chunks.get(begin).is_none_or(|chunk| chunk.first > sequence) {
            return Waiting::Older;
        }
        let (mut rows, mut bytes) = (0, 0);
        let within_budget = |chunk: &&Arc<Chunk>| {
            let wanted = rows < budget.rows.max(1) && bytes < budget.bytes.max(1);
            rows += chunk.rows;
            bytes += chunk.payload_bytes();
            wanted
        };
        // The rows of the first chunk that were read before count too; the batch is then a little smaller.
        Waiting::Chunks(state.chunks.range(begin..).take_while(within_budget).map(Arc::clone).collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
