//! The decoded batches of one partition that views share, and where each view stands among them.
//!
//! Plain data: [`crate::intake`] holds the lock and the budget.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use model::batch::SharedEvents;
use model::position::Position;

/// Names a cursor within its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CursorId(pub(crate) u64);

/// What a view gets when it asks for more.
#[derive(Debug)]
pub(crate) enum Take {
    /// A batch; it may begin at or before the view's position.
    Events(SharedEvents),
    /// Nothing yet; the cursor's waker will be called.
    Wait,
    /// What comes next is not in the buffer: the view has to read it on its own.
    Behind,
    /// The source cannot be read.
    Failed(String),
}

/// Where a cursor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind this position; sorted in as soon as the lane is open.
    New(Option<Position>),
    /// Takes the batch with this sequence number next.
    Shared(u64),
    /// Reads on its own until it reaches the buffer.
    Own,
    /// Takes nothing.
    Off,
}

struct Cursor {
    place: Place,
    waker: Waker,
    waiting: bool,
}

struct Entry {
    events: SharedEvents,
    weight: usize,
    /// Cursors that will take it.
    wanted: usize,
    /// Whether one has.
    taken: bool,
}

/// The shared batches of one partition.
#[derive(Default)]
pub(crate) struct Lane {
    entries: VecDeque<Entry>,
    /// Bytes of entries that no view has taken.
    untaken: usize,
    /// Sequence number of the oldest entry.
    first: u64,
    /// What lies before the oldest entry; `None` = nothing, the entries begin at the beginning.
    base: Option<Position>,
    /// Through where the reader has read.
    head: Option<Position>,
    is_open: bool,
    cursors: HashMap<CursorId, Cursor>,
    /// Cursors that read on their own.
    own: usize,
    /// Cursors that share.
    shared: usize,
}

impl Lane {
    pub(crate) fn join(&mut self, id: CursorId, position: Option<Position>, waker: Waker) {
        self.cursors.insert(id, Cursor { place: Place::Off, waker, waiting: true });
        self.set_place(id, Place::New(position));
        self.sort_in(id);
    }

    /// Removes a cursor. Returns bytes freed.
    pub(crate) fn leave(&mut self, id: CursorId) -> usize {
        self.set_place(id, Place::Off);
        self.cursors.remove(&id);
        self.drop_unwanted()
    }

    /// Moves a cursor. Returns bytes freed.
    pub(crate) fn place(&mut self, id: CursorId, place: Place) -> usize {
        self.set_place(id, place);
        self.sort_in(id);
        self.drop_unwanted()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether a cursor waits for the lane to open.
    pub(crate) fn is_wanted(&self) -> bool {
        self.cursors.values().any(|cursor| matches!(cursor.place, Place::New(_)))
    }

    /// Whether there are cursors at all.
    pub(crate) fn is_used(&self) -> bool {
        !self.cursors.is_empty()
    }

    /// Gives up what it holds: the partition is another host's. Its cursors get nothing more, new ones may come.
    /// Returns bytes freed.
    pub(crate) fn close(&mut self) -> usize {
        let ids: Vec<CursorId> = self.cursors.keys().copied().collect();
        ids.into_iter().for_each(|id| self.set_place(id, Place::Off));
        // Numbers go on: a cursor that comes back must not take one batch for another.
        self.first += self.entries.len() as u64;
        let freed = self.entries.drain(..).map(|entry| entry.weight).sum();
        self.untaken = 0;
        (self.is_open, self.base, self.head) = (false, None, None);
        freed
    }

    /// Bytes of batches that no view has taken.
    pub(crate) fn untaken(&self) -> usize {
        self.untaken
    }

    /// Number of batches.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Opens the lane behind the fastest view that wants it. Returns through where the reader has read, or may skip.
    pub(crate) fn open(&mut self) -> Option<Position> {
        if !self.is_open {
            self.is_open = true;
            let positions = self.cursors.values().filter_map(|cursor| match cursor.place {
                Place::New(position) => Some(position),
                _ => None,
            });
            self.head = positions.max().flatten();
            self.base = self.head;
            let ids: Vec<CursorId> = self.cursors.keys().copied().collect();
            ids.into_iter().for_each(|id| self.sort_in(id));
        }
        self.head
    }

    /// Takes the next batch of a cursor whose view stands behind `position`. Returns bytes freed as well.
    pub(crate) fn take(&mut self, id: CursorId, position: Option<Position>) -> (Take, usize) {
        let Some(cursor) = self.cursors.get(&id) else { return (Take::Wait, 0) };
        let mut place = cursor.place;
        if place == Place::Own && self.is_open && self.base <= position {
            place = Place::Shared(self.find(position));
            self.set_place(id, place);
        }
        match place {
            Place::Shared(sequence) if sequence < self.first => {
                self.set_place(id, Place::Own);
                (Take::Behind, 0)
            }
            Place::Own => (Take::Behind, 0),
            Place::Shared(sequence) => match self.entry(sequence) {
                Some(entry) => {
                    entry.wanted -= 1;
                    let first = !std::mem::replace(&mut entry.taken, true);
                    let (events, weight) = (Arc::clone(&entry.events), entry.weight);
                    self.untaken -= if first { weight } else { 0 };
                    if let Some(cursor) = self.cursors.get_mut(&id) {
                        cursor.waiting = false;
                        cursor.place = Place::Shared(sequence + 1);
                    }
                    (Take::Events(events), self.drop_unwanted())
                }
                None => (self.wait(id), self.drop_unwanted()),
            },
            Place::New(_) | Place::Off => (self.wait(id), 0),
        }
    }

    /// Adds a batch to the open lane. Returns whom to wake.
    pub(crate) fn push(&mut self, events: SharedEvents, weight: usize) -> Vec<Waker> {
        self.head = Some(events.raw.covers.through);
        if self.cursors.is_empty() {
            // Nobody would ever take it: who comes later reads it again.
            self.base = self.head;
            return Vec::new();
        }
        self.untaken += weight;
        self.entries.push_back(Entry { events, weight, wanted: self.shared, taken: false });
        self.waiting_wakers()
    }

    /// Drops the oldest batch, if any view has taken it. Returns its bytes.
    pub(crate) fn drop_oldest(&mut self) -> Option<usize> {
        if !self.entries.front()?.taken {
            return None;
        }
        self.pop()
    }

    /// Wakes whoever waits: its place may have changed.
    pub(crate) fn wake(&mut self) {
        self.waiting_wakers().into_iter().for_each(Waker::wake);
    }

    /// The wakers of all cursors.
    pub(crate) fn all_wakers(&mut self) -> Vec<Waker> {
        self.cursors.values().map(|cursor| cursor.waker.clone()).collect()
    }

    fn waiting_wakers(&mut self) -> Vec<Waker> {
        let waiting = self.cursors.values_mut().filter(|cursor| cursor.waiting);
        let wakers = waiting.map(|cursor| {
            cursor.waiting = false;
            cursor.waker.clone()
        });
        wakers.collect()
    }

    fn wait(&mut self, id: CursorId) -> Take {
        if let Some(cursor) = self.cursors.get_mut(&id) {
            cursor.waiting = true;
        }
        Take::Wait
    }

    /// Gives a new cursor its place, once the lane knows where it begins.
    fn sort_in(&mut self, id: CursorId) {
        let Some(Place::New(position)) = self.cursors.get(&id).map(|cursor| cursor.place) else { return };
        if self.is_open {
            let place = if self.base <= position { Place::Shared(self.find(position)) } else { Place::Own };
            self.set_place(id, place);
        }
    }

    /// Sequence number of the first batch that reaches beyond `position`.
    fn find(&self, position: Option<Position>) -> u64 {
        let before = self.entries.partition_point(|entry| Some(entry.events.raw.covers.through) <= position);
        // The number of batches in memory is far below 2^64.
        self.first + before as u64
    }

    fn entry(&mut self, sequence: u64) -> Option<&mut Entry> {
        let index = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(index)
    }

    /// Moves a cursor and keeps the counts that go with it.
    fn set_place(&mut self, id: CursorId, place: Place) {
        let Some(cursor) = self.cursors.get_mut(&id) else { return };
        let old = std::mem::replace(&mut cursor.place, place);
        self.count(old, false);
        self.count(place, true);
    }

    fn count(&mut self, place: Place, joins: bool) {
        let step = |count: &mut usize| *count = if joins { *count + 1 } else { *count - 1 };
        match place {
            Place::Own => step(&mut self.own),
            Place::Shared(sequence) => {
                step(&mut self.shared);
                let skipped = usize::try_from(sequence.saturating_sub(self.first)).unwrap_or(usize::MAX);
                self.entries.iter_mut().skip(skipped).for_each(|entry| step(&mut entry.wanted));
            }
            Place::New(_) | Place::Off => {}
        }
    }

    /// Drops what every view has taken, unless one is catching up and may want it. Returns bytes freed.
    fn drop_unwanted(&mut self) -> usize {
        let mut freed = 0;
        while self.own == 0 && self.entries.front().is_some_and(|entry| entry.taken && entry.wanted == 0) {
            freed += self.pop().unwrap_or(0);
        }
        freed
    }

    fn pop(&mut self) -> Option<usize> {
        let entry = self.entries.pop_front()?;
        debug_assert!(entry.taken, "a batch stays until a view has taken it");
        self.first += 1;
        self.base = Some(entry.events.raw.covers.through);
        Some(entry.weight)
    }
}
