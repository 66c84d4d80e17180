//! The group as sources and outputs see it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use model::error::Failure;
use model::position::{Partition, Position};
use model::source::{Assignee, Kept, ViewProgress};
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::callbacks::Callbacks;
use super::member::{LEAVE_LIMIT, Member};
use super::options::{GroupOptions, topic_and_number};
use super::state::{Commit, Slot, State};
use super::transaction::TransactionOffsets;
use crate::kafka::commit::ViewOffset;
use crate::kafka::{SourceMetrics, Watch, Watched};

/// How long a transaction waits for a commit that is on its way, and a rewind for its own.
const COMMIT_LIMIT: Duration = Duration::from_secs(10);

/// The client of a member.
pub(super) type Client = BaseConsumer<Watched<Callbacks>>;

/// A source's part in its consumer group.
pub struct Group {
    pub(super) inner: Arc<Inner>,
}

/// What the member thread and the handle share.
pub(super) struct Inner {
    pub(super) options: GroupOptions,
    pub(super) watch: Watch,
    pub(super) metrics: SourceMetrics,
    pub(super) session: Duration,
    state: Mutex<State>,
    /// Notified when a commit was answered, the right to commit is free, or the member has left.
    turned: Condvar,
    /// The client in use; `None` once the member has left. Made anew after a fatal error.
    client: Mutex<Option<Arc<Client>>>,
}

impl Group {
    /// Makes the client; joins nothing yet. Fails if the settings are wrong.
    pub fn open(options: GroupOptions) -> Result<Arc<Self>, Failure> {
        let inner = Inner {
            watch: options.shared.watch(&options.connection),
            metrics: options.shared.metrics().source(&options.source),
            session: options.session(),
            options,
            state: Mutex::new(State::new()),
            turned: Condvar::new(),
            client: Mutex::new(None),
        };
        inner.make_client()?;
        Ok(Arc::new(Self { inner: Arc::new(inner) }))
    }

    /// Joins, on a thread of its own, which tries until it succeeds. To be called once.
    pub fn join(&self, assignee: Arc<dyn Assignee>) {
        self.inner.lock().joined = true;
        let inner = Arc::clone(&self.inner);
        let name = format!("kafka-{}", self.inner.options.source);
        let member = thread::Builder::new().name(name).spawn(move || Member::new(inner, assignee).run());
        if let Err(error) = member {
            let mut state = self.inner.lock();
            let failure = Failure::retry(self.inner.doing("join")).caused_by(error);
            tracing::error!("failed to {failure}");
            state.trouble = Some((super::member::Trouble::Client, failure));
            state.left = true;
        }
    }

    /// Leaves: partitions are revoked and committed first, and then free for other hosts at once. Blocks until that is
    /// done, for half a minute at most.
    pub fn leave(&self) {
        let mut state = self.inner.lock();
        state.leaving = true;
        self.inner.turn();
        if !state.joined {
            self.inner.forget_client();
            return;
        }
        let (state, waited) = self
            .inner
            .turned
            .wait_timeout_while(state, LEAVE_LIMIT, |state| !state.left)
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
        if waited.timed_out() {
            let source = &self.inner.options.source;
            tracing::warn!(
                source,
                "the consumer group was not left in time; its partitions wait for the session's end"
            );
        }
    }

    /// The partitions that are this host's.
    pub fn partitions(&self) -> Vec<Partition> {
        self.inner.lock().here()
    }

    /// Why partitions are missing, if there is a reason: brokers that do not answer, a topic that does not exist, a
    /// right that is not granted, a host with the same instance id. A [`model::error::Disposition::Retry`] mends itself
    /// as soon as its cause is gone.
    pub fn trouble(&self) -> Option<Failure> {
        let state = self.inner.lock();
        if let Some((_, failure)) = &state.trouble {
            let Failure { disposition, .. } = failure;
            return Some(Failure { disposition: *disposition, message: failure.to_string(), source: None });
        }
        drop(state);
        self.inner.watch.trouble()
    }

    /// Whether this host may still emit for a partition: it is its own, and the last heartbeat is younger than the
    /// session. A host that was suspended finds out here.
    pub fn holds(&self, partition: &Partition) -> bool {
        self.inner.lock().holds(partition, self.inner.session)
    }

    /// What the group knows of a view; `None` if the partition is not this host's, of which it knows nothing.
    pub fn known(&self, view: &str, partition: &Partition) -> Option<Kept> {
        let state = self.inner.lock();
        state.has(partition).then(|| state.kept(view, partition))
    }

    /// As [`Group::known`], and nothing of a partition that is not this host's.
    pub fn kept(&self, view: &str, partition: &Partition) -> Kept {
        self.inner.lock().kept(view, partition)
    }

    /// Whether the progress of `view` can be kept with the partition's offset, beside that of the views that are there.
    /// To be asked before a view starts.
    pub fn room_for(&self, view: &str, partition: &Partition) -> Result<(), Failure> {
        let state = self.inner.lock();
        let Some(progress) = state.progress(partition) else { return Ok(()) };
        progress.fits(view).map_err(|error| {
            Failure::stop(format!(
                "keep the progress of view `{view}` in partition `{partition}`: {error}; read some of the views \
                 through a source with another `group`, or give them shorter names"
            ))
        })
    }

    /// The output stream has a view's rows through this position; committed with the next commit.
    pub fn emitted(&self, view: &str, partition: &Partition, through: Position) {
        self.inner.lock().emitted(view, partition, next(&through));
    }

    /// Notes what [`model::source::Source::release`] says; committed with the next commit.
    pub fn release(
        &self,
        partition: &Partition,
        through: Option<&Position>,
        views: &BTreeMap<String, ViewProgress>,
    ) {
        let mut state = self.inner.lock();
        for (view, progress) in views {
            let offset =
                ViewOffset { next: progress.through.as_ref().map_or(0, next), epoch: progress.epoch };
            state.advance(view, partition, offset);
        }
        if let Some(through) = through {
            state.release(partition, next(through));
        }
    }

    /// Sets a view's output position back; committed on return.
    pub fn rewind(
        &self,
        view: &str,
        partition: &Partition,
        to: Option<Position>,
        epoch: u32,
    ) -> Result<(), Failure> {
        let mut state = self.inner.lock();
        let offset = ViewOffset { next: to.as_ref().map_or(0, next), epoch };
        let Some(change) = state.rewind(view, partition, offset) else {
            return Err(self.not_ours(&format!("rewind view `{view}` in"), partition));
        };
        let (state, waited) = self
            .inner
            .turned
            .wait_timeout_while(state, COMMIT_LIMIT, |state| {
                state.confirmed(partition, change) == Some(false)
            })
            .unwrap_or_else(PoisonError::into_inner);
        if state.confirmed(partition, change).is_none() {
            return Err(self.not_ours(&format!("rewind view `{view}` in"), partition));
        }
        if waited.timed_out() {
            let doing = format!("commit the rewind of view `{view}` in partition `{partition}`");
            return Err(self.late(&doing));
        }
        Ok(())
    }

    /// What a transaction has to send so that `view` is through these positions once it is committed. Waits for other
    /// commits of the group; none begins while the answer lives.
    pub fn transaction(
        &self,
        view: &str,
        through: &[(Partition, Position)],
    ) -> Result<TransactionOffsets<'_>, Failure> {
        let positions: Vec<_> =
            through.iter().map(|(partition, through)| (partition.clone(), next(through))).collect();
        let taken = self.take(COMMIT_LIMIT, &format!("begin a transaction of view `{view}`"))?;
        let mut state = self.inner.lock();
        if let Some((partition, _)) =
            positions.iter().find(|(partition, _)| !state.holds(partition, self.inner.session))
        {
            return Err(self.not_ours(&format!("emit rows of view `{view}` from"), partition));
        }
        let commits = state.transaction(view, &positions)?;
        drop(state);
        let metadata =
            self.inner.client().and_then(|client| client.group_metadata()).ok_or_else(|| self.gone())?;
        Ok(TransactionOffsets::new(self, taken, metadata, view, positions, &commits))
    }

    /// Reads the committed offsets again, waiting for open transactions: after a transaction whose end is unknown.
    pub fn refresh(&self, partitions: &[Partition], timeout: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        let doing = format!("read again how far source `{}` is", self.inner.options.source);
        let taken = self.take(timeout, &doing)?;
        let client = self.inner.client().ok_or_else(|| self.gone())?;
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, number) in partitions.iter().filter_map(topic_and_number) {
            list.add_partition(topic, number);
        }
        let left = timeout.saturating_sub(began.elapsed());
        let committed =
            client.committed_offsets(list, left).map_err(|error| self.inner.watch.failure(&doing, &error))?;
        let elements = committed.elements();
        for element in &elements {
            element.error().map_err(|error| self.inner.watch.failure(&doing, &error))?;
        }
        let mut state = self.inner.lock();
        for element in &elements {
            let partition = super::partition_name(element.topic(), element.partition());
            state.relearn(&partition, super::member::committed(element));
        }
        drop(state);
        drop(taken);
        Ok(())
    }

    /// Takes the right to commit.
    fn take(&self, limit: Duration, doing: &str) -> Result<Taken<'_>, Failure> {
        let state = self.inner.lock();
        let (mut state, _) = self
            .inner
            .turned
            .wait_timeout_while(state, limit, |state| !matches!(state.slot, Slot::Free))
            .unwrap_or_else(PoisonError::into_inner);
        if !matches!(state.slot, Slot::Free) {
            drop(state);
            return Err(self.late(doing));
        }
        state.slot = Slot::Taken;
        Ok(Taken { inner: &self.inner })
    }

    fn not_ours(&self, doing: &str, partition: &Partition) -> Failure {
        let group = &self.inner.options.group;
        Failure::retry(format!(
            "{doing} partition `{partition}`: group `{group}` has given it to another host, or has not been heard of \
             for longer than a session"
        ))
    }

    fn late(&self, doing: &str) -> Failure {
        let message = format!("{doing}: the group's last commit is not answered yet");
        match self.inner.watch.trouble() {
            Some(trouble) => Failure::retry(message).caused_by(trouble),
            None => Failure::retry(message),
        }
    }

    fn gone(&self) -> Failure {
        Failure::retry(format!(
            "use the consumer group of source `{}`: it was left",
            self.inner.options.source
        ))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The member leaves by itself; nobody waits for it.
        self.inner.lock().leaving = true;
        self.inner.turn();
    }
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait that something has changed.
    pub(super) fn turn(&self) {
        self.turned.notify_all();
    }

    /// Waits, unless it is asked to leave. Whether it is.
    pub(super) fn wait_for_leaving(&self, time: Duration) -> bool {
        let (state, _) = self
            .turned
            .wait_timeout_while(self.lock(), time, |state| !state.leaving)
            .unwrap_or_else(PoisonError::into_inner);
        state.leaving
    }

    /// Makes a client and puts it in the old one's place.
    pub(super) fn make_client(&self) -> Result<Arc<Client>, Failure> {
        let callbacks = Watched { watch: self.watch.clone(), beside: Callbacks::default() };
        let client = Client::from_config_and_context(&self.options.config(), callbacks)
            .map_err(|error| self.watch.failure(&self.doing("join"), &error))?;
        let client = Arc::new(client);
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&client));
        Ok(client)
    }

    pub(super) fn client(&self) -> Option<Arc<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The client is not to be used any more.
    pub(super) fn forget_client(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What is done, for a message: the verb, the group and the source.
    pub(super) fn doing(&self, verb: &str) -> String {
        format!("{verb} consumer group `{}` for source `{}`", self.options.group, self.options.source)
    }
}

/// The right to commit; given back when this is dropped.
pub(super) struct Taken<'a> {
    inner: &'a Inner,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.inner.lock().slot = Slot::Free;
        self.inner.turn();
    }
}

/// Commits as the client takes them.
pub(super) fn list_of(commits: &[Commit]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(commits.len());
    for commit in commits {
        let (topic, number) =
            topic_and_number(&commit.partition).expect("the group made the partition's name");
        let mut element = list.add_partition(topic, number);
        let offset = i64::try_from(commit.offset).unwrap_or(i64::MAX);
        element.set_offset(rdkafka::Offset::Offset(offset)).expect("offsets are not negative");
        element.set_metadata(&commit.metadata);
    }
    list
}

/// The offset behind a position.
fn next(position: &Position) -> u64 {
    position.as_u64().expect("positions of Kafka sources are offsets").saturating_add(1)
}
