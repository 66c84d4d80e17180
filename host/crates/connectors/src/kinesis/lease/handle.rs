//! Leases as sources and outputs see them.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use model::error::Failure;
use model::position::{Partition, Position};
use model::source::{Assignee, Kept, ViewProgress};
use tokio::sync::Notify;

use super::member::{self, LEAVE_LIMIT};
use super::moment::Moment;
use super::options::{LeaseOptions, LeasePlace};
use super::progress::Tip;
use super::shards::{Shard, ShardLister};
use super::state::State;
use super::table::{FileTable, LeaseTable, RedisTable};
use super::{listing, round};
use crate::kinesis::LeaseMetrics;

/// How often the table is looked at, and progress written, where leases last long enough.
const BEAT: Duration = Duration::from_secs(1);
/// Beats in a lease's time at least.
const BEATS: u32 = 6;
/// How long a rewind waits until it is written.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// A source's part among the hosts that share a stream.
pub struct Leases {
    pub(super) inner: Arc<Inner>,
}

/// What the thread, the tasks and the handle share.
pub(super) struct Inner {
    pub(super) options: LeaseOptions,
    pub(super) table: Arc<dyn LeaseTable>,
    pub(super) lister: Arc<dyn ShardLister>,
    pub(super) metrics: LeaseMetrics,
    state: Mutex<State>,
    /// Notified when something was written, read or told.
    turned: Condvar,
    /// The table is to be looked at now.
    pub(super) wake: Notify,
    /// It is to be seen now whether the stream has to be asked for its shards.
    pub(super) look: Notify,
}

impl Leases {
    /// Reads what this host keeps by itself, and waits for nobody. Fails if that is damaged or the options are wrong.
    pub fn open(options: LeaseOptions, lister: Arc<dyn ShardLister>) -> Result<Arc<Self>, Failure> {
        let table: Arc<dyn LeaseTable> = match &options.place {
            LeasePlace::Alone { directory } => Arc::new(FileTable::open(directory, &options.source)?),
            LeasePlace::Redis { connection, shared } => {
                Arc::new(RedisTable::open(connection, shared, &options.project, &options.source)?)
            }
        };
        let beat = BEAT.min(options.duration / BEATS);
        Ok(Self::with_table(options, table, lister, beat))
    }

    pub(super) fn with_table(
        options: LeaseOptions,
        table: Arc<dyn LeaseTable>,
        lister: Arc<dyn ShardLister>,
        beat: Duration,
    ) -> Arc<Self> {
        // A host that was started again is another one: what its predecessor held has to run out, as nobody knows
        // whether that lives.
        let me = format!("{}#{:016x}", options.instance, RandomState::new().hash_one(&options.instance));
        let inner = Inner {
            metrics: options.shared.metrics().leases(&options.source),
            state: Mutex::new(State::new(me, table.is_shared(), options.duration, beat)),
            options,
            table,
            lister,
            turned: Condvar::new(),
            wake: Notify::new(),
            look: Notify::new(),
        };
        Arc::new(Self { inner: Arc::new(inner) })
    }

    /// Takes part: shards come and go from now on, on a thread of its own. To be called once.
    pub fn join(&self, assignee: Arc<dyn Assignee>) {
        let inner = &self.inner;
        inner.lock().joined = true;
        let name = format!("kinesis-{}", inner.options.source);
        let telling = Arc::clone(inner);
        let thread = thread::Builder::new().name(name);
        if let Err(error) = thread.spawn(move || member::run(&telling, &*assignee)) {
            let doing = format!("read source `{}`", inner.options.source);
            let failure = Failure::retry(doing).caused_by(error);
            tracing::error!("failed to {failure}");
            let mut state = inner.lock();
            state.list_trouble = Some(failure);
            state.left = true;
            return;
        }
        inner.options.shared.runtime.spawn(round::run(Arc::clone(inner)));
        inner.options.shared.runtime.spawn(listing::run(Arc::clone(inner)));
    }

    /// Gives everything back: shards are revoked, their progress is written, and then they are free for other hosts at
    /// once. Blocks until that is done, for half a minute at most.
    pub fn leave(&self) {
        let mut state = self.inner.lock();
        state.leaving = true;
        self.inner.turn();
        self.inner.wake.notify_one();
        if !state.joined {
            return;
        }
        let (state, waited) = self
            .inner
            .turned
            .wait_timeout_while(state, LEAVE_LIMIT, |state| !state.left)
            .unwrap_or_else(PoisonError::into_inner);
        let is_clean = state.goodbye;
        drop(state);
        if waited.timed_out() || !is_clean {
            let source = &self.inner.options.source;
            tracing::warn!(
                source,
                "shards were not given back in time; they wait until their leases run out"
            );
        }
    }

    /// The shards that are this host's, finished ones included.
    pub fn partitions(&self) -> Vec<Partition> {
        self.inner.lock().here()
    }

    /// How many shards the stream names, whoever reads them. Fails, to be asked again, until it has answered once.
    pub fn count(&self) -> Result<usize, Failure> {
        let state = self.inner.lock();
        if let Some(shards) = state.shards() {
            return Ok(shards.count());
        }
        let doing = format!("count the shards of source `{}`", self.inner.options.source);
        Err(match &state.list_trouble {
            Some(trouble) => Failure::retry(doing).caused_by(trouble.to_string()),
            None => Failure::retry(format!("{doing}: the stream has not answered yet")),
        })
    }

    /// Why shards are missing, if there is a reason. Mends itself as soon as its cause is gone.
    pub fn trouble(&self) -> Option<Failure> {
        self.inner.lock().trouble().map(copy)
    }

    /// Whether this host may still emit for a shard: it is its own, and the lease cannot have run out. A host that was
    /// suspended finds out here.
    pub fn holds(&self, partition: &Partition) -> bool {
        // The lock comes first: the time that it may take has to count.
        let state = self.inner.lock();
        state.holds(partition, Moment::now())
    }

    /// What is kept of a view. Fails if the shard is not this host's.
    pub fn kept(&self, view: &str, partition: &Partition) -> Result<Kept, Failure> {
        self.inner.lock().kept(view, partition).ok_or_else(|| {
            Failure::retry(format!(
                "say how far view `{view}` is in shard `{partition}` of source `{}`: it is not this host's at the moment",
                self.inner.options.source
            ))
        })
    }

    /// Every view has everything through here, and each is so far; written within about a second. A shard that is
    /// released through [`crate::kinesis::position::end`] is finished, and its children may be read. `None`: some view
    /// has nothing yet, which says how far each is, and sets the shard back if that view was rewound.
    pub fn release(
        &self,
        partition: &Partition,
        through: Option<&Position>,
        views: &BTreeMap<String, ViewProgress>,
    ) {
        self.inner.lock().release(partition, through.copied(), views);
    }

    /// The output stream has a view's rows through here; written within about a second.
    pub fn emitted(&self, view: &str, partition: &Partition, through: Position) {
        self.inner.lock().emitted(view, partition, through);
    }

    /// Sets a view back; written on return. A finished shard is not finished any more if this lies before its end.
    pub fn rewind(
        &self,
        view: &str,
        partition: &Partition,
        to: Option<Position>,
        epoch: u32,
    ) -> Result<(), Failure> {
        let doing = || {
            format!("rewind view `{view}` in shard `{partition}` of source `{}`", self.inner.options.source)
        };
        let not_ours = || Failure::retry(format!("{}: it is not this host's at the moment", doing()));
        let mut state = self.inner.lock();
        let change =
            state.rewind(view, partition, ViewProgress { through: to, epoch }).ok_or_else(not_ours)?;
        self.inner.wake.notify_one();
        let (state, _) = self
            .inner
            .turned
            .wait_timeout_while(state, WRITE_LIMIT, |state| {
                !state.left && state.confirmed(partition, change) == Some(false)
            })
            .unwrap_or_else(PoisonError::into_inner);
        match (state.confirmed(partition, change), &state.table_trouble) {
            (None, _) => Err(not_ours()),
            (Some(true), _) => Ok(()),
            (Some(false), Some(trouble)) => Err(Failure::retry(doing()).caused_by(trouble.to_string())),
            (Some(false), None) => Err(Failure::retry(format!("{}: it was not written in time", doing()))),
        }
    }

    /// A shard as the stream names it; `None` if it does not, or has not answered yet.
    pub fn shard(&self, partition: &Partition) -> Option<Shard> {
        self.inner.lock().shard(partition).cloned()
    }

    /// Whether a shard may be read from its beginning, or from a time on: each parent that the stream still names is
    /// finished, whoever reads it. A reader that is behind a record of the shard need not ask: its views have had the
    /// parents, and a view that is rewound into a parent keeps no other view waiting.
    pub fn may_read(&self, partition: &Partition) -> bool {
        self.inner.lock().may_read(partition)
    }

    /// Whether a shard was released through its end, whoever reads it.
    pub fn is_finished(&self, partition: &Partition) -> bool {
        self.inner.lock().is_finished(partition)
    }

    /// A reader has come to a shard's end, so it has children: the stream is asked for them now.
    pub fn end_reached(&self, partition: &Partition) {
        if self.inner.lock().end_reached(partition, Moment::now()) {
            self.inner.look.notify_one();
        }
    }

    /// Somebody was at this shard's end, which has to have one then. `Some`: the stream names it as open, for so long, and
    /// nobody has written that it ended. The stream is asked again meanwhile, as its lists may be old.
    pub fn has_no_end_since(&self, partition: &Partition) -> Option<Duration> {
        let since = self.inner.lock().has_no_end_since(partition, Moment::now());
        if since.is_some() {
            self.inner.look.notify_one();
        }
        since
    }

    /// A reader was at the tip of an open shard.
    pub fn note_seen(&self, partition: &Partition, tip: Tip) {
        self.inner.lock().note_seen(partition, tip);
    }

    /// When a reader, of whatever host, was last known to be at the tip: exact to a minute or so, and never later than
    /// the truth.
    pub fn seen(&self, partition: &Partition) -> Option<Tip> {
        self.inner.lock().seen(partition)
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        // The member leaves by itself; nobody waits for it.
        self.inner.lock().leaving = true;
        self.inner.turn();
        self.inner.wake.notify_one();
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("source", &self.inner.options.source).finish_non_exhaustive()
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

    /// Waits for a turn, so long at most.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.turned.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// The stream has named its shards.
    pub(super) fn named(&self, shards: Vec<Shard>) {
        let mut state = self.lock();
        if state.list_trouble.take().is_some() {
            tracing::info!(source = self.options.source, "the stream names its shards again");
        }
        state.name(shards);
        drop(state);
        self.turn();
        self.wake.notify_one();
    }

    /// The stream does not name its shards.
    pub(super) fn list_fails(&self, failure: Failure) {
        let mut state = self.lock();
        if state.list_trouble.is_none() {
            tracing::warn!(source = self.options.source, "failed to {failure}");
        }
        state.list_trouble = Some(failure);
    }

    /// The table answers.
    pub(super) fn table_answers(&self) {
        if self.lock().table_trouble.take().is_some() {
            tracing::info!(source = self.options.source, "leases are renewed again");
        }
    }

    /// The table does not answer.
    pub(super) fn table_fails(&self, failure: Failure) {
        self.metrics.renewal_failures.inc();
        let mut state = self.lock();
        if state.table_trouble.is_none() {
            let source = &self.options.source;
            let then = match self.table.is_shared() {
                true => "shards are read on until their leases may have run out",
                false => "shards are read on; how far views are is written as soon as that works",
            };
            tracing::warn!(source, "failed to {failure}; {then}");
        }
        state.table_trouble = Some(failure);
    }
}

fn copy(failure: &Failure) -> Failure {
    Failure { disposition: failure.disposition, message: failure.to_string(), source: None }
}
