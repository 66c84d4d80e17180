//! All nodes of one Redis, and which of them to ask.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::time::{Duration, Instant};

use model::error::Failure;
use redis::{Pipeline, RedisError};

use super::access::{Access, As};
use super::error;
use super::find::{self, Found, NotFound};
use super::identity::Identity;
use super::link::{Lines, Link};
use super::metrics::ConnectionMetrics;
use super::presence::Presence;
use super::topology::Topology;
use super::{Connection, Mode, Shared};

/// The least time between one look at who is master and the next.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// How many nodes of a cluster are asked who holds what: enough for one of them to know, and not a whole big cluster.
const MOST_ASKED: usize = 24;

/// How long a redirect counts for more than what nodes say of each other: they hear of moved slots by and by.
const REDIRECT_KEPT: Duration = Duration::from_secs(5);

/// The name under which trouble is noted that is not one node's.
pub(super) const WHOLE: &str = "";
/// The same, for slots that no master holds.
pub(super) const SLOTS: &str = "slots";

/// The nodes of a Redis. Connections are made when they are needed; dropping it closes them.
pub struct Nodes {
    pub(super) core: Arc<Core>,
}

/// A master of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The node's id: stays when the node restarts; another one has the slots after a failover.
    pub id: String,
    /// `host:port`.
    pub address: String,
    /// Its slots.
    pub slots: Vec<RangeInclusive<u16>>,
    /// The process behind the address. A node that was restarted has another `run_id`.
    pub identity: Identity,
}

/// What tasks in the background share with [`Nodes`].
pub(super) struct Core {
    pub(super) lines: Arc<Lines>,
    pub(super) presence: Arc<Presence>,
    links: Mutex<BTreeMap<String, Arc<Link>>>,
    topology: RwLock<Option<Arc<Topology>>>,
    /// What redirects told lately.
    moved: Mutex<BTreeMap<u16, (Instant, Arc<Link>)>>,
    /// How often who is master was looked for, and how it ended last.
    looked: Mutex<Looked>,
    looking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Looked {
    times: u64,
    last: Option<Instant>,
    failed: Option<NotFound>,
}

impl Nodes {
    /// Prepares. Waits for nothing and connects to nothing; stops with words for what stays wrong, such as certificates
    /// that cannot be read.
    pub fn open(connection: &Connection, shared: &Shared) -> Result<Arc<Self>, Failure> {
        let lines = Lines {
            access: Access::read(connection)?,
            runtime: shared.runtime.clone(),
            metrics: shared.metrics.connection(&connection.name),
            changes: AtomicU64::new(0),
        };
        let core = Core {
            lines: Arc::new(lines),
            presence: shared.presence(connection),
            links: Mutex::default(),
            topology: RwLock::default(),
            moved: Mutex::default(),
            looked: Mutex::default(),
            looking: Arc::default(),
        };
        Ok(Arc::new(Self { core: Arc::new(core) }))
    }

    /// The connection that this is.
    pub fn connection(&self) -> &Connection {
        self.core.connection()
    }

    /// Whether keys lie in slots.
    pub fn is_cluster(&self) -> bool {
        self.core.is_cluster()
    }

    /// The series of this connection.
    pub fn metrics(&self) -> &ConnectionMetrics {
        &self.core.lines.metrics
    }

    /// Rises when keys may have come to another server than before: a master changed, slots moved, a connection was made
    /// anew. What was written under a smaller number may be gone. While a slot is being moved to another master, keys that
    /// are there already do not count, or a move that takes long would hold up whoever waits for rest; commands that are
    /// [`super::Keyed::once`] do.
    pub fn changes(&self) -> u64 {
        self.core.lines.changes.load(Ordering::Acquire)
    }

    /// Notes that something about this Redis is in trouble, such as its memory; it counts as away until [`Nodes::fine`]
    /// says the same `what`.
    pub fn trouble(&self, what: &str, reason: &str) {
        self.core.presence.trouble(what, reason);
    }

    /// Trouble with `what` is over, or there was none.
    pub fn fine(&self, what: &str) {
        self.core.presence.fine(what);
    }

    /// Why it counts as away, if it does.
    pub fn reason_away(&self) -> Option<String> {
        self.core.presence.reason()
    }

    /// The failure that an error of this Redis is. `doing` reads after "failed to".
    pub fn failure(&self, doing: &str, error: RedisError) -> Failure {
        error::failure(doing, &self.connection().name, error)
    }

    /// The masters as they are now, after a look; one without slots if this is no cluster.
    pub async fn masters(&self) -> Result<Vec<Shard>, Failure> {
        let core = &self.core;
        let seen = core.looks();
        let topology = match core.look(seen, core.look_limit()).await {
            Ok(topology) => topology,
            Err(why) => return Err(core.give_up(why)),
        };
        let mut commands = Pipeline::new();
        for command in Identity::questions() {
            commands.add_command(command);
        }
        let deadline = Instant::now() + core.connection().response_timeout;
        let asked = topology.masters.iter().map(|master| master.link.send(&core.lines, &commands, deadline));
        let answers = futures_util::future::join_all(asked).await;
        let mut shards = Vec::with_capacity(answers.len());
        for (master, answers) in topology.masters.iter().zip(answers) {
            let address = &master.link.address;
            let read = answers.map_err(super::link::Unanswered::into_error);
            let identity = read.and_then(|answers| Identity::of(address, &answers)).map_err(|error| {
                core.trouble_at(address, &error);
                error::failure_at("ask who it is", &core.connection().name, Some(address), error)
            })?;
            core.presence.fine(address);
            let (id, slots) = (master.id.clone(), master.slots.clone());
            shards.push(Shard { id, address: address.to_string(), slots, identity });
        }
        Ok(shards)
    }
}

impl Core {
    pub(super) fn connection(&self) -> &Connection {
        &self.lines.access.connection
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.connection().mode == Mode::Cluster
    }

    /// The line to an address.
    pub(super) fn link(&self, address: &str) -> Arc<Link> {
        self.link_as(address, As::User)
    }

    fn link_as(&self, address: &str, who: As) -> Arc<Link> {
        let key = match who {
            As::User => address.to_owned(),
            As::Nobody => format!("{address} open"),
            As::UserOfSentinel => format!("{address} sentinel"),
        };
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(links.entry(key).or_insert_with(|| Arc::new(Link::new(address, who))))
    }

    pub(super) fn topology(&self) -> Option<Arc<Topology>> {
        self.topology.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often who is master was looked for.
    pub(super) fn looks(&self) -> u64 {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).times
    }

    /// Notes what redirects have told.
    pub(super) fn learn(&self, told: &BTreeMap<u16, Arc<Link>>) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        moved.extend(told.iter().map(|(slot, link)| (*slot, (now, Arc::clone(link)))));
        self.lines.changes.fetch_add(1, Ordering::AcqRel);
        let mut topology = self.topology.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = topology.as_ref() {
            *topology = Some(Arc::new(before.with_moved(told)));
        }
    }

    /// Redirects to a node that does not answer count no more.
    pub(super) fn unlearn(&self, silent: &Link) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.retain(|_, (_, link)| link.address != silent.address);
    }

    /// Whether a node is known as a master that has slots.
    pub(super) fn holds_slots(&self, link: &Arc<Link>) -> bool {
        let topology = self.topology();
        let mut masters = topology.iter().flat_map(|topology| &topology.masters);
        masters.any(|master| Arc::ptr_eq(&master.link, link) && !master.slots.is_empty())
    }

    /// Notes that commands were answered by another node than the slot's owner.
    pub(super) fn note_change(&self) {
        self.lines.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// How long a look may take at most.
    pub(super) fn look_limit(&self) -> Instant {
        Instant::now() + self.connection().connect_timeout + self.connection().response_timeout
    }

    /// Who is master, looked for after the caller had seen `seen` looks; waits until the deadline at most.
    pub(super) async fn look(
        self: &Arc<Self>,
        seen: u64,
        deadline: Instant,
    ) -> Result<Arc<Topology>, NotFound> {
        let looking = self.lines.until(deadline, Arc::clone(&self.looking).lock_owned()).await;
        let Some(one) = looking else { return Err(self.not_in_time()) };
        if self.looks() > seen {
            return self.looked();
        }
        // In the background: what is found is of use even if this caller has gone.
        let core = Arc::clone(self);
        let look = self.lines.runtime.spawn(async move {
            core.look_now().await;
            drop(one);
        });
        match self.lines.until(deadline, look).await {
            Some(_) => self.looked(),
            None => Err(self.not_in_time()),
        }
    }

    /// As [`Core::look`], for a thread that may block.
    pub(super) fn look_blocking(self: &Arc<Self>, seen: u64) -> Result<Arc<Topology>, NotFound> {
        let deadline = self.look_limit();
        let (sender, receiver) = mpsc::sync_channel(1);
        let core = Arc::clone(self);
        self.lines.runtime.spawn(async move {
            // Nobody listens any more if the caller gave up.
            let _ = sender.try_send(core.look(seen, deadline).await);
        });
        let limit = deadline.saturating_duration_since(Instant::now()) + LOOK_PAUSE;
        receiver.recv_timeout(limit).unwrap_or_else(|_| Err(self.not_in_time()))
    }

    /// Notes that a node is in trouble, if it matters.
    pub(super) fn trouble_at(&self, address: &str, error: &RedisError) {
        let matters = || self.topology().is_none_or(|topology| topology.has(address));
        if matters() {
            self.presence.trouble(address, &error::words(error));
            // Another may have been found to be master just now.
            if !matters() {
                self.presence.fine(address);
            }
        }
    }

    /// Notes that the caller gives up because there is no master.
    pub(super) fn give_up(&self, why: NotFound) -> Failure {
        self.presence.trouble(WHOLE, &why.reason());
        why.into_failure(&self.connection().name)
    }

    async fn look_now(self: &Arc<Self>) {
        let last = self.looked.lock().unwrap_or_else(PoisonError::into_inner).last;
        if let Some(rest) = last.and_then(|last| LOOK_PAUSE.checked_sub(last.elapsed())) {
            self.lines.pause(rest).await;
        }
        let found = self.find().await;
        let failed = match found {
            Ok(found) => {
                self.publish(found);
                None
            }
            Err(why) => Some(why),
        };
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        *looked = Looked { times: looked.times + 1, last: Some(Instant::now()), failed };
    }

    async fn find(&self) -> Result<Found, NotFound> {
        let configured = &self.connection().addresses;
        let link_to = |address: &str| self.link(address);
        match &self.connection().mode {
            Mode::Single => {
                let links = configured.iter().map(|address| self.link(address)).collect();
                find::single(&self.lines, links, link_to, false).await
            }
            Mode::Sentinel { service } => {
                let both = |address: &String| {
                    (self.link_as(address, As::Nobody), self.link_as(address, As::UserOfSentinel))
                };
                let sentinels = configured.iter().map(both).collect();
                find::sentinel(&self.lines, sentinels, service, link_to).await
            }
            Mode::Cluster => {
                let known = self.topology().map(|topology| topology.found.clone());
                let known = known
                    .iter()
                    .flat_map(|found| found.masters.iter().map(|held| &held.address).chain(&found.replicas));
                let mut addresses: Vec<&String> = configured.iter().take(MOST_ASKED / 2).collect();
                for address in known.take(MOST_ASKED) {
                    if addresses.len() < MOST_ASKED && !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
                let links = addresses.into_iter().map(|address| self.link(address)).collect();
                find::cluster(&self.lines, links).await
            }
        }
    }

    fn publish(&self, found: Found) {
        self.presence.fine(WHOLE);
        self.presence
            .keep(|what| !what.contains(':') || found.masters.iter().any(|held| held.address == what));
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.retain(|_, (when, _)| when.elapsed() < REDIRECT_KEPT);
        let told = moved.iter().map(|(slot, (_, link))| (*slot, Arc::clone(link))).collect();
        let new = Topology::new(found, self.is_cluster(), |address| self.link(address)).with_moved(&told);
        let mut topology = self.topology.write().unwrap_or_else(PoisonError::into_inner);
        if !topology.as_ref().is_some_and(|before| before.leads_as(&new)) {
            self.lines.changes.fetch_add(1, Ordering::AcqRel);
        }
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let configured = &self.connection().addresses;
        links.retain(|_, link| {
            let address = &*link.address;
            configured.iter().any(|other| other == address)
                || new.found.replicas.iter().any(|other| other == address)
                || new.masters.iter().any(|master| &*master.link.address == address)
        });
        let new = Arc::new(new);
        *topology = Some(Arc::clone(&new));
        drop(topology);
        // After it is known who is master: see `trouble_at`.
        self.presence.fine(WHOLE);
        if new.is_whole() {
            self.presence.fine(SLOTS);
        }
        self.presence.keep(|what| !what.contains(':') || new.has(what));
    }

    fn looked(&self) -> Result<Arc<Topology>, NotFound> {
        let failed = self.looked.lock().unwrap_or_else(PoisonError::into_inner).failed.clone();
        match (failed, self.topology()) {
            (None, Some(topology)) => Ok(topology),
            (Some(why), _) => Err(why),
            (None, None) => Err(self.not_in_time()),
        }
    }

    /// What the last look said is more than that this one is not over yet.
    fn not_in_time(&self) -> NotFound {
        let last = self.looked.lock().unwrap_or_else(PoisonError::into_inner).failed.clone();
        last.unwrap_or_else(|| {
            let address = self.connection().addresses.first().map_or("", String::as_str);
            NotFound::Redis(address.into(), error::timeout())
        })
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("connection", self.connection()).finish_non_exhaustive()
    }
}
