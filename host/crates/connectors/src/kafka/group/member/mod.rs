//! The thread of a member: polls, tells the flow what comes and goes, and leaves. How it commits is in [`commits`].

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use model::error::Failure;
use model::position::Partition;
use model::source::Assignee;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::commit::Progress;
use crate::kafka::error;
use crate::kafka::group::callbacks::Happening;
use crate::kafka::group::handle::{Client, Inner};
use crate::kafka::group::native::is_member;
use crate::kafka::group::options::{GroupProtocol, partition_name, topic_and_number};
use crate::kafka::group::state::{Phase, Slot};
use crate::names::Names;

mod commits;

/// The longest round of the loop: how late it sees that it is asked for something.
const ROUND: Duration = Duration::from_millis(50);
/// The same where a commit's answer is waited for.
const ROUND_WAITING: Duration = Duration::from_millis(5);
/// How long one question to the broker may take. The loop stands still for it.
const ASK: Duration = Duration::from_secs(4);
/// Pause after a question that failed.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Pause between looks for a topic that does not exist.
const TOPIC_AGAIN: Duration = Duration::from_secs(3);
/// Pause before a client is made anew.
const MEND_PAUSE: Duration = Duration::from_secs(1);
/// How long the flow may take to finish what it has begun with partitions that leave; a third of the session if that is
/// less. Longer, and other hosts wait for them; shorter, and they repeat more.
const REVOKE_LIMIT: Duration = Duration::from_secs(10);
/// How long leaving may take once everything is committed.
const GOODBYE_LIMIT: Duration = Duration::from_secs(3);
/// How long leaving may take in all.
pub(super) const LEAVE_LIMIT: Duration = Duration::from_secs(25);
/// How long the loop must have gone on after a gap where nothing can be committed as a proof of membership: long enough
/// for a heartbeat and its answer.
const QUIET_PROOF: Duration = Duration::from_secs(10);

/// Why partitions are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A topic does not exist.
    Topics,
    /// The broker refuses something.
    Refused,
    /// The commits of new partitions cannot be read.
    Reading,
    /// Another host has this one's instance id.
    Fenced,
    /// The client cannot be made.
    Client,
}

/// The member's own state; what others have to see is in [`Inner`].
pub(super) struct Member {
    inner: Arc<Inner>,
    assignee: Arc<dyn Assignee>,
    /// `None` once it is closed.
    client: Option<Arc<Client>>,
    /// Why the client has to be made anew.
    broken: Option<KafkaError>,
    /// What happened while a commit's answer was waited for.
    waiting: VecDeque<Happening>,
    /// When the last round ended.
    last_round: Instant,
    /// Since when membership is to be proved before the lease is renewed.
    unproven: Option<Instant>,
    /// When a commit was last sent, and whether the last one failed.
    last_commit: Instant,
    failing: bool,
    /// Not to ask the broker for commits, or for topics, before this.
    ask_at: Instant,
    topics_at: Instant,
    /// Whether a topic was said not to exist.
    looking: bool,
    /// How many partitions each topic had when this host first heard of it: what comes beyond is new, also where the
    /// group has committed nothing.
    begun: BTreeMap<String, u32>,
}

impl Member {
    pub(super) fn new(inner: Arc<Inner>, assignee: Arc<dyn Assignee>) -> Self {
        let client = inner.client();
        let now = Instant::now();
        Self {
            inner,
            assignee,
            client,
            broken: None,
            waiting: VecDeque::new(),
            last_round: now,
            unproven: None,
            last_commit: now,
            failing: false,
            ask_at: now,
            topics_at: now,
            looking: false,
            begun: BTreeMap::new(),
        }
    }

    /// Until it is asked to leave.
    pub(super) fn run(mut self) {
        // Also when the flow panics: nobody is to wait for a thread that is gone.
        let _left = Left(Arc::clone(&self.inner));
        self.subscribe();
        while !self.inner.lock().leaving {
            self.poll(ROUND);
            while let Some(happening) = self.waiting.pop_front() {
                self.on(happening);
            }
            if let Some(error) = self.broken.take() {
                self.mend(&error);
                continue;
            }
            self.learn();
            self.commit_if_due();
            self.look_for_topics();
        }
        self.leave();
    }

    fn subscribe(&mut self) {
        let topics: Vec<&str> = self.inner.options.topics.iter().map(String::as_str).collect();
        if let Err(error) = self.client().subscribe(&topics) {
            let failure = self.inner.watch.failure(&self.inner.doing("join"), &error);
            self.trouble(Trouble::Client, failure);
        }
    }

    /// Lets the client do its work, and takes what came of it.
    fn poll(&mut self, wait: Duration) {
        let began = Instant::now();
        if let Some(Err(error)) = self.client().poll(wait) {
            self.failed(&error);
        }
        self.renew(began);
        while let Some(happening) = self.client().context().beside.next() {
            match happening {
                Happening::Committed(result, offsets) => self.committed(result, &offsets),
                other => self.waiting.push_back(other),
            }
        }
    }

    /// Renews the lease, if this round proves anything.
    fn renew(&mut self, began: Instant) {
        let now = Instant::now();
        if now.duration_since(self.last_round) > self.inner.session / 2 {
            self.unproven = Some(now);
        }
        self.last_round = now;
        let mut state = self.inner.lock();
        let provable = state.provable();
        if !provable && self.unproven.is_some_and(|since| now.duration_since(since) > QUIET_PROOF) {
            self.unproven = None;
        }
        let by_rounds = self.inner.options.protocol == GroupProtocol::Classic || !provable;
        if by_rounds && self.unproven.is_none() {
            state.lease = Some(began);
        }
    }

    /// Whether a commit is wanted for what its answer proves.
    fn wants_proof(&self, lease: Option<Instant>) -> bool {
        let aging = self.inner.options.protocol == GroupProtocol::Consumer
            && lease.is_none_or(|lease| lease.elapsed() > self.inner.session / 6);
        self.unproven.is_some() || aging
    }

    fn on(&mut self, happening: Happening) {
        match happening {
            Happening::Assigned(list) => {
                self.clear_trouble(&[Trouble::Refused, Trouble::Client]);
                let mut state = self.inner.lock();
                for partition in names(&list) {
                    state.arrive(partition);
                }
                self.ask_at = Instant::now();
            }
            Happening::Revoked(list) => {
                self.give_up(&names(&list));
                if let Err(error) = self.client().incremental_unassign(&list) {
                    self.broken = Some(error);
                }
            }
            Happening::Lost(list) => self.lose(&names(&list)),
            Happening::Broken(error) => self.broken = Some(error),
            Happening::Committed(result, offsets) => self.committed(result, &offsets),
        }
    }

    /// Reads what the group knows of partitions that are arriving, and tells the flow.
    fn learn(&mut self) {
        let arriving = self.inner.lock().in_phase(Phase::Arriving);
        if arriving.is_empty() || Instant::now() < self.ask_at {
            return;
        }
        match self.read(&arriving) {
            Ok(list) => {
                let mut topics = learned(&list);
                for (topic, begun) in &mut topics {
                    let known = self.begun.entry(topic.clone()).or_insert(*begun);
                    *known = (*known).min(*begun);
                    *begun = *known;
                }
                let mut state = self.inner.lock();
                for element in list.elements() {
                    let partition = partition_name(element.topic(), element.partition());
                    let number = u32::try_from(element.partition()).unwrap_or(0);
                    let begun = topics.get(element.topic()).copied().unwrap_or(0);
                    if arriving.contains(&partition) {
                        state.learn(&partition, number, begun, committed(&element));
                    }
                }
                self.inner.metrics.partitions.set(i64::try_from(state.here().len()).unwrap_or(i64::MAX));
                drop(state);
                self.inner.metrics.assigned.inc();
                self.clear_trouble(&[Trouble::Reading]);
                let source = &self.inner.options.source;
                tracing::info!(source, partitions = %Names(&arriving), "partitions were assigned");
                self.assignee.assigned(&arriving);
            }
            Err(failure) => {
                self.trouble(Trouble::Reading, failure);
                self.ask_at = Instant::now() + ASK_AGAIN;
            }
        }
    }

    /// The commits of all partitions of the topics that these belong to.
    fn read(&self, partitions: &[Partition]) -> Result<TopicPartitionList, Failure> {
        let doing = || self.inner.doing("read the commits of");
        let failed = |error: &KafkaError| self.inner.watch.failure(&doing(), error);
        let mut list = TopicPartitionList::new();
        let mut counts = BTreeMap::new();
        for (topic, number) in partitions.iter().filter_map(topic_and_number) {
            let least = counts.entry(topic).or_insert(0);
            *least = (*least).max(number + 1);
        }
        for (topic, least) in counts {
            let metadata = self.client().fetch_metadata(Some(topic), ASK).map_err(|error| failed(&error))?;
            let count = metadata
                .topics()
                .iter()
                .find(|found| found.name() == topic)
                .map_or(0, |found| found.partitions().len());
            let count = i32::try_from(count).unwrap_or(i32::MAX).max(least);
            list.add_partition_range(topic, 0, count - 1);
        }
        let list = self.client().committed_offsets(list, ASK).map_err(|error| failed(&error))?;
        for element in list.elements() {
            element.error().map_err(|error| failed(&error))?;
        }
        Ok(list)
    }

    /// Partitions go to another host: the flow finishes, and what it did is committed.
    fn give_up(&mut self, partitions: &[Partition]) {
        let known: Vec<Partition> = {
            let mut state = self.inner.lock();
            let known = partitions
                .iter()
                .filter(|partition| state.held.get(*partition).is_some_and(|held| held.phase == Phase::Here));
            let known: Vec<Partition> = known.cloned().collect();
            for partition in &known {
                if let Some(held) = state.held.get_mut(partition) {
                    held.phase = Phase::Leaving;
                }
            }
            known
        };
        if !known.is_empty() {
            let source = &self.inner.options.source;
            tracing::info!(source, partitions = %Names(&known), "partitions are given up");
            self.inner.metrics.revoked.inc();
            self.settle();
            let limit = REVOKE_LIMIT.min(self.inner.session / 3);
            self.assignee.revoked(&known, Instant::now() + limit);
            self.commit_last(&known);
        }
        self.forget(partitions);
    }

    /// Partitions are another's already.
    fn lose(&mut self, partitions: &[Partition]) {
        let known: Vec<Partition> = {
            let state = self.inner.lock();
            let known = partitions.iter().filter(|partition| {
                state.held.get(*partition).is_some_and(|held| held.phase != Phase::Arriving)
            });
            known.cloned().collect()
        };
        self.forget(partitions);
        if !known.is_empty() {
            let source = &self.inner.options.source;
            tracing::warn!(source, partitions = %Names(&known), "partitions are not this host's any more: they went to another, or with their topic");
            self.inner.metrics.lost.inc();
            self.assignee.lost(&known);
        }
    }

    fn forget(&self, partitions: &[Partition]) {
        let mut state = self.inner.lock();
        for partition in partitions {
            state.held.remove(partition);
        }
        self.inner.metrics.partitions.set(i64::try_from(state.here().len()).unwrap_or(i64::MAX));
        drop(state);
        self.inner.turn();
    }

    /// An error that the client reports.
    fn failed(&mut self, failed: &KafkaError) {
        let Some(code) = error::code(failed) else { return };
        if matches!(failed, KafkaError::MessageConsumptionFatal(_)) || code == RDKafkaErrorCode::Fatal {
            self.broken = Some(failed.clone());
        } else if error::is_unknown_topic(code) {
            self.looking = true;
        } else {
            let failure = self.inner.watch.failure(&self.inner.doing("take part in"), failed);
            if failure.disposition == model::error::Disposition::Stop {
                self.trouble(Trouble::Refused, failure);
            }
        }
    }

    /// Names the topics that do not exist.
    fn look_for_topics(&mut self) {
        if !self.looking || Instant::now() < self.topics_at {
            return;
        }
        self.topics_at = Instant::now() + TOPIC_AGAIN;
        let mut missing = Vec::new();
        for topic in &self.inner.options.topics {
            // What cannot be asked now is asked again.
            let Ok(metadata) = self.client().fetch_metadata(Some(topic), ASK) else { return };
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            if found.is_none_or(|found| found.error().is_some() || found.partitions().is_empty()) {
                missing.push(format!("`{topic}`"));
            }
        }
        if missing.is_empty() {
            self.looking = false;
            self.clear_trouble(&[Trouble::Topics]);
            return;
        }
        let connection = &self.inner.options.connection.name;
        self.trouble(Trouble::Topics, Failure::retry(format!(
            "read source `{}`: topic {} does not exist on connection `{connection}`, or this user may not see it; create \
             it or correct its name, it is read as soon as it is there",
            self.inner.options.source,
            missing.join(", ")
        )));
    }

    /// The client cannot go on: what it held is lost, and another takes its place.
    fn mend(&mut self, failed: &KafkaError) {
        let all: Vec<Partition> = self.inner.lock().held.keys().cloned().collect();
        self.lose(&all);
        let failure = self.inner.watch.failure(&self.inner.doing("take part in"), failed);
        self.close();
        {
            let mut state = self.inner.lock();
            state.lease = None;
            if matches!(state.slot, Slot::Sent(_)) {
                state.slot = Slot::Free;
            }
        }
        self.inner.turn();
        if error::code(failed) == Some(RDKafkaErrorCode::FencedInstanceId) {
            // Joining again would only put the other one out.
            self.trouble(Trouble::Fenced, failure);
            while !self.inner.wait_for_leaving(MEND_PAUSE) {}
            return;
        }
        tracing::warn!(source = self.inner.options.source, "failed to {failure}; joining anew");
        while !self.inner.wait_for_leaving(MEND_PAUSE) {
            match self.inner.make_client() {
                Ok(client) => {
                    self.client = Some(client);
                    self.last_round = Instant::now();
                    self.subscribe();
                    return;
                }
                Err(failure) => self.trouble(Trouble::Client, failure),
            }
        }
    }

    /// Gives everything up and says goodbye.
    fn leave(&mut self) {
        if self.client.is_none() {
            return;
        }
        let all: Vec<Partition> = self.inner.lock().held.keys().cloned().collect();
        self.give_up(&all);
        let limit = Instant::now() + GOODBYE_LIMIT;
        // A static member is only taken out of the group when it unsubscribes; closing would keep its place.
        if self.inner.options.protocol == GroupProtocol::Classic {
            self.client().context().beside.close();
            self.client().unsubscribe();
            while is_member(self.client()) && Instant::now() < limit {
                self.poll(ROUND_WAITING);
            }
        }
        self.close();
    }

    /// Closes the client, on a thread of its own: with brokers away that can last.
    fn close(&mut self) {
        let Some(client) = self.client.take() else { return };
        client.context().beside.close();
        self.inner.forget_client();
        self.waiting.clear();
        let (done, closed) = sync_channel(1);
        let closing = thread::Builder::new().name("kafka-closing".to_owned()).spawn(move || {
            drop(client);
            // Nobody may be waiting any more.
            let _ = done.send(());
        });
        if closing.is_ok() {
            let _ = closed.recv_timeout(GOODBYE_LIMIT);
        }
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("the loop runs only while there is a client")
    }

    fn clear_trouble(&self, which: &[Trouble]) {
        let mut state = self.inner.lock();
        if state.trouble.as_ref().is_some_and(|(trouble, _)| which.contains(trouble)) {
            state.trouble = None;
        }
    }

    /// Keeps a reason why partitions are missing, and writes a line when it is a new one.
    fn trouble(&self, trouble: Trouble, failure: Failure) {
        let mut state = self.inner.lock();
        let known = state.trouble.as_ref().is_some_and(|(known, _)| *known == trouble);
        if !known {
            tracing::warn!(source = self.inner.options.source, "failed to {failure}");
        }
        state.trouble = Some((trouble, failure));
    }
}

/// The names of partitions.
fn names(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements().iter().map(|element| partition_name(element.topic(), element.partition())).collect()
}

/// Offset and metadata of a commit, if there is one.
pub(super) fn committed<'a>(element: &'a TopicPartitionListElem<'_>) -> Option<(u64, &'a str)> {
    let Offset::Offset(offset) = element.offset() else { return None };
    // The library panics where another tool has left bytes that are no text.
    let metadata = catch_unwind(AssertUnwindSafe(|| element.metadata())).unwrap_or_default();
    Some((u64::try_from(offset).ok()?, metadata))
}

/// How many partitions each topic had when the group began with it: what its commits say, or else how many there are now.
fn learned(list: &TopicPartitionList) -> BTreeMap<String, u32> {
    let mut topics: BTreeMap<String, (u32, Option<u32>)> = BTreeMap::new();
    for element in &list.elements() {
        let (count, begun) = topics.entry(element.topic().to_owned()).or_default();
        *count += 1;
        let said = committed(element).and_then(|(_, metadata)| Progress::parse(metadata)?.begun);
        *begun = match (*begun, said) {
            (Some(known), Some(said)) => Some(known.min(said)),
            (known, said) => known.or(said),
        };
    }
    topics.into_iter().map(|(topic, (count, begun))| (topic, begun.unwrap_or(count))).collect()
}

/// Says on its end that the member has left.
struct Left(Arc<Inner>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.forget_client();
        self.0.lock().left = true;
        self.0.turn();
    }
}
