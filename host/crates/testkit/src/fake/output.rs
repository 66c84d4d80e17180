//! An output stream in memory that behaves like a file: what was not synced is cut off by a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_core::future::BoxFuture;
use model::error::Failure;
use model::output::{Emission, OutputStream};
use model::position::{Partition, Position};

use super::online::{entity, number};
use super::trouble::{Failures, Fuse, Gate, Trace, lock};

/// A record that was emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The view.
    pub view: String,
    /// The source partition.
    pub partition: String,
    /// The source position.
    pub position: u64,
    /// The row among the outputs of its input row.
    pub row: u32,
    /// The generation.
    pub generation: u32,
    /// How often the view was rewound before.
    pub epoch: u32,
    /// The join key.
    pub key: String,
    /// The feature.
    pub value: Option<i64>,
    /// Whether the online store took it.
    pub applied: bool,
}

/// An output stream in memory.
pub struct MemoryOutput {
    state: Arc<Mutex<State>>,
    /// Failures of emissions.
    pub failures: Arc<Failures>,
    /// What emissions wait in front of, after they were handed over.
    pub gate: Arc<Gate>,
    /// What happened, in order.
    pub trace: Arc<Trace>,
    fuse: Arc<Fuse>,
}

type Place = (String, Partition);

#[derive(Debug, Clone, Default)]
struct State {
    records: Vec<Record>,
    /// Records that survive a crash.
    durable: usize,
    /// Through where the durable records go.
    positions: BTreeMap<Place, Position>,
    /// Through where all records go.
    written: BTreeMap<Place, Position>,
    /// Where an emission failed: nothing behind it is taken before it was repeated.
    broken: BTreeMap<Place, Position>,
    /// Whether anything was ever handed over out of its order.
    disorder: BTreeSet<String>,
}

impl Default for MemoryOutput {
    fn default() -> Self {
        Self::with(State::default(), Fuse::never())
    }
}

impl MemoryOutput {
    fn with(state: State, fuse: Arc<Fuse>) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
            failures: Arc::default(),
            gate: Arc::default(),
            trace: Arc::default(),
            fuse,
        }
    }

    /// An empty stream that tells this trace.
    pub fn traced(trace: &Arc<Trace>) -> Arc<Self> {
        Arc::new(Self { trace: Arc::clone(trace), ..Self::default() })
    }

    /// The stream of a host that starts after a crash of this one: cut to what was synced.
    pub fn after_crash(&self, fuse: &Arc<Fuse>) -> Arc<Self> {
        let mut state = lock(&self.state).clone();
        state.records.truncate(state.durable);
        state.written = state.positions.clone();
        state.broken.clear();
        Arc::new(Self::with(state, Arc::clone(fuse)))
    }

    /// All records.
    pub fn records(&self) -> Vec<Record> {
        lock(&self.state).records.clone()
    }

    /// Positions of all synced records of a view, in order.
    pub fn positions_of(&self, view: &str) -> Vec<u64> {
        let state = lock(&self.state);
        let synced = state.records.iter().take(state.durable);
        synced.filter(|record| record.view == view).map(|record| record.position).collect()
    }

    /// What was wrong with the order in which batches were handed over.
    pub fn disorder(&self) -> Vec<String> {
        lock(&self.state).disorder.iter().cloned().collect()
    }
}

impl OutputStream for MemoryOutput {
    fn position(&self, view: &str, partition: &Partition) -> Option<Position> {
        lock(&self.state).positions.get(&(view.to_owned(), partition.clone())).copied()
    }

    fn emit(&self, emission: Emission) -> BoxFuture<'static, Result<(), Failure>> {
        let (state, fuse, trace) = (Arc::clone(&self.state), Arc::clone(&self.fuse), Arc::clone(&self.trace));
        let (failures, pass) = (Arc::clone(&self.failures), self.gate.pass());
        Box::pin(async move {
            if !fuse.spend() {
                return std::future::pending().await;
            }
            let outcome = failures.check("emit");
            hand_over(&mut lock(&state), &emission, outcome)?;
            // A host may end between the write and the sync.
            pass.await;
            if !fuse.spend() {
                return std::future::pending().await;
            }
            let batch = &emission.batch;
            sync(&mut lock(&state));
            trace.add(format!("emit {} through {}", batch.view.name, number(batch.covers.through)));
            Ok(())
        })
    }

    fn rewind(
        &self,
        view: &str,
        partition: &Partition,
        to: Option<Position>,
        _epoch: u32,
    ) -> Result<(), Failure> {
        self.failures.check("rewind")?;
        if !self.fuse.spend() {
            return Err(Failure::retry("rewind: the host is gone"));
        }
        let mut state = lock(&self.state);
        let place = (view.to_owned(), partition.clone());
        state.written.remove(&place);
        state.positions.remove(&place);
        if let Some(to) = to {
            state.written.insert(place.clone(), to);
            state.positions.insert(place, to);
        }
        Ok(())
    }
}

/// The records that an emission makes of the rows behind a position.
pub(crate) fn records_behind(emission: &Emission, position: Option<Position>) -> Vec<Record> {
    let batch = &emission.batch;
    let rows = (0..batch.len()).filter(|row| Some(batch.positions.at(*row)) > position);
    rows.map(|row| {
        let (key, value) = entity(&batch.rows, row);
        Record {
            view: batch.view.name.clone(),
            partition: batch.partition.as_str().to_owned(),
            position: number(batch.positions.at(row)),
            row: batch.ordinal(row),
            generation: batch.generation.number,
            epoch: emission.epoch,
            key,
            value,
            applied: emission.applied.is_applied(row),
        }
    })
    .collect()
}

fn sync(state: &mut State) {
    state.durable = state.records.len();
    state.positions = state.written.clone();
}

fn hand_over(state: &mut State, emission: &Emission, outcome: Result<(), Failure>) -> Result<(), Failure> {
    let batch = &emission.batch;
    let place = (batch.view.name.clone(), batch.partition.clone());
    if let Some(broken) = state.broken.get(&place).copied() {
        if broken < batch.covers.first {
            return Err(Failure::retry("emit: an earlier batch failed"));
        }
        state.broken.remove(&place);
    }
    if let Err(failure) = outcome {
        state.broken.insert(place, batch.covers.first);
        return Err(failure);
    }
    let written = state.written.get(&place).copied();
    state.records.extend(records_behind(emission, written));
    if written.is_some_and(|written| number(written) + 1 < number(batch.covers.first)) {
        state.disorder.insert(format!("a gap before {}", number(batch.covers.first)));
    }
    state.written.insert(place, batch.covers.through.max(written.unwrap_or(batch.covers.through)));
    Ok(())
}
