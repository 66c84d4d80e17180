//! Where the queue keeps things by number, and finds them by hash.

use std::hash::Hasher;

/// A vector whose free places are used again.
pub(super) struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slots<T> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Its place, until it is taken.
    pub(super) fn put(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(id) = self.free.pop() {
            self.places[id as usize] = Some(value);
            return id;
        }
        self.places.push(Some(value));
        u32::try_from(self.places.len() - 1).expect("the queue is bounded far below 2^32 records")
    }

    pub(super) fn get(&self, id: u32) -> &T {
        self.places[id as usize].as_ref().expect("an id is used until it is taken")
    }

    pub(super) fn get_mut(&mut self, id: u32) -> &mut T {
        self.places[id as usize].as_mut().expect("an id is used until it is taken")
    }

    pub(super) fn take(&mut self, id: u32) -> T {
        self.len -= 1;
        self.free.push(id);
        self.places[id as usize].take().expect("an id is used until it is taken")
    }
}

/// For keys that are hashes already.
#[derive(Default)]
pub(super) struct Already(u64);

impl Hasher for Already {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
