//! Which transform made which stretch of a partition, and which one makes it again.
//!
//! The ledger keeps, for each generation, behind which position of each partition it begins. Replays below a swap run
//! on the component that made the rows first, so that what was emitted comes out again. Pure functions; the notes
//! themselves are written by whoever starts or swaps a view.
//!
//! A partition that an entry does not name was never reached by that generation, except by the oldest one that is
//! kept, which begins at the beginning. "From the beginning" is said with a position of no bytes, which is below all.

use model::online::GenerationEntry;
use model::position::{Partition, Position};
use model::source::Positions;
use model::view::{Digest, Generation};

/// The stretch of a partition that one generation makes; it begins where the one before it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The generation.
    pub(crate) generation: Generation,
    /// Its last position; `None` = it goes on.
    pub(crate) through: Option<Position>,
}

/// The position below all others: where a generation begins that has a whole partition.
pub(crate) fn beginning() -> Position {
    Position::from_bytes(&[]).expect("no bytes are fewer than the most that a position may have")
}

/// What a generation that takes over behind `after` notes in the ledger.
pub(crate) fn begins_after(after: Option<Position>) -> Position {
    after.unwrap_or_else(beginning)
}

/// What a start has to add to the ledger, if anything: a first or a new generation, or the partitions that a known
/// one has not reached.
///
/// `known`: for each partition the last position that any sink has, if one has any.
pub(crate) fn entry_for_start(
    generations: &[GenerationEntry],
    digest: Digest,
    known: &[(Partition, Option<Position>)],
) -> Option<GenerationEntry> {
    let Some(newest) = generations.last() else {
        return Some(GenerationEntry {
            generation: Generation { number: 1, digest },
            after: Positions::new(),
        });
    };
    let mut entry = if newest.generation.digest == digest {
        GenerationEntry { generation: newest.generation.clone(), after: Positions::new() }
    } else {
        let number = newest.generation.number + 1;
        GenerationEntry { generation: Generation { number, digest }, after: Positions::new() }
    };
    let is_new = entry.generation.number != newest.generation.number;
    if !is_new && generations.len() == 1 {
        return None;
    }
    for (partition, position) in known {
        if is_new || !newest.after.contains_key(partition) {
            entry.after.insert(partition.clone(), begins_after(*position));
        }
    }
    (is_new || !entry.after.is_empty()).then_some(entry)
}

/// Adds an entry as the ledger does: a further generation, or further partitions of a known one.
pub(crate) fn merge(generations: &mut Vec<GenerationEntry>, entry: &GenerationEntry) {
    match generations.iter_mut().find(|known| known.generation.number == entry.generation.number) {
        Some(known) => {
            known.after.extend(entry.after.iter().map(|(partition, after)| (partition.clone(), *after)))
        }
        None => {
            generations.push(entry.clone());
            generations.sort_by_key(|entry| entry.generation.number);
        }
    }
}

/// Who makes what of a partition behind `position`, in order. Never empty if there is a generation.
pub(crate) fn stretches(
    generations: &[GenerationEntry],
    partition: &Partition,
    position: Option<Position>,
) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut end: Option<Position> = None;
    for (index, entry) in generations.iter().enumerate().rev() {
        let begins = match entry.after.get(partition) {
            Some(after) => *after,
            None if index == 0 => beginning(),
            None => continue,
        };
        // A later generation that began further back has taken this one's place.
        if end.is_some_and(|end| end <= begins) {
            continue;
        }
        if end.is_some_and(|end| position.is_some_and(|position| end <= position)) {
            break;
        }
        stretches.push(Stretch { generation: entry.generation.clone(), through: end });
        end = Some(begins);
        if begins == beginning() {
            break;
        }
    }
    stretches.reverse();
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64) -> Position {
        Position::from_u64(number)
    }

    fn digest(number: u32) -> Digest {
        Digest([u8::try_from(number).unwrap(); 32])
    }

    fn entry(number: u32, after: Option<Position>) -> GenerationEntry {
        let partition = Partition::new("0");
        let after = after.into_iter().map(|after| (partition.clone(), after)).collect();
        GenerationEntry { generation: Generation { number, digest: digest(number) }, after }
    }

    /// Generations and where they begin; the position; what is expected as (generation, through).
    #[track_caller]
    fn check(entries: &[(u32, Option<u64>)], position: Option<u64>, expected: &[(u32, Option<u64>)]) {
        let entries: Vec<_> = entries.iter().map(|(number, after)| entry(*number, after.map(at))).collect();
        let found: Vec<_> = stretches(&entries, &Partition::new("0"), position.map(at))
            .into_iter()
            .map(|stretch| (stretch.generation.number, stretch.through.and_then(|through| through.as_u64())))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_stretch_is_made_by_who_made_it_first() {
        check(&[(1, None)], None, &[(1, None)]);
        check(&[(1, None), (2, Some(10))], None, &[(1, Some(10)), (2, None)]);
        check(&[(1, None), (2, Some(10))], Some(9), &[(1, Some(10)), (2, None)]);
        check(&[(1, None), (2, Some(10))], Some(10), &[(2, None)]);
        check(&[(1, None), (2, Some(10)), (3, Some(20))], Some(12), &[(2, Some(20)), (3, None)]);
        // The oldest kept one is not the first: it still has what lies below.
        check(&[(7, Some(10))], Some(3), &[(7, None)]);
    }

    #[test]
    fn a_swap_that_never_reached_a_partition_does_not_count_there() {
        check(&[(1, None), (2, None), (3, Some(5))], None, &[(1, Some(5)), (3, None)]);
        check(&[(1, None), (2, None)], None, &[(1, None)]);
    }

    #[test]
    fn a_later_generation_that_began_further_back_replaces_an_earlier_one() {
        check(&[(1, None), (2, Some(10)), (3, Some(8))], None, &[(1, Some(8)), (3, None)]);
    }

    #[test]
    fn a_start_notes_only_what_is_new() {
        let partition = Partition::new("0");
        let known = [(partition.clone(), Some(at(7)))];
        let first = entry_for_start(&[], digest(1), &known).unwrap();
        assert_eq!((first.generation.number, first.after.len()), (1, 0));
        assert_eq!(entry_for_start(std::slice::from_ref(&first), digest(1), &known), None);
        let second = entry_for_start(std::slice::from_ref(&first), digest(2), &known).unwrap();
        assert_eq!((second.generation.number, second.after.get(&partition)), (2, Some(&at(7))));
        let both = [first, second];
        assert_eq!(entry_for_start(&both, digest(2), &known), None);
        // Going back to the first component is a third generation.
        assert_eq!(entry_for_start(&both, digest(1), &known).unwrap().generation.number, 3);
        // A partition that the second never reached.
        let unreached = [(Partition::new("1"), None)];
        let further = entry_for_start(&both, digest(2), &unreached).unwrap();
        assert_eq!(
            (further.generation.number, further.after.get(&Partition::new("1"))),
            (2, Some(&beginning()))
        );
    }
}
