//! What the host gives to everything that talks to Redis.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::Handle;

use super::Connection;
use super::metrics::RedisMetrics;
use super::presence::Presence;
use crate::contact::ContactHook;

/// What all Redis clients of a host share. Cheap to clone; a host makes one.
#[derive(Clone)]
pub struct Shared {
    /// Where asynchronous work runs.
    pub runtime: Handle,
    /// The metrics.
    pub metrics: RedisMetrics,
    hook: ContactHook,
    /// One for each connection in use, so that all its clients are of one opinion. Held by the clients.
    presences: Arc<Mutex<BTreeMap<String, Weak<Presence>>>>,
}

impl Shared {
    /// `hook` hears of connections that go away and come back.
    pub fn new(runtime: Handle, metrics: RedisMetrics, hook: ContactHook) -> Self {
        Self { runtime, metrics, hook, presences: Arc::default() }
    }

    /// With metrics and a hook that nobody sees.
    pub fn for_tests(runtime: Handle) -> Self {
        Self::new(runtime, RedisMetrics::detached(), Arc::new(|_, _| {}))
    }

    pub(super) fn presence(&self, connection: &Connection) -> Arc<Presence> {
        let mut presences = self.presences.lock().unwrap_or_else(PoisonError::into_inner);
        presences.retain(|_, presence| presence.strong_count() > 0);
        // A reload can change what a name stands for; clients of both live side by side for a moment.
        let key = format!("{}\n{}", connection.name, connection.addresses.join(","));
        presences.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            let away = self.metrics.away(&connection.name);
            let presence = Arc::new(Presence::new(&connection.name, away, Arc::clone(&self.hook)));
            presences.insert(key, Arc::downgrade(&presence));
            presence
        })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
