//! Several rows of one entity in a batch → the newest of them, which alone goes to Redis.
//!
//! What the others were is said afterwards as if rows had been written one by one: a row that came behind a greater one
//! is late in any case; one that a later row has replaced is late if Redis held something greater than it.

use std::cmp::Ordering;

use hashbrown::HashTable;

use super::known::EntityHash;

/// The rows of a batch, sorted out.
#[derive(Debug, Default)]
pub(super) struct Collapsed {
    /// The newest row of each entity, ascending.
    pub(super) rows: Vec<u32>,
    /// Rows that were replaced by a later one: that one, which is among `rows`, and the replaced row. Ascending.
    pub(super) replaced: Vec<(u32, u32)>,
    /// Rows that came behind a greater one.
    pub(super) late: Vec<u32>,
}

/// Sorts out rows. `compare` compares the versions of two rows.
pub(super) fn collapse(entities: &[EntityHash], compare: impl Fn(u32, u32) -> Ordering) -> Collapsed {
    let mut collapsed = Collapsed::default();
    let mut newest: HashTable<u32> = HashTable::with_capacity(entities.len());
    // Rows that stand no longer for their entity, and those that do instead.
    let mut replaced: Vec<(u32, u32)> = Vec::new();
    for (row, entity) in (0..).zip(entities) {
        let is_same = |other: &u32| entities[*other as usize] == *entity;
        match newest.find_mut(entity.place(), is_same) {
            Some(held) if compare(*held, row) == Ordering::Greater => collapsed.late.push(row),
            Some(held) => replaced.push((row, std::mem::replace(held, row))),
            None => {
                newest.insert_unique(entity.place(), row, |other| entities[*other as usize].place());
            }
        }
    }
    if replaced.is_empty() && collapsed.late.is_empty() {
        collapsed.rows = (0..).take(entities.len()).collect();
        return collapsed;
    }
    for (_, row) in replaced {
        let entity = entities[row as usize];
        let last = newest.find(entity.place(), |other| entities[*other as usize] == entity);
        collapsed.replaced.push((*last.expect("an entity that was replaced has a newest row"), row));
    }
    collapsed.replaced.sort_unstable();
    collapsed.rows = newest.into_iter().collect();
    collapsed.rows.sort_unstable();
    collapsed
}

impl Collapsed {
    /// The rows that were replaced by this one.
    pub(super) fn replaced_by(&self, row: u32) -> impl Iterator<Item = u32> {
        let start = self.replaced.partition_point(|(by, _)| *by < row);
        self.replaced[start..].iter().take_while(move |(by, _)| *by == row).map(|(_, replaced)| *replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::super::known::EntityHasher;
    use super::*;

    #[track_caller]
    fn check(rows: &[(&str, i64)], expected: (&[u32], &[(u32, u32)], &[u32])) {
        let hasher = EntityHasher::default();
        let entities: Vec<EntityHash> =
            rows.iter().map(|(entity, _)| hasher.hash(entity.as_bytes())).collect();
        let found = collapse(&entities, |one, other| rows[one as usize].1.cmp(&rows[other as usize].1));
        assert_eq!((&found.rows[..], &found.replaced[..], &found.late[..]), expected);
    }

    #[test]
    fn the_newest_row_of_each_entity_is_left() {
        check(&[], (&[], &[], &[]));
        check(&[("a", 1), ("b", 1)], (&[0, 1], &[], &[]));
        check(&[("a", 1), ("b", 1), ("a", 2), ("a", 3)], (&[1, 3], &[(3, 0), (3, 2)], &[]));
        check(&[("a", 5), ("a", 2), ("b", 1), ("a", 6), ("a", 5)], (&[2, 3], &[(3, 0)], &[1, 4]));
        check(&[("a", 5), ("a", 5)], (&[1], &[(1, 0)], &[]));
    }
}
