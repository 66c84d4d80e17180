//! One entity's newest row: in memory as a [`Record`], on disk as a value. Rows themselves are opaque here.
//!
//! On disk, little-endian: format `1`, flags, position length (a byte each), partition length (u32), generation (u32),
//! ordinal (u32), event time (i64), position, partition name, row.

use std::cmp::Ordering;

use model::error::Failure;
use model::position::Partition;

use super::shard::Row;
use super::version::{PartitionNames, Version};

/// The row differs from what is on disk; it stands in its shard's list of changed rows.
pub(super) const DIRTY: u8 = 1;
/// The row is part of the checkpoint that is being written.
pub(super) const IN_FLIGHT: u8 = 2;
/// Read or written since the clock's hand last passed.
pub(super) const REFERENCED: u8 = 4;
/// The entity was deleted; there is no row, only the version that says when.
pub(super) const TOMBSTONE: u8 = 8;

const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 3 + 4 + 4 + 4 + 8;

/// One entity's newest row in memory: 48 bytes and one allocation.
pub(super) struct Record {
    pub(super) event_time: i64,
    /// Key, position, row, slack.
    data: Box<[u8]>,
    partition: u32,
    generation: u32,
    ordinal: u32,
    row_len: u32,
    /// The low half of the key's hash: finds the slot again when the record is removed.
    pub(super) tag: u32,
    key_len: u16,
    position_len: u8,
    pub(super) flags: u8,
}

impl Record {
    /// What stands in places of a slab that are free.
    pub(super) fn vacant() -> Self {
        Self {
            event_time: 0,
            data: Box::default(),
            partition: 0,
            generation: 0,
            ordinal: 0,
            row_len: 0,
            tag: 0,
            key_len: 0,
            position_len: 0,
            flags: 0,
        }
    }

    pub(super) fn new(tag: u32, key: &[u8], version: &Version<'_>, flags: u8, row: &[u8]) -> Self {
        let mut data = allocate(key.len() + version.position.len() + row.len());
        data[..key.len()].copy_from_slice(key);
        let mut record = Self {
            data,
            tag,
            key_len: u16::try_from(key.len()).expect("keys are shortened to about a kilobyte"),
            ..Self::vacant()
        };
        record.store(version, flags, row);
        record
    }

    /// Whether the place of a slab holds nothing: every key begins with its row set.
    pub(super) fn is_vacant(&self) -> bool {
        self.key_len == 0
    }

    /// Whether it must stay in memory, because the disk does not have it yet.
    pub(super) fn is_pinned(&self) -> bool {
        self.flags & (DIRTY | IN_FLIGHT) != 0
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        &self.data[..usize::from(self.key_len)]
    }

    #[inline]
    pub(super) fn version(&self) -> Version<'_> {
        let start = usize::from(self.key_len);
        Version {
            event_time: self.event_time,
            partition: self.partition,
            position: &self.data[start..start + usize::from(self.position_len)],
            generation: self.generation,
            ordinal: self.ordinal,
        }
    }

    /// The row; empty for a tombstone.
    pub(super) fn row(&self) -> &[u8] {
        let start = usize::from(self.key_len) + usize::from(self.position_len);
        &self.data[start..start + self.row_len as usize]
    }

    pub(super) fn is_tombstone(&self) -> bool {
        self.flags & TOMBSTONE != 0
    }

    /// Bytes that it occupies beyond its place in the slab.
    pub(super) fn allocated(&self) -> usize {
        self.data.len()
    }

    /// Bytes that it occupies.
    pub(super) fn weight(&self) -> usize {
        self.data.len() + size_of::<Self>()
    }

    #[inline]
    pub(super) fn compare(&self, version: &Version<'_>, names: &PartitionNames) -> Ordering {
        self.version().compare(version, names)
    }

    /// Replaces version and row, in place if they fit. `flags` replaces the tombstone flag only.
    #[inline]
    pub(super) fn replace(&mut self, version: &Version<'_>, flags: u8, row: &[u8]) {
        let key_len = usize::from(self.key_len);
        let needed = key_len + version.position.len() + row.len();
        // Rows that shrink to less than half give the rest back.
        if needed > self.data.len() || needed < self.data.len() / 2 {
            let mut data = allocate(needed);
            data[..key_len].copy_from_slice(&self.data[..key_len]);
            self.data = data;
        }
        self.store(version, flags, row);
    }

    #[inline]
    fn store(&mut self, version: &Version<'_>, flags: u8, row: &[u8]) {
        let start = usize::from(self.key_len);
        let middle = start + version.position.len();
        self.data[start..middle].copy_from_slice(version.position);
        self.data[middle..middle + row.len()].copy_from_slice(row);
        self.event_time = version.event_time;
        self.partition = version.partition;
        self.generation = version.generation;
        self.ordinal = version.ordinal;
        self.row_len = u32::try_from(row.len()).expect("a row has less than 4 GiB");
        self.position_len = u8::try_from(version.position.len()).expect("a position has at most 32 bytes");
        self.flags = (self.flags & !TOMBSTONE) | flags;
    }

    /// Appends the value that stands for this record on disk.
    pub(super) fn append_value(&self, names: &PartitionNames, out: &mut Vec<u8>) {
        let version = self.version();
        let partition = names.name(version.partition);
        let partition = partition.as_str().as_bytes();
        let partition_len = u32::try_from(partition.len()).expect("a partition's name has less than 4 GiB");
        out.extend_from_slice(&[FORMAT, self.flags & TOMBSTONE, self.position_len]);
        out.extend_from_slice(&partition_len.to_le_bytes());
        out.extend_from_slice(&version.generation.to_le_bytes());
        out.extend_from_slice(&version.ordinal.to_le_bytes());
        out.extend_from_slice(&version.event_time.to_le_bytes());
        out.extend_from_slice(version.position);
        out.extend_from_slice(partition);
        out.extend_from_slice(self.row());
    }
}

/// A value that was read from disk.
pub(super) struct Stored<'a> {
    pub(super) version: Version<'a>,
    /// [`TOMBSTONE`] or nothing.
    pub(super) flags: u8,
    pub(super) row: &'a [u8],
}

impl<'a> Stored<'a> {
    pub(super) fn parse(value: &'a [u8], names: &PartitionNames) -> Result<Self, Failure> {
        Self::try_parse(value, names).ok_or_else(damaged)
    }

    /// As it goes into the table.
    pub(super) fn to_row(&self, tag: u32, key: &'a [u8]) -> Row<'a> {
        Row { tag, key, version: self.version, flags: self.flags, row: self.row }
    }

    fn try_parse(value: &'a [u8], names: &PartitionNames) -> Option<Self> {
        let (head, rest) = value.split_at_checked(HEAD_BYTES)?;
        if head[0] != FORMAT {
            return None;
        }
        let (position, rest) = rest.split_at_checked(usize::from(head[2]))?;
        let partition_len = u32::from_le_bytes(head[3..7].try_into().ok()?);
        let (partition, row) = rest.split_at_checked(partition_len as usize)?;
        Some(Self {
            version: Version {
                event_time: event_time(value)?,
                partition: names.number(&Partition::new(std::str::from_utf8(partition).ok()?)),
                position,
                generation: u32::from_le_bytes(head[7..11].try_into().ok()?),
                ordinal: u32::from_le_bytes(head[11..15].try_into().ok()?),
            },
            flags: head[1] & TOMBSTONE,
            row,
        })
    }
}

/// Event time of a value on disk, without reading the rest.
pub(super) fn event_time(value: &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(value.get(15..HEAD_BYTES)?.try_into().ok()?))
}

/// Whether a value on disk is a tombstone.
pub(super) fn is_tombstone(value: &[u8]) -> bool {
    value.get(1).is_some_and(|flags| flags & TOMBSTONE != 0)
}

/// A row on disk that nothing of this host has written.
pub(super) fn damaged() -> Failure {
    Failure::stop(
        "read a stored row: it is damaged; restore the data directory from a copy, or remove it and replay",
    )
}

/// An allocation of at least `len` bytes, rounded up to sizes that allocators keep anyway, so that what is counted is
/// what is used, and a row that grows a little stays where it is.
fn allocate(len: usize) -> Box<[u8]> {
    let step = if len <= 128 { 16 } else { (len.next_power_of_two() / 16).max(16) };
    vec![0; len.next_multiple_of(step)].into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back() {
        let names = PartitionNames::default();
        let version = Version {
            event_time: -5,
            partition: names.number(&Partition::new("shard-1")),
            position: &[1, 2, 3],
            generation: 4,
            ordinal: 5,
        };
        let record = Record::new(9, b"key", &version, TOMBSTONE, b"row");
        let mut value = Vec::new();
        record.append_value(&names, &mut value);
        let stored = Stored::parse(&value, &names).unwrap();
        assert_eq!(stored.version.compare(&version, &names), Ordering::Equal);
        assert_eq!((stored.flags, stored.row), (TOMBSTONE, &b"row"[..]));
        assert_eq!((event_time(&value), is_tombstone(&value)), (Some(-5), true));
        for end in 0..HEAD_BYTES + 3 + 7 {
            assert!(Stored::parse(&value[..end], &names).is_err(), "cut to {end}");
        }
    }

    #[test]
    fn rows_grow_and_shrink_in_place_or_not() {
        let names = PartitionNames::default();
        let version =
            |n: u32| Version { event_time: 1, partition: 0, position: &[0; 8], generation: n, ordinal: 0 };
        let mut record = Record::new(9, b"key", &version(1), 0, &[1; 20]);
        for length in [21, 400, 20, 0, 5000, 1] {
            record.replace(&version(2), 0, &vec![7; length]);
            assert_eq!((record.key(), record.row()), (&b"key"[..], &vec![7; length][..]));
            assert!(record.allocated() <= 2 * (3 + 8 + length) + 32, "slack is bounded");
        }
        assert_eq!(record.compare(&version(2), &names), Ordering::Equal);
        assert_eq!(size_of::<Record>(), 48);
    }
}
