//! A stream in memory, which splits, merges, forgets and refuses as it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::Record;
use futures_core::future::BoxFuture;
use model::position::Partition;

use crate::kinesis::lease::{Shard, Tip};
use crate::kinesis::{Class, Trouble, position};
use crate::source::kinesis::calls::{Answer, Calls, Refusal, Start};
use crate::source::kinesis::lineage::Lineage;

/// What the fake's first record has for a sequence number.
const FIRST: u128 = 1 << 100;

/// Milliseconds since the epoch at which the fake's first record arrives.
pub(super) const DAWN: i64 = 1_700_000_000_000;

/// A stream, and what is kept of its shards.
#[derive(Default)]
pub(super) struct Fake {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shards: BTreeMap<String, FakeShard>,
    /// Sequence numbers and arrival times go up over all shards.
    clock: u32,
    finished: BTreeSet<String>,
    not_held: BTreeSet<String>,
    ended: Vec<String>,
    seen: BTreeMap<String, Tip>,
    /// Iterators of an older age have expired.
    age: u32,
    most: usize,
    /// What the next questions are refused with.
    refuse_iterators: VecDeque<Trouble>,
    refuse_records: VecDeque<Trouble>,
    asked: Vec<String>,
}

struct FakeShard {
    shard: Shard,
    records: Vec<Record>,
    /// Records before this one are gone.
    low: usize,
}

impl Fake {
    /// A stream with these open shards, `hash_keys` all.
    pub(super) fn new(shards: &[&str]) -> Arc<Self> {
        let fake = Self::default();
        fake.lock().most = 1_000;
        for shard in shards {
            fake.add(shard, &[], (0, u128::MAX));
        }
        Arc::new(fake)
    }

    /// A shard that is open.
    pub(super) fn add(&self, id: &str, parents: &[&str], hash_keys: (u128, u128)) {
        let mut state = self.lock();
        state.clock += 1;
        let shard = Shard {
            id: id.to_owned(),
            parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
            starting: (FIRST + u128::from(state.clock)).to_string(),
            ending: None,
            hash_keys,
        };
        state.shards.insert(id.to_owned(), FakeShard { shard, records: Vec::new(), low: 0 });
    }

    /// Closes shards and makes their children.
    pub(super) fn reshard(&self, parents: &[&str], children: &[&str]) {
        for parent in parents {
            self.lock().shards.get_mut(*parent).unwrap().shard.ending = Some("9".repeat(40));
        }
        for child in children {
            self.add(child, parents, (0, u128::MAX));
        }
    }

    /// A record; answers its sequence number.
    pub(super) fn put(&self, shard: &str, key: &str, data: &[u8]) -> String {
        let mut state = self.lock();
        state.clock += 1;
        let sequence = (FIRST + u128::from(state.clock)).to_string();
        let record = Record::builder()
            .sequence_number(&sequence)
            .approximate_arrival_timestamp(DateTime::from_millis(DAWN + i64::from(state.clock)))
            .partition_key(key)
            .data(Blob::new(data))
            .build()
            .unwrap();
        state.shards.get_mut(shard).unwrap().records.push(record);
        sequence
    }

    /// Records of a shard before this one are gone.
    pub(super) fn trim(&self, shard: &str, low: usize) {
        self.lock().shards.get_mut(shard).unwrap().low = low;
    }

    /// The stream does not know the shard any more.
    pub(super) fn forget(&self, shard: &str) {
        self.lock().shards.remove(shard);
    }

    /// Records in an answer at most.
    pub(super) fn give_at_most(&self, most: usize) {
        self.lock().most = most;
    }

    /// All iterators expire.
    pub(super) fn expire(&self) {
        self.lock().age += 1;
    }

    pub(super) fn finish(&self, shard: &str) {
        self.lock().finished.insert(shard.to_owned());
    }

    pub(super) fn take_away(&self, shard: &str) {
        self.lock().not_held.insert(shard.to_owned());
    }

    pub(super) fn give_back(&self, shard: &str) {
        self.lock().not_held.remove(shard);
    }

    pub(super) fn refuse_iterators(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.lock().refuse_iterators.extend(troubles);
    }

    pub(super) fn refuse_records(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.lock().refuse_records.extend(troubles);
    }

    pub(super) fn set_seen(&self, shard: &str, tip: Tip) {
        self.lock().seen.insert(shard.to_owned(), tip);
    }

    pub(super) fn seen_at(&self, shard: &str) -> Option<Tip> {
        self.lock().seen.get(shard).copied()
    }

    /// Shards whose end was reached, in that order.
    pub(super) fn ended(&self) -> Vec<String> {
        self.lock().ended.clone()
    }

    /// What iterators were asked for so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.lock().asked.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// A trouble with the service's code for it.
pub(super) fn coded(code: &str) -> Trouble {
    Trouble::coded(code, "", 400)
}

/// Nobody answers.
pub(super) fn away() -> Trouble {
    Trouble { class: Class::Away, code: "NoContact".to_owned(), text: "the connection was cut".to_owned() }
}

fn refuse<T>(code: &str, text: &str) -> Result<T, Refusal> {
    Err(Trouble::coded(code, text, 400).into())
}

impl Calls for Fake {
    fn iterator<'a>(&'a self, shard: &'a str, start: &'a Start) -> BoxFuture<'a, Result<String, Refusal>> {
        Box::pin(async move {
            let mut state = self.lock();
            state.asked.push(format!("{shard} {start:?}"));
            if let Some(trouble) = state.refuse_iterators.pop_front() {
                return Err(trouble.into());
            }
            let Some(found) = state.shards.get(shard) else {
                return refuse("ResourceNotFoundException", &format!("Shard {shard} does not exist"));
            };
            let place = match start {
                Start::Beginning => 0,
                Start::Latest => found.records.len(),
                Start::Time(time) => {
                    if DAWN + i64::from(state.clock) < *time / 1000 {
                        return refuse("InvalidArgumentException", "the time is in the future");
                    }
                    found.records.partition_point(|record| {
                        let arrived = record.approximate_arrival_timestamp.unwrap();
                        arrived.to_millis().unwrap() * 1000 < *time
                    })
                }
                Start::At(sequence) => {
                    let wanted: u128 = sequence.parse().unwrap();
                    found
                        .records
                        .partition_point(|record| record.sequence_number.parse::<u128>().unwrap() < wanted)
                }
            };
            Ok(format!("{shard} {} {}", place.max(found.low), state.age))
        })
    }

    fn records<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<Answer, Refusal>> {
        Box::pin(async move {
            let mut state = self.lock();
            if let Some(trouble) = state.refuse_records.pop_front() {
                return Err(trouble.into());
            }
            let [shard, place, age]: [&str; 3] =
                iterator.split(' ').collect::<Vec<_>>().try_into().expect("the iterator is one of ours");
            if age.parse::<u32>().unwrap() < state.age {
                return refuse("ExpiredIteratorException", "");
            }
            let Some(found) = state.shards.get(shard) else {
                return refuse("ResourceNotFoundException", &format!("Shard {shard} does not exist"));
            };
            let place = place.parse::<usize>().unwrap().max(found.low);
            let records: Vec<Record> = found.records[place..].iter().take(state.most).cloned().collect();
            let place = place + records.len();
            let is_at_end = place == found.records.len();
            let next = (!is_at_end || !found.shard.is_closed()).then(|| format!("{shard} {place} {age}"));
            Ok(Answer { records, next, behind: if is_at_end { 0 } else { 3_600_000 } })
        })
    }

    fn retention(&self) -> BoxFuture<'_, Result<Duration, Refusal>> {
        Box::pin(std::future::ready(Ok(Duration::from_secs(86_400))))
    }
}

impl Lineage for Fake {
    fn shard(&self, partition: &Partition) -> Option<Shard> {
        self.lock().shards.get(partition.as_str()).map(|found| found.shard.clone())
    }

    fn may_read(&self, partition: &Partition) -> bool {
        let state = self.lock();
        let parents = state.shards.get(partition.as_str()).map(|found| &found.shard.parents);
        parents
            .into_iter()
            .flatten()
            .all(|parent| !state.shards.contains_key(parent) || state.finished.contains(parent))
    }

    fn holds(&self, partition: &Partition) -> bool {
        !self.lock().not_held.contains(partition.as_str())
    }

    fn end_reached(&self, partition: &Partition) {
        self.lock().ended.push(partition.to_string());
    }

    fn note_seen(&self, partition: &Partition, tip: Tip) {
        self.set_seen(partition.as_str(), tip);
    }

    fn seen(&self, partition: &Partition) -> Option<Tip> {
        self.seen_at(partition.as_str())
    }
}

/// The position of a record.
pub(super) fn at(sequence: &str, sub: u64) -> model::position::Position {
    position::of_record(sequence, sub).unwrap()
}
