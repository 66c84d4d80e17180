//! Tells files apart, and finds those that were moved away from the path.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Bytes at the beginning of a file that tell it from another one with the same inode number.
const HEAD_BYTES: usize = 1024;

/// What a file is known by, wherever it is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Device number; it may change when a machine starts anew.
    pub(super) device: u64,
    /// Inode number; it is given to another file once this one is deleted.
    pub(super) inode: u64,
    /// The beginning, as far as it is known.
    pub(super) head: Head,
}

/// The beginning of a file: it never changes while a file only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Head {
    /// How many bytes of it are known, 0 for a file that was empty.
    pub(super) bytes: u32,
    /// Their CRC32C.
    pub(super) crc: u32,
}

impl Head {
    /// As much of the beginning as there is, up to a limit.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let mut buffer = [0; HEAD_BYTES];
        let bytes = read_up_to(file, &mut buffer, 0)?;
        Ok(Self { bytes: u32::try_from(bytes).unwrap_or(0), crc: crc32c::crc32c(&buffer[..bytes]) })
    }

    /// Whether a file begins like this.
    pub(super) fn is_of(&self, file: &File) -> io::Result<bool> {
        let mut buffer = [0; HEAD_BYTES];
        let known = (self.bytes as usize).min(HEAD_BYTES);
        let bytes = read_up_to(file, &mut buffer[..known], 0)?;
        Ok(bytes == known && crc32c::crc32c(&buffer[..bytes]) == self.crc)
    }

    /// Whether more may become known as the file grows.
    pub(super) fn is_partial(&self) -> bool {
        (self.bytes as usize) < HEAD_BYTES
    }
}

impl Identity {
    /// What an open file is known by.
    pub(super) fn of(file: &File, metadata: &Metadata) -> io::Result<Self> {
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), head: Head::of(file)? })
    }

    /// Whether this is the same file, perhaps grown.
    pub(super) fn is_of(&self, file: &File, metadata: &Metadata) -> io::Result<bool> {
        let is_same_place =
            self.inode == metadata.ino() && (self.device == metadata.dev() || self.head.bytes > 0);
        Ok(is_same_place && self.head.is_of(file)?)
    }
}

/// Fills the buffer from `offset` on; answers how many bytes there were.
pub(super) fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Opens a file, or `None` if there is none.
pub(super) fn open_if_there(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(Some((file, metadata)))
}

/// A file beside the path whose name says that it was rotated away from it.
#[derive(Debug)]
pub(super) struct Sibling {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) metadata: Metadata,
}

/// The rotated files of a path, the one that was written to last at the end.
pub(super) fn siblings(path: &Path) -> io::Result<Vec<Sibling>> {
    let Some(name) = path.file_name() else { return Ok(Vec::new()) };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut siblings = Vec::new();
    for entry in entries {
        let entry = entry?;
        if is_rotated_name(name, &entry.file_name()) && entry.file_type()?.is_file() {
            let path = entry.path();
            match open_if_there(&path) {
                Ok(Some((file, metadata))) => siblings.push(Sibling { path, file, metadata }),
                // Rotation may be at work: what vanishes meanwhile is found under its next name.
                Ok(None) => {}
                // It need not be one of ours; if it is, whoever misses its lines says so.
                Err(error) => tracing::warn!(%error, "could not look at `{}`", path.display()),
            }
        }
    }
    siblings.sort_by_key(|sibling| (modified(&sibling.metadata), std::cmp::Reverse(sibling.path.clone())));
    Ok(siblings)
}

/// When a file was last written to, in nanoseconds since the epoch.
pub(super) fn modified(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// Whether a name is that of the path with a number or a date behind it.
fn is_rotated_name(name: &OsStr, candidate: &OsStr) -> bool {
    let Some(rest) = candidate.as_encoded_bytes().strip_prefix(name.as_encoded_bytes()) else { return false };
    let is_number =
        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'T' | b'Z');
    matches!(rest, [b'.' | b'-' | b'_', number @ ..] if number.iter().any(u8::is_ascii_digit) && number.iter().all(is_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(candidate: &str, expected: bool) {
        assert_eq!(
            is_rotated_name(OsStr::new("events.ndjson"), OsStr::new(candidate)),
            expected,
            "{candidate}"
        );
    }

    #[test]
    fn rotated_names_end_with_a_number_or_a_date() {
        check("events.ndjson.1", true);
        check("events.ndjson-20260101", true);
        check("events.ndjson.2026-01-01T10:00:00Z", true);
        check("events.ndjson", false);
        check("events.ndjson.", false);
        check("events.ndjson.bak", false);
        check("events.ndjson.1.gz", false);
        check("events.ndjson2", false);
        check("other.ndjson.1", false);
    }
}
