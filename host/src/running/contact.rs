//! Connections as health and messages name them, and the hook by which their clients say that nobody answers.

use std::sync::Arc;

use connectors::contact::ContactHook;
use model::error::Failure;
use serve::{Health, Trouble};

/// A connection as `/readyz` names it.
pub(super) fn subject(connection: &str) -> String {
    format!("connection `{connection}`")
}

/// A name that no connection has, or none of the kind that is needed.
pub(super) fn unknown(name: &str) -> Failure {
    Failure::stop(format!("find connection `{name}`: host.yaml has none of that name"))
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
