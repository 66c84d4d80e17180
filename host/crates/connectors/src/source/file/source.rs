//! The file source as the rest of the host sees it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::error::Failure;
use model::position::{Partition, Position};
use model::source::{Positions, Reader, Source};
use model::time::Clock;

use super::find;
use super::ledger::Ledger;
use super::lines;
use super::reader::FileReader;
use crate::source::single::{self, PARTITION};

/// Bits of a position that say where in its file a line begins; the bits above say which file.
const OFFSET_BITS: u32 = 40;

/// How long a rotated file must not grow before it counts as finished: its writer has to notice and let go of it.
/// Longer delays what stands in the new file, shorter loses what a slow writer adds to the old one.
const ROTATION_GRACE: Duration = Duration::from_secs(1);

/// How often what was learned of files is saved, where nothing depends on it but the quality of a message.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Bytes that are searched for the last line at first; doubled until it is found.
const LAST_LINE_BYTES: u64 = 64 << 10;

/// How a file source is set up.
pub struct FileOptions {
    /// Name of the source, for messages.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Whether to wait for more at its end, and to go on with the file that takes its place.
    pub follow: bool,
    /// Where the source remembers which files it has met; made if it is missing. Its own, shared with no other source.
    pub state_directory: PathBuf,
    /// Bytes in one line; what is longer is cut. Whoever wants to tell cut lines from whole ones gives one byte more than
    /// a line may have, and a [`BoundedFormat`](crate::codec::bounded::BoundedFormat) puts them aside.
    pub max_row_bytes: usize,
    /// Says when a line was read.
    pub clock: Arc<dyn Clock>,
}

/// Reads the lines of a file.
pub struct FileSource {
    shared: Arc<Shared>,
}

/// What readers of one source share.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) follow: bool,
    pub(super) max_row_bytes: usize,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rotation_grace: Duration,
    ledger: Mutex<Ledger>,
    /// Rings when another file was met.
    met: Condvar,
    saved_at: Mutex<Instant>,
}

impl FileSource {
    /// Opens the source. Fails if the file is missing and `follow` is not set, if it is not a regular file, or if the
    /// state directory cannot be used.
    pub fn open(options: FileOptions) -> Result<Arc<Self>, Failure> {
        Self::open_with(options, ROTATION_GRACE)
    }

    pub(super) fn open_with(options: FileOptions, rotation_grace: Duration) -> Result<Arc<Self>, Failure> {
        let FileOptions { name, path, follow, state_directory, max_row_bytes, clock } = options;
        let broken = |error: io::Error, path: &PathBuf| {
            Failure::stop(format!("open file source `{name}`: `{}`", path.display())).caused_by(error)
        };
        let mut ledger =
            Ledger::load(&name, &path, &state_directory).map_err(|error| broken(error, &state_directory))?;
        match find::open_if_there(&path).map_err(|error| broken(error, &path))? {
            Some(_) => {}
            None if follow => {
                tracing::info!(source = name, "waiting for `{}`, which does not exist yet", path.display());
            }
            None => {
                return Err(Failure::stop(format!(
                    "open file source `{name}`: there is no file `{}`: create it, or set `follow: true` to wait for it",
                    path.display()
                )));
            }
        }
        ledger.look().map_err(|error| broken(error, &path))?;
        let (ledger, saved_at) = (Mutex::new(ledger), Mutex::new(Instant::now()));
        let met = Condvar::new();
        let shared =
            Shared { name, path, follow, max_row_bytes, clock, rotation_grace, ledger, met, saved_at };
        Ok(Arc::new(Self { shared: Arc::new(shared) }))
    }

    fn place(&self, position: &Position) -> Result<Place, Failure> {
        single::number(&self.shared.name, position).map(Place::from_u64)
    }
}

impl Source for FileSource {
    fn partitions(&self) -> Result<Vec<Partition>, Failure> {
        Ok(vec![Partition::new(PARTITION)])
    }

    fn end(&self, partition: &Partition) -> Result<Option<Position>, Failure> {
        single::check(&self.shared.name, partition)?;
        let mut ledger = self.shared.ledger();
        ledger.look().map_err(|error| self.shared.failed("look at", error))?;
        let ordinals: Vec<u32> = ledger.entries().iter().rev().map(|entry| entry.ordinal).collect();
        for ordinal in ordinals {
            let file = ledger.open(ordinal).map_err(|error| self.shared.failed("open", error))?;
            let found = match &file {
                Some(found) => last_line(&found.file, !self.shared.follow)
                    .map_err(|error| self.shared.failed("read", error))?,
                None => None,
            };
            if let Some(offset) = found {
                ledger.saw_line(ordinal, offset);
            }
            let known =
                if file.is_some() { found } else { ledger.entry(ordinal).and_then(|entry| entry.last_line) };
            if let Some(offset) = known {
                return Ok(Some(Place { ordinal, offset }.position()));
            }
        }
        Ok(None)
    }

    fn read(&self, partitions: &[Partition], after: &Positions) -> Result<Box<dyn Reader>, Failure> {
        let partition = single::only(&self.shared.name, partitions)?;
        let after = after.get(partition).map(|position| self.place(position)).transpose()?;
        Ok(Box::new(FileReader::new(Arc::clone(&self.shared), partition.clone(), after)?))
    }

    fn release(
        &self,
        partition: &Partition,
        through: Option<&Position>,
        _views: &std::collections::BTreeMap<String, model::source::ViewProgress>,
    ) -> Result<(), Failure> {
        single::check(&self.shared.name, partition)?;
        let Some(through) = through else { return Ok(()) };
        let place = self.place(through)?;
        self.shared.ledger().release(place.ordinal).map_err(|error| {
            let name = &self.shared.name;
            Failure::retry(format!("save which files of source `{name}` were read")).caused_by(error)
        })
    }
}

impl Shared {
    /// The ledger, locked.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic in between leaves the ledger as it was or with an entry more.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the path; answers the number of the file behind this one, and whether this one's place was written anew.
    pub(super) fn following(&self, ordinal: u32) -> Result<Option<(u32, bool)>, Failure> {
        let mut ledger = self.ledger();
        let known = ledger.next_ordinal();
        ledger.look().map_err(|error| self.failed("look at", error))?;
        if ledger.next_ordinal() > known {
            self.met.notify_all();
        }
        let is_replaced = ledger.entry(ordinal).is_some_and(|entry| entry.is_replaced);
        Ok(ledger.following(ordinal).map(|entry| (entry.ordinal, is_replaced)))
    }

    /// Waits a moment, or until another file was met.
    pub(super) fn pause(&self, duration: Duration) {
        let ledger = self.ledger();
        drop(self.met.wait_timeout(ledger, duration).unwrap_or_else(PoisonError::into_inner));
    }

    /// Saves what was learned, if the last time is a while ago.
    pub(super) fn save_sometimes(&self) -> Result<(), Failure> {
        let mut saved_at = self.saved_at.lock().unwrap_or_else(PoisonError::into_inner);
        if saved_at.elapsed() < SAVE_EVERY {
            return Ok(());
        }
        *saved_at = Instant::now();
        let mut ledger = self.ledger();
        if ledger.is_dirty() { ledger.save().map_err(|error| self.failed("remember", error)) } else { Ok(()) }
    }

    /// A failure that is expected to go away, such as a file server's.
    pub(super) fn failed(&self, what: &str, error: io::Error) -> Failure {
        let (name, path) = (&self.name, self.path.display());
        Failure::retry(format!("{what} the file of source `{name}`: `{path}`")).caused_by(error)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let ledger = self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner);
        if ledger.is_dirty()
            && let Err(error) = ledger.save()
        {
            tracing::warn!(source = self.name, %error, "could not remember how far files were seen");
        }
    }
}

/// A position of this source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Which file.
    pub(super) ordinal: u32,
    /// Where in it the line begins.
    pub(super) offset: u64,
}

impl Place {
    /// The first byte that no position can name: files end there.
    pub(super) const MAX_OFFSET: u64 = 1 << OFFSET_BITS;

    fn from_u64(number: u64) -> Self {
        // 64 bits less 40 are 24, which fit.
        let ordinal = u32::try_from(number >> OFFSET_BITS).unwrap_or(u32::MAX);
        Self { ordinal, offset: number & (Self::MAX_OFFSET - 1) }
    }

    /// As a number that orders like positions.
    pub(super) fn as_u64(self) -> u64 {
        u64::from(self.ordinal) << OFFSET_BITS | self.offset
    }

    /// As a position.
    pub(super) fn position(self) -> Position {
        Position::from_u64(self.as_u64())
    }
}

/// Where the last line with text begins.
fn last_line(file: &File, with_partial: bool) -> io::Result<Option<u64>> {
    let size = file.metadata()?.len();
    let mut window = LAST_LINE_BYTES.min(size);
    loop {
        let start = size - window;
        let mut bytes = vec![0; usize::try_from(window).map_err(io::Error::other)?];
        let read = find::read_up_to(file, &mut bytes, start)?;
        match lines::last_line(&bytes[..read], start == 0, with_partial) {
            Some(line) => return Ok(Some(start + line.start as u64)),
            None if start == 0 => return Ok(None),
            None => window = (window * 2).min(size),
        }
    }
}
