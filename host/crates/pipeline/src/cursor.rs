//! Where a view's work unit gets its events: from the batches that views share, or on its own while it is behind.
//!
//! Changing between the two loses and repeats nothing: both are told the same position, and what a batch holds at or
//! below it is cut off by the unit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use model::batch::SharedEvents;
use model::codec::{Decoder, SourceColumn};
use model::error::Failure;
use model::position::{Partition, Position};
use model::source::{ReadEvent, Reader};

use crate::intake::Intake;
use crate::lane::{CursorId, Take};

/// When a reader of its own is asked again that had nothing, although there must be something.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// What a unit gets.
#[derive(Debug)]
pub(crate) enum Next {
    /// Events; the first of them may be at or below the unit's position.
    Events(SharedEvents),
    /// Nothing; the unit's waker will be called.
    Wait,
    /// Nothing; ask again then.
    WaitUntil(Instant),
}

/// Where a work unit reads.
pub(crate) struct Cursor {
    intake: Arc<Intake>,
    partition: Partition,
    id: CursorId,
    own: Option<Own>,
}

struct Own {
    reader: Box<dyn Reader>,
    decoder: Box<dyn Decoder>,
}

impl Cursor {
    /// A cursor behind `position`.
    pub(crate) fn join(
        intake: Arc<Intake>,
        partition: Partition,
        position: Option<Position>,
        waker: Waker,
    ) -> Self {
        let id = intake.join(&partition, position, waker);
        Self { intake, partition, id, own: None }
    }

    /// The columns of the events.
    pub(crate) fn columns(&self) -> &[SourceColumn] {
        self.intake.format.columns()
    }

    /// Whether it reads on its own.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The next events behind `position`, where the cursor has to stand.
    pub(crate) fn next(&mut self, position: Option<Position>) -> Result<Next, Failure> {
        match self.intake.take(&self.partition, self.id, position) {
            Take::Events(events) => {
                self.own = None;
                Ok(Next::Events(events))
            }
            Take::Wait => {
                self.own = None;
                Ok(Next::Wait)
            }
            Take::Behind => self.read_own(position),
            Take::Failed(reason) => {
                Err(Failure::stop(format!("read source `{}`: {reason}", self.intake.name)))
            }
        }
    }

    fn read_own(&mut self, position: Option<Position>) -> Result<Next, Failure> {
        let budget = self.intake.budget();
        let own = match self.own.as_mut() {
            Some(own) => own,
            None => self.own.insert(open(&self.intake, &self.partition, position)?),
        };
        let event = match own.reader.next(budget, Duration::ZERO) {
            Ok(event) => event,
            Err(failure) => {
                // It is opened anew behind the position.
                self.own = None;
                return Err(failure);
            }
        };
        match event {
            ReadEvent::Batch(raw) => Ok(Next::Events(Arc::new(own.decoder.decode(raw)))),
            // The reader that is shared is ahead of this one, so there must be more.
            ReadEvent::Idle | ReadEvent::End => Ok(Next::WaitUntil(Instant::now() + ASK_AGAIN)),
        }
    }

    /// Stops taking; holds nothing back.
    pub(crate) fn stand_aside(&mut self) {
        self.own = None;
        self.intake.stand_aside(&self.partition, self.id);
    }

    /// Takes again, behind `position`.
    pub(crate) fn rejoin(&mut self, position: Option<Position>) {
        self.own = None;
        self.intake.rejoin(&self.partition, self.id, position);
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.intake.leave(&self.partition, self.id);
    }
}

fn open(intake: &Intake, partition: &Partition, position: Option<Position>) -> Result<Own, Failure> {
    let after: BTreeMap<_, _> = position.map(|position| (partition.clone(), position)).into_iter().collect();
    let reader = intake.source.read(std::slice::from_ref(partition), &after)?;
    Ok(Own { reader, decoder: intake.format.decoder() })
}
