//! Reads shards onward: what their fetchers have got, one batch of one shard at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::batch::{Attributes, RawBatch};
use model::error::Failure;
use model::position::{Covers, Partition, Position, PositionColumn};
use model::source::{BatchBudget, Positions, ReadEvent, Reader};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::fetcher::{Core, Fetcher};
use super::inbox::{Inbox, Item};
use crate::kinesis::position;

/// A reader of some shards.
pub(super) struct KinesisReader {
    core: Arc<Core>,
    inbox: Arc<Inbox>,
    lanes: Vec<Lane>,
}

/// One shard of a reader.
struct Lane {
    partition: Partition,
    /// Everything through here was handed on.
    at: Option<Position>,
    /// Ended when the reader goes.
    fetcher: JoinHandle<()>,
}

impl KinesisReader {
    /// A reader that begins behind these positions; it asks Kinesis nothing by itself.
    pub(super) fn new(
        core: Arc<Core>,
        runtime: &Handle,
        partitions: &[Partition],
        after: &Positions,
    ) -> Result<Self, Failure> {
        for partition in partitions {
            let doing = || format!("read partition `{partition}` of source `{}`", core.name);
            if !is_shard_id(partition.as_str()) {
                return Err(Failure::stop(format!("{}: that is no name of a shard", doing())));
            }
            let position = after.get(partition);
            if let Some(position) = position.filter(|position| position::parse(position).is_none()) {
                let problem = format!("position {position} is none of a shard of a Kinesis stream");
                return Err(Failure::stop(format!("{}: {problem}", doing())));
            }
        }
        let inbox = Arc::new(Inbox::new(partitions));
        let mut lanes = Vec::with_capacity(partitions.len());
        for (lane, partition) in partitions.iter().enumerate() {
            let at = after.get(partition).copied();
            let fetcher = Fetcher::new(Arc::clone(&core), Arc::clone(&inbox), lane, partition.clone(), at);
            let fetcher = runtime.spawn(fetcher.run());
            lanes.push(Lane { partition: partition.clone(), at, fetcher });
        }
        Ok(Self { core, inbox, lanes })
    }
}

impl Reader for KinesisReader {
    fn next(&mut self, budget: BatchBudget, wait: Duration) -> Result<ReadEvent, Failure> {
        let deadline = Instant::now() + wait;
        let holds = |lane: usize| self.core.lineage.holds(&self.lanes[lane].partition);
        let Some((index, item)) = self.inbox.next(deadline, holds)? else { return Ok(ReadEvent::Idle) };
        let lane = &mut self.lanes[index];
        let batch = match item {
            Item::Stretch(mut stretch, room) => {
                let (batch, is_last) = stretch.take(&lane.partition, budget);
                self.inbox.done(index, (!is_last).then_some(Item::Stretch(stretch, room)));
                batch
            }
            Item::Tip => {
                self.inbox.done(index, None);
                lane.without_events(lane.at.unwrap_or_else(|| position::from_time(0)))
            }
            Item::End => {
                self.inbox.done(index, None);
                self.inbox.end(index);
                self.core.metrics.finished.inc();
                lane.without_events(position::end())
            }
        };
        lane.at = Some(batch.covers.through);
        Ok(ReadEvent::Batch(batch))
    }
}

impl Drop for KinesisReader {
    fn drop(&mut self) {
        for lane in &self.lanes {
            lane.fetcher.abort();
        }
    }
}

impl Lane {
    /// Says that nothing lies behind a position now.
    fn without_events(&self, through: Position) -> RawBatch {
        RawBatch {
            partition: self.partition.clone(),
            data: Bytes::new(),
            payloads: Vec::new(),
            positions: PositionColumn::new(32),
            ingest_times: Vec::new(),
            ingest_time: 0,
            covers: Covers { first: through, through },
            attributes: Attributes { at_end: true, ..Attributes::default() },
        }
    }
}

/// Whether Kinesis could have given a shard this name.
fn is_shard_id(name: &str) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    !name.is_empty() && name.len() <= 128 && name.bytes().all(is_of_it)
}
