//! Connections as health and messages name them, and the hook by which their clients say that nobody answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use connectors::contact::ContactHook;
use model::error::Failure;
use prometheus_client::registry::Registry;
use serve::{Health, Trouble};

/// The connections of the settings to one product, by name. None is tried by this.
pub(super) struct Connections<C> {
    by_name: BTreeMap<String, C>,
    health: Arc<Health>,
}

impl<C: Clone> Connections<C> {
    pub(super) fn new(by_name: BTreeMap<String, C>, health: &Arc<Health>) -> Self {
        Self { by_name, health: Arc::clone(health) }
    }

    /// Registers what their clients count; without a connection there will never be anything to count.
    pub(super) fn register<M>(&self, registry: &mut Registry, register: fn(&mut Registry) -> M) -> M {
        if self.by_name.is_empty() { register(&mut Registry::default()) } else { register(registry) }
    }

    /// The connection of that name.
    pub(super) fn get(&self, name: &str) -> Result<C, Failure> {
        self.by_name.get(name).cloned().ok_or_else(|| {
            // Or none of the kind that is needed.
            Failure::stop(format!("find connection `{name}`: host.yaml has none of that name"))
        })
    }

    /// A connection that nothing uses any more is nobody's trouble, and nobody would hear that it is back.
    pub(super) fn forget_unused(&self, used: &[&str]) {
        for name in self.by_name.keys().filter(|name| !used.contains(&name.as_str())) {
            self.health.clear(Trouble::DependencyAway, &subject(name));
        }
    }
}

/// A connection as `/readyz` names it.
pub(super) fn subject(connection: &str) -> String {
    format!("connection `{connection}`")
}

/// Makes the host unready while a connection's other side is away.
pub(super) fn hook(health: &Arc<Health>, product: &'static str) -> ContactHook {
    let health = Arc::clone(health);
    Arc::new(move |connection, away| match away {
        Some(reason) => {
            let message = format!("{product} does not answer as it should: {reason}");
            health.raise(Trouble::DependencyAway, &subject(connection), message);
        }
        None => health.clear(Trouble::DependencyAway, &subject(connection)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_trouble_while_it_is_away() {
        let health = Arc::new(Health::new());
        let hook = hook(&health, "Redis");
        hook("cache", Some("connection refused"));
        let troubles = health.troubles();
        assert_eq!(troubles.len(), 1);
        assert_eq!(troubles[0].1, "connection `cache`");
        assert!(troubles[0].2.contains("connection refused"), "{troubles:?}");
        hook("cache", None);
        assert!(health.troubles().is_empty());
    }
}
