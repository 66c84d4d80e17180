//! Fetches the records of one shard onward, on the runtime: parents first, then iterator, turn, question, answer, again.
//!
//! It never asks more often than the shard's turns allow, and falls back after whatever goes wrong, so that nothing
//! makes it spin. Where it stands is the position of the last record that it got; iterators are made anew from there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::error::Failure;
use model::position::{Partition, Position};
use model::time::{Clock, EventTime};
use tokio::time::{sleep, sleep_until};

use super::calls::{Answer, Calls, MOST_RECORDS, Start};
use super::gap::{self, GoOn};
use super::inbox::{Inbox, Item};
use super::lineage::Lineage;
use super::setback::{Asked, MADE_ANEW, Setback, keeps_iterator, pause};
use super::standing::{Reading, Standing};
use super::stretch::{self, Stretch};
use super::turns::Turns;
use crate::kinesis::SourceMetrics;
use crate::kinesis::lease::Tip;
use crate::kinesis::position::{self, ShardPosition};
use crate::source::OutOfRange;

/// How often a child looks whether its parents are finished.
const LOOK_FOR_PARENTS: Duration = Duration::from_millis(50);

/// What a shard takes in within a millisecond at most: a thousand bytes, and a record, which costs memory beside them.
const BYTES_PER_MILLISECOND: usize = 1_300;

/// How long to wait after something went wrong, at first and at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pauses {
    pub(super) first: Duration,
    pub(super) most: Duration,
}

/// Shorter, and a stream that throttles is asked in vain; longer, and one that is back waits.
pub(super) const PAUSES: Pauses = Pauses { first: Duration::from_millis(200), most: Duration::from_secs(5) };

/// What all readers of a source share.
pub(super) struct Core {
    /// The source's name.
    pub(super) name: String,
    /// The connection's name.
    pub(super) connection: String,
    pub(super) out_of_range: OutOfRange,
    pub(super) calls: Arc<dyn Calls>,
    pub(super) lineage: Arc<dyn Lineage>,
    pub(super) standing: Arc<Standing>,
    pub(super) turns: Turns,
    pub(super) pauses: Pauses,
    pub(super) metrics: SourceMetrics,
    pub(super) clock: Arc<dyn Clock>,
}

/// Fetches one shard for one reader.
pub(super) struct Fetcher {
    pub(super) core: Arc<Core>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) lane: usize,
    pub(super) partition: Partition,
    pub(super) reading: Reading,
    /// Everything through here was got, or is not wanted.
    pub(super) at: Option<Position>,
    pub(super) iterator: Option<String>,
    /// The iterator stands at the record of the position itself, which has to come if the shard still has it.
    pub(super) is_unproven: bool,
    /// The next iterator begins behind the last record, although that leaves records out.
    pub(super) from_tip: bool,
    pub(super) tip_was_told: bool,
    /// When the reader was opened.
    pub(super) began: Instant,
    /// When the last answer came, and how many milliseconds it was behind.
    pub(super) answered: Option<(Instant, i64)>,
    /// What went wrong in a row.
    pub(super) failures: u32,
}

/// What came of one round.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    GoOn,
    Ended,
}

impl Fetcher {
    /// A fetcher for a lane, which goes on behind `at`.
    pub(super) fn new(
        core: Arc<Core>,
        inbox: Arc<Inbox>,
        lane: usize,
        partition: Partition,
        at: Option<Position>,
    ) -> Self {
        Self {
            reading: core.standing.begin(&partition),
            core,
            inbox,
            lane,
            partition,
            at,
            iterator: None,
            is_unproven: false,
            from_tip: false,
            tip_was_told: false,
            began: Instant::now(),
            answered: None,
            failures: 0,
        }
    }

    /// Fetches until the shard ends, or something is wrong that only an operator can mend.
    pub(super) async fn run(mut self) {
        if self.at == Some(position::end()) {
            self.inbox.end(self.lane);
            self.inbox.put(self.lane, Item::Tip);
            return;
        }
        self.wait_for_parents().await;
        loop {
            let setback = match self.round().await {
                Ok(Outcome::GoOn) => {
                    self.failures = 0;
                    continue;
                }
                Ok(Outcome::Ended) => {
                    self.core.lineage.end_reached(&self.partition);
                    self.inbox.put(self.lane, Item::End);
                    return;
                }
                Err(setback) => setback,
            };
            self.failures = self.failures.saturating_add(1);
            match self.fall_back(setback) {
                Ok(Outcome::GoOn) => sleep(pause(self.core.pauses, self.failures)).await,
                Ok(Outcome::Ended) => {
                    self.inbox.put(self.lane, Item::End);
                    return;
                }
                Err(message) => {
                    self.inbox.fail(Failure::stop(format!("{}: {message}", self.doing())));
                    return;
                }
            }
        }
    }

    /// A record of a parent may be of the same key as a later one of a child. Who begins behind a record of the child has
    /// had all of its parents; that another view takes them again is nothing to wait for.
    async fn wait_for_parents(&self) {
        if self
            .at
            .as_ref()
            .and_then(position::parse)
            .is_some_and(|at| matches!(at, ShardPosition::Record { .. }))
        {
            return;
        }
        let lineage = &self.core.lineage;
        loop {
            // A reader that reads a parent as well gives all of that first, whatever was finished before.
            let parents = lineage.shard(&self.partition).map(|shard| shard.parents).unwrap_or_default();
            if parents.iter().all(|parent| self.inbox.is_past(parent)) && lineage.may_read(&self.partition) {
                return;
            }
            sleep(LOOK_FOR_PARENTS).await;
        }
    }

    async fn round(&mut self) -> Result<Outcome, Setback> {
        self.inbox.wants_more(self.lane).await;
        let core = Arc::clone(&self.core);
        let iterator = match self.iterator.take() {
            Some(iterator) => iterator,
            None => {
                let start = self.start()?;
                self.is_unproven = matches!(start, Start::At(_));
                let asked = core.calls.iterator(self.partition.as_str(), &start).await;
                asked.map_err(|refusal| Setback::Refused(Asked::Iterator, refusal))?
            }
        };
        // No room is kept while a shard rests, or those that rest would keep all of it.
        if let Some(turn) = core.turns.next(&self.partition) {
            sleep_until(turn.into()).await;
        }
        let mut room = self.inbox.room(self.expected()).await;
        sleep_until(core.turns.take(&self.partition, Instant::now()).into()).await;
        let answer = match core.calls.records(&iterator).await {
            Ok(answer) => answer,
            Err(refusal) => {
                self.iterator = keeps_iterator(&refusal).then_some(iterator);
                return Err(Setback::Refused(Asked::Records, refusal));
            }
        };
        core.metrics.reads.inc();
        let weight = stretch::weight_of(&answer.records);
        core.turns.gave(&self.partition, stretch::bytes_of(&answer.records), Instant::now());
        room.shrink(weight);
        self.answered = Some((Instant::now(), answer.behind));
        self.reading.is_behind(answer.behind);
        if self.from_tip {
            self.from_tip = false;
        } else if !self.is_whole(&answer).await? {
            self.from_tip = true;
            return Ok(Outcome::GoOn);
        }
        let Answer { records, next, behind } = answer;
        let is_at_tip = is_at_tip(behind, records.len(), self.began.elapsed());
        if !records.is_empty() {
            let shard = core.lineage.shard(&self.partition);
            let hash_keys = shard.map_or((0, u128::MAX), |shard| shard.hash_keys);
            let stretch = Stretch::new(records, self.at.as_ref(), hash_keys).map_err(Setback::Stop)?;
            if let Some(stretch) = stretch {
                core.metrics.records.inc_by(stretch.len() as u64);
                core.metrics.bytes.inc_by(stretch.bytes());
                core.metrics.broken_aggregates.inc_by(stretch.unreadable);
                self.at = Some(stretch.through());
                self.inbox.put(self.lane, Item::Stretch(Box::new(stretch), room));
            }
        }
        if is_at_tip {
            let now = core.clock.now().minus(Duration::from_millis(u64::try_from(behind).unwrap_or(0))).0;
            let last = self.at.filter(|at| matches!(position::parse(at), Some(ShardPosition::Record { .. })));
            if let Some(tip) = self.reading.is_at_tip(now, last) {
                core.lineage.note_seen(&self.partition, tip);
            }
        }
        self.iterator = next;
        if self.iterator.is_none() {
            return Ok(Outcome::Ended);
        }
        if is_at_tip && !self.tip_was_told {
            self.tip_was_told = true;
            self.inbox.put(self.lane, Item::Tip);
        }
        Ok(Outcome::GoOn)
    }

    /// Bytes that the next answer may need: a shard takes in so much in a second at most.
    fn expected(&self) -> Option<usize> {
        let (at, behind) = self.answered?;
        let milliseconds = at.elapsed().as_millis().saturating_add(u128::try_from(behind).unwrap_or(0));
        usize::try_from(milliseconds).ok()?.checked_mul(BYTES_PER_MILLISECOND)
    }

    /// Where an iterator has to begin.
    pub(super) fn start(&self) -> Result<Start, Setback> {
        if self.from_tip {
            return Ok(Start::Latest);
        }
        let Some(at) = &self.at else { return Ok(Start::Beginning) };
        match position::parse(at) {
            // What was read from the beginning and has given nothing yet.
            Some(ShardPosition::From(0)) => Ok(Start::Beginning),
            Some(ShardPosition::From(time)) => Ok(Start::Time(time)),
            Some(ShardPosition::Record { sequence, .. }) => {
                let shard = self.core.lineage.shard(&self.partition);
                let first = shard.and_then(|shard| position::of_record(&shard.starting, 0));
                match first {
                    Some(first) if *at < first => Err(Setback::Stop(format!(
                        "the shard begins behind record {sequence}, so that {MADE_ANEW}"
                    ))),
                    _ => Ok(Start::At(sequence)),
                }
            }
            Some(ShardPosition::End) | None => {
                Err(Setback::Stop(format!("position {at} is none of a shard of a Kinesis stream")))
            }
        }
    }

    /// Whether an answer joins what was read before. If it does not, and the source goes on behind the last record, the
    /// answer is not wanted.
    async fn is_whole(&mut self, answer: &Answer) -> Result<bool, Setback> {
        let (true, Some(at)) = (self.is_unproven, self.at) else { return Ok(true) };
        let wanted = position::with_sub(&at, 0);
        let found = answer.records.iter().find_map(|record| {
            let first = position::of_record(&record.sequence_number, 0)?;
            (wanted <= first).then_some((first, record))
        });
        if found.is_none() && answer.behind != 0 {
            // It may be in the next answer.
            return Ok(true);
        }
        self.is_unproven = false;
        if found.is_some_and(|(first, _)| first == wanted) {
            return Ok(true);
        }
        let core = Arc::clone(&self.core);
        // If this fails, the same is found out again.
        let retention = core.calls.retention().await;
        let retention = retention.map_err(|refusal| Setback::Refused(Asked::Retention, refusal))?;
        let tip = match (core.standing.tip(&self.partition), core.lineage.seen(&self.partition)) {
            (Some(here), Some(noted)) => {
                Some(Tip { at: here.at.max(noted.at), last: here.last.max(noted.last) })
            }
            (here, noted) => here.or(noted),
        };
        let go_on = gap::decide(core.out_of_range, &at, tip, core.clock.now(), retention);
        if go_on == GoOn::Whole {
            return Ok(true);
        }
        let Some((_, record)) = found else {
            // A shard to which nothing came since looks the same, and that is what most are.
            tracing::warn!(
                source = core.name,
                partition = %self.partition,
                record = sequence_of(&at),
                hours = retention.as_secs() / 3600,
                "the last record that was read is older than what the stream keeps, and there is none behind it: if any \
                 came and went since, nobody has read them"
            );
            return Ok(true);
        };
        let arrived = record.approximate_arrival_timestamp.and_then(|time| time.to_millis().ok());
        let arrived = EventTime(arrived.unwrap_or(0).saturating_mul(1000));
        let found = &record.sequence_number;
        if go_on == GoOn::Stop {
            return Err(Setback::Stop(format!(
                "record {} is gone, the first that is there is {found}, which arrived at {arrived}: what lay between \
                 them is lost, for the stream keeps records for {} hours only; set `out_of_range` of the source to \
                 `earliest` or `latest` to go on without it, or choose a place with `host rewind`",
                sequence_of(&at),
                retention.as_secs() / 3600
            )));
        }
        core.metrics.gaps.inc();
        tracing::warn!(
            source = core.name,
            partition = %self.partition,
            behind = sequence_of(&at),
            found,
            %arrived,
            "records were gone before they were read: going on {}",
            if go_on == GoOn::Here { "behind the gap" } else { "behind the last record" }
        );
        Ok(go_on == GoOn::Here)
    }

    /// What is done, for a message.
    pub(super) fn doing(&self) -> String {
        format!("read partition `{}` of source `{}`", self.partition, self.core.name)
    }
}

/// Whether everything was read that there was when the reader was opened, going by an answer `behind` milliseconds
/// before the tip. A shard that is written to without a pause may never be at the tip for sure.
fn is_at_tip(behind: i64, records: usize, since_opened: Duration) -> bool {
    // A full answer may have more behind it, whatever a server says.
    records < MOST_RECORDS && u128::try_from(behind).unwrap_or(0) <= since_opened.as_millis()
}

pub(super) fn sequence_of(position: &Position) -> String {
    match position::parse(position) {
        Some(ShardPosition::Record { sequence, .. }) => sequence,
        _ => position.to_string(),
    }
}
