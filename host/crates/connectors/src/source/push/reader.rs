//! Reads the log onward: from memory while the reader keeps up, from the files when it is behind.

use std::sync::Arc;
use std::time::Duration;

use model::batch::RawBatch;
use model::error::Failure;
use model::position::Partition;
use model::source::{BatchBudget, ReadEvent, Reader};

use super::batch::assemble;
use super::core::Core;
use super::files::Located;
use super::frame::{Chunk, Content};
use super::recovery;
use super::segment::Step;
use super::tail::Waiting;

/// A reader of the only partition.
pub(super) struct PushReader {
    core: Arc<Core>,
    partition: Partition,
    /// Sequence of the next row.
    next: u64,
    /// Where it stands in the files, while it is behind.
    located: Option<Located>,
    /// Read from the files and not handed on to their last rows.
    ahead: Vec<Arc<Chunk>>,
}

impl PushReader {
    /// A reader that begins with this row.
    pub(super) fn new(core: Arc<Core>, partition: Partition, next: u64) -> Self {
        Self { core, partition, next, located: None, ahead: Vec::new() }
    }

    fn batch(&mut self, chunks: &[Arc<Chunk>], budget: BatchBudget) -> RawBatch {
        let batch = assemble(&self.partition, chunks, self.next, budget);
        self.next += batch.len() as u64;
        batch
    }

    /// Rows that are durable but not in memory; `None` if they were released meanwhile.
    fn read_files(&mut self, budget: BatchBudget) -> Result<Option<RawBatch>, Failure> {
        let first = self.core.files.first();
        if self.next < first {
            tracing::warn!(
                source = self.core.name,
                from = self.next,
                to = first,
                "events of the push log are gone: they were released before they were read"
            );
            self.next = first;
            self.located = None;
        }
        let mut chunks = std::mem::take(&mut self.ahead);
        chunks.retain(|chunk| chunk.next() > self.next);
        let mut wanted = chunks.last().map_or(self.next, |last| last.next());
        let mut rows = wanted - self.next;
        let mut bytes = chunks.iter().map(|chunk| chunk.payload_bytes()).sum::<usize>();
        while rows < budget.rows.max(1) as u64 && bytes < budget.bytes.max(1) {
            let Some(chunk) = self.next_chunk(wanted)? else { break };
            wanted = chunk.next();
            rows = wanted - self.next;
            bytes += chunk.payload_bytes();
            chunks.push(Arc::new(chunk));
        }
        if chunks.is_empty() {
            return Ok(None);
        }
        let batch = self.batch(&chunks, budget);
        chunks.retain(|chunk| chunk.next() > self.next);
        self.ahead = chunks;
        Ok(Some(batch))
    }

    /// The chunk that holds the row `wanted`; `None` if it is not durable yet or was released.
    fn next_chunk(&mut self, wanted: u64) -> Result<Option<Chunk>, Failure> {
        loop {
            let located = match &mut self.located {
                Some(located) => located,
                None => {
                    let located = self.core.files.locate(wanted).map_err(|error| {
                        let message = format!("open the log of source `{}`", self.core.name);
                        Failure::retry(message).caused_by(error)
                    })?;
                    let Some(located) = located else { return Ok(None) };
                    self.located.insert(located)
                }
            };
            let Some((end, following)) = self.core.files.extent(located.first) else {
                self.located = None;
                continue;
            };
            if following == Some(wanted) {
                self.located = None;
                continue;
            }
            let offset = located.walk.offset();
            let step = located.walk.next(end).map_err(|error| {
                let path = located.path.display();
                Failure::retry(format!("read the log of source `{}`: `{path}`", self.core.name))
                    .caused_by(error)
            })?;
            match step {
                Step::Frame(Content::Rows(chunk)) if chunk.next() <= wanted => {}
                Step::Frame(Content::Rows(chunk)) if chunk.first <= wanted => return Ok(Some(chunk)),
                Step::Frame(Content::Producers(_)) => {}
                Step::End if following.is_none() && wanted >= self.core.tail.next() => return Ok(None),
                Step::End | Step::Frame(Content::Rows(_)) => {
                    let path = located.path.display();
                    return Err(Failure::stop(format!(
                        "read the log of source `{}`: `{path}` does not hold event {wanted}, which should be at byte \
                         {offset}: a file of the log is missing or was cut; restore it from a copy",
                        self.core.name
                    )));
                }
                Step::Damaged(damage) => {
                    return Err(recovery::damaged(&self.core.name, &located.path, offset, damage));
                }
            }
        }
    }
}

impl Reader for PushReader {
    fn next(&mut self, budget: BatchBudget, wait: Duration) -> Result<ReadEvent, Failure> {
        match self.core.tail.after(self.next, budget, wait) {
            Waiting::Chunks(chunks) => {
                self.located = None;
                self.ahead.clear();
                Ok(ReadEvent::Batch(self.batch(&chunks, budget)))
            }
            Waiting::Older => Ok(self.read_files(budget)?.map_or(ReadEvent::Idle, ReadEvent::Batch)),
            Waiting::Nothing => Ok(ReadEvent::Idle),
        }
    }
}
