//! What decided that a row is the newest, as bytes beside Feast's: the field `_mv:<view>`.
//!
//! ```text
//! format       1, with the highest bit set in a tombstone; not part of the order
//! event time   8 bytes, big-endian, the sign bit turned round
//! partition    its name, ended by NUL
//! position     groups of eight bytes, the last filled up with zeros; behind each, how many of them count (9: there are more)
//! generation   u32, big-endian
//! row          u32, big-endian
//! ```
//!
//! Behind the format, the order of the bytes is the order of [`RowVersion`], for positions of any widths.

use model::batch::FeatureBatch;
use model::position::{MAX_POSITION_BYTES, Partition, Position, RowVersion};

use super::protobuf::Malformed;
use super::timestamp::parse_timestamp;

/// Set in the first byte of a tombstone.
pub(in crate::online::redis) const TOMBSTONE: u8 = 0x80;

const FORMAT: u8 = 1;
const GROUP: usize = 8;
const MORE: u8 = 9;
const SIGN: u64 = 1 << 63;

/// A [`RowVersion`] whose parts lie elsewhere.
#[derive(Debug, Clone, Copy)]
pub(in crate::online::redis) struct Version<'a> {
    pub(in crate::online::redis) event_time: i64,
    pub(in crate::online::redis) partition: &'a str,
    pub(in crate::online::redis) position: &'a [u8],
    pub(in crate::online::redis) generation: u32,
    pub(in crate::online::redis) row: u32,
}

impl<'a> Version<'a> {
    /// The version of a row of a batch.
    #[inline]
    pub(in crate::online::redis) fn of_row(batch: &'a FeatureBatch, row: usize) -> Self {
        Self {
            event_time: batch.event_times[row],
            partition: batch.partition.as_str(),
            position: batch.positions.bytes_at(row),
            generation: batch.generation.number,
            row: batch.ordinal(row),
        }
    }

    /// The version of a row that Feast has written: the oldest of its event time.
    pub(in crate::online::redis) fn of_feast(event_time: i64) -> Self {
        Self { event_time, partition: "", position: &[], generation: 0, row: 0 }
    }

    /// Appends it as bytes.
    #[inline]
    pub(in crate::online::redis) fn append(&self, tombstone: bool, out: &mut Vec<u8>) {
        out.push(FORMAT | if tombstone { TOMBSTONE } else { 0 });
        out.extend_from_slice(&(self.event_time.cast_unsigned() ^ SIGN).to_be_bytes());
        out.extend_from_slice(self.partition.as_bytes());
        out.push(0);
        let mut rest = self.position;
        loop {
            let (group, more) = rest.split_at(rest.len().min(GROUP));
            let mut bytes = [0; GROUP];
            bytes[..group.len()].copy_from_slice(group);
            out.extend_from_slice(&bytes);
            if more.is_empty() {
                // At most 8.
                out.push(group.len() as u8);
                break;
            }
            out.push(MORE);
            rest = more;
        }
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&self.row.to_be_bytes());
    }
}

impl<'a> From<&'a RowVersion> for Version<'a> {
    fn from(version: &'a RowVersion) -> Self {
        Self {
            event_time: version.event_time,
            partition: version.partition.as_str(),
            position: version.position.as_bytes(),
            generation: version.generation,
            row: version.row,
        }
    }
}

impl From<Version<'_>> for RowVersion {
    /// Panics if the position has more bytes than positions may have.
    fn from(version: Version<'_>) -> Self {
        Self {
            event_time: version.event_time,
            partition: Partition::new(version.partition),
            position: Position::from_bytes(version.position).expect("a position has at most 32 bytes"),
            generation: version.generation,
            row: version.row,
        }
    }
}

/// What Redis holds of an entity in a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::online::redis) struct Held {
    /// What a new row has to be newer than.
    pub(in crate::online::redis) version: RowVersion,
    /// Whether the entity was deleted as of that version.
    pub(in crate::online::redis) deleted: bool,
}

/// What is held, by the fields `_mv` and `_ts`; `None` = nothing.
///
/// Feast knows only `_ts`. Where that differs from ours, Feast has written since, and its row counts as the oldest of its
/// event time. Where it is missing, Feast has deleted the row; only a tombstone of ours needs none, and outlives what Feast
/// writes below it.
pub(in crate::online::redis) fn held(
    version: Option<&[u8]>,
    time: Option<&[u8]>,
) -> Result<Option<Held>, Malformed> {
    let ours = version.map(parse).transpose()?;
    let time = time.map(parse_timestamp).transpose()?;
    let of_feast = |time| Some(Held { version: Version::of_feast(time).into(), deleted: false });
    Ok(match (ours, time) {
        (None, None) => None,
        (None, Some(time)) => of_feast(time),
        (Some(ours), Some(time)) if ours.deleted && time > ours.version.event_time => of_feast(time),
        (Some(ours), _) if ours.deleted => Some(ours),
        (Some(_), None) => None,
        (Some(ours), Some(time)) if ours.version.event_time == time => Some(ours),
        (Some(_), Some(time)) => of_feast(time),
    })
}

/// Reads what [`Version::append`] wrote.
pub(in crate::online::redis) fn parse(bytes: &[u8]) -> Result<Held, Malformed> {
    try_parse(bytes).ok_or(Malformed("a version is damaged, or of a newer format"))
}

fn try_parse(bytes: &[u8]) -> Option<Held> {
    let (head, rest) = bytes.split_first()?;
    if head & !TOMBSTONE != FORMAT {
        return None;
    }
    let (event_time, rest) = rest.split_first_chunk::<8>()?;
    let end = memchr::memchr(0, rest)?;
    let partition = std::str::from_utf8(&rest[..end]).ok()?;
    let mut rest = &rest[end + 1..];
    let (mut position, mut length) = ([0; MAX_POSITION_BYTES], 0);
    loop {
        let (group, after) = rest.split_first_chunk::<GROUP>()?;
        let (count, after) = after.split_first()?;
        rest = after;
        let counting = usize::from((*count).min(GROUP as u8));
        if *count > MORE || group[counting..].iter().any(|byte| *byte != 0) {
            return None;
        }
        position.get_mut(length..length + counting)?.copy_from_slice(&group[..counting]);
        length += counting;
        if *count != MORE {
            break;
        }
    }
    let (generation, rest) = rest.split_first_chunk::<4>()?;
    let row: &[u8; 4] = rest.try_into().ok()?;
    let version = RowVersion {
        event_time: (u64::from_be_bytes(*event_time) ^ SIGN).cast_signed(),
        partition: Partition::new(partition),
        position: Position::from_bytes(&position[..length])?,
        generation: u32::from_be_bytes(*generation),
        row: u32::from_be_bytes(*row),
    };
    Some(Held { version, deleted: head & TOMBSTONE != 0 })
}
