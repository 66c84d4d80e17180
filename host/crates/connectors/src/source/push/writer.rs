//! The log thread: takes all pushes that wait, makes them durable with one write and one sync, then answers them.
//!
//! There is no timer: a lone push is synced at once, and pushes that come during a sync make up the next group.
//!
//! - A write that fails is cut off again; the next push tries anew.
//! - After a sync that fails nobody knows what the disk holds, and syncing again would prove nothing: the segment is
//!   left as it was after its last good sync, and the next push begins another one.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use model::error::Failure;
use model::source::PushError;

use super::core::Core;
use super::faults::Faults;
use super::frame::{self, Chunk, Entry};
use super::producers::{Producers, Remembered};
use super::queue::{Append, Taken};
use super::segment::ActiveSegment;

/// What the log thread owns.
pub(super) struct Writer {
    core: Arc<Core>,
    /// `None` after a failed sync, until another segment could be begun.
    active: Option<ActiveSegment>,
    /// Whether the active segment holds rows; one that holds none is not left for another.
    has_rows: bool,
    next: u64,
    producers: Producers,
    segment_bytes: u64,
    faults: Faults,
}

/// What is to be said to a client once its group is durable.
struct Verdict {
    append: Append,
    taken: Taken,
}

/// A group, sorted.
#[derive(Default)]
struct Group {
    logged: Vec<Verdict>,
    repeated: Vec<Verdict>,
    /// Last pushes of producers within the group.
    producers: HashMap<String, Remembered>,
}

impl Writer {
    /// A writer that goes on where the log ends.
    pub(super) fn new(
        core: Arc<Core>,
        active: ActiveSegment,
        (next, has_rows): (u64, bool),
        producers: Producers,
        segment_bytes: u64,
        faults: Faults,
    ) -> Self {
        Self { core, active: Some(active), has_rows, next, producers, segment_bytes, faults }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let core = Arc::clone(&self.core);
        // However this thread ends, nobody may wait for it.
        let _abandon = AbandonOnExit(&core);
        loop {
            let appends = core.queue.take();
            if appends.is_empty() {
                break;
            }
            self.commit(appends);
        }
        if let Some(active) = &mut self.active
            && let Err(error) = active.cut()
        {
            tracing::warn!(source = core.name, %error, "could not give back the reserve of the push log");
        }
    }

    fn commit(&mut self, appends: Vec<Append>) {
        let group = self.sort(appends);
        if !group.logged.is_empty()
            && let Err(error) = self.log(&group)
        {
            let trouble = self.core.trouble_began(&error);
            for verdict in group.logged.into_iter().chain(group.repeated) {
                verdict.append.answer(Err(PushError::Failed(Failure::retry(trouble.clone()))));
            }
            return;
        }
        for verdict in group.logged.into_iter().chain(group.repeated) {
            verdict.append.answer(Ok(verdict.taken));
        }
    }

    /// Answers what is refused, and gives the rest its sequences.
    fn sort(&self, appends: Vec<Append>) -> Group {
        let mut group = Group::default();
        let mut next = self.next;
        let is_full = self.core.is_full();
        for append in appends {
            if let Some((name, sequence)) = &append.producer
                && let Some(last) = group.producers.get(name).copied().or_else(|| self.producers.get(name))
                && *sequence <= last.sequence
            {
                if *sequence == last.sequence {
                    let repeat_of = Some(last.ingest_time);
                    let taken = Taken { accepted: last.accepted, through: last.through, repeat_of };
                    group.repeated.push(Verdict { append, taken });
                } else {
                    let refusal = PushError::OutOfSequence {
                        producer: name.clone(),
                        sequence: *sequence,
                        last: last.sequence,
                    };
                    append.answer(Err(refusal));
                }
                continue;
            }
            if is_full {
                append.answer(Err(PushError::Full(self.core.name.clone())));
                continue;
            }
            next += append.rows.len() as u64;
            // A push has fewer than 2^32 rows: places in its body are 32-bit numbers.
            let accepted = u32::try_from(append.rows.len()).unwrap_or(u32::MAX);
            let taken = Taken { accepted, through: next - 1, repeat_of: None };
            if let Some((name, sequence)) = &append.producer {
                let ingest_time = append.ingest_time;
                let last = Remembered { sequence: *sequence, through: taken.through, ingest_time, accepted };
                group.producers.insert(name.clone(), last);
            }
            group.logged.push(Verdict { append, taken });
        }
        group
    }

    /// Makes the rows of a group durable, and visible to readers.
    fn log(&mut self, group: &Group) -> io::Result<()> {
        let entries: Vec<Entry<'_>> = group
            .logged
            .iter()
            .map(|Verdict { append, .. }| Entry {
                ingest_time: append.ingest_time,
                producer: append.producer.as_ref().map(|(name, sequence)| (name.as_str(), *sequence)),
                body: &append.body,
                rows: &append.rows,
            })
            .collect();
        let frame = frame::encode_rows(self.next, &entries);
        let (offset, end) = self.store(&frame)?;
        self.core.trouble_ended();
        let chunk = Chunk::new(frame.into()).expect("a frame that was just made is consistent");
        let mut producers: Vec<_> = group.producers.iter().collect();
        // In the order in which a recovery would meet them.
        producers.sort_unstable_by_key(|(_, last)| last.through);
        for (name, last) in producers {
            self.producers.remember(name, *last);
        }
        self.core.files.grow(self.next, chunk.next(), offset, end);
        self.next = chunk.next();
        self.has_rows = true;
        self.core.tail.publish(Arc::new(chunk));
        Ok(())
    }

    /// Writes and syncs a frame; answers where it begins and ends.
    fn store(&mut self, frame: &[u8]) -> io::Result<(u64, u64)> {
        let is_filled = |active: &ActiveSegment| active.end() + frame.len() as u64 > self.segment_bytes;
        if self.active.as_ref().is_none_or(|active| self.has_rows && is_filled(active)) {
            self.begin_segment()?;
        }
        let active = self.active.as_mut().expect("a segment was begun if there was none");
        let offset = active.end();
        if let Err(error) = active.write(frame) {
            if active.cut().is_err() {
                // A frame that is half there ends a log well; but the segment is not worth another try.
                self.active = None;
            }
            return Err(error);
        }
        if let Err(error) = active.sync(frame) {
            // The next segment says where this one ends: if this fails too, nothing is made worse.
            let _unneeded = active.cut();
            self.active = None;
            return Err(error);
        }
        Ok((offset, active.end()))
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let (segment, path) =
            ActiveSegment::create(&self.core.directory, self.next, &self.producers, &self.faults)?;
        self.core.files.begin(self.next, path, segment.end());
        self.has_rows = false;
        if let Some(mut filled) = self.active.replace(segment)
            && let Err(error) = filled.cut()
        {
            tracing::warn!(source = self.core.name, %error, "could not give back the reserve of a push log segment");
        }
        Ok(())
    }
}

struct AbandonOnExit<'a>(&'a Core);

impl Drop for AbandonOnExit<'_> {
    fn drop(&mut self) {
        self.0.queue.abandon();
    }
}
