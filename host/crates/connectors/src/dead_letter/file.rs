//! Dead letters in a file: one JSON object a line, synced before the flow goes on.
//!
//! `time` is when the source recorded the event. The payload stands in `payload` if it is UTF-8, else in
//! `payload_base64`; of a payload above 1 MiB only the beginning is kept, and `payload_bytes` says how long it was. The
//! file is never read back, rotated or cut, except for a line that a crash left unfinished.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::dead_letter::{DeadLetter, DeadLetters};
use model::error::Failure;
use model::time::EventTime;
use serde::Serialize;

use crate::locked_file::LockedFile;

#[cfg(test)]
mod tests;

/// Bytes of a payload that are kept.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// Bytes read at a time in search of the last line feed.
const TAIL_BYTES: u64 = 1 << 16;

/// Dead letters in a file. Any number of views may share it.
#[derive(Debug)]
pub struct FileDeadLetters {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: LockedFile,
    /// Length of all whole lines.
    length: u64,
    lines: Vec<u8>,
}

/// The line of one letter.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    view: &'a str,
    source: &'a str,
    partition: &'a str,
    position: String,
    code: &'a str,
    reason: &'a str,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_bytes: Option<usize>,
}

impl FileDeadLetters {
    /// Opens or makes the file, and cuts off a line that a crash left unfinished.
    pub fn open(path: &Path) -> Result<Arc<Self>, Failure> {
        let failed = |error: io::Error| {
            Failure::stop(format!("open dead-letter file `{}`", path.display())).caused_by(error)
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let file = match LockedFile::try_lock(file) {
            Ok(file) => file,
            Err((_, TryLockError::WouldBlock)) => {
                return Err(Failure::stop(format!(
                    "open dead-letter file `{}`: another host writes it; give each host a file of its own",
                    path.display()
                )));
            }
            Err((_, TryLockError::Error(error))) => return Err(failed(error)),
        };
        let length = whole_lines(&file).map_err(failed)?;
        file.set_len(length).map_err(failed)?;
        file.sync_all().and_then(|()| File::open(parent)?.sync_all()).map_err(failed)?;
        Ok(Arc::new(Self {
            path: path.to_owned(),
            state: Mutex::new(State { file, length, lines: Vec::new() }),
        }))
    }
}

impl DeadLetters for FileDeadLetters {
    fn write(&self, letters: &[DeadLetter<'_>]) -> Result<(), Failure> {
        if letters.is_empty() {
            return Ok(());
        }
        // The state is whole at every point where a panic could leave it.
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        state.lines.clear();
        let written = letters.iter().try_for_each(|letter| write_line(&mut state.lines, letter));
        let written = written.and_then(|()| state.file.write_all_at(&state.lines, state.length));
        let length = state.length + state.lines.len() as u64;
        state.lines.shrink_to(MAX_PAYLOAD_BYTES);
        match written.and_then(|()| state.file.sync_data()) {
            Ok(()) => {
                state.length = length;
                Ok(())
            }
            Err(error) => {
                // The next try begins at the same place, so what may remain if this fails too is overwritten.
                let cut = state.file.set_len(state.length).err();
                if let Some(cut) = cut {
                    tracing::warn!(path = %self.path.display(), error = %cut, "failed to cut dead-letter file back");
                }
                Err(Failure::retry(format!("write dead-letter file `{}`", self.path.display()))
                    .caused_by(error))
            }
        }
    }
}

fn write_line(out: &mut Vec<u8>, letter: &DeadLetter<'_>) -> io::Result<()> {
    let kept = &letter.payload[..letter.payload.len().min(MAX_PAYLOAD_BYTES)];
    let text = match std::str::from_utf8(kept) {
        Ok(text) => Some(text),
        // A character that the cut went through does not make the payload binary.
        Err(error) if error.error_len().is_none() && kept.len() < letter.payload.len() => {
            std::str::from_utf8(&kept[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let line = Line {
        time: EventTime(letter.ingest_time).to_string(),
        view: letter.view,
        source: letter.source,
        partition: letter.partition.as_str(),
        position: letter.position.to_string(),
        code: letter.code,
        reason: letter.reason,
        digest: letter.digest.short(),
        payload: text,
        payload_base64: text.is_none().then(|| STANDARD.encode(kept)),
        payload_bytes: (kept.len() < letter.payload.len()).then_some(letter.payload.len()),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

/// Length of the file up to and with its last line feed.
fn whole_lines(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut tail = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(TAIL_BYTES);
        tail.resize(usize::try_from(end - start).unwrap_or(0), 0);
        file.read_exact_at(&mut tail, start)?;
        if let Some(at) = memchr::memrchr(b'\n', &tail) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
