//! What the threads of a group share: which partitions are held, what is to be committed, and what was confirmed.
//!
//! Decides, and does no IO.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use model::error::Failure;
use model::position::{Partition, Position};
use model::source::Kept;

use crate::kafka::commit::{Progress, ViewOffset};

/// What became of a partition so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Assigned; what the group knows of it is not read yet.
    Arriving,
    /// This host's, and the flow knows it.
    Here,
    /// On its way to another host: what has begun may still be emitted.
    Leaving,
}

/// A partition that is this host's.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) phase: Phase,
    /// The offset that `release` allows to commit.
    released: Option<u64>,
    /// The group's offset, as last read or confirmed.
    committed: Option<u64>,
    progress: Progress,
    is_new: bool,
    /// Counts changes; what was confirmed last; equal when there is nothing to commit.
    changed: u64,
    confirmed: u64,
    /// Not to wait for the interval.
    urgent: bool,
    /// A transaction with it has an unknown end: what is known here may be older than what the group has.
    unsure: bool,
}

/// Who is using the right to commit.
#[derive(Debug)]
pub(super) enum Slot {
    /// Nobody.
    Free,
    /// A commit is on its way.
    Sent(Sent),
    /// A transaction, or somebody who reads the truth.
    Taken,
}

/// A commit on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) at: Instant,
    /// Which change of each partition it says.
    changes: BTreeMap<Partition, u64>,
}

/// An offset and text for a partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) partition: Partition,
    pub(super) offset: u64,
    pub(super) metadata: String,
}

/// Everything that is shared.
#[derive(Debug)]
pub(super) struct State {
    pub(super) held: BTreeMap<Partition, Held>,
    /// Views whose positions come from transactions.
    transactional: BTreeSet<String>,
    pub(super) slot: Slot,
    /// When membership was last certain.
    pub(super) lease: Option<Instant>,
    /// Why nothing is assigned, or not all.
    pub(super) trouble: Option<(super::member::Trouble, Failure)>,
    /// Whether there is a member thread, whether it is asked to leave, and whether it has.
    pub(super) joined: bool,
    pub(super) leaving: bool,
    pub(super) left: bool,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            held: BTreeMap::new(),
            transactional: BTreeSet::new(),
            slot: Slot::Free,
            lease: None,
            trouble: None,
            joined: false,
            leaving: false,
            left: false,
        }
    }

    /// A partition was assigned.
    pub(super) fn arrive(&mut self, partition: Partition) {
        self.held.insert(partition, Held::arriving());
    }

    /// What the group knows of a partition that is arriving. `committed`: offset and metadata. `begun`: how many
    /// partitions the topic had when the group began with it, by what other partitions say, or has now if none
    /// says anything. `number`: which of them this is.
    pub(super) fn learn(
        &mut self,
        partition: &Partition,
        number: u32,
        begun: u32,
        committed: Option<(u64, &str)>,
    ) {
        let Some(held) = self.held.get_mut(partition) else { return };
        held.phase = Phase::Here;
        held.take(committed);
        held.is_new = committed.is_none() && number >= begun;
        held.progress.begun.get_or_insert(begun);
        held.urgent = committed.is_none();
    }

    /// The truth about a partition, after a transaction whose end was unknown. Views without transactions keep what they
    /// have: for them this host knows more.
    pub(super) fn relearn(&mut self, partition: &Partition, committed: Option<(u64, &str)>) {
        let Some(held) = self.held.get_mut(partition) else { return };
        let before = std::mem::take(&mut held.progress);
        let released = held.released;
        held.take(committed);
        held.progress.begun = held.progress.begun.or(before.begun);
        held.released = held.released.max(released);
        for (view, offset) in before.views {
            if !self.transactional.contains(&view) {
                held.progress.advance(&view, offset);
            }
        }
        held.unsure = false;
        held.changed += 1;
    }

    /// The partitions that the flow knows, or is about to be told of.
    pub(super) fn here(&self) -> Vec<Partition> {
        self.in_phase(Phase::Here)
    }

    /// The partitions in a phase.
    pub(super) fn in_phase(&self, phase: Phase) -> Vec<Partition> {
        self.held
            .iter()
            .filter(|(_, held)| held.phase == phase)
            .map(|(partition, _)| partition.clone())
            .collect()
    }

    /// Whether a partition is ours, and what the group knows of it was read.
    pub(super) fn has(&self, partition: &Partition) -> bool {
        self.held.get(partition).is_some_and(|held| held.phase != Phase::Arriving)
    }

    /// Whether the flow may emit for a partition: it is ours, and membership was certain less than a session ago.
    pub(super) fn holds(&self, partition: &Partition, session: Duration) -> bool {
        self.has(partition) && self.lease.is_some_and(|lease| lease.elapsed() < session)
    }

    /// What the group knows of a view.
    pub(super) fn kept(&self, view: &str, partition: &Partition) -> Kept {
        let Some(held) = self.held.get(partition) else { return Kept::default() };
        let known = held.progress.views.get(view);
        Kept {
            group: held.committed.and_then(through),
            view: known.and_then(|known| through(known.next)),
            epoch: known.map_or(0, |known| known.epoch),
            // A view that the group knows to have nothing here begins with the first record, too.
            is_new: known.map_or(held.is_new, |known| known.next == 0),
        }
    }

    /// The progress that is kept with a partition.
    pub(super) fn progress(&self, partition: &Partition) -> Option<&Progress> {
        Some(&self.held.get(partition)?.progress)
    }

    /// A view's output is this far.
    pub(super) fn emitted(&mut self, view: &str, partition: &Partition, next: u64) {
        let Some(held) = self.held.get_mut(partition) else { return };
        let epoch = held.progress.views.get(view).map_or(0, |known| known.epoch);
        if held.progress.advance(view, ViewOffset { next, epoch }) {
            held.changed += 1;
        }
    }

    /// What lies before `next` may be forgotten by the group.
    pub(super) fn release(&mut self, partition: &Partition, next: u64) {
        let Some(held) = self.held.get_mut(partition) else { return };
        if held.released < Some(next) {
            held.released = Some(next);
            held.changed += 1;
        }
    }

    /// A view is this far by what the flow says.
    pub(super) fn advance(&mut self, view: &str, partition: &Partition, to: ViewOffset) {
        let Some(held) = self.held.get_mut(partition) else { return };
        if held.progress.advance(view, to) {
            held.changed += 1;
        }
    }

    /// Sets a view back. The change to wait for, or `None` if the partition is not ours.
    pub(super) fn rewind(&mut self, view: &str, partition: &Partition, to: ViewOffset) -> Option<u64> {
        let held = self.held.get_mut(partition).filter(|held| held.phase != Phase::Arriving)?;
        held.progress.views.insert(view.to_owned(), to);
        held.released = Some(held.released.map_or(to.next, |released| released.min(to.next)));
        held.changed += 1;
        held.urgent = true;
        Some(held.changed)
    }

    /// Whether this change was confirmed; `None` if the partition is not ours any more.
    pub(super) fn confirmed(&self, partition: &Partition, change: u64) -> Option<bool> {
        Some(change <= self.held.get(partition)?.confirmed)
    }

    /// Marks a view as one whose positions come from transactions, and says what one that brings it through these
    /// offsets has to commit. The partitions must be held. Fails if the end of an earlier transaction is unknown.
    pub(super) fn transaction(
        &mut self,
        view: &str,
        next: &[(Partition, u64)],
    ) -> Result<Vec<Commit>, Failure> {
        self.transactional.insert(view.to_owned());
        let mut commits = Vec::with_capacity(next.len());
        for (partition, next) in next {
            let held = self.held.get(partition).expect("the caller has checked that the partition is held");
            if held.unsure {
                return Err(Failure::retry(format!(
                    "begin a transaction with partition `{partition}`: the end of the last one is not known yet"
                )));
            }
            let mut progress = held.progress.clone();
            let epoch = progress.views.get(view).map_or(0, |known| known.epoch);
            progress.advance(view, ViewOffset { next: *next, epoch });
            let least = progress.views.values().map(|offset| offset.next).min();
            let offset = self.offset(&progress, held.released).or(least).unwrap_or(*next);
            let metadata = encode(partition, &progress)?;
            commits.push(Commit { partition: partition.clone(), offset, metadata });
        }
        Ok(commits)
    }

    /// A transaction that said this was committed.
    pub(super) fn transacted(&mut self, view: &str, next: &[(Partition, u64)], offsets: &[u64]) {
        for ((partition, next), offset) in next.iter().zip(offsets) {
            self.emitted(view, partition, *next);
            if let Some(held) = self.held.get_mut(partition) {
                held.committed = Some(*offset);
                held.unsure = false;
            }
        }
    }

    /// The end of a transaction with these partitions is unknown.
    pub(super) fn doubt<'a>(&mut self, partitions: impl Iterator<Item = &'a Partition>) {
        for partition in partitions {
            if let Some(held) = self.held.get_mut(partition) {
                held.unsure = true;
            }
        }
    }

    /// Whether anything is to be committed, and whether it is urgent.
    pub(super) fn dirty(&self, among: impl Fn(&Partition) -> bool) -> (bool, bool) {
        let mut answer = (false, false);
        for (partition, held) in &self.held {
            if among(partition) && self.is_dirty(held) {
                answer = (true, answer.1 || held.urgent);
            }
        }
        answer
    }

    /// Whether there is anything that a commit can say, be it news or not.
    pub(super) fn provable(&self) -> bool {
        self.held.values().any(|held| self.is_sayable(held))
    }

    /// What to commit now, and the note that the answer is measured by. `all`: also what has not changed, as a proof
    /// of membership. The second list is what cannot be said, and why.
    pub(super) fn commits(
        &self,
        all: bool,
        among: impl Fn(&Partition) -> bool,
    ) -> (Vec<Commit>, Sent, Vec<Failure>) {
        let mut sent = Sent { at: Instant::now(), changes: BTreeMap::new() };
        let mut commits = Vec::new();
        let mut failures = Vec::new();
        for (partition, held) in &self.held {
            if !among(partition) || !(self.is_dirty(held) || (all && self.is_sayable(held))) {
                continue;
            }
            let Some(offset) = self.offset(&held.progress, held.released) else { continue };
            match encode(partition, &held.progress) {
                Ok(metadata) => {
                    sent.changes.insert(partition.clone(), held.changed);
                    commits.push(Commit { partition: partition.clone(), offset, metadata });
                }
                Err(failure) => failures.push(failure),
            }
        }
        (commits, sent, failures)
    }

    /// The broker has what was said of a partition.
    pub(super) fn confirm(&mut self, sent: &Sent, partition: &Partition, offset: u64) {
        let (Some(held), Some(change)) = (self.held.get_mut(partition), sent.changes.get(partition)) else {
            return;
        };
        held.committed = Some(offset);
        held.confirmed = held.confirmed.max(*change);
        if held.confirmed == held.changed {
            held.urgent = false;
        }
    }

    fn is_dirty(&self, held: &Held) -> bool {
        held.confirmed < held.changed && self.is_sayable(held)
    }

    fn is_sayable(&self, held: &Held) -> bool {
        held.phase != Phase::Arriving && !held.unsure && self.offset(&held.progress, held.released).is_some()
    }

    /// The offset for a partition: what was released, or the least of all views if all are exactly-once.
    fn offset(&self, progress: &Progress, released: Option<u64>) -> Option<u64> {
        let exact = progress.views.keys().all(|view| self.transactional.contains(view));
        let least = progress.views.values().map(|offset| offset.next).min();
        if exact { least.or(released) } else { released }
    }
}

impl Held {
    fn arriving() -> Self {
        Self {
            phase: Phase::Arriving,
            released: None,
            committed: None,
            progress: Progress::default(),
            is_new: false,
            changed: 0,
            confirmed: 0,
            urgent: false,
            unsure: false,
        }
    }

    /// Takes what the group has committed.
    fn take(&mut self, committed: Option<(u64, &str)>) {
        self.committed = committed.map(|(offset, _)| offset);
        self.released = self.committed;
        self.progress = committed.and_then(|(_, metadata)| Progress::parse(metadata)).unwrap_or_default();
    }
}

fn encode(partition: &Partition, progress: &Progress) -> Result<String, Failure> {
    progress.encode().map_err(|error| {
        Failure::stop(format!(
            "commit the progress in partition `{partition}`: {error}; divide the views among several sources, or give \
             them shorter names"
        ))
    })
}

/// Through which position somebody is who needs `next` next.
fn through(next: u64) -> Option<Position> {
    next.checked_sub(1).map(Position::from_u64)
}

#[cfg(test)]
mod tests;
