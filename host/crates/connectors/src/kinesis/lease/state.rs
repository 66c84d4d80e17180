//! What the threads of a source's leases share: which shards there are, what the table says, what this host has, and how far
//! it is.
//!
//! Decides, and does no IO. What is to be written is in [`super::plan`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::error::Failure;
use model::position::{Partition, Position};
use model::source::{Kept, ViewProgress};

use super::moment::Moment;
use super::progress::{Progress, Tip};
use super::shards::Shard;
use super::table::Row;

/// How long a shard whose end was reached is looked for children in a hurry.
const HURRY: Duration = Duration::from_secs(60);
/// How long the stream is asked in a hurry for a shard that other hosts know and this one does not.
const LOOK: Duration = Duration::from_secs(3);
/// How much later than what is written a reader has to be at the tip for that to be written, microseconds: a minute is
/// nothing beside the day that a stream keeps its records at least.
const SEEN_STEP: i64 = 60_000_000;

/// What becomes of a shard of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Taken; the flow is to be told.
    Arriving,
    /// The flow has it.
    Here,
    /// On its way to another host: what has begun may still be emitted.
    Leaving,
    /// The flow is done with it; that it is free is to be written.
    Freed,
    /// Another's, or it may be; the flow is to be told.
    Lost,
}

/// A shard of this host.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) phase: Phase,
    /// The last counter that was written.
    pub(super) counter: u64,
    /// When the write that renewed the lease last was sent.
    pub(super) certain: Moment,
    pub(super) progress: Progress,
    /// [`Progress::group`] as it was last written.
    pub(super) committed: Option<Position>,
    /// Counts changes of the progress; the last that was written. Equal when there is nothing to write.
    pub(super) changed: u64,
    pub(super) confirmed: u64,
}

/// A shard that the stream names.
#[derive(Debug)]
struct Named {
    shard: Shard,
    /// The last list lacks it; a second one without it makes it gone.
    is_missing: bool,
}

/// A row as it was last read.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) row: Row,
    /// When its token was first seen as it is.
    pub(super) since: Moment,
}

/// Everything that is shared.
#[derive(Debug)]
pub(super) struct State {
    /// As what this process owns leases.
    pub(super) me: String,
    /// Whether other hosts use the table, too.
    pub(super) is_shared: bool,
    /// How long leases last.
    pub(super) duration: Duration,
    /// How often the table is looked at.
    pub(super) beat: Duration,
    /// `None` until the stream has answered once.
    named: Option<BTreeMap<Partition, Named>>,
    /// Shards whose end was reached and that have no children yet.
    childless: BTreeMap<Partition, Moment>,
    /// Shards whose end is said to have been reached, and of which nobody else knows that they have one.
    endless: BTreeMap<Partition, Moment>,
    pub(super) rows: BTreeMap<Partition, Observed>,
    /// Which table that was, see [`super::table::Content`].
    pub(super) era: Option<String>,
    /// Since when the table is looked at without a break, and when that was last.
    pub(super) looks: Option<(Moment, Moment)>,
    /// When the table was last seen to have lost something: what it does not know may be somebody's.
    pub(super) forgot: Option<Moment>,
    /// Rows of shards that the stream names no more.
    pub(super) unnamed: BTreeMap<Partition, Moment>,
    pub(super) held: BTreeMap<Partition, Held>,
    /// How far shards were that were lost: if nobody took one, that is still the truth.
    pub(super) remembered: BTreeMap<Partition, Progress>,
    /// Why the stream does not tell its shards, and why the table does not answer.
    pub(super) list_trouble: Option<Failure>,
    pub(super) table_trouble: Option<Failure>,
    /// Whether there is a member thread, whether it is asked to leave, and whether it has.
    pub(super) joined: bool,
    pub(super) leaving: bool,
    /// The table knows that this host leaves.
    pub(super) goodbye: bool,
    pub(super) left: bool,
}

impl State {
    pub(super) fn new(me: String, is_shared: bool, duration: Duration, beat: Duration) -> Self {
        Self {
            me,
            is_shared,
            duration,
            beat,
            named: None,
            childless: BTreeMap::new(),
            endless: BTreeMap::new(),
            rows: BTreeMap::new(),
            era: None,
            looks: None,
            forgot: None,
            unnamed: BTreeMap::new(),
            held: BTreeMap::new(),
            remembered: BTreeMap::new(),
            list_trouble: None,
            table_trouble: None,
            joined: false,
            leaving: false,
            goodbye: false,
            left: false,
        }
    }

    /// How long a lease is trusted that was not renewed: less than it lasts for others, as clocks do not run alike.
    fn trust(&self) -> Duration {
        self.duration - self.duration / 10
    }

    /// The stream has named these, and no others.
    pub(super) fn name(&mut self, shards: Vec<Shard>) {
        let mut next: BTreeMap<Partition, Named> = shards
            .into_iter()
            .map(|shard| (Partition::new(&shard.id), Named { shard, is_missing: false }))
            .collect();
        for (partition, known) in self.named.take().into_iter().flatten() {
            if !known.is_missing {
                // Lists come from several servers, which do not learn of a shard at the same moment.
                next.entry(partition).or_insert(Named { is_missing: true, ..known });
            }
        }
        let parents: BTreeSet<&str> =
            next.values().flat_map(|named| named.shard.parents.iter().map(String::as_str)).collect();
        self.childless.retain(|parent, _| !parents.contains(parent.as_str()));
        self.named = Some(next);
        let endless = std::mem::take(&mut self.endless);
        self.endless = endless.into_iter().filter(|(partition, _)| self.is_open(partition)).collect();
    }

    /// A reader has come to this shard's end. Whether the stream is to be asked for its children.
    pub(super) fn end_reached(&mut self, partition: &Partition, now: Moment) -> bool {
        let mut named = self.named.iter().flat_map(BTreeMap::values);
        let has_child =
            named.any(|named| named.shard.parents.iter().any(|parent| parent == partition.as_str()));
        if has_child || self.childless.contains_key(partition) {
            return false;
        }
        self.childless.insert(partition.clone(), now);
        true
    }

    /// Whether the stream names a shard, and nothing about it says that it has an end.
    fn is_open(&self, partition: &Partition) -> bool {
        let is_child = |shard: &Shard| shard.parents.iter().any(|parent| parent == partition.as_str());
        self.shard(partition).is_some_and(|shard| !shard.is_closed())
            && !self.shards().is_some_and(|mut shards| shards.any(|(_, shard)| is_child(shard)))
    }

    /// Somebody was at this shard's end. For how long the stream, and everybody else, has known nothing of it having one;
    /// `None` = it has.
    pub(super) fn has_no_end_since(&mut self, partition: &Partition, now: Moment) -> Option<Duration> {
        let is_written = self.progress(partition).is_some_and(Progress::knows_end);
        if is_written || self.childless.contains_key(partition) || !self.is_open(partition) {
            self.endless.remove(partition);
            return None;
        }
        Some(now.since(*self.endless.entry(partition.clone()).or_insert(now)))
    }

    /// Whether the next list is wanted soon: for a shard that must have children or an end, or because other hosts know one
    /// that this host does not.
    pub(super) fn is_in_hurry(&self, now: Moment) -> bool {
        let is_young = |since: &Moment, limit| now.since(*since) < limit;
        self.childless.values().any(|since| is_young(since, HURRY))
            || self.endless.values().any(|since| is_young(since, HURRY))
            || self.unnamed.values().any(|since| is_young(since, LOOK))
    }

    /// All shards that the stream names.
    pub(super) fn shards(&self) -> Option<impl Iterator<Item = (&Partition, &Shard)>> {
        let named = self.named.as_ref()?;
        Some(named.iter().map(|(partition, named)| (partition, &named.shard)))
    }

    /// A shard that the stream names.
    pub(super) fn shard(&self, partition: &Partition) -> Option<&Shard> {
        Some(&self.named.as_ref()?.get(partition)?.shard)
    }

    /// The partitions that the flow knows, or is about to be told of.
    pub(super) fn here(&self) -> Vec<Partition> {
        self.in_phase(Phase::Here)
    }

    /// The partitions in a phase.
    pub(super) fn in_phase(&self, phase: Phase) -> Vec<Partition> {
        let held = self.held.iter().filter(|(_, held)| held.phase == phase);
        held.map(|(partition, _)| partition.clone()).collect()
    }

    /// Whether the flow may emit for a partition.
    pub(super) fn holds(&self, partition: &Partition, now: Moment) -> bool {
        self.held.get(partition).is_some_and(|held| held.is_usable() && self.is_certain(held, now))
    }

    fn is_certain(&self, held: &Held, now: Moment) -> bool {
        !self.is_shared || now.since(held.certain) < self.trust()
    }

    /// Gives up what may have run out. Whether there was any.
    pub(super) fn expire(&mut self, now: Moment) -> bool {
        let partitions: Vec<Partition> = {
            let held = self.held.iter();
            let gone = held.filter(|(_, held)| held.phase != Phase::Lost && !self.is_certain(held, now));
            gone.map(|(partition, _)| partition.clone()).collect()
        };
        for partition in &partitions {
            self.lose(partition);
        }
        !partitions.is_empty()
    }

    /// A shard is another's, or may be.
    pub(super) fn lose(&mut self, partition: &Partition) {
        let Some(held) = self.held.get_mut(partition) else { return };
        match held.phase {
            Phase::Here | Phase::Leaving => held.phase = Phase::Lost,
            Phase::Arriving | Phase::Freed => self.forget(partition),
            Phase::Lost => {}
        }
    }

    /// The flow has been told that a shard was lost, or never knew it.
    pub(super) fn forget(&mut self, partition: &Partition) {
        if let Some(held) = self.held.remove(partition) {
            self.remembered.insert(partition.clone(), held.progress);
        }
    }

    /// What is kept of a view; `None` if the shard is not this host's.
    pub(super) fn kept(&self, view: &str, partition: &Partition) -> Option<Kept> {
        let held = self.held.get(partition).filter(|held| held.is_usable())?;
        let group = held.committed;
        Some(match held.progress.views.get(view) {
            // A view that is known to have nothing here begins with the first record, too.
            Some(known) => {
                Kept { group, view: known.through, epoch: known.epoch, is_new: known.through.is_none() }
            }
            None => match self.inherited(view, &held.progress) {
                Some(from) => Kept { group, view: from, epoch: 0, is_new: from.is_none() },
                None => Kept { group, ..Kept::default() },
            },
        })
    }

    /// From where on a view takes what there is in a shard that it does not know, if it knows a parent: from the time on at
    /// which it began, as the child may be older than the view, and its parents read by another host; `None` = all of it.
    fn inherited(&self, view: &str, progress: &Progress) -> Option<Option<Position>> {
        let parents = progress.parents.iter().map(Partition::new);
        let parents = parents.filter_map(|parent| self.progress(&parent));
        let knowing = parents.filter(|parent| parent.views.contains_key(view));
        knowing.map(|parent| parent.began.get(view).copied()).min()
    }

    /// How far everybody is in a shard, as far as this host knows.
    fn progress(&self, partition: &Partition) -> Option<&Progress> {
        let held = self.held.get(partition).map(|held| &held.progress);
        held.or_else(|| self.rows.get(partition).map(|observed| &observed.row.progress))
    }

    /// Whether a shard was released through its end, and that is written.
    pub(super) fn is_finished(&self, partition: &Partition) -> bool {
        let is_written = self.rows.get(partition).is_some_and(|observed| observed.row.progress.is_finished());
        is_written && self.progress(partition).is_some_and(Progress::is_finished)
    }

    /// Whether each parent that is still named is finished.
    pub(super) fn may_read(&self, partition: &Partition) -> bool {
        let Some(shard) = self.shard(partition) else { return false };
        shard
            .parents
            .iter()
            .map(Partition::new)
            .all(|parent| self.shard(&parent).is_none() || self.is_finished(&parent))
    }

    /// When a reader was last known to be at the tip.
    pub(super) fn seen(&self, partition: &Partition) -> Option<Tip> {
        self.progress(partition)?.seen
    }

    /// A reader was at the tip.
    pub(super) fn note_seen(&mut self, partition: &Partition, tip: Tip) {
        let Some(held) = self.usable(partition) else { return };
        let known = held.progress.seen;
        if known.is_none_or(|known| tip.at.saturating_sub(known.at) >= SEEN_STEP) {
            // Another host may have read a record of which this one knows nothing.
            let last = tip.last.max(known.and_then(|known| known.last));
            held.progress.seen = Some(Tip { last, ..tip });
            held.changed += 1;
        }
    }

    /// A view's output is this far.
    pub(super) fn emitted(&mut self, view: &str, partition: &Partition, through: Position) {
        let Some(held) = self.usable(partition) else { return };
        let epoch = held.progress.views.get(view).map_or(0, |known| known.epoch);
        if held.progress.advance(view, ViewProgress { through: Some(through), epoch }) {
            held.changed += 1;
        }
    }

    /// Every view has everything through here, and each is so far. A view that was rewound sets the group back.
    pub(super) fn release(
        &mut self,
        partition: &Partition,
        through: Option<Position>,
        views: &BTreeMap<String, ViewProgress>,
    ) {
        let Some(held) = self.usable(partition) else { return };
        let mut is_news = false;
        let mut is_rewound = false;
        for (view, progress) in views {
            is_rewound |= held.progress.views.get(view).is_some_and(|known| known.epoch < progress.epoch);
            is_news |= held.progress.advance(view, *progress);
        }
        let group = if is_rewound { through } else { held.progress.group.max(through) };
        is_news |= group != held.progress.group;
        held.progress.group = group;
        held.changed += u64::from(is_news);
    }

    /// Sets a view back. The change to wait for, or `None` if the shard is not this host's.
    pub(super) fn rewind(&mut self, view: &str, partition: &Partition, to: ViewProgress) -> Option<u64> {
        let held = self.usable(partition)?;
        held.progress.begin(view, to);
        held.progress.group = held.progress.group.min(to.through);
        held.changed += 1;
        Some(held.changed)
    }

    /// Whether this change was written; `None` if the shard is not this host's any more.
    pub(super) fn confirmed(&self, partition: &Partition, change: u64) -> Option<bool> {
        let held = self.held.get(partition).filter(|held| held.is_usable())?;
        Some(change <= held.confirmed)
    }

    /// Why shards are missing.
    pub(super) fn trouble(&self) -> Option<&Failure> {
        self.list_trouble.as_ref().or(self.table_trouble.as_ref())
    }

    fn usable(&mut self, partition: &Partition) -> Option<&mut Held> {
        self.held.get_mut(partition).filter(|held| held.is_usable())
    }
}

impl Held {
    /// A shard that was taken with a write that was sent at this time.
    pub(super) fn taken(counter: u64, sent: Moment, progress: Progress) -> Self {
        let committed = progress.group;
        Self { phase: Phase::Arriving, counter, certain: sent, progress, committed, changed: 0, confirmed: 0 }
    }

    /// Whether the flow works with it.
    pub(super) fn is_usable(&self) -> bool {
        matches!(self.phase, Phase::Here | Phase::Leaving)
    }

    /// Whether there is progress to write.
    pub(super) fn is_dirty(&self) -> bool {
        self.confirmed < self.changed
    }
}

/// What a shard begins with that is taken with this row's progress.
pub(super) fn begin(shard: &Shard, written: Option<Progress>) -> Progress {
    let mut progress = written.unwrap_or_default();
    if progress.starting.as_ref().is_some_and(|starting| *starting != shard.starting) {
        tracing::warn!(
            shard = shard.id,
            "the shard begins at another sequence number than before: the stream was made anew; views go on from its \
             beginning where they have no position of their own"
        );
        progress.group = None;
        progress.seen = None;
        progress.began.clear();
        for view in progress.views.values_mut() {
            view.through = None;
        }
    }
    progress.starting = Some(shard.starting.clone());
    progress.parents.clone_from(&shard.parents);
    progress
}

#[cfg(test)]
mod tests;
