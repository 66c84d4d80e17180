//! Where records live: in chunks that never move, with a list of free places.

use super::record::Record;

/// Records in a chunk: 12 KiB, so that an empty store is small and a full one has few chunks.
const CHUNK: u32 = 256;

/// Free places are worth giving back once they are more than this part of all.
const MOST_FREE_PART: u32 = 8;

#[derive(Default)]
pub(super) struct Slab {
    chunks: Vec<Box<[Record]>>,
    free: Vec<u32>,
}

impl Slab {
    #[inline]
    pub(super) fn get(&self, place: u32) -> &Record {
        &self.chunks[(place / CHUNK) as usize][(place % CHUNK) as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: u32) -> &mut Record {
        &mut self.chunks[(place / CHUNK) as usize][(place % CHUNK) as usize]
    }

    pub(super) fn insert(&mut self, record: Record) -> u32 {
        if self.free.is_empty() {
            let first = self.places();
            self.chunks.push((0..CHUNK).map(|_| Record::vacant()).collect());
            self.free.extend((first..first + CHUNK).rev());
        }
        let place = self.free.pop().expect("a chunk was just added if there was no free place");
        *self.get_mut(place) = record;
        place
    }

    pub(super) fn remove(&mut self, place: u32) -> Record {
        self.free.push(place);
        std::mem::replace(self.get_mut(place), Record::vacant())
    }

    /// Gives the last chunks back if many places are free, moving the records in them to free places before.
    /// Records that the disk does not have yet are referred to by place, so their chunk ends it. `moved` hears the tag
    /// of each record that moves, its old and its new place.
    pub(super) fn trim(&mut self, mut moved: impl FnMut(u32, u32, u32)) {
        let free = u32::try_from(self.free.len()).expect("there are fewer than 2^32 places");
        if free <= self.places() / MOST_FREE_PART + 2 * CHUNK {
            return;
        }
        // Half of what is free may go; the rest spares the next entities a new chunk.
        let fewest = self.chunks.len() - (free / 2 / CHUNK) as usize;
        let kept = self
            .chunks
            .iter()
            .rposition(|chunk| chunk.iter().any(Record::is_pinned))
            .map_or(0, |last| last + 1)
            .max(fewest);
        let tail = self.chunks.split_off(kept);
        let (first, end) = (self.places(), self.places() + CHUNK * u32::try_from(tail.len()).unwrap_or(0));
        self.free.retain(|place| *place < first);
        let records = tail.into_iter().flat_map(<[Record]>::into_vec);
        for (from, record) in (first..end).zip(records).filter(|(_, record)| !record.is_vacant()) {
            let tag = record.tag;
            moved(tag, from, self.insert(record));
        }
        self.free.shrink_to(self.free.len() * 2);
    }

    pub(super) fn places(&self) -> u32 {
        u32::try_from(self.chunks.len()).expect("memory ends long before 2^32 chunks") * CHUNK
    }

    pub(super) fn allocated(&self) -> usize {
        self.chunks.len() * CHUNK as usize * size_of::<Record>() + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::DIRTY;
    use super::super::version::Version;
    use super::*;

    fn record(number: u32, flags: u8) -> Record {
        let version = Version { event_time: 0, partition: 0, position: &[], generation: 0, ordinal: 0 };
        Record::new(number, &number.to_be_bytes(), &version, flags, &[])
    }

    #[test]
    fn chunks_are_given_back_and_records_stay_findable() {
        for pinned in [None, Some(3000), Some(9000)] {
            let mut slab = Slab::default();
            let mut places: Vec<u32> = (0..10_000u32)
                .map(|number| slab.insert(record(number, if pinned == Some(number) { DIRTY } else { 0 })))
                .collect();
            let full = slab.places();
            for (number, place) in
                (0..).zip(&places).filter(|(number, _)| number % 10 != 0 && pinned != Some(*number))
            {
                assert_eq!(slab.remove(*place).tag, number);
            }
            for _ in 0..10 {
                slab.trim(|tag, from, to| {
                    assert_eq!(std::mem::replace(&mut places[tag as usize], to), from);
                });
            }
            for number in (0..10_000).step_by(10) {
                assert_eq!(slab.get(places[number as usize]).tag, number);
            }
            match pinned {
                Some(9000) => assert!(slab.places() > 9000),
                _ => assert!(slab.places() < full / 2, "{} of {full}", slab.places()),
            }
        }
    }
}
