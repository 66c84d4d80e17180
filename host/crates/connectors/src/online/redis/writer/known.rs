//! What a writer knows of the entities of a view that it has written under its claim: the version that Redis holds, and how
//! long the hash lives at least.
//!
//! Bounded: entities that were not written for the longest time are forgotten, half of all at a time, and compared in
//! Redis when they come again. Nothing here talks to Redis, and nothing here decides whether the claim stands.

use std::cmp::Ordering;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use model::position::Partition;

use crate::online::redis::layout::version::Version;

/// Stands for an entity. Two hashes with random seeds: that two entities ever meet is beyond what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EntityHash(u64, u64);

impl EntityHash {
    /// The half by which tables find it.
    pub(super) fn place(self) -> u64 {
        self.0
    }
}

/// Makes [`EntityHash`]es; those of two hashers have nothing to do with each other.
#[derive(Default)]
pub(super) struct EntityHasher(RandomState, RandomState);

impl EntityHasher {
    pub(super) fn hash(&self, key: &[u8]) -> EntityHash {
        EntityHash(self.0.hash_one(key), self.1.hash_one(key))
    }
}

/// Entities of one view.
pub(super) struct Known {
    /// Those that were written lately.
    young: HashTable<Entry>,
    /// Those that were not; found here, they become young again.
    old: HashTable<Entry>,
    /// When `young` holds so many, it becomes `old`.
    most: usize,
    /// Partitions by number.
    partitions: Vec<Partition>,
}

struct Entry {
    entity: EntityHash,
    /// The request whose answer will say what is held; 0 = it is known.
    awaited: u64,
    version: Held,
    deadline: i64,
}

/// A version without what all entities share.
#[derive(Clone, Default)]
struct Held {
    event_time: i64,
    partition: u32,
    generation: u32,
    row: u32,
    position: Bytes,
}

/// Positions: most have eight bytes.
#[derive(Clone)]
enum Bytes {
    Short([u8; 8]),
    Other(Box<[u8]>),
}

/// What is known of an entity.
pub(super) enum Look {
    /// Nothing, or its answer is not there yet: it is to be compared in Redis.
    Unknown,
    /// A version: how it compares with the new one, and until when the hash lives at least, in milliseconds since the
    /// epoch.
    Known(Ordering, i64),
}

impl Known {
    /// With room for entities in so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let mut known =
            Self { young: HashTable::new(), old: HashTable::new(), most: 0, partitions: Vec::new() };
        known.limit(bytes);
        known
    }

    /// Changes the bound; it is kept from the next forgetting on.
    pub(super) fn limit(&mut self, bytes: usize) {
        // Tables grow by doubling and keep an eighth empty: what is counted on is the worst.
        self.most = (bytes / (size_of::<Entry>() + 1) / 4).max(64);
    }

    pub(super) fn clear(&mut self) {
        self.young = HashTable::new();
        self.old = HashTable::new();
        // Only entries have their numbers; shards of a stream come and go.
        self.partitions.clear();
    }

    /// The number of a partition, for [`Known::look`] and the others.
    pub(super) fn partition(&mut self, partition: &str) -> u32 {
        let found =
            self.partitions.iter().position(|known| known.as_str() == partition).unwrap_or_else(|| {
                self.partitions.push(Partition::new(partition));
                self.partitions.len() - 1
            });
        u32::try_from(found).expect("a host reads fewer than 2^32 partitions")
    }

    /// Compares what is held of an entity with a version.
    pub(super) fn look(&mut self, entity: EntityHash, version: &Version<'_>, partition: u32) -> Look {
        let Some(entry) = self.find(entity) else { return Look::Unknown };
        if entry.awaited != 0 {
            return Look::Unknown;
        }
        let deadline = entry.deadline;
        // The borrow of the entry ends here: names are beside it.
        let held = entry.version.clone_short();
        Look::Known(self.compare(&held, version, partition), deadline)
    }

    /// Notes a version that was just sent and will be held, as nobody else writes.
    pub(super) fn replace(&mut self, entity: EntityHash, version: &Version<'_>, partition: u32) {
        if let Some(entry) = self.find(entity) {
            entry.version.set(version, partition);
        }
    }

    /// Notes that a request will say what is held.
    pub(super) fn await_answer(&mut self, entity: EntityHash, request: u64) {
        if let Some(entry) = self.find(entity) {
            entry.awaited = request;
            return;
        }
        self.insert(Entry { entity, awaited: request, version: Held::default(), deadline: 0 });
    }

    /// Notes what an answer has said. Later requests for the same entity have the last word.
    pub(super) fn learn(&mut self, entity: EntityHash, request: u64, version: &Version<'_>, deadline: i64) {
        let partition = self.partition(version.partition);
        if let Some(entry) = self.find(entity)
            && entry.awaited == request
        {
            entry.awaited = 0;
            entry.deadline = deadline;
            entry.version.set(version, partition);
        }
    }

    fn find(&mut self, entity: EntityHash) -> Option<&mut Entry> {
        if self.young.find(entity.place(), |entry| entry.entity == entity).is_none() {
            let found = self.old.find_entry(entity.place(), |entry| entry.entity == entity).ok()?;
            let (entry, _) = found.remove();
            self.insert(entry);
        }
        self.young.find_mut(entity.place(), |entry| entry.entity == entity)
    }

    fn insert(&mut self, entry: Entry) {
        if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
        }
        let place = self.young.entry(
            entry.entity.place(),
            |other| other.entity == entry.entity,
            |other| other.entity.place(),
        );
        if let Place::Vacant(vacant) = place {
            vacant.insert(entry);
        }
    }

    fn compare(&self, held: &Held, version: &Version<'_>, partition: u32) -> Ordering {
        held.event_time
            .cmp(&version.event_time)
            .then_with(|| {
                if held.partition == partition {
                    Ordering::Equal
                } else {
                    self.partitions[held.partition as usize].as_str().cmp(version.partition)
                }
            })
            .then_with(|| held.position.as_slice().cmp(version.position))
            .then_with(|| held.generation.cmp(&version.generation))
            .then_with(|| held.row.cmp(&version.row))
    }
}

impl Held {
    fn set(&mut self, version: &Version<'_>, partition: u32) {
        self.event_time = version.event_time;
        self.partition = partition;
        self.generation = version.generation;
        self.row = version.row;
        match (&mut self.position, <[u8; 8]>::try_from(version.position)) {
            (held, Ok(bytes)) => *held = Bytes::Short(bytes),
            (Bytes::Other(held), Err(_)) if held.len() == version.position.len() => {
                held.copy_from_slice(version.position);
            }
            (held, Err(_)) => *held = Bytes::Other(version.position.into()),
        }
    }

    /// A copy; it allocates only for positions that are not of eight bytes.
    fn clone_short(&self) -> Self {
        self.clone()
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::Short([0; 8])
    }
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Other(bytes) => bytes,
        }
    }
}
