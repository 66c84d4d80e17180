//! Reads the files of a source onward, line by line, from one file to the next.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::batch::RawBatch;
use model::error::Failure;
use model::position::{Covers, Partition, PositionColumn};
use model::source::{BatchBudget, ReadEvent, Reader};
use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use super::ledger::Found;
use super::lines::Line;
use super::source::{Place, Shared};

/// Bytes that are read at once. Batches do not reach across two reads, so that no line is copied: less makes small
/// batches, more keeps more memory alive with the last of them.
const READ_BYTES: u64 = 1 << 20;

/// The first and the longest pause between two looks at a file that does not grow. What comes soon after a line is met
/// quickly; a file that rests costs little.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(25);

/// A reader of the only partition.
pub(super) struct FileReader {
    shared: Arc<Shared>,
    partition: Partition,
    /// The file that is read; `None` before the first one exists.
    open: Option<OpenFile>,
    /// What was read and not handed on: begins with the beginning of a line, unless something is skipped.
    buffer: Bytes,
    /// The buffer ends with the end of the last line, though there is no `\n`.
    is_last: bool,
    /// What the bytes up to the next `\n` are part of.
    skipping: Option<Skipping>,
    /// Where blank lines that no batch covers yet begin.
    uncovered: Option<Place>,
}

/// A file, and how far it is read.
struct OpenFile {
    file: File,
    ordinal: u32,
    /// Whether it is a copy of what stood in the file of this number, which was truncated since.
    is_copy: bool,
    /// Offset of the first byte of the buffer.
    buffer_at: u64,
    /// Offset behind the last byte of the buffer.
    read_to: u64,
    /// Where the last line begins that was handed on.
    handed_on: Option<u64>,
    /// When it was seen that another file has taken its place and that it does not grow.
    at_rest_since: Option<Instant>,
}

/// A line of which no more is kept.
enum Skipping {
    /// It was read before.
    Known,
    /// It is too long: this much of it is handed on once its end is found.
    TooLong { start: u64, head: Bytes },
}

/// What reading on has led to.
enum Progress {
    /// There may be a line now.
    More,
    /// Not now.
    Nothing,
    /// Never.
    End,
}

impl FileReader {
    /// A reader that begins behind a place, or with the oldest file that is found.
    pub(super) fn new(
        shared: Arc<Shared>,
        partition: Partition,
        after: Option<Place>,
    ) -> Result<Self, Failure> {
        let mut reader = Self {
            shared,
            partition,
            open: None,
            buffer: Bytes::new(),
            is_last: false,
            skipping: None,
            uncovered: None,
        };
        reader.shared.ledger().look().map_err(|error| reader.shared.failed("look at", error))?;
        match after {
            Some(after) => reader.open_behind(after)?,
            None => reader.open_oldest()?,
        }
        Ok(reader)
    }

    fn open_oldest(&mut self) -> Result<(), Failure> {
        let ordinals: Vec<u32> = self.shared.ledger().entries().iter().map(|entry| entry.ordinal).collect();
        for ordinal in ordinals {
            if let Some(found) = self.find(ordinal)? {
                self.begin(found, ordinal, 0);
                return Ok(());
            }
        }
        Ok(())
    }

    fn open_behind(&mut self, after: Place) -> Result<(), Failure> {
        let known = self.shared.ledger().next_ordinal();
        if after.ordinal >= known {
            return Err(Failure::stop(format!(
                "read source `{}` behind byte {} of file number {}: only {known} files of `{}` are known; its state \
                 directory was emptied or replaced by an older copy: put back the one that belongs to the online store",
                self.shared.name,
                after.offset,
                after.ordinal,
                self.shared.path.display()
            )));
        }
        if let Some(found) = self.find(after.ordinal)? {
            let size = found.file.metadata().map_err(|error| self.shared.failed("look at", error))?.len();
            if size > after.offset {
                self.begin(found, after.ordinal, after.offset);
                self.skipping = Some(Skipping::Known);
                self.handed_on(after.offset);
                return Ok(());
            }
            self.shared.ledger().replace(after.ordinal);
            self.shared.ledger().look().map_err(|error| self.shared.failed("look at", error))?;
        }
        self.check_nothing_is_lost(after.ordinal, Some(after.offset))?;
        self.begin_following(after.ordinal)
    }

    /// Goes on with the first file behind a number.
    fn begin_following(&mut self, mut ordinal: u32) -> Result<(), Failure> {
        self.open = None;
        self.buffer = Bytes::new();
        self.is_last = false;
        self.skipping = None;
        // Blank lines at the end of a file stay uncovered: they are read again after a restart.
        self.uncovered = None;
        loop {
            let Some((following, _)) = self.shared.following(ordinal)? else {
                return Ok(());
            };
            if let Some(found) = self.find(following)? {
                self.begin(found, following, 0);
                return Ok(());
            }
            self.check_nothing_is_lost(following, None)?;
            ordinal = following;
        }
    }

    fn begin(&mut self, Found { file, is_copy }: Found, ordinal: u32, offset: u64) {
        let (buffer_at, read_to) = (offset, offset);
        self.open = Some(OpenFile {
            file,
            ordinal,
            is_copy,
            buffer_at,
            read_to,
            handed_on: None,
            at_rest_since: None,
        });
    }

    fn find(&self, ordinal: u32) -> Result<Option<Found>, Failure> {
        self.shared.ledger().open(ordinal).map_err(|error| self.shared.failed("open", error))
    }

    /// Whether a file that cannot be found is not known to hold lines that were not read.
    fn check_nothing_is_lost(&self, ordinal: u32, handed_on: Option<u64>) -> Result<(), Failure> {
        let (name, path) = (&self.shared.name, self.shared.path.display());
        let ledger = self.shared.ledger();
        let Some(entry) = ledger.entry(ordinal) else { return Ok(()) };
        if entry.last_line <= handed_on {
            tracing::warn!(
                source = name,
                file = ordinal,
                "file number {ordinal} of `{path}` is gone; reading goes on behind it"
            );
            return Ok(());
        }
        let from = handed_on.map_or("its beginning".to_owned(), |offset| format!("byte {offset}"));
        let through = entry.last_line.unwrap_or_default();
        let inode = entry.identity.inode;
        Err(Failure::stop(format!(
            "read source `{name}`: file number {ordinal} of `{path}` (inode {inode}) is gone or was written anew, but its \
             lines behind {from} up to byte {through} were not read: put it back beside `{path}` under a rotated name such \
             as `{path}.1`"
        )))
    }

    fn handed_on(&mut self, start: u64) {
        if let Some(open) = &mut self.open {
            open.handed_on = Some(start);
            self.shared.ledger().saw_line(open.ordinal, start);
        }
    }

    /// The lines that the buffer holds, as far as the budget goes.
    fn take_lines(&mut self, budget: BatchBudget) -> Option<RawBatch> {
        let open = self.open.as_mut()?;
        let (ordinal, buffer_at) = (open.ordinal, open.buffer_at);
        let place = |start: usize| Place { ordinal, offset: buffer_at + start as u64 };
        let bytes = &self.buffer[..];
        let last = if self.is_last && bytes.last().is_some_and(|byte| *byte != b'\n') {
            Some(bytes.len())
        } else {
            None
        };
        let mut newlines = memchr::memchr_iter(b'\n', bytes).chain(last);
        let mut taken = 0;
        let mut lines = Lines::default();
        match self.skipping.take() {
            None => {}
            Some(skipping) => match (newlines.next(), skipping) {
                // Nothing more comes, and the buffer is empty.
                (None, Skipping::TooLong { start, head }) if self.is_last => {
                    return Some(self.batch_of_long_line(Place { ordinal, offset: start }, head));
                }
                (None, skipping) => {
                    // The line goes on behind the buffer.
                    let skipped = self.buffer.len();
                    self.skipping = Some(skipping);
                    self.drop_front(skipped);
                    return None;
                }
                (Some(newline), Skipping::Known) => taken = newline + 1,
                (Some(newline), Skipping::TooLong { start, head }) => {
                    self.drop_front(newline + 1);
                    return Some(self.batch_of_long_line(Place { ordinal, offset: start }, head));
                }
            },
        }
        let (most_rows, most_bytes) = (budget.rows.max(1), budget.bytes.min(u32::MAX as usize));
        let max_row_bytes = self.shared.max_row_bytes;
        let mut uncovered = self.uncovered.take();
        for newline in newlines {
            let line = Line::new(bytes, taken, newline);
            if line.is_blank() {
                uncovered.get_or_insert(place(line.start));
                taken = newline + 1;
                continue;
            }
            let text = line.text(max_row_bytes);
            let is_first = lines.payloads.is_empty();
            if !is_first && (lines.payloads.len() >= most_rows || lines.bytes + text.len() > most_bytes) {
                break;
            }
            if is_first {
                lines.start = text.start;
                lines.positions = PositionColumn::new(8);
                lines.first = Some(uncovered.take().unwrap_or(place(text.start)));
            }
            // Blank lines between the lines of a batch are covered by it.
            uncovered = None;
            lines.bytes += text.len();
            lines.end = text.end;
            lines.last = line.start;
            lines.positions.push_u64(place(text.start).as_u64());
            // The buffer is far smaller than 4 GiB, unless a line is allowed to be larger.
            let at = |byte: usize| u32::try_from(byte - lines.start).unwrap_or(u32::MAX);
            lines.payloads.push((at(text.start), at(text.end)));
            taken = newline + 1;
        }
        self.uncovered = uncovered;
        let Some(first) = lines.first else {
            self.drop_front(taken);
            return None;
        };
        let data = self.buffer.slice(lines.start..lines.end);
        let last = place(lines.last);
        self.drop_front(taken);
        self.handed_on(last.offset);
        Some(self.batch(
            data,
            lines.payloads,
            lines.positions,
            Covers { first: first.position(), through: last.position() },
        ))
    }

    fn batch_of_long_line(&mut self, place: Place, head: Bytes) -> RawBatch {
        let first = self.uncovered.take().unwrap_or(place);
        let mut positions = PositionColumn::new(8);
        positions.push(&place.position());
        self.handed_on(place.offset);
        let payloads = vec![(0, u32::try_from(head.len()).unwrap_or(u32::MAX))];
        self.batch(head, payloads, positions, Covers { first: first.position(), through: place.position() })
    }

    fn batch(
        &self,
        data: Bytes,
        payloads: Vec<(u32, u32)>,
        positions: PositionColumn,
        covers: Covers,
    ) -> RawBatch {
        RawBatch {
            partition: self.partition.clone(),
            data,
            payloads,
            positions,
            ingest_times: Vec::new(),
            ingest_time: self.shared.clock.now().0,
            covers,
            attributes: model::batch::Attributes::default(),
        }
    }

    /// Forgets the first bytes of the buffer.
    fn drop_front(&mut self, bytes: usize) {
        // The end of the last line may be no byte of the file.
        let bytes = bytes.min(self.buffer.len());
        self.buffer = self.buffer.slice(bytes..);
        if let Some(open) = &mut self.open {
            open.buffer_at += bytes as u64;
        }
    }

    /// Reads on behind the buffer, which holds no whole line.
    fn advance(&mut self) -> Result<Progress, Failure> {
        let Some(open) = &self.open else { return self.await_first() };
        let size = open.file.metadata().map_err(|error| self.shared.failed("look at", error))?.len();
        if size < open.read_to {
            return self.leave_replaced();
        }
        if size == open.read_to {
            return self.at_end();
        }
        self.read_chunk(size - open.read_to)
    }

    fn await_first(&mut self) -> Result<Progress, Failure> {
        self.shared.ledger().look().map_err(|error| self.shared.failed("look at", error))?;
        self.open_oldest()?;
        match (&self.open, self.shared.follow) {
            (Some(_), _) => Ok(Progress::More),
            (None, true) => Ok(Progress::Nothing),
            (None, false) => Ok(Progress::End),
        }
    }

    fn read_chunk(&mut self, available: u64) -> Result<Progress, Failure> {
        let Some(open) = &mut self.open else { return Ok(Progress::Nothing) };
        // Both fit: a read is bounded, and the rest is at most a line that is not too long.
        let wanted = usize::try_from(available.min(READ_BYTES)).unwrap_or(usize::MAX);
        let mut buffer = Vec::with_capacity(self.buffer.len() + wanted);
        buffer.extend_from_slice(&self.buffer);
        let read = loop {
            match rustix::io::pread(&open.file, spare_capacity(&mut buffer), open.read_to) {
                Ok(read) => break read,
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.shared.failed("read", error.into())),
            }
        };
        // Looked at after reading: what was read is of the file that it was taken for.
        let is_same = {
            let ledger = self.shared.ledger();
            match ledger.entry(open.ordinal) {
                Some(entry) => entry.identity.head.is_of(&open.file),
                None => Ok(true),
            }
        };
        if !is_same.map_err(|error| self.shared.failed("read", error))? {
            return self.leave_replaced();
        }
        open.read_to += read as u64;
        open.at_rest_since = None;
        self.is_last = false;
        if open.read_to > Place::MAX_OFFSET {
            let (name, path) = (&self.shared.name, self.shared.path.display());
            return Err(Failure::stop(format!(
                "read source `{name}`: `{path}` is larger than a position can say (1 TiB): rotate it"
            )));
        }
        self.buffer = buffer.into();
        self.shorten_long_line();
        Ok(Progress::More)
    }

    /// Keeps only the beginning of a line that is too long and has no end yet.
    fn shorten_long_line(&mut self) {
        let is_too_long = self.buffer.len() > self.shared.max_row_bytes && self.skipping.is_none();
        if !is_too_long || memchr::memchr(b'\n', &self.buffer).is_some() {
            return;
        }
        let Some(open) = &self.open else { return };
        let head = Bytes::copy_from_slice(&self.buffer[..self.shared.max_row_bytes]);
        self.skipping = Some(Skipping::TooLong { start: open.buffer_at, head });
        self.drop_front(self.buffer.len());
    }

    fn at_end(&mut self) -> Result<Progress, Failure> {
        let Some(open) = &mut self.open else { return Ok(Progress::Nothing) };
        let ordinal = open.ordinal;
        let following = self.shared.following(ordinal)?;
        if !open.is_copy && following.is_some_and(|(_, is_replaced)| is_replaced) {
            return self.leave_replaced();
        }
        if self.shared.follow {
            if following.is_none() {
                self.shared.save_sometimes()?;
                return Ok(Progress::Nothing);
            }
            let since = *open.at_rest_since.get_or_insert_with(Instant::now);
            if since.elapsed() < self.shared.rotation_grace {
                return Ok(Progress::Nothing);
            }
        }
        // Nothing more will come: what there is of a last line is all of it.
        if !self.is_last {
            self.is_last = true;
            return Ok(Progress::More);
        }
        if following.is_none() {
            self.shared.save_sometimes()?;
            return Ok(Progress::End);
        }
        self.begin_following(ordinal)?;
        Ok(if self.open.is_some() { Progress::More } else { Progress::Nothing })
    }

    /// The file's place was truncated or written anew: what it held is in a copy, or gone.
    fn leave_replaced(&mut self) -> Result<Progress, Failure> {
        let Some(open) = &self.open else { return Ok(Progress::Nothing) };
        let (ordinal, handed_on, read_to, was_copy) =
            (open.ordinal, open.handed_on, open.read_to, open.is_copy);
        self.shared.ledger().replace(ordinal);
        if !was_copy
            && let Some(found) = self.find(ordinal)?
            && found.file.metadata().is_ok_and(|metadata| metadata.len() >= read_to)
            && let Some(open) = &mut self.open
        {
            open.file = found.file;
            open.is_copy = true;
            return Ok(Progress::More);
        }
        self.check_nothing_is_lost(ordinal, handed_on)?;
        self.begin_following(ordinal)?;
        Ok(if self.open.is_some() { Progress::More } else { Progress::Nothing })
    }
}

impl Reader for FileReader {
    fn next(&mut self, budget: BatchBudget, wait: Duration) -> Result<ReadEvent, Failure> {
        let deadline = Instant::now() + wait;
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(batch) = self.take_lines(budget) {
                return Ok(ReadEvent::Batch(batch));
            }
            match self.advance()? {
                Progress::More => {}
                Progress::End => return Ok(ReadEvent::End),
                Progress::Nothing => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(ReadEvent::Idle);
                    }
                    self.shared.pause(pause.min(left));
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// Lines on their way into a batch; places are within the buffer.
struct Lines {
    /// The first input that the batch covers, once there is a line.
    first: Option<Place>,
    start: usize,
    end: usize,
    /// Where the last line begins.
    last: usize,
    bytes: usize,
    payloads: Vec<(u32, u32)>,
    positions: PositionColumn,
}

impl Default for Lines {
    fn default() -> Self {
        let positions = PositionColumn::new(8);
        Self { first: None, start: 0, end: 0, last: 0, bytes: 0, payloads: Vec::new(), positions }
    }
}
