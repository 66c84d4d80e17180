//! An online store and ledger in memory, with a difference between what is visible and what survives a crash.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use futures_core::future::BoxFuture;
use model::batch::{Applied, FeatureBatch};
use model::error::Failure;
use model::online::{GenerationEntry, Ledger, OnlineStore, Starts, ViewLedger};
use model::position::{Partition, Position, RowVersion};

use super::trouble::{Failures, Fuse, Gate, Trace, lock};

/// A stored row: what decided, and the value.
pub type Stored = (RowVersion, Option<i64>);

/// An online store in memory.
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    /// Failures of writes.
    pub failures: Arc<Failures>,
    /// What writes wait in front of.
    pub gate: Arc<Gate>,
    /// Failures of notes in the ledger.
    pub ledger_failures: Failures,
    /// What happened, in order.
    pub trace: Arc<Trace>,
    fuse: Arc<Fuse>,
    /// After how many writes there is a checkpoint by itself; 0 = never.
    checkpoint_every: usize,
    writes: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Default)]
struct State {
    visible: Rows,
    durable: Rows,
    /// Notes are durable at once.
    ledger: BTreeMap<String, ViewLedger>,
}

#[derive(Debug, Clone, Default)]
struct Rows {
    rows: BTreeMap<(String, String), Stored>,
    positions: BTreeMap<(String, Partition), Position>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with(State::default(), Fuse::never(), 0)
    }
}

impl MemoryStore {
    fn with(state: State, fuse: Arc<Fuse>, checkpoint_every: usize) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
            failures: Arc::default(),
            gate: Arc::default(),
            ledger_failures: Failures::default(),
            trace: Arc::default(),
            fuse,
            checkpoint_every,
            writes: Arc::default(),
        }
    }

    /// An empty store that tells this trace.
    pub fn traced(trace: &Arc<Trace>) -> Arc<Self> {
        Arc::new(Self { trace: Arc::clone(trace), ..Self::default() })
    }

    /// The store of a host that starts after a crash of this one: what was durable.
    pub fn after_crash(&self, fuse: &Arc<Fuse>, checkpoint_every: usize) -> Arc<Self> {
        let mut state = lock(&self.state).clone();
        state.visible = state.durable.clone();
        Arc::new(Self::with(state, Arc::clone(fuse), checkpoint_every))
    }

    /// The row of an entity as reads see it.
    pub fn row(&self, view: &str, key: &str) -> Option<Stored> {
        lock(&self.state).visible.rows.get(&(view.to_owned(), key.to_owned())).cloned()
    }

    /// The value of an entity as reads see it.
    pub fn value(&self, view: &str, key: &str) -> Option<i64> {
        self.row(view, key).and_then(|(_, value)| value)
    }

    /// All rows of a view: entity, value, generation.
    pub fn rows(&self, view: &str) -> Vec<(String, Option<i64>, u32)> {
        let state = lock(&self.state);
        let rows = state.visible.rows.iter().filter(|((of, _), _)| of == view);
        rows.map(|((_, key), (version, value))| (key.clone(), *value, version.generation)).collect()
    }

    /// Loses the rows of a view that come from behind a position, as a store does whose acknowledged writes did not
    /// outlive it.
    pub fn lose_behind(&self, view: &str, through: Position) {
        let mut state = lock(&self.state);
        state.visible.rows.retain(|(of, _), (version, _)| of != view || version.position <= through);
        state.durable = state.visible.clone();
    }

    /// Makes durable what is visible.
    pub fn checkpoint_now(&self) {
        let mut state = lock(&self.state);
        state.durable = state.visible.clone();
    }

    fn note(&self, view: &str, note: impl FnOnce(&mut ViewLedger)) -> Result<(), Failure> {
        self.ledger_failures.check("write a note")?;
        if !self.fuse.spend() {
            return Err(Failure::retry("write a note: the host is gone"));
        }
        note(lock(&self.state).ledger.entry(view.to_owned()).or_default());
        Ok(())
    }
}

impl OnlineStore for MemoryStore {
    fn write(&self, batch: Arc<FeatureBatch>) -> BoxFuture<'static, Result<Applied, Failure>> {
        let (state, fuse, trace) = (Arc::clone(&self.state), Arc::clone(&self.fuse), Arc::clone(&self.trace));
        let (failures, pass) = (Arc::clone(&self.failures), self.gate.pass());
        let (writes, every) = (Arc::clone(&self.writes), self.checkpoint_every);
        Box::pin(async move {
            pass.await;
            failures.check("write rows")?;
            if !fuse.spend() {
                return std::future::pending().await;
            }
            let mut state = lock(&state);
            let applied = merge(&mut state.visible, &batch);
            if every > 0 && writes.fetch_add(1, Ordering::SeqCst) % every == every - 1 {
                state.durable = state.visible.clone();
            }
            trace.add(format!("write {} through {}", batch.view.name, number(batch.covers.through)));
            Ok(applied)
        })
    }

    fn checkpoint(&self) -> BoxFuture<'static, Result<(), Failure>> {
        if self.fuse.spend() {
            self.checkpoint_now();
            self.trace.add("checkpoint");
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Ledger for MemoryStore {
    fn view(&self, view: &str) -> Result<ViewLedger, Failure> {
        let state = lock(&self.state);
        let mut ledger = state.ledger.get(view).cloned().unwrap_or_default();
        let positions = state.durable.positions.iter().filter(|((of, _), _)| of == view);
        ledger.online = positions.map(|((_, partition), position)| (partition.clone(), *position)).collect();
        Ok(ledger)
    }

    fn start(&self, view: &str, partition: &Partition, after: Option<Position>) -> Result<(), Failure> {
        self.note(view, |ledger| {
            ledger.started.entry(partition.clone()).or_insert(after);
        })
    }

    fn begin_generation(&self, view: &str, entry: &GenerationEntry) -> Result<(), Failure> {
        self.note(view, |ledger| {
            let known = ledger
                .generations
                .iter_mut()
                .find(|known| known.generation.number == entry.generation.number);
            match known {
                Some(known) => known.after.extend(entry.after.clone()),
                None => ledger.generations.push(entry.clone()),
            }
        })
    }

    fn forget_generations_before(&self, view: &str, number: u32) -> Result<(), Failure> {
        self.note(view, |ledger| ledger.generations.retain(|entry| number <= entry.generation.number))
    }

    fn durable(&self, view: &str, partition: &Partition) -> Option<Position> {
        lock(&self.state).durable.positions.get(&(view.to_owned(), partition.clone())).copied()
    }

    fn advance(&self, view: &str, partition: &Partition, through: &Position) {
        if self.fuse.spend() {
            move_on(&mut lock(&self.state).visible, view, partition, *through);
        }
    }

    fn set_back(&self, view: &str, to: &Starts) -> Result<(), Failure> {
        self.ledger_failures.check("write a note")?;
        let mut guard = lock(&self.state);
        let State { visible, durable, .. } = &mut *guard;
        for (partition, to) in to {
            let key = (view.to_owned(), partition.clone());
            for image in [&mut *visible, &mut *durable] {
                match to {
                    Some(to) if image.positions.get(&key).is_some_and(|at| to < at) => {
                        image.positions.insert(key.clone(), *to);
                    }
                    Some(_) => {}
                    None => {
                        image.positions.remove(&key);
                    }
                }
            }
        }
        Ok(())
    }

    fn rewind(
        &self,
        view: &str,
        to: &Starts,
        generation: &GenerationEntry,
        epoch: u32,
    ) -> Result<(), Failure> {
        self.ledger_failures.check("write a note")?;
        if !self.fuse.spend() {
            return Err(Failure::retry("write a note: the host is gone"));
        }
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        for (partition, position) in to {
            let place = (view.to_owned(), partition.clone());
            for rows in [&mut state.visible, &mut state.durable] {
                rows.positions.remove(&place);
                rows.positions.extend(position.map(|position| (place.clone(), position)));
            }
        }
        let ledger = state.ledger.entry(view.to_owned()).or_default();
        ledger.started.extend(to.clone());
        ledger.generations = vec![generation.clone()];
        ledger.epoch = epoch;
        Ok(())
    }
}

fn move_on(rows: &mut Rows, view: &str, partition: &Partition, through: Position) {
    let position = rows.positions.entry((view.to_owned(), partition.clone())).or_insert(through);
    *position = through.max(*position);
}

fn merge(rows: &mut Rows, batch: &FeatureBatch) -> Applied {
    let mut late = Vec::new();
    for (row, index) in (0..batch.len()).zip(0..) {
        let version = RowVersion {
            event_time: batch.event_times[row],
            partition: batch.partition.clone(),
            position: batch.positions.at(row),
            generation: batch.generation.number,
            row: batch.ordinal(row),
        };
        let (key, value) = entity(&batch.rows, row);
        let place = (batch.view.name.clone(), key);
        match rows.rows.get(&place) {
            Some((newer, _)) if version < *newer => late.push(index),
            _ => {
                rows.rows.insert(place, (version, value));
            }
        }
    }
    move_on(rows, &batch.view.name, &batch.partition, batch.covers.through);
    Applied { late }
}

/// The key and the value of a row of the fakes.
pub(crate) fn entity(rows: &RecordBatch, row: usize) -> (String, Option<i64>) {
    let keys = rows.column(0).as_string::<i32>();
    let values = rows.column(1).as_primitive::<Int64Type>();
    (keys.value(row).to_owned(), values.is_valid(row).then(|| values.value(row)))
}

pub(crate) fn number(position: Position) -> u64 {
    position.as_u64().unwrap_or(0)
}
