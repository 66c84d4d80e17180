//! A source in memory that several hosts share: a group that gives and takes partitions as the test says, keeps how far
//! each view is, and forgets what a member has not committed when that member is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use model::error::Failure;
use model::output::{Emission, OutputStream};
use model::position::{Partition, Position};
use model::source::{Assignee, Kept, Point, Positions, Reader, Source, ViewProgress};

use super::output::{Record, records_behind};
use super::source::MemorySource;
use super::trouble::{Failures, Fuse, Gate, lock};

/// How long a member that leaves gives its flow.
const LEAVE: Duration = Duration::from_secs(10);

/// What a group has committed, and what was emitted by whom.
pub struct MemoryGroup {
    /// The events.
    pub topic: Arc<MemorySource>,
    committed: Mutex<BTreeMap<Partition, Progress>>,
    born: Mutex<BTreeSet<Partition>>,
    /// Records with the number of the member that emitted them.
    log: Mutex<Vec<(usize, Record)>>,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    group: Option<Position>,
    views: BTreeMap<String, ViewProgress>,
}

impl MemoryGroup {
    /// A group on these partitions, all empty; nobody has committed anything.
    pub fn new(partitions: &[&str]) -> Arc<Self> {
        Arc::new(Self {
            topic: MemorySource::new(partitions),
            committed: Mutex::default(),
            born: Mutex::default(),
            log: Mutex::default(),
        })
    }

    /// Adds a partition that was not there when the group began.
    pub fn add_partition(&self, partition: &str) {
        self.topic.add_partition(partition);
        lock(&self.born).insert(Partition::new(partition));
    }

    /// Through where the group has committed a partition.
    pub fn committed(&self, partition: &str) -> Option<Position> {
        lock(&self.committed).get(&Partition::new(partition)).and_then(|progress| progress.group)
    }

    /// How far a view is by the group's commits.
    pub fn committed_view(&self, partition: &str, view: &str) -> Option<ViewProgress> {
        lock(&self.committed)
            .get(&Partition::new(partition))
            .and_then(|progress| progress.views.get(view).copied())
    }

    /// All records of a view and partition, in order: the member, the position, the epoch.
    pub fn emitted(&self, view: &str, partition: &str) -> Vec<(usize, u64, u32)> {
        let log = lock(&self.log);
        let ours = log.iter().filter(|(_, record)| record.view == view && record.partition == partition);
        ours.map(|(member, record)| (*member, record.position, record.epoch)).collect()
    }
}

/// One host's part in a group.
pub struct MemoryMember {
    number: usize,
    group: Arc<MemoryGroup>,
    state: Mutex<MemberState>,
    assignee: Mutex<Option<Arc<dyn Assignee>>>,
    /// Failures of what the group is asked.
    pub failures: Failures,
    /// Times that the group was left.
    pub left: AtomicUsize,
    fuse: Arc<Fuse>,
}

#[derive(Default)]
struct MemberState {
    assigned: BTreeSet<Partition>,
    /// Not committed yet.
    pending: BTreeMap<Partition, Progress>,
    /// Partitions that the flow was told are gone, and has taken note.
    gone: BTreeSet<Partition>,
    strays: usize,
}

impl MemoryMember {
    /// A member without partitions, that lives as long as the fuse.
    pub fn new(group: &Arc<MemoryGroup>, number: usize, fuse: &Arc<Fuse>) -> Arc<Self> {
        Arc::new(Self {
            number,
            group: Arc::clone(group),
            state: Mutex::default(),
            assignee: Mutex::default(),
            failures: Failures::default(),
            left: AtomicUsize::new(0),
            fuse: Arc::clone(fuse),
        })
    }

    /// Gives partitions to the member.
    pub fn assign(&self, partitions: &[&str]) {
        let partitions = named(partitions);
        let mut state = lock(&self.state);
        for partition in &partitions {
            state.assigned.insert(partition.clone());
            state.gone.remove(partition);
        }
        drop(state);
        self.tell(|assignee| assignee.assigned(&partitions));
    }

    /// Takes partitions back, and commits what is done.
    pub fn revoke(&self, partitions: &[&str], time: Duration) {
        self.revoke_all(&named(partitions), time);
    }

    fn revoke_all(&self, partitions: &[Partition], time: Duration) {
        self.tell(|assignee| assignee.revoked(partitions, Instant::now() + time));
        self.commit();
        let mut state = lock(&self.state);
        for partition in partitions {
            state.assigned.remove(partition);
            state.pending.remove(partition);
            state.gone.insert(partition.clone());
        }
    }

    /// Partitions are another's already; what was not committed never will be.
    pub fn lose(&self, partitions: &[&str]) {
        let partitions = named(partitions);
        let mut state = lock(&self.state);
        for partition in &partitions {
            state.assigned.remove(partition);
            state.pending.remove(partition);
        }
        drop(state);
        self.tell(|assignee| assignee.lost(&partitions));
        lock(&self.state).gone.extend(partitions);
    }

    /// Commits what was noted, if the host is not gone.
    pub fn commit(&self) {
        if self.fuse.is_blown() {
            return;
        }
        // Both locks, so that nobody sees progress in neither place.
        let mut state = lock(&self.state);
        let pending = std::mem::take(&mut state.pending);
        let mut committed = lock(&self.group.committed);
        for (partition, pending) in pending {
            let progress = committed.entry(partition).or_default();
            progress.group = pending.group.or(progress.group);
            progress.views.extend(pending.views);
        }
    }

    /// The partitions that it has.
    pub fn assigned(&self) -> Vec<String> {
        lock(&self.state).assigned.iter().map(|partition| partition.as_str().to_owned()).collect()
    }

    /// Emissions for partitions that the flow knew were gone.
    pub fn strays(&self) -> usize {
        lock(&self.state).strays
    }

    fn tell(&self, tell: impl FnOnce(&dyn Assignee)) {
        let assignee = lock(&self.assignee).clone();
        if let Some(assignee) = assignee {
            tell(assignee.as_ref());
        }
    }

    /// Notes, under the member's lock, if the partition is its own.
    fn note(&self, partition: &Partition, note: impl FnOnce(&mut Progress)) {
        let mut state = lock(&self.state);
        if state.assigned.contains(partition) {
            note(state.pending.entry(partition.clone()).or_default());
        }
    }

    fn progress(&self, view: &str, partition: &Partition) -> Option<ViewProgress> {
        let state = lock(&self.state);
        let pending = state.pending.get(partition).and_then(|known| known.views.get(view).copied());
        pending.or_else(|| self.group.committed_view(partition.as_str(), view))
    }

    /// Refuses an emission for a partition that is not its own.
    fn admit(&self, partition: &Partition) -> Result<(), Failure> {
        let mut state = lock(&self.state);
        state.strays += usize::from(state.gone.contains(partition));
        match state.assigned.contains(partition) {
            true => Ok(()),
            false => Err(Failure::retry("emit: the partition is another's")),
        }
    }

    fn emitted(&self, view: &str, partition: &Partition, through: Position) {
        let epoch = self.progress(view, partition).map_or(0, |progress| progress.epoch);
        let progress = ViewProgress { through: Some(through), epoch };
        self.note(partition, |pending| further(pending, view, progress));
    }
}

/// Takes over what is further, or of a later epoch.
fn further(pending: &mut Progress, view: &str, progress: ViewProgress) {
    let order = |progress: &ViewProgress| (progress.epoch, progress.through);
    let known = pending.views.entry(view.to_owned()).or_insert(progress);
    if order(known) < order(&progress) {
        *known = progress;
    }
}

fn named(partitions: &[&str]) -> Vec<Partition> {
    partitions.iter().map(Partition::new).collect()
}

impl Source for MemoryMember {
    fn partitions(&self) -> Result<Vec<Partition>, Failure> {
        Ok(lock(&self.state).assigned.iter().cloned().collect())
    }

    fn join(&self, assignee: Arc<dyn Assignee>) {
        *lock(&self.assignee) = Some(assignee);
        let assigned: Vec<Partition> = lock(&self.state).assigned.iter().cloned().collect();
        if !assigned.is_empty() {
            self.tell(|assignee| assignee.assigned(&assigned));
        }
    }

    fn leave(&self) {
        let assigned: Vec<Partition> = lock(&self.state).assigned.iter().cloned().collect();
        self.revoke_all(&assigned, LEAVE);
        self.left.fetch_add(1, Ordering::SeqCst);
    }

    fn kept(&self, view: &str, partition: &Partition) -> Result<Option<Kept>, Failure> {
        self.failures.check("ask the group")?;
        let view = self.progress(view, partition);
        let pending = lock(&self.state).pending.get(partition).and_then(|pending| pending.group);
        let group = pending.or_else(|| self.group.committed(partition.as_str()));
        let is_new = group.is_none() && lock(&self.group.born).contains(partition);
        Ok(Some(Kept {
            group,
            view: view.and_then(|view| view.through),
            epoch: view.map_or(0, |view| view.epoch),
            is_new,
        }))
    }

    fn find(&self, partition: &Partition, point: &Point) -> Result<Option<Position>, Failure> {
        self.failures.check("find a place")?;
        match point {
            Point::Latest => self.end(partition),
            Point::Earliest => Ok(None),
            Point::Numbers(numbers) => {
                let number = numbers.get(partition).copied().unwrap_or(1);
                Ok((number > 1).then(|| Position::from_u64(number - 1)))
            }
            Point::Committed | Point::Time(_) => Err(Failure::stop("find a place: there are no times")),
        }
    }

    fn end(&self, partition: &Partition) -> Result<Option<Position>, Failure> {
        self.group.topic.end(partition)
    }

    fn read(&self, partitions: &[Partition], after: &Positions) -> Result<Box<dyn Reader>, Failure> {
        self.group.topic.read(partitions, after)
    }

    fn release(
        &self,
        partition: &Partition,
        through: Option<&Position>,
        views: &BTreeMap<String, ViewProgress>,
    ) -> Result<(), Failure> {
        let known: Vec<_> = views.keys().map(|view| (view.clone(), self.progress(view, partition))).collect();
        self.note(partition, |pending| {
            pending.group = through.copied().or(pending.group);
            for (view, progress) in known {
                if let Some(progress) = progress {
                    further(pending, &view, progress);
                }
            }
            views.iter().for_each(|(view, progress)| further(pending, view, *progress));
        });
        Ok(())
    }
}

/// An output stream whose position the group keeps: at least once.
pub struct KeptOutput {
    member: Arc<MemoryMember>,
    /// What acknowledgements wait for.
    pub gate: Arc<Gate>,
    /// Failures of emissions and rewinds.
    pub failures: Arc<Failures>,
    broken: Arc<Mutex<BTreeMap<(String, Partition), Position>>>,
}

impl KeptOutput {
    /// The stream of one member.
    pub fn new(member: &Arc<MemoryMember>) -> Arc<Self> {
        Arc::new(Self {
            member: Arc::clone(member),
            gate: Arc::default(),
            failures: Arc::default(),
            broken: Arc::default(),
        })
    }
}

impl OutputStream for KeptOutput {
    fn position(&self, view: &str, partition: &Partition) -> Option<Position> {
        self.member.progress(view, partition).and_then(|progress| progress.through)
    }

    fn emit(&self, emission: Emission) -> BoxFuture<'static, Result<(), Failure>> {
        let (member, broken) = (Arc::clone(&self.member), Arc::clone(&self.broken));
        let (failures, pass) = (Arc::clone(&self.failures), self.gate.pass());
        Box::pin(async move {
            if !member.fuse.spend() {
                return std::future::pending().await;
            }
            let (view, partition) = (emission.batch.view.name.clone(), emission.batch.partition.clone());
            member.admit(&partition)?;
            let through = member.progress(&view, &partition).and_then(|progress| progress.through);
            check_order(&mut lock(&broken), &emission, through, failures.check("emit"))?;
            let records = records_behind(&emission, through);
            lock(&member.group.log).extend(records.into_iter().map(|record| (member.number, record)));
            pass.await;
            if member.fuse.is_blown() {
                return std::future::pending().await;
            }
            member.emitted(&view, &partition, emission.batch.covers.through);
            Ok(())
        })
    }

    fn rewind(
        &self,
        view: &str,
        partition: &Partition,
        to: Option<Position>,
        epoch: u32,
    ) -> Result<(), Failure> {
        self.failures.check("rewind")?;
        if !self.member.fuse.spend() {
            return Err(Failure::retry("rewind: the host is gone"));
        }
        let progress = ViewProgress { through: to, epoch };
        self.member.note(partition, |pending| {
            pending.views.insert(view.to_owned(), progress);
        });
        self.member.commit();
        Ok(())
    }
}

/// Behind a failed batch nothing is taken before it was repeated, here or on another host.
fn check_order(
    broken: &mut BTreeMap<(String, Partition), Position>,
    emission: &Emission,
    through: Option<Position>,
    outcome: Result<(), Failure>,
) -> Result<(), Failure> {
    let batch = &emission.batch;
    let place = (batch.view.name.clone(), batch.partition.clone());
    if broken.get(&place).is_some_and(|broken| *broken < batch.covers.first && through < Some(*broken)) {
        return Err(Failure::retry("emit: an earlier batch failed"));
    }
    broken.remove(&place);
    outcome.inspect_err(|_| {
        broken.insert(place, batch.covers.first);
    })
}
