//! Where an event stands in its source.
//!
//! A *partition* is a text that names one ordered sequence of events within a source.
//! A *position* is a byte string whose bytewise order is the order of events in the partition: 8 bytes big-endian for
//! push and file sources (and Kafka), 24 + 8 bytes for Kinesis. All positions of one partition have one width.
//!
//! Progress is always said as "through this position", inclusive; `None` means that nothing was read yet.

use std::fmt;
use std::sync::Arc;

/// The greatest number of bytes in a position.
pub const MAX_POSITION_BYTES: usize = 32;

/// The name of one ordered sequence of events within a source. Cheap to clone, compared bytewise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(Arc<str>);

impl Partition {
    /// A partition of that name. The name may not contain a NUL character: stores end it with one.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(name.as_ref().replace('\0', "\u{fffd}").into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A position within a partition: at most [`MAX_POSITION_BYTES`] bytes, ordered bytewise.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    bytes: [u8; MAX_POSITION_BYTES],
    len: u8,
}

impl Position {
    /// The position of these bytes; `None` if there are more than [`MAX_POSITION_BYTES`].
    pub fn from_bytes(source: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_POSITION_BYTES];
        bytes.get_mut(..source.len())?.copy_from_slice(source);
        Some(Self { bytes, len: u8::try_from(source.len()).ok()? })
    }

    /// The position of sources that count: 8 bytes big-endian.
    pub fn from_u64(number: u64) -> Self {
        let mut bytes = [0; MAX_POSITION_BYTES];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Self { bytes, len: 8 }
    }

    /// The number behind a position made by [`Position::from_u64`].
    pub fn as_u64(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.as_bytes().try_into().ok()?))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Reads what [`Position`]'s `Display` writes: lower-case hex.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if !digits.len().is_multiple_of(2) || digits.len() > 2 * MAX_POSITION_BYTES {
            return None;
        }
        let mut bytes = [0; MAX_POSITION_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self { bytes, len: u8::try_from(digits.len() / 2).ok()? })
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({self})")
    }
}

/// The positions of the rows of a batch: fixed width, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionColumn {
    width: usize,
    bytes: Vec<u8>,
}

impl PositionColumn {
    /// An empty column of positions of `width` bytes.
    pub fn new(width: usize) -> Self {
        debug_assert!((1..=MAX_POSITION_BYTES).contains(&width), "a position has 1 to 32 bytes");
        Self { width, bytes: Vec::new() }
    }

    /// `count` positions that count up from `first`.
    pub fn counting(first: u64, count: usize) -> Self {
        let mut bytes = Vec::with_capacity(count * 8);
        for number in (first..).take(count) {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        Self { width: 8, bytes }
    }

    /// Appends a position, which must have this column's width.
    pub fn push(&mut self, position: &Position) {
        debug_assert_eq!(
            position.as_bytes().len(),
            self.width,
            "all positions of a partition have one width"
        );
        self.bytes.extend_from_slice(position.as_bytes());
    }

    /// Appends a counted position.
    pub fn push_u64(&mut self, number: u64) {
        debug_assert_eq!(self.width, 8, "all positions of a partition have one width");
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes in each position.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The bytes of the position of `row`. Panics if there is no such row.
    pub fn bytes_at(&self, row: usize) -> &[u8] {
        &self.bytes[row * self.width..(row + 1) * self.width]
    }

    /// The position of `row`. Panics if there is no such row.
    pub fn at(&self, row: usize) -> Position {
        Position::from_bytes(self.bytes_at(row)).expect("the width was checked when the column was made")
    }

    /// The positions of these rows, in this order.
    #[must_use]
    pub fn take(&self, rows: &[u32]) -> Self {
        let mut bytes = Vec::with_capacity(rows.len() * self.width);
        for row in rows {
            bytes.extend_from_slice(self.bytes_at(*row as usize));
        }
        Self { width: self.width, bytes }
    }

    /// The positions of `len` rows from `offset` on.
    #[must_use]
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self {
            width: self.width,
            bytes: self.bytes[offset * self.width..(offset + len) * self.width].to_vec(),
        }
    }
}

/// The input that a batch covers: from `first` through `through`, both inclusive, including rows that were rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covers {
    /// Position of the first input row.
    pub first: Position,
    /// Position of the last input row.
    pub through: Position,
}

/// The total order of feature rows: event time, then source partition, source position, transform generation and the
/// ordinal of the row among the outputs of its input row. Stores keep the greatest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowVersion {
    /// Event time, microseconds since the epoch.
    pub event_time: i64,
    /// Source partition.
    pub partition: Partition,
    /// Source position.
    pub position: Position,
    /// Transform generation.
    pub generation: u32,
    /// Which of the output rows of the input row, from 0.
    pub row: u32,
}

impl RowVersion {
    /// An opaque text for readers: equal versions have equal texts, and it names everything that decides.
    pub fn token(&self) -> String {
        format!("{}.{}.{}.{}.{}", self.event_time, self.partition, self.position, self.generation, self.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_order_like_numbers() {
        let numbers = [0, 1, 255, 256, 65_535, u64::from(u32::MAX), u64::MAX];
        for pair in numbers.windows(2) {
            assert!(Position::from_u64(pair[0]) < Position::from_u64(pair[1]));
        }
        assert_eq!(Position::from_u64(77).as_u64(), Some(77));
    }

    #[test]
    fn hex_round_trips() {
        let position = Position::from_u64(0x0123_4567_89ab_cdef);
        assert_eq!(position.to_string(), "0123456789abcdef");
        assert_eq!(Position::from_hex("0123456789abcdef"), Some(position));
        assert_eq!(Position::from_hex("0"), None);
        assert_eq!(Position::from_hex("zz"), None);
        assert_eq!(Position::from_bytes(&[0; 33]), None);
    }

    #[test]
    fn a_column_gives_back_what_was_put_in() {
        let mut column = PositionColumn::counting(7, 3);
        column.push_u64(100);
        assert_eq!(column.len(), 4);
        assert_eq!(column.at(1), Position::from_u64(8));
        assert_eq!(column.take(&[3, 0]).at(0), Position::from_u64(100));
        assert_eq!(column.slice(1, 2).at(1), Position::from_u64(9));
    }
}
