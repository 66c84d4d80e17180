//! Through where the stream has a view's partitions, when transactions keep that: what was committed, and nothing else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::error::Failure;
use model::position::{Partition, Position};

use super::options::{KafkaOutputOptions, Progress};
use super::progress_topic::{self, Mark};
use crate::kafka::{Group, Watch};
use crate::kinesis::lease::Leases;
use crate::output::keeper::Keeper;

/// What was committed.
pub(super) enum Truth {
    /// The consumer group of the source has it.
    Group { group: Arc<Group>, view: String },
    /// The progress topic has it.
    Topic { log: Box<progress_topic::Log>, holder: Option<Holder>, known: Mutex<Known> },
}

/// Who says which partitions are this host's, where the topic says how far they are.
pub(super) enum Holder {
    /// The group of a source on another connection.
    Group(Arc<Group>),
    /// The leases of a Kinesis source.
    Leases(Arc<Leases>),
}

impl Holder {
    fn holds(&self, partition: &Partition) -> bool {
        match self {
            Self::Group(group) => group.holds(partition),
            Self::Leases(leases) => leases.holds(partition),
        }
    }

    fn partitions(&self) -> Vec<Partition> {
        match self {
            Self::Group(group) => group.partitions().into_iter().collect(),
            Self::Leases(leases) => leases.partitions(),
        }
    }
}

/// What was read from the progress topic, or committed to it by us.
#[derive(Default)]
pub(super) struct Known {
    marks: HashMap<Partition, Mark>,
    /// Partitions of a shared source that were this host's when the topic was read, and ever since: of others there may
    /// be something newer.
    held: HashSet<Partition>,
}

/// The keeper of a transactional stream: what was committed, and progress without records that waits to be.
pub(super) struct Transacted {
    pub(super) truth: Truth,
    idle: Mutex<BTreeMap<Partition, Position>>,
}

impl Transacted {
    /// Knows nothing before the first [`Transacted::refresh`]. Makes the progress topic, if that is where it stands and it
    /// is missing.
    pub(super) fn new(options: &KafkaOutputOptions, watch: &Watch) -> Result<Self, Failure> {
        let truth = match &options.progress {
            Progress::Group(group) => Truth::Group { group: Arc::clone(group), view: options.view.clone() },
            Progress::Topic { group } => {
                Self::topic(options, watch, group.as_ref().map(|group| Holder::Group(Arc::clone(group))))?
            }
            Progress::Leases(leases) => {
                Self::topic(options, watch, Some(Holder::Leases(Arc::clone(leases))))?
            }
            Progress::Ledger(_) => {
                return Err(Failure::stop(format!(
                    "{}: exactly-once keeps progress in the transaction, not in the ledger",
                    options.doing()
                )));
            }
        };
        Ok(Self { truth, idle: Mutex::default() })
    }

    fn topic(options: &KafkaOutputOptions, watch: &Watch, holder: Option<Holder>) -> Result<Truth, Failure> {
        let log = Box::new(progress_topic::Log::open(options, watch, holder.is_some())?);
        Ok(Truth::Topic { log, holder, known: Mutex::default() })
    }

    /// Progress without records that is still this host's to commit.
    pub(super) fn take_idle(&self) -> BTreeMap<Partition, Position> {
        let mut idle = std::mem::take(&mut *self.idle());
        idle.retain(|partition, _| self.holds(partition));
        idle
    }

    /// What was taken could not be committed.
    pub(super) fn put_back(&self, taken: BTreeMap<Partition, Position>) {
        let mut idle = self.idle();
        for (partition, through) in taken {
            let known = idle.entry(partition).or_insert(through);
            *known = (*known).max(through);
        }
    }

    /// A partition is set back: what waits to be committed for it counts no more.
    pub(super) fn forget_idle(&self, partition: &Partition) {
        self.idle().remove(partition);
    }

    pub(super) fn has_idle(&self) -> bool {
        !self.idle().is_empty()
    }

    /// Reads again what was committed, once nothing of ours can be committed any more.
    pub(super) fn refresh(&self, partitions: &[Partition], timeout: Duration) -> Result<(), Failure> {
        match &self.truth {
            Truth::Group { .. } if partitions.is_empty() => Ok(()),
            Truth::Group { group, .. } => {
                let ours: Vec<Partition> =
                    partitions.iter().filter(|partition| group.holds(partition)).cloned().collect();
                if ours.is_empty() { Ok(()) } else { group.refresh(&ours, timeout) }
            }
            Truth::Topic { log, known, holder } => {
                let held = holder.iter().flat_map(Holder::partitions).collect();
                let marks = log.read()?;
                *lock(known) = Known { marks, held };
                Ok(())
            }
        }
    }

    /// Whether what is known of a partition is what was committed last.
    pub(super) fn is_current(&self, partition: &Partition) -> bool {
        match &self.truth {
            Truth::Topic { known, holder: Some(_), .. } => lock(known).held.contains(partition),
            Truth::Topic { holder: None, .. } | Truth::Group { .. } => true,
        }
    }

    /// Whether there is a partition of which something newer may have been committed. Those that were lost since the
    /// last look are among them once they are back.
    pub(super) fn is_behind(&self) -> bool {
        let Truth::Topic { known, holder: Some(holder), .. } = &self.truth else { return false };
        let mut known = lock(known);
        known.held.retain(|partition| holder.holds(partition));
        holder.partitions().iter().any(|partition| !known.held.contains(partition))
    }

    /// The epoch in which a partition was committed last.
    pub(super) fn epoch(&self, partition: &Partition) -> u32 {
        match &self.truth {
            Truth::Group { group, view } => group.kept(view, partition).epoch,
            Truth::Topic { known, .. } => lock(known).marks.get(partition).map_or(0, |mark| mark.epoch),
        }
    }

    /// These were committed.
    pub(super) fn committed(&self, marks: &[(Partition, Mark)]) {
        if let Truth::Topic { known, .. } = &self.truth {
            lock(known).marks.extend(marks.iter().cloned());
        }
    }

    fn idle(&self) -> MutexGuard<'_, BTreeMap<Partition, Position>> {
        lock(&self.idle)
    }
}

impl Keeper for Transacted {
    fn holds(&self, partition: &Partition) -> bool {
        match &self.truth {
            Truth::Group { group, .. } => group.holds(partition),
            Truth::Topic { holder, .. } => holder.as_ref().is_none_or(|holder| holder.holds(partition)),
        }
    }

    fn position(&self, partition: &Partition) -> Option<Position> {
        match &self.truth {
            Truth::Group { group, view } => group.kept(view, partition).view,
            Truth::Topic { known, .. } => lock(known).marks.get(partition)?.through,
        }
    }

    /// Progress without records; what has records is committed with them.
    fn emitted(&self, partition: &Partition, through: Position) {
        self.put_back([(partition.clone(), through)].into());
    }

    fn rewind(&self, partition: &Partition, to: Option<Position>, epoch: u32) -> Result<(), Failure> {
        match &self.truth {
            Truth::Group { group, view } => group.rewind(view, partition, to, epoch),
            Truth::Topic { .. } => Err(Failure::stop("rewind a partition outside of a transaction")),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics with half a change made.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
