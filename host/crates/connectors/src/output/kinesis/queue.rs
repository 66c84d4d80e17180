//! Encoded records until Kinesis has acknowledged them: which may go now, and which wait for another one.
//!
//! Everything here is in memory and waits for nothing: [`super::sender`] asks what to send and says what became of it. Work
//! for a record does not depend on how many there are.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::encode::{Entries, partition_key};
use super::pace::{Jitter, PacedShard, PacedShards, Pause, ShardMap};
use crate::output::ticket::Ticket;
use slots::{Already, Slots};

mod slots;

/// Records of one request; Kinesis takes no more.
pub(super) const REQUEST_RECORDS: usize = 500;
/// Bytes of one request, unless a single record has more. Kinesis takes 10 MiB; older servers take 5, and more in one
/// request makes nothing faster.
pub(super) const REQUEST_BYTES: usize = 9 << 19;
/// Requests under way. More, and a throttled stream is asked in vain more often; fewer, and round trips limit it.
const IN_FLIGHT: usize = 8;
/// While requests are under way, records gather this long for the next one, unless that is full before. Longer, and a record
/// waits longer; shorter, and each costs more.
const GATHER: Duration = Duration::from_millis(10);

/// No record.
const NONE: u32 = u32::MAX;

/// Encoded records until Kinesis has acknowledged them.
pub(super) struct Queue {
    is_ordered: bool,
    /// What a request begins with.
    prefix: Vec<u8>,
    chunks: Slots<Chunk>,
    records: Slots<Record>,
    /// Records that may go now.
    ready: VecDeque<u32>,
    ready_bytes: usize,
    /// Ordered: the last record of each partition key that has any. All but the first of a key wait for the one before.
    last: HashMap<u64, u32, BuildHasherDefault<Already>>,
    bytes: usize,
    in_flight: usize,
    sent: Option<Instant>,
    /// Of the whole stream.
    pause: Pause,
    shards: PacedShards,
    map: Option<ShardMap>,
    jitter: Jitter,
}

/// Records that were encoded together and leave memory together.
struct Chunk {
    bytes: Vec<u8>,
    ticket: Arc<Ticket>,
    count: usize,
    remaining: usize,
}

struct Record {
    chunk: u32,
    start: u32,
    end: u32,
    /// The next one with the same partition key.
    next: u32,
    key: u64,
}

/// What goes with one request.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) records: Vec<u32>,
    /// The request up to and with its last entry.
    pub(super) body: Vec<u8>,
    /// Paced shards that are tried with it, and with how many records.
    tried: Vec<(Arc<str>, usize)>,
}

/// A record that a request did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotTaken {
    /// Which of the request's records.
    pub(super) index: usize,
    /// Its shard, if the error names it.
    pub(super) shard: Option<Arc<str>>,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All records but these were taken; they are tried again after a pause of their shard.
    Answered(Vec<NotTaken>),
    /// Whether any was taken is not known, or none was: all are tried again after a pause.
    Failed,
}

impl Queue {
    /// `prefix`: what a request begins with, before its first entry.
    pub(super) fn new(is_ordered: bool, prefix: Vec<u8>) -> Self {
        Self {
            is_ordered,
            prefix,
            chunks: Slots::default(),
            records: Slots::default(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            last: HashMap::default(),
            bytes: 0,
            in_flight: 0,
            sent: None,
            pause: Pause::default(),
            shards: PacedShards::new(),
            map: None,
            jitter: Jitter::new(),
        }
    }

    /// Adds records of a batch, behind those that are here.
    pub(super) fn add(&mut self, entries: Entries, ticket: &Arc<Ticket>) {
        let count = entries.marks.len();
        if count == 0 {
            return;
        }
        self.bytes += entries.bytes.len();
        let ticket = Arc::clone(ticket);
        let chunk = self.chunks.put(Chunk { bytes: entries.bytes, ticket, count, remaining: count });
        let mut start = 0;
        for mark in entries.marks {
            let record = Record { chunk, start, end: mark.end, next: NONE, key: mark.key };
            start = mark.end;
            let id = self.records.put(record);
            let before = if self.is_ordered { self.last.insert(mark.key, id) } else { None };
            match before {
                Some(before) => self.records.get_mut(before).next = id,
                None => self.make_ready(id),
            }
        }
    }

    /// What to send now, if anything.
    pub(super) fn take(&mut self, now: Instant) -> Option<Taken> {
        if self.pause.lasts(now) || self.in_flight >= IN_FLIGHT || self.pause.is_on() && self.in_flight > 0 {
            return None;
        }
        let mut taken = Taken::default();
        taken.body.reserve(self.prefix.len() + self.ready_bytes.min(REQUEST_BYTES) + REQUEST_RECORDS);
        taken.body.extend_from_slice(&self.prefix);
        self.try_paced(now, &mut taken);
        let gathers = self.gathers_until().is_some_and(|until| now < until);
        if !gathers || !taken.records.is_empty() {
            self.fill(&mut taken);
        }
        if taken.records.is_empty() {
            return None;
        }
        self.in_flight += 1;
        self.sent = Some(now);
        Some(taken)
    }

    /// When to ask again what to send, if nothing happens before.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        if self.in_flight >= IN_FLIGHT || self.pause.is_on() && self.in_flight > 0 {
            return None;
        }
        if self.pause.lasts(now) {
            return self.pause.until();
        }
        let waits = |shard: &&PacedShard| !shard.is_tried && !shard.waiting.is_empty();
        let paced = self.shards.values().filter(waits).filter_map(|shard| shard.pause.until());
        paced.chain(self.gathers_until()).min()
    }

    /// A request has ended. The batches that are complete with it are returned. What it did not take is tried again,
    /// unless its batch was given up meanwhile: its partition may be another host's by now.
    pub(super) fn settle(&mut self, taken: Taken, outcome: Outcome, now: Instant) -> Vec<Arc<Ticket>> {
        self.in_flight -= 1;
        let mut complete = Vec::new();
        let missing = match outcome {
            Outcome::Failed => {
                self.pause.fail(now, &mut self.jitter);
                for (shard, _) in &taken.tried {
                    self.paced(shard).is_tried = false;
                }
                for id in taken.records.into_iter().rev() {
                    if self.is_dead(id) {
                        self.release(id);
                    } else {
                        self.ready_bytes += self.records.get(id).size();
                        self.ready.push_front(id);
                    }
                }
                return complete;
            }
            Outcome::Answered(missing) => missing,
        };
        self.pause = Pause::default();
        // Shards that did not take all, and how many records they did not.
        let mut short: Vec<(Arc<str>, usize)> = Vec::new();
        let mut missing = missing.into_iter().peekable();
        for (index, id) in taken.records.iter().enumerate() {
            let Some(not_taken) = missing.next_if(|not_taken| not_taken.index == index) else {
                complete.extend(self.release(*id));
                continue;
            };
            let shard = not_taken.shard.or_else(|| self.shard_of(*id)).unwrap_or_else(|| Arc::from(""));
            if self.is_dead(*id) {
                self.release(*id);
            } else {
                self.paced(&shard).waiting.push_back(*id);
            }
            match short.iter_mut().find(|(name, _)| *name == shard) {
                Some((_, count)) => *count += 1,
                None => short.push((shard, 1)),
            }
        }
        for (shard, tried) in &taken.tried {
            self.paced(shard).is_tried = false;
            let refused =
                short.extract_if(.., |(name, _)| name == shard).next().map_or(0, |(_, count)| count);
            let paced = self.shards.entry(Arc::clone(shard)).or_default();
            if refused > tried / 2 {
                paced.pause.fail(now, &mut self.jitter);
            } else if refused > 0 {
                paced.pause.again(now, &mut self.jitter);
            } else if paced.pause.ease() {
                let eased = self.shards.remove(shard).map(|shard| shard.waiting).unwrap_or_default();
                eased.into_iter().for_each(|id| self.make_ready(id));
            }
        }
        for (shard, _) in short {
            let paced = self.shards.entry(shard).or_default();
            paced.pause.fail(now, &mut self.jitter);
        }
        complete
    }

    /// Drops what belongs to batches that were given up and is not under way.
    pub(super) fn purge(&mut self) {
        let mut alive = VecDeque::with_capacity(self.ready.len());
        for shard in self.shards.values_mut() {
            self.ready.append(&mut shard.waiting);
        }
        self.shards.retain(|_, shard| shard.is_tried);
        self.ready_bytes = 0;
        while let Some(id) = self.ready.pop_front() {
            if self.is_dead(id) {
                // Brings in the next one of its key.
                self.release(id);
            } else {
                alive.push_back(id);
            }
        }
        self.ready_bytes = alive.iter().map(|id| self.records.get(*id).size()).sum();
        self.ready = alive;
    }

    /// Bytes of all that is here.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of records that are here.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it would help to know the shards of keys: some had too much, and they are not known, or others by now.
    pub(super) fn wants_map(&self) -> bool {
        let knows = |name: &str| self.map.as_ref().is_some_and(|map| map.knows(name));
        // One that is closed by now, or was not known, gets no records any more that would end its pace.
        let has_any = |shard: &PacedShard| shard.is_tried || !shard.waiting.is_empty();
        self.shards.iter().any(|(name, shard)| has_any(shard) && !knows(name))
    }

    pub(super) fn set_map(&mut self, map: ShardMap) {
        self.map = Some(map);
    }

    /// Records of paced shards whose pause is over.
    fn try_paced(&mut self, now: Instant, taken: &mut Taken) {
        let due: Vec<Arc<str>> = self
            .shards
            .iter()
            .filter(|(_, shard)| !shard.is_tried && !shard.waiting.is_empty() && !shard.pause.lasts(now))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in due {
            let before = taken.records.len();
            while let Some(id) = self.paced(&name).waiting.pop_front() {
                if !self.put_in(taken, id) {
                    self.paced(&name).waiting.push_front(id);
                    break;
                }
            }
            if taken.records.len() > before {
                self.paced(&name).is_tried = true;
                taken.tried.push((name, taken.records.len() - before));
            }
        }
    }

    /// Records that may go now, but those of paced shards, which are put with the others there.
    fn fill(&mut self, taken: &mut Taken) {
        while let Some(id) = self.ready.pop_front() {
            let size = self.records.get(id).size();
            if let Some(shard) = self.paced_shard_of(id) {
                self.ready_bytes -= size;
                self.paced(&shard).waiting.push_back(id);
            } else if self.put_in(taken, id) {
                self.ready_bytes -= size;
            } else {
                self.ready.push_front(id);
                return;
            }
        }
    }

    /// Copies a record into a request, if it has room.
    fn put_in(&mut self, taken: &mut Taken, id: u32) -> bool {
        let record = self.records.get(id);
        let is_first = taken.records.is_empty();
        let has_room =
            taken.records.len() < REQUEST_RECORDS && taken.body.len() + record.size() < REQUEST_BYTES;
        if !is_first && !has_room {
            return false;
        }
        if !is_first {
            taken.body.push(b',');
        }
        let bytes = &self.chunks.get(record.chunk).bytes[record.start as usize..record.end as usize];
        taken.body.extend_from_slice(bytes);
        taken.records.push(id);
        true
    }

    /// While a request is under way and the next one is not full: until when records gather.
    fn gathers_until(&self) -> Option<Instant> {
        let is_full = self.ready.len() >= REQUEST_RECORDS || self.ready_bytes >= REQUEST_BYTES;
        if self.ready.is_empty() || self.in_flight == 0 || is_full {
            return None;
        }
        self.sent.map(|sent| sent + GATHER)
    }

    /// A record is done with: the next one of its key may go. The ticket, if its batch is complete.
    fn release(&mut self, id: u32) -> Option<Arc<Ticket>> {
        let record = self.records.take(id);
        if self.is_ordered {
            if record.next == NONE {
                self.last.remove(&record.key);
            } else {
                self.make_ready(record.next);
            }
        }
        let chunk = self.chunks.get_mut(record.chunk);
        chunk.remaining -= 1;
        if chunk.remaining > 0 {
            return None;
        }
        let chunk = self.chunks.take(record.chunk);
        self.bytes -= chunk.bytes.len();
        chunk.ticket.remaining.count_off(chunk.count).then_some(chunk.ticket)
    }

    fn make_ready(&mut self, id: u32) {
        self.ready_bytes += self.records.get(id).size();
        self.ready.push_back(id);
    }

    fn is_dead(&self, id: u32) -> bool {
        self.chunks.get(self.records.get(id).chunk).ticket.has_failed()
    }

    fn paced(&mut self, shard: &Arc<str>) -> &mut PacedShard {
        self.shards.entry(Arc::clone(shard)).or_default()
    }

    /// The shard of a record, if that has had too much.
    fn paced_shard_of(&self, id: u32) -> Option<Arc<str>> {
        if self.shards.is_empty() {
            return None;
        }
        self.shard_of(id).filter(|shard| self.shards.contains_key(shard))
    }

    fn shard_of(&self, id: u32) -> Option<Arc<str>> {
        let map = self.map.as_ref()?;
        let record = self.records.get(id);
        let entry = &self.chunks.get(record.chunk).bytes[record.start as usize..record.end as usize];
        map.shard(&partition_key(entry)).cloned()
    }
}

impl Record {
    fn size(&self) -> usize {
        (self.end - self.start) as usize
    }
}

#[cfg(test)]
mod tests;
