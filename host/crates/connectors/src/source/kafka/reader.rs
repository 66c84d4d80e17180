//! Reads partitions onward: whatever is waiting, one batch for each partition.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use model::error::{Disposition, Failure};
use model::position::Partition;
use model::source::{BatchBudget, Positions, ReadEvent, Reader};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::fetcher::{Fetcher, Start, TopicId};
use super::gap;
use super::lane::Lane;
use super::topic_set::Core;
use crate::kafka::error;

/// Batches of the full size that are gathered at most before the first is handed on. Fewer, and many partitions would
/// give small batches; more, and they would leave the processor's cache before they are decoded.
const GATHERED_BATCHES: usize = 4;

/// How long to wait for records at most before the client is heard again about brokers that are away.
const HEAR_EVERY: Duration = Duration::from_millis(500);

/// What the client may say in a row while nothing comes.
const HEARD: usize = 16;

/// A reader of some partitions.
pub(super) struct KafkaReader {
    core: Arc<Core>,
    fetcher: Fetcher,
    lanes: Vec<Lane>,
    /// The lane of each partition.
    places: HashMap<(TopicId, i32), usize, foldhash::fast::RandomState>,
    /// The lane of the last record: records of one partition come in long runs.
    last: usize,
    /// Lanes with something to hand on, the first one first.
    ready: VecDeque<usize>,
    /// Lanes whose position is not there any more, and what librdkafka says of it.
    astray: Vec<(usize, String)>,
    /// Found while events were gathered, said when they are handed on.
    failed: Option<Failure>,
    /// Bytes in all lanes.
    gathered: usize,
}

impl KafkaReader {
    /// A reader that begins behind these positions.
    pub(super) fn new(core: Arc<Core>, partitions: &[Partition], after: &Positions) -> Result<Self, Failure> {
        let mut fetcher = Fetcher::new(core.reading_client()?);
        let mut lanes = Vec::with_capacity(partitions.len());
        let mut places = HashMap::default();
        let mut asks = true;
        for partition in partitions {
            let (topic, number) = core.place(partition)?;
            let doing = || format!("read partition `{partition}` of source `{}`", core.name);
            let topic = fetcher.topic(topic).map_err(|error| core.watch.failure(&doing(), &error))?;
            let (next, start) = match after.get(partition) {
                Some(position) => {
                    let next = core.offset(position)? + 1;
                    (next, Start::Offset(next))
                }
                // The client would take half a second to find the beginning by itself.
                None => match asks.then(|| core.range(partition)) {
                    Some(Ok((low, _))) => (0, Start::Offset(low)),
                    Some(Err(failure)) if failure.disposition == Disposition::Stop => return Err(failure),
                    _ => {
                        asks = false;
                        (0, Start::Beginning)
                    }
                },
            };
            fetcher
                .start(topic, number, start)
                .map_err(|code| error::code_failure(&core.connection.name, &doing(), code, None))?;
            places.insert((topic, number), lanes.len());
            lanes.push(Lane::new(partition.clone(), topic, number, next));
        }
        Ok(Self {
            core,
            fetcher,
            lanes,
            places,
            last: 0,
            ready: VecDeque::new(),
            astray: Vec::new(),
            failed: None,
            gathered: 0,
        })
    }

    /// Takes what is waiting until a batch is full.
    fn gather(&mut self, budget: BatchBudget) {
        let most = budget.bytes.saturating_mul(GATHERED_BATCHES);
        let with_headers = self.core.with_headers.load(Ordering::Relaxed);
        loop {
            while let Some(record) = self.fetcher.peek() {
                let place = record.place();
                if self.lanes.get(self.last).is_none_or(|lane| (lane.topic, lane.number) != place) {
                    let Some(found) = self.places.get(&place) else {
                        // Nobody asked for it.
                        self.fetcher.advance();
                        continue;
                    };
                    self.last = *found;
                }
                let index = self.last;
                let lane = &mut self.lanes[index];
                if record.is_record() {
                    if !lane.has_room(&record, budget) || self.gathered > most {
                        return;
                    }
                    let before = lane.bytes();
                    if !lane.push(&record, with_headers) {
                        self.core.metrics.tombstones.inc();
                    }
                    self.gathered += lane.bytes() - before;
                } else if let Some((code, text)) = record.error() {
                    let offset = record.offset();
                    self.trouble(index, code, text, offset);
                }
                let lane = &mut self.lanes[index];
                if lane.has_news() && !lane.is_ready {
                    lane.is_ready = true;
                    self.ready.push_back(index);
                }
                self.fetcher.advance();
            }
            if !self.fetcher.pull(Duration::ZERO) {
                return;
            }
        }
    }

    /// What a partition has to say that is no record.
    fn trouble(&mut self, index: usize, code: Code, text: String, offset: u64) {
        let lane = &mut self.lanes[index];
        match code {
            // What lies before the end and did not come is no event: markers of transactions, aborted or compacted
            // records.
            Code::PartitionEOF => lane.skip_to(offset),
            Code::AutoOffsetReset | Code::OffsetOutOfRange => self.astray.push((index, text)),
            // The client goes on by itself when it can.
            code if error::is_silence(code) => {}
            code => {
                let doing = format!("read partition `{}` of source `{}`", lane.partition, self.core.name);
                let connection = &self.core.connection.name;
                let mut failure = error::code_failure(connection, &doing, code, Some(&text));
                if error::is_unknown_topic(code) {
                    // It may come back: the topic is being made, or made anew.
                    failure.disposition = Disposition::Retry;
                }
                self.failed.get_or_insert(failure);
            }
        }
    }

    /// The next batch that is ready.
    fn hand_on(&mut self) -> Option<ReadEvent> {
        let lane = &mut self.lanes[self.ready.pop_front()?];
        lane.is_ready = false;
        self.gathered -= lane.bytes();
        Some(ReadEvent::Batch(lane.take()))
    }

    /// Brings partitions back whose position is gone, as the source's policy says.
    fn find_astray(&mut self) -> Result<(), Failure> {
        while let Some((index, text)) = self.astray.last() {
            let lane = &mut self.lanes[*index];
            let to = gap::mend(&self.core, self.fetcher.client(), &lane.partition, lane.next_offset(), text)?;
            if lane.mended.replace(to) == Some(to) {
                return Err(Failure::retry(format!(
                    "read partition `{}` of source `{}`: the broker refuses offset {to} again and again: {text}",
                    lane.partition, self.core.name
                )));
            }
            let doing = || format!("read partition `{}` of source `{}`", lane.partition, self.core.name);
            self.fetcher
                .start(lane.topic, lane.number, Start::Offset(to))
                .map_err(|code| error::code_failure(&self.core.connection.name, &doing(), code, None))?;
            lane.skip_to(to);
            if lane.has_news() && !lane.is_ready {
                lane.is_ready = true;
                self.ready.push_back(*index);
            }
            self.astray.pop();
        }
        Ok(())
    }
}

impl Reader for KafkaReader {
    fn next(&mut self, budget: BatchBudget, wait: Duration) -> Result<ReadEvent, Failure> {
        if let Some(event) = self.hand_on() {
            return Ok(event);
        }
        let began = Instant::now();
        self.fetcher.serve(1);
        loop {
            self.gather(budget);
            if let Some(event) = self.hand_on() {
                return Ok(event);
            }
            if let Some(failure) = self.failed.take() {
                return Err(failure);
            }
            if !self.astray.is_empty() {
                self.find_astray()?;
                continue;
            }
            let left = wait.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(ReadEvent::Idle);
            }
            if !self.fetcher.pull(left.min(HEAR_EVERY)) {
                self.fetcher.serve(HEARD);
                self.core.look_after_questions();
                self.core.refused()?;
            }
        }
    }
}
