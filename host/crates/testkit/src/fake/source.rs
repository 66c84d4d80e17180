//! A source in memory: partitions of payloads, numbered from 1.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::batch::RawBatch;
use model::error::Failure;
use model::position::{Covers, Partition, Position, PositionColumn};
use model::source::{BatchBudget, Positions, ReadEvent, Reader, Source, ViewProgress};

use super::trouble::{Failures, lock};

/// When the fake source records events, microseconds since the epoch: 2024-01-01T00:00:00Z.
pub const INGEST_TIME: i64 = 1_704_067_200_000_000;

/// A source in memory.
#[derive(Default)]
pub struct MemorySource {
    state: Arc<State>,
    /// Failures of reads.
    pub failures: Arc<Failures>,
    /// Readers opened so far.
    opened: AtomicUsize,
    /// It cannot say where it ends.
    hides_end: bool,
}

#[derive(Default)]
struct State {
    logs: Mutex<BTreeMap<Partition, Log>>,
    appended: Condvar,
    /// Events handed to readers.
    handed: AtomicUsize,
}

#[derive(Default)]
struct Log {
    payloads: Vec<Bytes>,
    released: Option<Position>,
}

impl MemorySource {
    /// A source with these partitions, all empty.
    pub fn new(partitions: &[&str]) -> Arc<Self> {
        let source = Self::default();
        partitions.iter().for_each(|partition| source.add_partition(partition));
        Arc::new(source)
    }

    /// A source that cannot say where it ends, with these partitions, all empty: its readers tell when they are there.
    pub fn hiding_its_end(partitions: &[&str]) -> Arc<Self> {
        let source = Self { hides_end: true, ..Self::default() };
        partitions.iter().for_each(|partition| source.add_partition(partition));
        Arc::new(source)
    }

    /// Adds an empty partition.
    pub fn add_partition(&self, partition: &str) {
        lock(&self.state.logs).entry(Partition::new(partition)).or_default();
    }

    /// Appends events. Returns the position of the last.
    pub fn append(&self, partition: &str, payloads: impl IntoIterator<Item = impl Into<String>>) -> Position {
        let mut logs = lock(&self.state.logs);
        let log = logs.entry(Partition::new(partition)).or_default();
        log.payloads.extend(payloads.into_iter().map(|payload| Bytes::from(payload.into())));
        let last = log.payloads.len() as u64;
        self.state.appended.notify_all();
        Position::from_u64(last)
    }

    /// Through where a partition was released.
    pub fn released(&self, partition: &str) -> Option<Position> {
        lock(&self.state.logs).get(&Partition::new(partition)).and_then(|log| log.released)
    }

    /// Events that were handed to readers, repeats included.
    pub fn handed(&self) -> usize {
        self.state.handed.load(Ordering::SeqCst)
    }

    /// Readers that were opened.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

impl Source for MemorySource {
    fn partitions(&self) -> Result<Vec<Partition>, Failure> {
        Ok(lock(&self.state.logs).keys().cloned().collect())
    }

    fn knows_end(&self) -> bool {
        !self.hides_end
    }

    fn end(&self, partition: &Partition) -> Result<Option<Position>, Failure> {
        if self.hides_end {
            return Err(Failure::stop("say where the source ends: it cannot"));
        }
        let logs = lock(&self.state.logs);
        let len = logs.get(partition).map_or(0, |log| log.payloads.len() as u64);
        Ok((len > 0).then(|| Position::from_u64(len)))
    }

    fn read(&self, partitions: &[Partition], after: &Positions) -> Result<Box<dyn Reader>, Failure> {
        self.failures.check("open a reader")?;
        self.opened.fetch_add(1, Ordering::SeqCst);
        let next = partitions.iter().map(|partition| {
            let after = after.get(partition).map_or(0, |after| after.as_u64().unwrap_or(0));
            (partition.clone(), usize::try_from(after).unwrap_or(usize::MAX))
        });
        let (state, failures) = (Arc::clone(&self.state), Arc::clone(&self.failures));
        let tells_end = if self.hides_end { partitions.to_vec() } else { Vec::new() };
        Ok(Box::new(MemoryReader { state, failures, next: next.collect(), turn: 0, tells_end }))
    }

    fn release(
        &self,
        partition: &Partition,
        through: Option<&Position>,
        _views: &BTreeMap<String, ViewProgress>,
    ) -> Result<(), Failure> {
        if let Some(log) = lock(&self.state.logs).get_mut(partition) {
            log.released = log.released.max(through.copied());
        }
        Ok(())
    }
}

struct MemoryReader {
    state: Arc<State>,
    failures: Arc<Failures>,
    /// For each partition how many events were read.
    next: Vec<(Partition, usize)>,
    turn: usize,
    /// Partitions of which it has to tell that it has reached the end.
    tells_end: Vec<Partition>,
}

impl MemoryReader {
    /// Says once of each partition that nothing lies behind what was read.
    fn tell_end(&mut self) -> Option<RawBatch> {
        let partition = self.tells_end.pop()?;
        let read = self.next.iter().find(|(of, _)| *of == partition).map_or(0, |(_, read)| *read as u64);
        let mut batch = raw_batch(&partition, read, &[] as &[&[u8]]);
        batch.covers.through = batch.covers.first;
        batch.attributes.at_end = true;
        Some(batch)
    }

    fn take(&mut self, logs: &BTreeMap<Partition, Log>, budget: BatchBudget) -> Option<RawBatch> {
        for _ in 0..self.next.len() {
            self.turn = (self.turn + 1) % self.next.len();
            let (partition, read) = &mut self.next[self.turn];
            let waiting = logs.get(partition).and_then(|log| log.payloads.get(*read..)).unwrap_or_default();
            let count = waiting.len().min(budget.rows);
            if count > 0 {
                let batch = raw_batch(partition, *read as u64 + 1, &waiting[..count]);
                *read += count;
                return Some(batch);
            }
        }
        None
    }
}

impl Reader for MemoryReader {
    fn next(&mut self, budget: BatchBudget, wait: Duration) -> Result<ReadEvent, Failure> {
        self.failures.check("read")?;
        let deadline = Instant::now() + wait;
        let state = Arc::clone(&self.state);
        let mut logs = lock(&state.logs);
        loop {
            if let Some(batch) = self.take(&logs, budget) {
                state.handed.fetch_add(batch.len(), Ordering::SeqCst);
                return Ok(ReadEvent::Batch(batch));
            }
            if let Some(batch) = self.tell_end() {
                return Ok(ReadEvent::Batch(batch));
            }
            let now = Instant::now();
            if deadline <= now {
                return Ok(ReadEvent::Idle);
            }
            let waited = state.appended.wait_timeout(logs, deadline - now);
            logs = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A batch of payloads whose positions count up from `first`.
pub fn raw_batch(partition: &Partition, first: u64, payloads: &[impl AsRef<[u8]>]) -> RawBatch {
    let mut data = Vec::new();
    let mut spans = Vec::new();
    for payload in payloads {
        let start = u32::try_from(data.len()).expect("test batches are small");
        data.extend_from_slice(payload.as_ref());
        spans.push((start, u32::try_from(data.len()).expect("test batches are small")));
    }
    let last = first + (payloads.len() as u64).saturating_sub(1);
    RawBatch {
        partition: partition.clone(),
        data: data.into(),
        payloads: spans,
        positions: PositionColumn::counting(first, payloads.len()),
        ingest_times: Vec::new(),
        ingest_time: INGEST_TIME,
        covers: Covers { first: Position::from_u64(first), through: Position::from_u64(last) },
        attributes: model::batch::Attributes::default(),
    }
}
