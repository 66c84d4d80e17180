//! What the host gives to everything that talks to Kafka.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Watch;
use super::presence::Presence;
use crate::kafka::{Connection, KafkaMetrics};

/// Whether a cluster answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerState {
    /// No broker answers, for this reason.
    Away(String),
    /// One answers again.
    Back,
}

/// Called with the connection's name when its cluster goes away and when it is back; from any thread, and not twice in
/// a row with the same. Must not block.
pub type BrokerHook = Arc<dyn Fn(&str, &BrokerState) + Send + Sync>;

/// What all Kafka clients of a host share. Cheap to clone; a host makes one.
#[derive(Clone)]
pub struct Shared {
    metrics: KafkaMetrics,
    hook: BrokerHook,
    /// One for each connection in use, so that all its clients are of one opinion. Held by the clients.
    presences: Arc<Mutex<BTreeMap<String, Weak<Presence>>>>,
}

impl Shared {
    /// With these metrics; `hook` hears of clusters that go away and come back.
    pub fn new(metrics: KafkaMetrics, hook: BrokerHook) -> Self {
        Self { metrics, hook, presences: Arc::default() }
    }

    /// With metrics and a hook that nobody sees.
    pub fn for_tests() -> Self {
        Self::new(KafkaMetrics::detached(), Arc::new(|_, _| {}))
    }

    /// The metrics.
    pub fn metrics(&self) -> &KafkaMetrics {
        &self.metrics
    }

    /// The context for a client of this connection.
    pub fn watch(&self, connection: &Connection) -> Watch {
        let mut presences = self.presences.lock().unwrap_or_else(PoisonError::into_inner);
        presences.retain(|_, presence| presence.strong_count() > 0);
        // A reload can change what a name stands for; clients of both live side by side for a moment.
        let key = format!("{}\n{}", connection.name, connection.bootstrap_servers);
        let presence = presences.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            let presence = Presence::new(connection.clone(), &self.metrics, Arc::clone(&self.hook));
            presences.insert(key, Arc::downgrade(&presence));
            presence
        });
        Watch::new(presence)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
