//! The side file: one line for each sync, with its own checksum.
//!
//! `{"version":1,"length":…,"entries":[{"view":…,"partition":…,"through":…,"rows":…,"first":…,"last":…}],"crc":"…"}`
//!
//! `length` is that of the data file. An entry says through which position the file has a partition of a view, and, if
//! there are new records, the identities of the first and the last. An empty `through` sets the partition back to its
//! beginning; a smaller one than before sets it back, too. `crc` is CRC-32C, in hex, of the line up to the comma
//! before it. Lines add up; the file is rewritten as one line when it has grown.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use model::error::Failure;
use model::position::{Partition, Position};
use serde::{Deserialize, Serialize};

/// Format version in every line.
const VERSION: u32 = 1;
/// The side file is rewritten when it is larger than this, and four times as large as after the last rewriting.
const COMPACT_ABOVE: u64 = 1 << 20;
/// Growth that makes rewriting worth its syncs when the positions alone are large.
const COMPACT_GROWTH: u64 = 4;
/// `,"crc":"01234567"}`
const CHECKSUM_BYTES: usize = 18;

/// Whose position: a view's partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// The view.
    pub(super) view: String,
    /// The source partition.
    pub(super) partition: Partition,
}

/// What one sync brought for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Whose.
    pub(super) key: Key,
    /// Through which position the data file has it; `None` = it begins anew.
    pub(super) through: Option<Position>,
    /// Number of new records.
    pub(super) rows: usize,
    /// Identities of the first and last new record; empty if there are none.
    pub(super) identities: (String, String),
}

/// What a side file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recorded {
    /// Length of the data file.
    pub(super) length: u64,
    /// Through which position it has each partition.
    pub(super) positions: BTreeMap<Key, Position>,
    /// Length of the whole lines; what follows is torn.
    pub(super) whole: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    version: u32,
    length: u64,
    entries: Vec<LineEntry>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    crc: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineEntry {
    view: String,
    partition: String,
    through: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    rows: usize,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    first: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    last: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// The side file, opened for appending.
#[derive(Debug)]
pub(super) struct Positions {
    path: PathBuf,
    file: File,
    length: u64,
    compacted: u64,
    all: BTreeMap<Key, Position>,
}

impl Positions {
    /// Opens the side file, which [`read`] has read, and cuts off a torn line; makes a new one if there is none.
    pub(super) fn open(path: &Path, recorded: &Recorded) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::stop(format!("open `{}`", path.display())).caused_by(error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let mut positions = Self {
            path: path.to_owned(),
            file,
            length: recorded.whole,
            compacted: recorded.whole,
            all: recorded.positions.clone(),
        };
        let length = positions.file.metadata().map_err(failed)?.len();
        if length > recorded.whole {
            positions.file.set_len(recorded.whole).map_err(failed)?;
        }
        if recorded.whole == 0 {
            // A side file without entries says that the data file is ours from its first byte on.
            positions.append(0, &[]).map_err(failed)?;
            positions.file.sync_all().and_then(|()| sync_directory(path)).map_err(failed)?;
        }
        Ok(positions)
    }

    /// The opened file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Appends a line and syncs it; cuts the file back if that fails.
    pub(super) fn record(&mut self, length: u64, entries: &[Entry]) -> io::Result<()> {
        let before = self.length;
        if let Err(error) = self.append(length, entries).and_then(|()| self.file.sync_data()) {
            self.length = before;
            // The next line is written over what is left if this fails too.
            return self.file.set_len(before).and(Err(error));
        }
        for entry in entries {
            set(&mut self.all, entry.key.clone(), entry.through);
        }
        Ok(())
    }

    /// Rewrites the file as one line if it has grown enough.
    pub(super) fn compact_if_large(&mut self, length: u64) -> io::Result<()> {
        if self.length <= COMPACT_ABOVE.max(self.compacted.saturating_mul(COMPACT_GROWTH)) {
            return Ok(());
        }
        // Whether or not it works out, the next try comes only after as much growth again.
        self.compacted = self.length;
        let entries = self.all.iter().map(|(key, through)| Entry {
            key: key.clone(),
            through: Some(*through),
            rows: 0,
            identities: (String::new(), String::new()),
        });
        let line = line(length, &entries.collect::<Vec<_>>())?;
        let mut fresh_path = self.path.clone().into_os_string();
        fresh_path.push(".new");
        let fresh_path = PathBuf::from(fresh_path);
        let fresh =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&fresh_path)?;
        fresh.write_all_at(&line, 0)?;
        fresh.sync_all()?;
        fs::rename(&fresh_path, &self.path)?;
        self.file = fresh;
        self.length = line.len() as u64;
        self.compacted = self.length;
        sync_directory(&self.path)
    }

    fn append(&mut self, length: u64, entries: &[Entry]) -> io::Result<()> {
        let line = line(length, entries)?;
        self.file.write_all_at(&line, self.length)?;
        self.length += line.len() as u64;
        Ok(())
    }
}

/// Reads a side file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Recorded>, Failure> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::stop(format!("read `{}`", path.display())).caused_by(error)),
    };
    let mut recorded = Recorded::default();
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        match parse(line) {
            Ok(parsed) if parsed.version != VERSION => {
                return Err(Failure::stop(format!(
                    "read `{}`: line {} has format version {}, this host knows version {VERSION}; use the host that wrote it",
                    path.display(),
                    number + 1,
                    parsed.version
                )));
            }
            Ok(parsed) => {
                recorded.length = parsed.length;
                recorded.whole += line.len() as u64;
                for entry in parsed.entries {
                    let through = Position::from_hex(&entry.through);
                    if through.is_none() {
                        return Err(damaged(path, number, "a position that is not hex"));
                    }
                    let key = Key { view: entry.view, partition: Partition::new(&entry.partition) };
                    set(&mut recorded.positions, key, through.filter(|_| !entry.through.is_empty()));
                }
            }
            // The host ended while it wrote the last line: its batch was never acknowledged.
            Err(_) if lines.peek().is_none() => break,
            Err(reason) => return Err(damaged(path, number, reason)),
        }
    }
    Ok(Some(recorded))
}

fn set(positions: &mut BTreeMap<Key, Position>, key: Key, through: Option<Position>) {
    match through {
        Some(through) => positions.insert(key, through),
        None => positions.remove(&key),
    };
}

/// Makes a file's entry in its directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn damaged(path: &Path, number: usize, reason: &str) -> Failure {
    Failure::stop(format!(
        "read `{}`: line {} has {reason}, with good lines behind it; restore the file, or move it and its data file away to begin new ones",
        path.display(),
        number + 1
    ))
}

fn line(length: u64, entries: &[Entry]) -> io::Result<Vec<u8>> {
    let entries = entries.iter().map(|entry| LineEntry {
        view: entry.key.view.clone(),
        partition: entry.key.partition.to_string(),
        through: entry.through.map_or_else(String::new, |through| through.to_string()),
        rows: entry.rows,
        first: entry.identities.0.clone(),
        last: entry.identities.1.clone(),
    });
    let line = Line { version: VERSION, length, entries: entries.collect(), crc: String::new() };
    let mut text = serde_json::to_vec(&line)?;
    text.pop();
    let checksum = crc32c::crc32c(&text);
    text.extend_from_slice(format!(",\"crc\":\"{checksum:08x}\"}}\n").as_bytes());
    Ok(text)
}

fn parse(line: &[u8]) -> Result<Line, &'static str> {
    let line = line.strip_suffix(b"\n").ok_or("no end")?;
    let body = line.len().checked_sub(CHECKSUM_BYTES).ok_or("no checksum")?;
    let (body, checksum) = line.split_at(body);
    if checksum != format!(",\"crc\":\"{:08x}\"}}", crc32c::crc32c(body)).as_bytes() {
        return Err("a wrong checksum");
    }
    serde_json::from_slice(line).map_err(|_| "unknown fields")
}
