//! Where a key's record is: an open-addressing table from tags to places in a slab.
//!
//! Slots are 8 bytes and lie in probing order, so a look-up mostly touches one cache line. Removing shifts later slots
//! back instead of leaving a mark: a table that forgets as much as it learns must neither grow nor slow down. Keys are
//! not here; whoever looks up says whether a place is the right one.

/// Stands for an empty slot, and for a key without a record.
pub(super) const NOWHERE: u32 = u32::MAX;

const LEAST_SLOTS: usize = 16;

#[derive(Clone, Copy)]
struct Slot {
    tag: u32,
    place: u32,
}

const EMPTY: Slot = Slot { tag: 0, place: NOWHERE };

#[derive(Default)]
pub(super) struct Index {
    /// A power of two of them, at most three quarters in use; none before the first key.
    slots: Vec<Slot>,
    len: usize,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn allocated(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// The place with this tag for which `is_it` holds; [`NOWHERE`] if there is none.
    #[inline]
    pub(super) fn find(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> u32 {
        self.slot_of(tag, is_it).map_or(NOWHERE, |slot| self.slots[slot].place)
    }

    /// Adds a place, which must not be in the table.
    pub(super) fn insert(&mut self, tag: u32, place: u32) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            let larger = vec![EMPTY; (self.slots.len() * 2).max(LEAST_SLOTS)];
            for slot in std::mem::replace(&mut self.slots, larger) {
                if slot.place != NOWHERE {
                    self.put(slot);
                }
            }
        }
        self.put(Slot { tag, place });
        self.len += 1;
    }

    /// Notes that a record has moved.
    pub(super) fn relocate(&mut self, tag: u32, from: u32, to: u32) {
        if let Some(slot) = self.slot_of(tag, |place| place == from) {
            self.slots[slot].place = to;
        }
    }

    pub(super) fn remove(&mut self, tag: u32, place: u32) {
        let Some(mut hole) = self.slot_of(tag, |found| found == place) else { return };
        let mask = self.slots.len() - 1;
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let slot = self.slots[next];
            if slot.place == NOWHERE {
                break;
            }
            // A slot may go back to the hole unless that lies before where its key begins to be looked for.
            let home = slot.tag as usize & mask;
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.slots[hole] = slot;
                hole = next;
            }
        }
        self.slots[hole] = EMPTY;
        self.len -= 1;
    }

    #[inline]
    fn slot_of(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut index = tag as usize & mask;
        loop {
            let slot = self.slots[index];
            if slot.place == NOWHERE {
                return None;
            }
            if slot.tag == tag && is_it(slot.place) {
                return Some(index);
            }
            index = (index + 1) & mask;
        }
    }

    fn put(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut index = slot.tag as usize & mask;
        while self.slots[index].place != NOWHERE {
            index = (index + 1) & mask;
        }
        self.slots[index] = slot;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few tags that collide, many insertions and removals: what is found is what a map finds.
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((0..40u32, any::<bool>()), 1..400)) {
            let mut index = Index::default();
            let mut expected = BTreeMap::new();
            let tag_of = |place: u32| (place % 7).wrapping_mul(0x5000_0003);
            for (place, add) in steps {
                match (add, expected.contains_key(&place)) {
                    (true, false) => {
                        index.insert(tag_of(place), place);
                        expected.insert(place, ());
                    }
                    (false, true) => {
                        index.remove(tag_of(place), place);
                        expected.remove(&place);
                    }
                    _ => {}
                }
                for place in 0..40 {
                    let found = index.find(tag_of(place), |found| found == place);
                    prop_assert_eq!(found, if expected.contains_key(&place) { place } else { NOWHERE });
                }
            }
            prop_assert_eq!(index.len(), expected.len());
        }
    }
}
