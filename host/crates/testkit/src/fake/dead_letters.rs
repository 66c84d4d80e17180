//! Dead letters in memory.

use std::sync::{Arc, Mutex};

use model::dead_letter::{DeadLetter, DeadLetters};
use model::error::Failure;
use model::position::Position;

use super::trouble::{Failures, Trace, lock};

/// A dead letter that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The view.
    pub view: String,
    /// The position.
    pub position: Position,
    /// The code.
    pub code: &'static str,
    /// The reason.
    pub reason: String,
    /// The payload.
    pub payload: String,
}

/// Dead letters in memory.
#[derive(Default)]
pub struct MemoryDeadLetters {
    letters: Mutex<Vec<Kept>>,
    /// Failures of writes.
    pub failures: Failures,
    /// What happened, in order.
    pub trace: Arc<Trace>,
}

impl MemoryDeadLetters {
    /// None, told to this trace.
    pub fn traced(trace: &Arc<Trace>) -> Arc<Self> {
        Arc::new(Self { trace: Arc::clone(trace), ..Self::default() })
    }

    /// All that were kept.
    pub fn letters(&self) -> Vec<Kept> {
        lock(&self.letters).clone()
    }

    /// Number and code of all that were kept.
    pub fn codes(&self) -> Vec<(u64, &'static str)> {
        self.letters().iter().map(|kept| (kept.position.as_u64().unwrap_or(0), kept.code)).collect()
    }
}

impl DeadLetters for MemoryDeadLetters {
    fn write(&self, letters: &[DeadLetter<'_>]) -> Result<(), Failure> {
        self.failures.check("write dead letters")?;
        let kept = letters.iter().map(|letter| Kept {
            view: letter.view.to_owned(),
            position: letter.position,
            code: letter.code,
            reason: letter.reason.to_owned(),
            payload: String::from_utf8_lossy(letter.payload).into_owned(),
        });
        lock(&self.letters).extend(kept);
        self.trace.add(format!("letters {}", letters.len()));
        Ok(())
    }
}
