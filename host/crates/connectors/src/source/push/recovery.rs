//! Opens what an earlier process left: finds the end of the log and what it remembers.
//!
//! Only the newest segment is read whole; damage in older ones is found when they are read. A torn last frame is cut
//! off: it was never acknowledged. Damage that is no torn frame stops the source, because what lies behind it was.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use model::error::Failure;

use super::faults::Faults;
use super::frame::{Content, Damage};
use super::producers::Producers;
use super::segment::{self, ActiveSegment, Segment, Step, Walk};

/// A log that is ready to go on.
#[derive(Debug)]
pub(super) struct Recovered {
    /// By first sequence; the last one is `active`.
    pub(super) segments: VecDeque<Segment>,
    /// The segment that is written to.
    pub(super) active: ActiveSegment,
    /// Sequence of the next row.
    pub(super) next: u64,
    /// What is remembered of producers.
    pub(super) producers: Producers,
}

/// Opens the log in `directory`, which is made if it is missing.
pub(super) fn recover(source: &str, directory: &Path, faults: &Faults) -> Result<Recovered, Failure> {
    let broken = |error: io::Error| {
        Failure::stop(format!("open the log of source `{source}` in `{}`", directory.display()))
            .caused_by(error)
    };
    make_directory(directory).map_err(broken)?;
    let listed = segment::list(directory).map_err(broken)?;
    let mut segments = VecDeque::with_capacity(listed.len());
    let mut base = 0;
    for (named, path) in &listed {
        let file = File::open(path).map_err(broken)?;
        let first = segment::read_header(&file)
            .map_err(broken)?
            .map_err(|damage| damaged(source, path, 0, damage))?;
        if first != *named {
            return Err(Failure::stop(format!(
                "open the log of source `{source}`: `{}` holds rows from {first} on: give it back the name that says so",
                path.display()
            )));
        }
        let end = file.metadata().map_err(broken)?.len();
        segments.push_back(Segment::new(first, path.clone(), base, end));
        base += end;
    }
    let Some(newest) = segments.back_mut() else {
        let producers = Producers::default();
        let (active, path) = ActiveSegment::create(directory, 0, &producers, faults).map_err(broken)?;
        segments.push_back(Segment::new(0, path, 0, active.end()));
        return Ok(Recovered { segments, active, next: 0, producers });
    };
    let mut producers = Producers::default();
    let next = read_newest(source, newest, &mut producers)?;
    let active = ActiveSegment::resume(&newest.path, newest.end, faults).map_err(broken)?;
    Ok(Recovered { segments, active, next, producers })
}

/// A failure that says what is damaged, where, and what can be done.
pub(super) fn damaged(source: &str, path: &Path, offset: u64, damage: Damage) -> Failure {
    let mend = match damage {
        Damage::Version(_) => {
            "run the version of the host that wrote it until its views have caught up, then empty the directory"
        }
        _ => "restore the file from a copy, or cut it there to give up the events behind",
    };
    Failure::stop(format!(
        "read the log of source `{source}`: `{}` {damage} at byte {offset}: {mend}",
        path.display()
    ))
}

fn make_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    segment::sync_directory(directory)?;
    match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => segment::sync_directory(parent),
        _ => Ok(()),
    }
}

/// Finds the end of the segment that was written to; answers the sequence of the next row.
fn read_newest(source: &str, newest: &mut Segment, producers: &mut Producers) -> Result<u64, Failure> {
    let path = newest.path.clone();
    let broken = |error: io::Error| {
        Failure::stop(format!("read the log of source `{source}`: `{}`", path.display())).caused_by(error)
    };
    let (length, mut next) = (newest.end, newest.first);
    let mut walk = Walk::new(File::open(&path).map_err(broken)?, newest.offset_of(newest.first));
    loop {
        let offset = walk.offset();
        match walk.next(length).map_err(broken)? {
            Step::Frame(Content::Producers(known)) => {
                for (name, last) in known {
                    producers.remember(&name, last);
                }
                newest.end = walk.offset();
            }
            Step::Frame(Content::Rows(chunk)) => {
                if chunk.first != next {
                    return Err(damaged(source, &path, offset, Damage::Inconsistent));
                }
                next = chunk.next();
                for (name, last) in chunk.producers() {
                    producers.remember(&name, last);
                }
                newest.grown(chunk.first, offset, walk.offset());
            }
            Step::End => {
                newest.end = offset;
                return Ok(next);
            }
            Step::Damaged(damage) => {
                let file = File::open(&path).map_err(broken)?;
                if segment::is_followed(&file, offset, next).map_err(broken)? {
                    return Err(damaged(source, &path, offset, damage));
                }
                // Space that was reserved and not used is no frame either, and nothing to speak of.
                if damage != Damage::NotAFrame {
                    let (file, bytes) = (path.display(), length - offset);
                    tracing::info!(
                        source,
                        "cut off {bytes} bytes of `{file}`: a write that nobody was told of"
                    );
                }
                newest.end = offset;
                return Ok(next);
            }
        }
    }
}
