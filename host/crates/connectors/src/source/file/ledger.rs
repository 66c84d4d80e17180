//! Which number was given to which file, kept across restarts.
//!
//! The newest entry is the file at the path. The ledger looks at files to tell them apart, and reads no lines.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::find::{self, Head, Identity};

/// Rises with each change of the stored form.
const FORMAT_VERSION: u32 = 1;
/// The name of the state file.
const FILE_NAME: &str = "files.json";
/// The name under which it is made.
const UNFINISHED_NAME: &str = "files.json.new";
/// Numbers that fit in a position.
const MAX_ORDINAL: u32 = (1 << 24) - 1;

/// A file that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its number.
    pub(super) ordinal: u32,
    /// What it is known by.
    pub(super) identity: Identity,
    /// When it was last written to, nanoseconds since the epoch, as far as was seen.
    pub(super) modified: i64,
    /// Where the last line begins that is known to be in it.
    pub(super) last_line: Option<u64>,
    /// Whether its place on the disk was truncated or written anew: only a copy can still hold its lines.
    pub(super) is_replaced: bool,
}

/// A file that holds the lines of a number.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) file: File,
    /// Whether it is a copy that was made before the file itself was truncated.
    pub(super) is_copy: bool,
}

/// The files that were met, by number.
#[derive(Debug)]
pub(super) struct Ledger {
    source: String,
    path: PathBuf,
    directory: PathBuf,
    entries: Vec<Entry>,
    next_ordinal: u32,
    is_dirty: bool,
}

impl Ledger {
    /// What an earlier process knew of the path, or nothing.
    pub(super) fn load(source: &str, path: &Path, directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let stored = match fs::read(directory.join(FILE_NAME)) {
            Ok(bytes) => Stored::parse(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored::default(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            source: source.to_owned(),
            path: path.to_owned(),
            directory: directory.to_owned(),
            next_ordinal: stored.next_ordinal,
            entries: stored.files.into_iter().map(StoredFile::into_entry).collect(),
            is_dirty: false,
        })
    }

    /// Looks at the path: a file that is not the newest one known gets a number, as do those that were rotated away
    /// from it unseen. Answers the newest number, if there is any. Numbers are durable on return.
    pub(super) fn look(&mut self) -> io::Result<Option<u32>> {
        let Some((file, metadata)) = find::open_if_there(&self.path)? else {
            return Ok(self.newest().map(|newest| newest.ordinal));
        };
        if let Some(newest) = self.entries.last_mut().filter(|newest| !newest.is_replaced) {
            if newest.identity.is_of(&file, &metadata)? {
                let grown = find::modified(&metadata);
                if newest.modified != grown {
                    newest.modified = grown;
                    if newest.identity.head.is_partial() {
                        newest.identity.head = Head::of(&file)?;
                    }
                    self.is_dirty = true;
                }
                return Ok(Some(newest.ordinal));
            }
            if newest.identity.inode == metadata.ino() {
                let ordinal = newest.ordinal;
                self.replace(ordinal);
            } else {
                self.add_unseen(&metadata)?;
            }
        }
        self.add(Identity::of(&file, &metadata)?, find::modified(&metadata))?;
        self.save()?;
        Ok(self.newest().map(|newest| newest.ordinal))
    }

    /// Notes that a file was truncated or written anew at its place.
    pub(super) fn replace(&mut self, ordinal: u32) {
        let (source, path) = (&self.source, self.path.display());
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.ordinal == ordinal)
            && !entry.is_replaced
        {
            entry.is_replaced = true;
            self.is_dirty = true;
            tracing::warn!(
                source,
                file = ordinal,
                "`{path}` was truncated or written anew: it is read as a new file"
            );
        }
    }

    /// Notes that a line was seen.
    pub(super) fn saw_line(&mut self, ordinal: u32, start: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.ordinal == ordinal)
            && entry.last_line < Some(start)
        {
            entry.last_line = Some(start);
            self.is_dirty = true;
        }
    }

    /// Forgets the files before this number.
    pub(super) fn release(&mut self, ordinal: u32) -> io::Result<()> {
        let known = self.entries.len();
        self.entries.retain(|entry| entry.ordinal >= ordinal);
        if self.entries.len() < known { self.save() } else { Ok(()) }
    }

    /// The entry of a number.
    pub(super) fn entry(&self, ordinal: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.ordinal == ordinal)
    }

    /// All entries by number.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry behind a number.
    pub(super) fn following(&self, ordinal: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.ordinal > ordinal)
    }

    /// The number that the next file will get.
    pub(super) fn next_ordinal(&self) -> u32 {
        self.next_ordinal
    }

    /// Whether something is known that a restart would not know.
    pub(super) fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Finds a file under its path or beside it: the file itself, or else a copy.
    pub(super) fn open(&self, ordinal: u32) -> io::Result<Option<Found>> {
        let Some(entry) = self.entry(ordinal) else { return Ok(None) };
        if !entry.is_replaced
            && let Some((file, metadata)) = find::open_if_there(&self.path)?
            && entry.identity.is_of(&file, &metadata)?
        {
            return Ok(Some(Found { file, is_copy: false }));
        }
        let mut siblings = find::siblings(&self.path)?;
        for at in 0..siblings.len() {
            let sibling = &siblings[at];
            if !entry.is_replaced && entry.identity.is_of(&sibling.file, &sibling.metadata)? {
                return Ok(Some(Found { file: siblings.swap_remove(at).file, is_copy: false }));
            }
        }
        for sibling in siblings {
            let holds_all = entry.last_line.is_none_or(|last| sibling.metadata.len() > last);
            if entry.identity.head.bytes > 0 && holds_all && entry.identity.head.is_of(&sibling.file)? {
                return Ok(Some(Found { file: sibling.file, is_copy: true }));
            }
        }
        Ok(None)
    }

    /// Replaces the state file.
    pub(super) fn save(&mut self) -> io::Result<()> {
        let stored = Stored {
            format: FORMAT_VERSION,
            next_ordinal: self.next_ordinal,
            files: self.entries.iter().map(StoredFile::from_entry).collect(),
        };
        let bytes = serde_json::to_vec_pretty(&stored)?;
        let unfinished = self.directory.join(UNFINISHED_NAME);
        fs::write(&unfinished, bytes)?;
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, self.directory.join(FILE_NAME))?;
        File::open(&self.directory)?.sync_all()?;
        self.is_dirty = false;
        Ok(())
    }

    fn newest(&self) -> Option<&Entry> {
        self.entries.last()
    }

    fn add(&mut self, identity: Identity, modified: i64) -> io::Result<()> {
        let ordinal = self.next_ordinal;
        if ordinal > MAX_ORDINAL {
            return Err(io::Error::other("all numbers of files are used up: give the source another name"));
        }
        self.next_ordinal += 1;
        self.entries.push(Entry { ordinal, identity, modified, last_line: None, is_replaced: false });
        Ok(())
    }

    /// Gives numbers to the files that came behind the newest known one and were rotated away before they were seen.
    fn add_unseen(&mut self, current: &Metadata) -> io::Result<()> {
        let Some(newest) = self.newest() else { return Ok(()) };
        // Files that were rotated before the newest known one was begun were not written to since.
        let since = newest.modified;
        let mut unseen = Vec::new();
        for sibling in find::siblings(&self.path)? {
            let metadata = &sibling.metadata;
            let is_current = (metadata.ino(), metadata.dev()) == (current.ino(), current.dev());
            if is_current || find::modified(metadata) < since || self.knows(&sibling.file, metadata)? {
                continue;
            }
            unseen.push((Identity::of(&sibling.file, metadata)?, find::modified(metadata)));
        }
        for (identity, modified) in unseen {
            self.add(identity, modified)?;
        }
        Ok(())
    }

    /// Whether a file, or one that it is a copy of, has a number.
    fn knows(&self, file: &File, metadata: &Metadata) -> io::Result<bool> {
        for entry in &self.entries {
            let is_copy =
                entry.is_replaced && entry.identity.head.bytes > 0 && entry.identity.head.is_of(file)?;
            if is_copy || entry.identity.is_of(file, metadata)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The state file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    next_ordinal: u32,
    files: Vec<StoredFile>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFile {
    ordinal: u32,
    device: u64,
    inode: u64,
    head_bytes: u32,
    head_crc32c: u32,
    modified: i64,
    last_line: Option<u64>,
    is_replaced: bool,
}

impl Default for Stored {
    fn default() -> Self {
        Self { format: FORMAT_VERSION, next_ordinal: 0, files: Vec::new() }
    }
}

impl Stored {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidData, message);
        let version = serde_json::from_slice::<Version>(bytes).map_err(|error| {
            invalid(format!("`{FILE_NAME}` is damaged: restore it from a copy ({error})"))
        })?;
        if version.format != FORMAT_VERSION {
            return Err(invalid(format!(
                "`{FILE_NAME}` has format version {}, but this host reads version {FORMAT_VERSION}: run the version of the host that wrote it",
                version.format
            )));
        }
        serde_json::from_slice(bytes)
            .map_err(|error| invalid(format!("`{FILE_NAME}` is damaged: restore it from a copy ({error})")))
    }
}

impl StoredFile {
    fn from_entry(entry: &Entry) -> Self {
        let Identity { device, inode, head } = entry.identity;
        Self {
            ordinal: entry.ordinal,
            device,
            inode,
            head_bytes: head.bytes,
            head_crc32c: head.crc,
            modified: entry.modified,
            last_line: entry.last_line,
            is_replaced: entry.is_replaced,
        }
    }

    fn into_entry(self) -> Entry {
        let head = Head { bytes: self.head_bytes, crc: self.head_crc32c };
        Entry {
            ordinal: self.ordinal,
            identity: Identity { device: self.device, inode: self.inode, head },
            modified: self.modified,
            last_line: self.last_line,
            is_replaced: self.is_replaced,
        }
    }
}
