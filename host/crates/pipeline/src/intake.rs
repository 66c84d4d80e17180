//! One source: a thread that reads and decodes it once, and the batches that its views share.
//!
//! Each partition is a lane of decoded batches with sequence numbers. A view's cursor in a lane is a sequence number
//! while the view keeps up, and nothing but a remark while it reads the source on its own. The reader waits only for
//! the fastest view: a batch that one view has taken may be dropped when room is needed, and who needed it reads it
//! again ([`crate::cursor`]). What all have taken is dropped at once, unless a view is about to catch up.
//!
//! A lane is open while the reader reads it. One whose partition went to another host is closed and loses its batches;
//! what the reader still delivers for a lane that is not open is dropped, so nothing of before can get in between what
//! comes after the partition was given back.
//!
//! The thread runs while at least one view uses the source. It never calls a guest and never touches a sink.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use model::batch::EventBatch;
use model::codec::Format;
use model::position::{Partition, Position};
use model::source::{BatchBudget, Positions, Source};

use crate::events::SourceMetrics;
use crate::lane::{CursorId, Lane, Place, Take};
use crate::pool::lock;
use crate::setup::{FlowSettings, SourceSetup};

/// Called by the reader before the first batch of a partition that was not there when the views started.
pub(crate) type PartitionFound = Box<dyn Fn(&Partition) + Send + Sync>;

/// One source and what is shared of it.
pub(crate) struct Intake {
    pub(crate) name: String,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) format: Arc<dyn Format>,
    pub(crate) settings: FlowSettings,
    pub(crate) metrics: SourceMetrics,
    pub(crate) partition_found: PartitionFound,
    state: Mutex<State>,
    /// Signalled when there may be room in the buffer, and when the reader has to stop.
    room: Condvar,
}

#[derive(Default)]
struct State {
    lanes: BTreeMap<Partition, Lane>,
    /// Partitions that were this host's and are another's now: what a reader still has of them is dropped.
    gone: BTreeSet<Partition>,
    /// Raised to have the reader open the source again: partitions have come or gone.
    reopen: bool,
    /// Bytes in all lanes.
    bytes: usize,
    /// Cursors in all lanes; the reader runs while there are any.
    cursors: usize,
    /// Raised to end the thread that runs under the number before.
    epoch: u64,
    run: Run,
    /// While positive, no thread is started.
    holds: usize,
    next_cursor: u64,
    /// Why the source cannot be read at the moment, and since when.
    trouble: Option<(Instant, String)>,
}

impl State {
    fn check(&self, epoch: u64) -> Result<(), Halt> {
        match (self.epoch == epoch, self.reopen) {
            (false, _) => Err(Halt::Ended),
            (true, true) => Err(Halt::Reopen),
            (true, false) => Ok(()),
        }
    }
}

#[derive(Default, PartialEq, Eq)]
enum Run {
    #[default]
    Off,
    Reading,
    Failed(String),
}

/// What a reading thread has to do other than to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// End.
    Ended,
    /// Open the source again, for other partitions.
    Reopen,
}

impl Intake {
    pub(crate) fn new(
        setup: SourceSetup,
        settings: FlowSettings,
        metrics: SourceMetrics,
        holds: usize,
        partition_found: PartitionFound,
    ) -> Arc<Self> {
        let state = Mutex::new(State { holds, ..State::default() });
        let SourceSetup { name, source, format } = setup;
        Arc::new(Self {
            name,
            source,
            format,
            settings,
            metrics,
            partition_found,
            state,
            room: Condvar::new(),
        })
    }

    /// How much goes into one batch.
    pub(crate) fn budget(&self) -> BatchBudget {
        BatchBudget { rows: self.settings.batch_rows, bytes: self.settings.batch_bytes }
    }

    /// Adds a cursor that stands behind `position`. `waker` is called when there is something to take.
    pub(crate) fn join(
        self: &Arc<Self>,
        partition: &Partition,
        position: Option<Position>,
        waker: Waker,
    ) -> CursorId {
        let mut state = lock(&self.state);
        state.next_cursor += 1;
        state.cursors += 1;
        let id = CursorId(state.next_cursor);
        state.lanes.entry(partition.clone()).or_default().join(id, position, waker);
        self.start(state);
        id
    }

    /// Takes the next batch behind the cursor; `position` is through where its view has taken events.
    pub(crate) fn take(&self, partition: &Partition, id: CursorId, position: Option<Position>) -> Take {
        let mut state = lock(&self.state);
        if let Run::Failed(reason) = &state.run {
            return Take::Failed(reason.clone());
        }
        let Some(lane) = state.lanes.get_mut(partition) else { return Take::Wait };
        let (take, freed) = lane.take(id, position);
        self.freed(&mut state, freed);
        take
    }

    /// Stands aside: the cursor holds nothing back and gets nothing until it rejoins.
    pub(crate) fn stand_aside(&self, partition: &Partition, id: CursorId) {
        let mut state = lock(&self.state);
        let Some(lane) = state.lanes.get_mut(partition) else { return };
        let freed = lane.place(id, Place::Off);
        self.freed(&mut state, freed);
    }

    /// Comes back behind `position`, after standing aside or going back.
    pub(crate) fn rejoin(self: &Arc<Self>, partition: &Partition, id: CursorId, position: Option<Position>) {
        let mut state = lock(&self.state);
        if let Some(lane) = state.lanes.get_mut(partition) {
            let freed = lane.place(id, Place::New(position));
            self.freed(&mut state, freed);
        }
        if matches!(state.run, Run::Failed(_)) {
            state.run = Run::Off;
        }
        self.ask_to_reopen(&mut state);
        self.start(state);
    }

    /// These partitions are this host's: what a reader delivers of them is wanted.
    pub(crate) fn admit(&self, partitions: &[Partition]) {
        let mut state = lock(&self.state);
        partitions.iter().for_each(|partition| {
            state.gone.remove(partition);
        });
    }

    /// These partitions are another host's: their batches are dropped, also those that a reader still has.
    pub(crate) fn dismiss(&self, partitions: &[Partition]) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let mut freed = 0;
        for partition in partitions {
            state.gone.insert(partition.clone());
            let Some(lane) = state.lanes.get_mut(partition) else { continue };
            freed += lane.close();
            if !lane.is_used() {
                state.lanes.remove(partition);
            }
        }
        state.reopen = state.run == Run::Reading;
        self.freed(state, freed);
        self.room.notify_all();
    }

    /// Views have joined: the reader opens the source again if it does not read all that they want.
    pub(crate) fn refresh(&self) {
        self.ask_to_reopen(&mut lock(&self.state));
    }

    fn ask_to_reopen(&self, state: &mut State) {
        let wanted = state.lanes.values().any(|lane| !lane.is_open() && lane.is_wanted());
        if wanted && state.run == Run::Reading {
            state.reopen = true;
            self.room.notify_all();
        }
    }

    /// Notes, or clears, why the source cannot be read.
    pub(crate) fn set_trouble(&self, epoch: u64, reason: Option<String>) {
        let mut state = lock(&self.state);
        if state.epoch != epoch {
            return;
        }
        let since = state.trouble.take().map_or_else(Instant::now, |(since, _)| since);
        state.trouble = reason.map(|reason| (since, reason));
    }

    /// Since when the source cannot be read, and why.
    pub(crate) fn trouble(&self) -> Option<(Instant, String)> {
        lock(&self.state).trouble.clone()
    }

    /// Removes a cursor. With the last one the thread ends and the buffer is dropped.
    pub(crate) fn leave(&self, partition: &Partition, id: CursorId) {
        let mut state = lock(&self.state);
        let Some(lane) = state.lanes.get_mut(partition) else { return };
        let freed = lane.leave(id);
        if !lane.is_used() && !lane.is_open() {
            state.lanes.remove(partition);
        }
        self.freed(&mut state, freed);
        state.cursors -= 1;
        if state.cursors == 0 {
            state.lanes.clear();
            state.bytes = 0;
            self.metrics.buffer_bytes.set(0);
            self.end_thread(&mut state);
            state.run = Run::Off;
            state.trouble = None;
        }
    }

    /// Ends the reading thread for good; cursors get nothing more than what is there.
    pub(crate) fn stop(&self) {
        let mut state = lock(&self.state);
        state.holds += 1;
        self.end_thread(&mut state);
    }

    /// Ends everything: the thread, and what refers to units.
    pub(crate) fn close(&self) {
        self.stop();
        let lanes = std::mem::take(&mut lock(&self.state).lanes);
        drop(lanes);
    }

    /// Keeps the thread from starting until [`Intake::unhold`].
    pub(crate) fn hold(&self) {
        lock(&self.state).holds += 1;
    }

    /// Ends a hold.
    pub(crate) fn unhold(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.holds = state.holds.saturating_sub(1);
        self.start(state);
    }

    /// Whether views use the source.
    pub(crate) fn is_used(&self) -> bool {
        lock(&self.state).cursors > 0
    }

    fn end_thread(&self, state: &mut State) {
        state.epoch += 1;
        self.room.notify_all();
    }

    fn freed(&self, state: &mut State, bytes: usize) {
        if bytes > 0 {
            state.bytes -= bytes;
            self.metrics.buffer_bytes.set(i64::try_from(state.bytes).unwrap_or(i64::MAX));
        }
        // Also without bytes: a batch that was taken for the first time may be dropped now.
        self.room.notify_one();
    }

    /// Starts the thread if somebody needs it and nothing speaks against it.
    fn start(self: &Arc<Self>, mut state: std::sync::MutexGuard<'_, State>) {
        if state.run != Run::Off || state.cursors == 0 || state.holds > 0 {
            return;
        }
        state.epoch += 1;
        state.run = Run::Reading;
        let epoch = state.epoch;
        drop(state);
        if let Err(error) = crate::reading::spawn(Arc::clone(self), epoch) {
            self.fail(epoch, &format!("start a thread for source `{}`: {error}", self.name));
        }
    }

    /// The reader asks: which of these partitions it should read, and from where on. Cursors without a place get one.
    ///
    /// A lane opens at its fastest view: who is behind catches up on its own and delays nobody. What no view wants is
    /// not read.
    pub(crate) fn open(
        &self,
        epoch: u64,
        partitions: &[Partition],
    ) -> Result<(Vec<Partition>, Positions), Halt> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        if state.epoch != epoch {
            return Err(Halt::Ended);
        }
        let mut after = Positions::new();
        let mut wanted = Vec::new();
        for partition in partitions.iter().filter(|partition| !state.gone.contains(*partition)) {
            let Some(lane) = state.lanes.get_mut(partition) else { continue };
            if lane.is_open() || lane.is_wanted() {
                after.extend(lane.open().map(|head| (partition.clone(), head)));
                wanted.push(partition.clone());
            }
        }
        for lane in state.lanes.values_mut() {
            lane.wake();
        }
        Ok((wanted, after))
    }

    /// The reader is about to ask which partitions there are: what changes from now on is news.
    pub(crate) fn opening(&self, epoch: u64) -> Result<(), Halt> {
        let mut state = lock(&self.state);
        // A thread that has to end must not take this from the one that came after it.
        if state.epoch != epoch {
            return Err(Halt::Ended);
        }
        state.reopen = false;
        Ok(())
    }

    /// Whether the reader knows this partition.
    pub(crate) fn has_lane(&self, partition: &Partition) -> bool {
        lock(&self.state).lanes.get(partition).is_some_and(Lane::is_open)
    }

    /// The reader asks whether it should go on.
    pub(crate) fn check(&self, epoch: u64) -> Result<(), Halt> {
        lock(&self.state).check(epoch)
    }

    /// The reader hands over a batch. Waits for room; this is what slows a source down. Batches of a partition that
    /// is not open are dropped: it is gone, or was given back since and will be read from another place.
    ///
    /// After [`Halt::Reopen`] the batch may not have been taken; it comes again.
    pub(crate) fn append(&self, epoch: u64, events: EventBatch) -> Result<(), Halt> {
        let weight = events.weight();
        let partition = events.raw.partition.clone();
        let mut state = lock(&self.state);
        loop {
            if state.epoch != epoch {
                return Err(Halt::Ended);
            }
            if !state.lanes.get(&partition).is_some_and(Lane::is_open) {
                return state.check(epoch);
            }
            if self.has_room(&mut state, &partition, weight) {
                break;
            }
            state.check(epoch)?;
            let since = Instant::now();
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            self.metrics.held_back_seconds.inc_by(since.elapsed().as_secs_f64());
        }
        let lane = state.lanes.entry(partition).or_default();
        let before = lane.len();
        let wakers = lane.push(Arc::new(events), weight);
        if lane.len() > before {
            state.bytes += weight;
            self.metrics.buffer_bytes.set(i64::try_from(state.bytes).unwrap_or(i64::MAX));
        }
        let next = state.check(epoch);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        next
    }

    /// Makes room by dropping what at least one view has taken. Says whether there is room now.
    fn has_room(&self, state: &mut State, partition: &Partition, weight: usize) -> bool {
        let lane = state.lanes.entry(partition.clone()).or_default();
        while lane.len() >= self.settings.buffer_batches.max(1) {
            match lane.drop_oldest() {
                Some(freed) => state.bytes -= freed,
                None => return false,
            }
        }
        let untaken: usize = state.lanes.values().map(Lane::untaken).sum();
        if untaken > 0 && untaken + weight > self.settings.ahead_bytes {
            return false;
        }
        // One batch that is larger than the whole budget still goes through an empty buffer.
        while state.bytes > 0 && state.bytes + weight > self.settings.buffer_bytes {
            match state.lanes.values_mut().find_map(Lane::drop_oldest) {
                Some(freed) => state.bytes -= freed,
                None => return false,
            }
        }
        true
    }

    /// The reader cannot go on until somebody mends the source.
    pub(crate) fn fail(&self, epoch: u64, reason: &str) {
        let mut state = lock(&self.state);
        if state.epoch != epoch {
            return;
        }
        state.run = Run::Failed(reason.to_owned());
        let wakers: Vec<Waker> = state.lanes.values_mut().flat_map(Lane::all_wakers).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The reader has nothing to do until this time, or until it has to do something else.
    pub(crate) fn pause_reader(&self, epoch: u64, until: Instant) -> Result<(), Halt> {
        let mut state = lock(&self.state);
        loop {
            state.check(epoch)?;
            let now = Instant::now();
            if until <= now {
                return Ok(());
            }
            let waited = self.room.wait_timeout(state, until - now);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
