//! The files of the log: making, writing, recovering and walking them. Who may delete them is decided elsewhere.
//!
//! A segment is named by the sequence of its first row. It is made under another name and renamed when its header is
//! durable, so a segment that has its name is whole up to a torn last frame. The segment that follows says where a
//! segment ends: what lies behind that (a frame whose sync failed) was never acknowledged and is not read.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::FallocateFlags;

use super::faults::Faults;
use super::frame::{self, Content, Damage, FRAME_HEADER_BYTES, FRAME_MAGIC, SEGMENT_HEADER_BYTES};
use super::producers::Producers;

/// Space is reserved in steps of this many bytes, so that a sync seldom has to write the file's size as well and a
/// full disk is met early. What a segment does not use is given back when it is closed.
const RESERVE_BYTES: u64 = 8 << 20;

/// Bytes that are read at once when a segment is walked.
const WALK_BYTES: usize = 256 << 10;

/// Bytes of frames between two entries of a segment's index: what a seek reads for nothing, at most.
const INDEX_EVERY_BYTES: u64 = 64 << 10;

/// The end of a segment's file name.
const SUFFIX: &str = "log";
/// The end of the name of a segment that is being made.
const UNFINISHED_SUFFIX: &str = "new";

/// Where a segment is and where in it to find what.
#[derive(Debug)]
pub(super) struct Segment {
    /// Sequence of its first row.
    pub(super) first: u64,
    /// Its file.
    pub(super) path: PathBuf,
    /// Bytes of the log that lie before it, counted from an arbitrary origin.
    pub(super) base: u64,
    /// Bytes that it holds.
    pub(super) end: u64,
    /// First sequence and offset of some of its frames, ascending.
    index: Vec<(u64, u64)>,
}

impl Segment {
    /// A segment that holds nothing but its header and its producers.
    pub(super) fn new(first: u64, path: PathBuf, base: u64, end: u64) -> Self {
        Self { first, path, base, end, index: vec![(first, SEGMENT_HEADER_BYTES as u64)] }
    }

    /// Notes that a frame was added.
    pub(super) fn grown(&mut self, first: u64, offset: u64, end: u64) {
        if self.index.last().is_none_or(|(_, indexed)| offset - indexed >= INDEX_EVERY_BYTES) {
            self.index.push((first, offset));
        }
        self.end = end;
    }

    /// An offset at or before the frame that holds this sequence.
    pub(super) fn offset_of(&self, sequence: u64) -> u64 {
        let behind = self.index.partition_point(|(first, _)| *first <= sequence);
        self.index[..behind].last().map_or(SEGMENT_HEADER_BYTES as u64, |(_, offset)| *offset)
    }
}

/// The name of the segment whose first row has this sequence.
fn segment_path(directory: &Path, first: u64) -> PathBuf {
    // Twenty digits hold every sequence, so that names sort like numbers.
    directory.join(format!("{first:020}.{SUFFIX}"))
}

/// The segments of a directory by first sequence; leftovers of unfinished ones are removed.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let suffix = path.extension().and_then(|suffix| suffix.to_str());
        if suffix == Some(UNFINISHED_SUFFIX) {
            fs::remove_file(&path)?;
        } else if suffix == Some(SUFFIX) {
            let first = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            segments.extend(first.map(|first| (first, path)));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// Makes file names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    file: File,
    /// Bytes that are whole and durable.
    end: u64,
    /// Bytes up to which space is reserved.
    reserved: u64,
    faults: Faults,
}

impl ActiveSegment {
    /// Makes a segment that begins with what is remembered of producers; on return it is durable.
    pub(super) fn create(
        directory: &Path,
        first: u64,
        producers: &Producers,
        faults: &Faults,
    ) -> io::Result<(Self, PathBuf)> {
        faults.before_create()?;
        let path = segment_path(directory, first);
        let unfinished = path.with_extension(UNFINISHED_SUFFIX);
        let mut start = frame::segment_header(first).to_vec();
        if !producers.is_empty() {
            start.extend_from_slice(&frame::encode_producers(first, producers));
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
        let end = start.len() as u64;
        let mut segment = Self { file, end, reserved: end, faults: faults.clone() };
        segment.file.write_all_at(&start, 0)?;
        segment.reserve(end + 1);
        segment.file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        sync_directory(directory)?;
        Ok((segment, path))
    }

    /// Goes on with a segment of which `end` bytes are whole; what lies behind is cut off.
    pub(super) fn resume(path: &Path, end: u64, faults: &Faults) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        file.set_len(end)?;
        let mut segment = Self { file, end, reserved: end, faults: faults.clone() };
        segment.reserve(end + 1);
        segment.file.sync_all()?;
        Ok(segment)
    }

    /// Bytes that are whole and durable.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Writes a frame behind the last one. It is not durable yet.
    pub(super) fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.reserve(self.end + frame.len() as u64);
        self.faults.before_write(&self.file, frame, self.end)?;
        self.file.write_all_at(frame, self.end)
    }

    /// Makes the frame that was written durable.
    pub(super) fn sync(&mut self, frame: &[u8]) -> io::Result<()> {
        self.faults.before_sync()?;
        self.file.sync_data()?;
        self.end += frame.len() as u64;
        Ok(())
    }

    /// Cuts off what was written behind the last durable frame, and the reserve.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        self.reserved = self.end;
        self.file.set_len(self.end)
    }

    fn reserve(&mut self, needed: u64) {
        if needed <= self.reserved {
            return;
        }
        let reserved = needed.next_multiple_of(RESERVE_BYTES);
        // Without a reserve the file grows as it is written: where the file system has no such call, or the disk is too
        // full for a whole step, writing says what is wrong, if anything is.
        if rustix::fs::fallocate(&self.file, FallocateFlags::empty(), self.end, reserved - self.end).is_ok() {
            self.reserved = reserved;
        }
    }
}

/// Where a walk stands.
#[derive(Debug)]
pub(super) enum Step {
    /// A whole frame.
    Frame(Content),
    /// There is nothing more up to the limit.
    End,
    /// Something that is no whole frame.
    Damaged(Damage),
}

/// Reads the frames of a segment one by one.
#[derive(Debug)]
pub(super) struct Walk {
    file: File,
    /// Bytes that were read ahead.
    buffer: Bytes,
    /// Offset of the first byte of `buffer`.
    offset: u64,
}

impl Walk {
    /// Begins at the frame at `offset`.
    pub(super) fn new(file: File, offset: u64) -> Self {
        Self { file, buffer: Bytes::new(), offset }
    }

    /// Offset of the next frame.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame, reading no byte at or behind `limit`: what lies there may be being written.
    pub(super) fn next(&mut self, limit: u64) -> io::Result<Step> {
        if self.offset >= limit || !self.fill(1, limit)? {
            return Ok(Step::End);
        }
        if !self.fill(FRAME_HEADER_BYTES, limit)? {
            return Ok(Step::Damaged(Damage::Cut));
        }
        let bytes = match frame::frame_bytes(&self.buffer) {
            Ok(bytes) => bytes,
            Err(damage) => return Ok(Step::Damaged(damage)),
        };
        // The length may be damage too: nothing is allocated for what the file cannot hold.
        if bytes as u64 > limit - self.offset || !self.fill(bytes, limit)? {
            return Ok(Step::Damaged(Damage::Cut));
        }
        let whole = self.buffer.slice(..bytes);
        match frame::verify_frame(&whole).and_then(|()| frame::open_frame(whole)) {
            Ok(content) => {
                self.buffer = self.buffer.slice(bytes..);
                self.offset += bytes as u64;
                Ok(Step::Frame(content))
            }
            Err(damage) => Ok(Step::Damaged(damage)),
        }
    }

    /// Makes at least `wanted` bytes available; false if the file ends before.
    fn fill(&mut self, wanted: usize, limit: u64) -> io::Result<bool> {
        if self.buffer.len() >= wanted {
            return Ok(true);
        }
        let left = usize::try_from(limit - self.offset).unwrap_or(usize::MAX);
        let size = wanted.max(WALK_BYTES).min(left);
        let mut buffer = vec![0; size];
        let mut filled = self.buffer.len();
        buffer[..filled].copy_from_slice(&self.buffer);
        while filled < size {
            match self.file.read_at(&mut buffer[filled..], self.offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(filled);
        self.buffer = buffer.into();
        Ok(self.buffer.len() >= wanted)
    }
}

/// The first sequence that a segment's header names.
pub(super) fn read_header(file: &File) -> io::Result<Result<u64, Damage>> {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => Ok(frame::read_segment_header(&header)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(Damage::Header)),
        Err(error) => Err(error),
    }
}

/// Whether a whole frame of rows at or above `sequence` lies behind the damage at `offset`.
///
/// If so the damage is no torn write: a frame is only begun when the one before it is durable.
pub(super) fn is_followed(file: &File, offset: u64, sequence: u64) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let rest = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; rest];
    file.read_exact_at(&mut bytes, offset)?;
    let is_whole = |at: usize| {
        let candidate = bytes.get(at..).unwrap_or_default();
        if candidate.len() < FRAME_HEADER_BYTES {
            return false;
        }
        let Ok(size) = frame::frame_bytes(candidate) else { return false };
        candidate.get(..size).is_some_and(|whole| {
            frame::verify_frame(whole).is_ok()
                && matches!(frame::open_frame(Bytes::copy_from_slice(whole)), Ok(Content::Rows(chunk)) if chunk.first > sequence)
        })
    };
    // If the damaged frame still says how long it is, only what follows it counts: rows may look like anything.
    if bytes.len() >= FRAME_HEADER_BYTES
        && let Ok(size) = frame::frame_bytes(&bytes)
    {
        return Ok(is_whole(size));
    }
    Ok(memchr::memmem::find_iter(&bytes, &FRAME_MAGIC).any(is_whole))
}
