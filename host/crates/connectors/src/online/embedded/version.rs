//! Row versions in the compact form that the table compares, and the numbers that stand for partition names there.
//!
//! The order is that of `model::position::RowVersion`; names are looked at only where event times are equal and
//! partitions are not.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use model::position::{Partition, Position, RowVersion};

/// A [`RowVersion`] whose partition is a number of [`PartitionNames`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Version<'a> {
    pub(super) event_time: i64,
    pub(super) partition: u32,
    pub(super) position: &'a [u8],
    pub(super) generation: u32,
    pub(super) ordinal: u32,
}

impl Version<'_> {
    #[inline]
    pub(super) fn compare(&self, other: &Self, names: &PartitionNames) -> Ordering {
        self.event_time
            .cmp(&other.event_time)
            .then_with(|| names.compare(self.partition, other.partition))
            .then_with(|| self.position.cmp(other.position))
            .then_with(|| self.generation.cmp(&other.generation))
            .then_with(|| self.ordinal.cmp(&other.ordinal))
    }

    /// The version in the vocabulary's form; `None` if its position is too long, which no writer makes.
    pub(super) fn to_row_version(self, names: &PartitionNames) -> Option<RowVersion> {
        Some(RowVersion {
            event_time: self.event_time,
            partition: names.name(self.partition),
            position: Position::from_bytes(self.position)?,
            generation: self.generation,
            row: self.ordinal,
        })
    }
}

/// Partition names by number. Numbers live as long as the process; on disk stand the names.
#[derive(Default)]
pub(super) struct PartitionNames {
    names: RwLock<Names>,
}

#[derive(Default)]
struct Names {
    by_number: Vec<Partition>,
    by_name: HashMap<Partition, u32>,
}

impl PartitionNames {
    /// The number of a partition, a new one if it was never seen.
    pub(super) fn number(&self, partition: &Partition) -> u32 {
        // A panic while this lock is held leaves whole names behind: entries are pushed before they are found.
        if let Some(number) = self.names.read().unwrap_or_else(PoisonError::into_inner).by_name.get(partition)
        {
            return *number;
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = names.by_name.get(partition) {
            return *number;
        }
        let number = u32::try_from(names.by_number.len()).expect("a host reads fewer than 2^32 partitions");
        names.by_number.push(partition.clone());
        names.by_name.insert(partition.clone(), number);
        number
    }

    pub(super) fn name(&self, number: u32) -> Partition {
        self.names.read().unwrap_or_else(PoisonError::into_inner).by_number[number as usize].clone()
    }

    #[inline]
    fn compare(&self, left: u32, right: u32) -> Ordering {
        if left == right {
            return Ordering::Equal;
        }
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.by_number[left as usize].cmp(&names.by_number[right as usize])
    }
}
