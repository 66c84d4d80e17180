//! What stands between the values of an event, learned from the events before.
//!
//! Two texts are remembered for each place, so that events of two shapes in turn (a key that is sometimes missing) are
//! no worse off than events of one.

use hashbrown::HashMap;

use super::cursor::Cursor;
use super::problem::{Kind, Problem};

/// Bytes between two values that are worth remembering.
const MAX_EXPECTED: usize = 64;
/// Unknown keys that get a place of their own; further ones share one.
const MAX_UNKNOWN: usize = 32;
/// Bytes that are compared at once.
const BLOCK: usize = 16;

/// A place in an event: before the object, at the value of a column, at the value of an unknown key, or behind all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u32);

/// What a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// The value of a column.
    Column(usize),
    /// The value of a key that is no column.
    Unknown,
    /// Behind the object and all white space.
    End,
}

/// A text that may follow a value, and where it leads.
#[derive(Debug)]
struct Expected {
    /// The first bytes, and which of them count.
    first: u128,
    mask: u128,
    length: usize,
    next: Place,
    /// Bytes beyond the first block.
    rest: Vec<u8>,
}

/// The texts that may follow a value: first the one that came last.
#[derive(Debug)]
struct Options {
    likely: Expected,
    other: Expected,
}

/// What is expected at each place.
#[derive(Debug)]
pub(super) struct Expectations {
    /// The start, then the columns, then unknown keys.
    places: Vec<Options>,
    columns: u32,
    unknown: Vec<Vec<u8>>,
    /// Which columns are read from the payload, by name.
    by_name: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    scratch: Vec<u8>,
}

impl Place {
    /// Before the object.
    pub(super) const START: Self = Self(0);
    /// Behind the object.
    const END: Self = Self(u32::MAX);
}

impl Expected {
    fn nothing() -> Self {
        // No block has a bit set that does not count.
        Self { first: 1, mask: 0, length: 0, next: Place::END, rest: Vec::new() }
    }

    fn set(&mut self, text: &[u8], next: Place) {
        *self = Self::nothing();
        if text.len() > MAX_EXPECTED {
            return;
        }
        let (mut first, mut mask) = ([0; BLOCK], [0; BLOCK]);
        for ((first, mask), byte) in first.iter_mut().zip(&mut mask).zip(text) {
            (*first, *mask) = (*byte, 0xff);
        }
        *self = Self {
            first: u128::from_le_bytes(first),
            mask: u128::from_le_bytes(mask),
            length: text.len(),
            next,
            rest: text.get(BLOCK..).unwrap_or_default().to_vec(),
        };
    }

    /// Whether the expected text is here, and all of it in the event.
    #[inline(always)]
    fn matches(&self, cursor: &Cursor<'_>) -> bool {
        match cursor.load16(cursor.at) {
            Some(block) => {
                block & self.mask == self.first
                    && cursor.at + self.length <= cursor.end()
                    && (self.length <= BLOCK || self.rest_matches(cursor))
            }
            None => self.matches_slowly(cursor),
        }
    }

    fn rest_matches(&self, cursor: &Cursor<'_>) -> bool {
        cursor.slice(cursor.at + BLOCK, cursor.at + self.length) == self.rest
    }

    /// Within the last bytes of the allocation.
    #[cold]
    fn matches_slowly(&self, cursor: &Cursor<'_>) -> bool {
        if self.length == 0 || cursor.at + self.length > cursor.end() {
            return false;
        }
        let text = cursor.slice(cursor.at, cursor.at + self.length);
        let (first, rest) = text.split_at(text.len().min(BLOCK));
        first == &self.first.to_le_bytes()[..first.len()] && rest == self.rest
    }
}

impl Expectations {
    /// Nothing is expected yet. `names`: the columns that the payload fills, by index.
    pub(super) fn new<'a>(columns: u32, names: impl Iterator<Item = (u32, &'a str)>) -> Self {
        let by_name = names.map(|(index, name)| (Box::from(name.as_bytes()), index)).collect();
        let places =
            (0..=columns).map(|_| Options { likely: Expected::nothing(), other: Expected::nothing() });
        Self { places: places.collect(), columns, unknown: Vec::new(), by_name, scratch: Vec::new() }
    }

    /// The column of a key.
    pub(super) fn column(&self, key: &[u8]) -> Option<usize> {
        self.by_name.get(key).map(|index| *index as usize)
    }

    /// What a place is.
    #[inline(always)]
    pub(super) fn at(&self, place: Place) -> At {
        // The start is behind no text, so it never comes here.
        let index = place.0.wrapping_sub(1);
        if index < self.columns {
            At::Column(index as usize)
        } else if place == Place::END {
            At::End
        } else {
            At::Unknown
        }
    }

    /// Steps from behind the value at `place` to the next value, or behind the object and all white space.
    #[inline(always)]
    pub(super) fn step(&mut self, place: Place, cursor: &mut Cursor<'_>) -> Result<Place, Problem> {
        let likely = &self.places[place.0 as usize].likely;
        if likely.matches(cursor) {
            let (end, next) = (cursor.at + likely.length, likely.next);
            if next != Place::END || end == cursor.end() {
                cursor.at = end;
                return Ok(next);
            }
        }
        cursor.aside(|cursor| self.other(place, cursor))
    }

    #[inline(never)]
    fn other(&mut self, place: Place, cursor: &mut Cursor<'_>) -> Result<Place, Problem> {
        let options = &mut self.places[place.0 as usize];
        std::mem::swap(&mut options.likely, &mut options.other);
        if options.likely.matches(cursor) {
            let (end, next) = (cursor.at + options.likely.length, options.likely.next);
            if next != Place::END || end == cursor.end() {
                cursor.at = end;
                return Ok(next);
            }
        }
        self.learn(place, cursor)
    }

    /// Reads what is here and expects it the next time.
    fn learn(&mut self, place: Place, cursor: &mut Cursor<'_>) -> Result<Place, Problem> {
        let start = cursor.at;
        let first = place == Place::START;
        if first {
            cursor.skip_whitespace();
            // The cursor counts this level already.
            cursor.expect(b'{', "`{`")?;
        }
        let next = match cursor.next_key(first)? {
            None => {
                cursor.skip_whitespace();
                if !cursor.is_done() {
                    return Err(cursor.problem(Kind::Trailing));
                }
                Place::END
            }
            Some(key) => {
                let mut scratch = std::mem::take(&mut self.scratch);
                let key = cursor.unescape(key, &mut scratch);
                let next = match self.by_name.get(key) {
                    Some(index) => Place(index + 1),
                    None => self.unknown_place(key),
                };
                self.scratch = scratch;
                next
            }
        };
        self.places[place.0 as usize].likely.set(cursor.slice(start, cursor.at), next);
        Ok(next)
    }

    fn unknown_place(&mut self, key: &[u8]) -> Place {
        let index = self.unknown.iter().position(|known| known == key).unwrap_or_else(|| {
            if self.unknown.len() <= MAX_UNKNOWN {
                // The last place is for all keys that found no other.
                let last = self.unknown.len() == MAX_UNKNOWN;
                self.unknown.push(if last { Vec::new() } else { key.to_vec() });
                self.places.push(Options { likely: Expected::nothing(), other: Expected::nothing() });
            }
            self.unknown.len() - 1
        });
        // At most `MAX_UNKNOWN`, far below the range of u32.
        Place(self.columns + 1 + u32::try_from(index).unwrap_or(0))
    }
}
