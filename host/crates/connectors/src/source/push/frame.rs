//! The bytes of the log: segment headers and frames, and nothing about files.
//!
//! All numbers are little-endian. A segment is a header and then frames without gaps; a frame is one group commit.
//!
//! ```text
//! segment header  magic 8 | version u32 | crc32c u32 | first sequence u64 | reserved u64
//! frame           magic u32 | crc32c of the header u32 | body bytes u32 | kind u32 | first sequence u64 | entries u32
//!                 rows u32 | crc32c of the body u32 | body
//! rows            { ingest time i64 | producer sequence u64 | rows u32 | producer name bytes u32 } × entries
//!                 producer names | row bytes u32 × rows | rows, one behind the other
//! producers       { sequence u64 | through u64 | ingest time i64 | accepted u32 | name bytes u32 } × entries | names
//! ```
//!
//! What stands in one frame became durable in one sync, and a frame is
//! begun only when the one before it is durable: a damaged frame with whole frames behind it is not a torn write.

use std::ops::Range;

use bytes::Bytes;

use super::producers::{Producers, Remembered};

/// The first bytes of each segment.
const SEGMENT_MAGIC: [u8; 8] = *b"mr-push\n";
/// Rises with each change of the layout above.
pub(super) const FORMAT_VERSION: u32 = 1;
/// Bytes in a segment header.
pub(super) const SEGMENT_HEADER_BYTES: usize = 32;
/// The first bytes of each frame; not zero, so that preallocated space is no frame.
pub(super) const FRAME_MAGIC: [u8; 4] = *b"\xf7mrf";
/// Bytes in a frame before its body.
pub(super) const FRAME_HEADER_BYTES: usize = 36;

const HEADER_CRC_AT: usize = 4;
/// What the checksum of the header covers begins here.
const LENGTH_AT: usize = 8;
const BODY_CRC_AT: usize = 32;
const KIND_ROWS: u32 = 1;
const KIND_PRODUCERS: u32 = 2;
const ENTRY_BYTES: usize = 24;
const PRODUCER_BYTES: usize = 32;
/// The name length that says that there is no producer.
const NO_PRODUCER: u32 = u32::MAX;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("does not begin like a file of a push log")]
    NotASegment,
    #[error("has format version {0}, but this host reads version {FORMAT_VERSION}")]
    Version(u32),
    #[error("has a damaged header")]
    Header,
    #[error("ends inside a frame")]
    Cut,
    #[error("has no frame where one should begin")]
    NotAFrame,
    #[error("has a frame whose checksum does not match")]
    Checksum,
    #[error("has a frame that contradicts itself")]
    Inconsistent,
}

/// A segment header.
pub(super) fn segment_header(first: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(&SEGMENT_MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&first.to_le_bytes());
    let crc = header_crc(&header);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    header
}

/// The first sequence that a segment header names.
pub(super) fn read_segment_header(header: &[u8]) -> Result<u64, Damage> {
    if header.len() < SEGMENT_HEADER_BYTES || header[..8] != SEGMENT_MAGIC {
        return Err(Damage::NotASegment);
    }
    // The version comes first: what follows it may look different in another one.
    let version = u32_at(header, 8);
    if version != FORMAT_VERSION {
        return Err(Damage::Version(version));
    }
    if u32_at(header, 12) != header_crc(header) {
        return Err(Damage::Header);
    }
    Ok(u64_at(header, 16))
}

fn header_crc(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..SEGMENT_HEADER_BYTES])
}

/// Rows that were pushed together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// When they were taken, microseconds since the epoch.
    pub(super) ingest_time: i64,
    /// Who sent them, and that client's count.
    pub(super) producer: Option<(&'a str, u64)>,
    /// What holds them.
    pub(super) body: &'a [u8],
    /// Start and end of each within `body`.
    pub(super) rows: &'a [(u32, u32)],
}

/// A frame of rows, the first of which has the sequence `first`. All sizes must fit in 4 GiB.
pub(super) fn encode_rows(first: u64, entries: &[Entry<'_>]) -> Vec<u8> {
    let rows = entries.iter().map(|entry| entry.rows.len()).sum::<usize>();
    let payload =
        entries.iter().flat_map(|entry| entry.rows).map(|(start, end)| (end - start) as usize).sum::<usize>();
    let names = entries.iter().filter_map(|entry| entry.producer).map(|(name, _)| name.len()).sum::<usize>();
    let body = entries.len() * ENTRY_BYTES + names + rows * 4 + payload;
    let mut frame = begin_frame(body, KIND_ROWS, first, entries.len(), rows);
    for entry in entries {
        let (name_bytes, sequence) =
            entry.producer.map_or((NO_PRODUCER, 0), |(name, sequence)| (size(name.len()), sequence));
        frame.extend_from_slice(&entry.ingest_time.to_le_bytes());
        frame.extend_from_slice(&sequence.to_le_bytes());
        frame.extend_from_slice(&size(entry.rows.len()).to_le_bytes());
        frame.extend_from_slice(&name_bytes.to_le_bytes());
    }
    for (name, _) in entries.iter().filter_map(|entry| entry.producer) {
        frame.extend_from_slice(name.as_bytes());
    }
    for (start, end) in entries.iter().flat_map(|entry| entry.rows) {
        frame.extend_from_slice(&(end - start).to_le_bytes());
    }
    for entry in entries {
        for (start, end) in entry.rows {
            frame.extend_from_slice(&entry.body[*start as usize..*end as usize]);
        }
    }
    finish_frame(frame)
}

/// A frame that carries what is remembered of producers into a new segment.
pub(super) fn encode_producers(first: u64, producers: &Producers) -> Vec<u8> {
    let names = producers.iter().map(|(name, _)| name.len()).sum::<usize>();
    let count = producers.iter().count();
    let mut frame = begin_frame(count * PRODUCER_BYTES + names, KIND_PRODUCERS, first, count, 0);
    for (name, last) in producers.iter() {
        frame.extend_from_slice(&last.sequence.to_le_bytes());
        frame.extend_from_slice(&last.through.to_le_bytes());
        frame.extend_from_slice(&last.ingest_time.to_le_bytes());
        frame.extend_from_slice(&last.accepted.to_le_bytes());
        frame.extend_from_slice(&size(name.len()).to_le_bytes());
    }
    for (name, _) in producers.iter() {
        frame.extend_from_slice(name.as_bytes());
    }
    finish_frame(frame)
}

fn begin_frame(body: usize, kind: u32, first: u64, entries: usize, rows: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + body);
    frame.extend_from_slice(&FRAME_MAGIC);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&size(body).to_le_bytes());
    frame.extend_from_slice(&kind.to_le_bytes());
    frame.extend_from_slice(&first.to_le_bytes());
    frame.extend_from_slice(&size(entries).to_le_bytes());
    frame.extend_from_slice(&size(rows).to_le_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame
}

fn finish_frame(mut frame: Vec<u8>) -> Vec<u8> {
    let body_crc = crc32c::crc32c(&frame[FRAME_HEADER_BYTES..]);
    frame[BODY_CRC_AT..FRAME_HEADER_BYTES].copy_from_slice(&body_crc.to_le_bytes());
    let header_crc = crc32c::crc32c(&frame[LENGTH_AT..FRAME_HEADER_BYTES]);
    frame[HEADER_CRC_AT..LENGTH_AT].copy_from_slice(&header_crc.to_le_bytes());
    frame
}

/// Bytes of the whole frame that begins here, if its header is sound; `header` has at least [`FRAME_HEADER_BYTES`].
pub(super) fn frame_bytes(header: &[u8]) -> Result<usize, Damage> {
    if header[..4] != FRAME_MAGIC {
        return Err(Damage::NotAFrame);
    }
    if u32_at(header, HEADER_CRC_AT) != crc32c::crc32c(&header[LENGTH_AT..FRAME_HEADER_BYTES]) {
        return Err(Damage::Checksum);
    }
    Ok(FRAME_HEADER_BYTES + u32_at(header, 8) as usize)
}

/// Checks the body of a whole frame, whose header is sound, against its checksum.
pub(super) fn verify_frame(frame: &[u8]) -> Result<(), Damage> {
    let is_sound = u32_at(frame, BODY_CRC_AT) == crc32c::crc32c(&frame[FRAME_HEADER_BYTES..]);
    if is_sound { Ok(()) } else { Err(Damage::Checksum) }
}

/// What a frame holds.
#[derive(Debug)]
pub(super) enum Content {
    /// Rows.
    Rows(Chunk),
    /// What was remembered of producers when the segment began.
    Producers(Vec<(String, Remembered)>),
}

/// Opens a frame that [`verify_frame`] found whole.
pub(super) fn open_frame(frame: Bytes) -> Result<Content, Damage> {
    match u32_at(&frame, 12) {
        KIND_ROWS => Chunk::new(frame).map(Content::Rows),
        KIND_PRODUCERS => read_producers(&frame).map(Content::Producers),
        _ => Err(Damage::Inconsistent),
    }
}

fn read_producers(frame: &[u8]) -> Result<Vec<(String, Remembered)>, Damage> {
    let count = u32_at(frame, 24) as usize;
    let mut names_at = FRAME_HEADER_BYTES + count * PRODUCER_BYTES;
    let table = frame.get(FRAME_HEADER_BYTES..names_at).ok_or(Damage::Inconsistent)?;
    let mut producers = Vec::with_capacity(count);
    for entry in table.chunks_exact(PRODUCER_BYTES) {
        let names_end = names_at + u32_at(entry, 28) as usize;
        let name = frame.get(names_at..names_end).ok_or(Damage::Inconsistent)?;
        names_at = names_end;
        let name = std::str::from_utf8(name).map_err(|_| Damage::Inconsistent)?;
        let (sequence, through) = (u64_at(entry, 0), u64_at(entry, 8));
        let (ingest_time, accepted) = (i64_at(entry, 16), u32_at(entry, 24));
        producers.push((name.to_owned(), Remembered { sequence, through, ingest_time, accepted }));
    }
    Ok(producers)
}

/// The rows of one group commit, as they stand in its frame.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Sequence of the first row.
    pub(super) first: u64,
    /// Number of rows; at least 1.
    pub(super) rows: usize,
    frame: Bytes,
    entries: usize,
    lengths_at: usize,
    payload_at: usize,
}

impl Chunk {
    /// The rows of a whole frame.
    pub(super) fn new(frame: Bytes) -> Result<Self, Damage> {
        let first = u64_at(&frame, 16);
        let (entries, rows) = (u32_at(&frame, 24) as usize, u32_at(&frame, 28) as usize);
        let names_at = FRAME_HEADER_BYTES + entries * ENTRY_BYTES;
        let table = frame.get(FRAME_HEADER_BYTES..names_at).ok_or(Damage::Inconsistent)?;
        let (mut names, mut counted) = (0, 0);
        for entry in table.chunks_exact(ENTRY_BYTES) {
            counted += u32_at(entry, 16) as usize;
            names += match u32_at(entry, 20) {
                NO_PRODUCER => 0,
                bytes => bytes as usize,
            };
        }
        let lengths_at = names_at + names;
        let payload_at = lengths_at + rows * 4;
        let lengths = frame.get(lengths_at..payload_at).ok_or(Damage::Inconsistent)?;
        let payload = lengths.chunks_exact(4).map(|length| u32_at(length, 0) as usize).sum::<usize>();
        if rows == 0 || counted != rows || payload_at + payload != frame.len() {
            return Err(Damage::Inconsistent);
        }
        Ok(Self { first, rows, frame, entries, lengths_at, payload_at })
    }

    /// The sequence behind the last row.
    pub(super) fn next(&self) -> u64 {
        self.first + self.rows as u64
    }

    /// Bytes that this chunk keeps alive.
    pub(super) fn weight(&self) -> usize {
        self.frame.len() + size_of::<Self>()
    }

    /// Bytes of all rows.
    pub(super) fn payload_bytes(&self) -> usize {
        self.frame.len() - self.payload_at
    }

    /// The length of each of these rows.
    pub(super) fn lengths(&self, rows: Range<usize>) -> impl Iterator<Item = u32> {
        let lengths = &self.frame[self.lengths_at + rows.start * 4..self.lengths_at + rows.end * 4];
        lengths.chunks_exact(4).map(|length| u32_at(length, 0))
    }

    /// `len` bytes of rows from `start` on, counted from the first row.
    pub(super) fn payload(&self, start: usize, len: usize) -> Bytes {
        self.frame.slice(self.payload_at + start..self.payload_at + start + len)
    }

    /// For each push in turn: how many rows it brought, and when it was taken.
    pub(super) fn ingest_times(&self) -> impl Iterator<Item = (usize, i64)> {
        self.table().map(|entry| (u32_at(entry, 16) as usize, i64_at(entry, 0)))
    }

    /// The pushes that named a producer, as they are to be remembered.
    pub(super) fn producers(&self) -> Vec<(String, Remembered)> {
        let mut names_at = FRAME_HEADER_BYTES + self.entries * ENTRY_BYTES;
        let mut next = self.first;
        let mut producers = Vec::new();
        for entry in self.table() {
            let accepted = u32_at(entry, 16);
            next += u64::from(accepted);
            let name_bytes = u32_at(entry, 20);
            if name_bytes == NO_PRODUCER {
                continue;
            }
            let name = &self.frame[names_at..names_at + name_bytes as usize];
            names_at += name_bytes as usize;
            let last = Remembered {
                sequence: u64_at(entry, 8),
                through: next.saturating_sub(1),
                ingest_time: i64_at(entry, 0),
                accepted,
            };
            // Names were texts when they were written, and the checksum holds.
            producers.push((String::from_utf8_lossy(name).into_owned(), last));
        }
        producers
    }

    fn table(&self) -> std::slice::ChunksExact<'_, u8> {
        self.frame[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + self.entries * ENTRY_BYTES]
            .chunks_exact(ENTRY_BYTES)
    }
}

fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a group commit is bounded far below 4 GiB")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("the slice has four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("the slice has eight bytes"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(bytes[at..at + 8].try_into().expect("the slice has eight bytes"))
}
