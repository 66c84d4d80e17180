//! From the plan's words for Redis to the connectors' own, and what all Redis clients of a host share.
//!
//! What it does not do: open stores or leases.

use std::collections::BTreeMap;
use std::sync::Arc;

use connectors::redis::{Connection, Mode, RedisMetrics, Shared, Tls};
use model::error::Failure;
use prometheus_client::registry::Registry;
use serve::Health;
use spec::plan::{ConnectionPlan, RedisConnectionPlan, RedisMode};
use tokio::runtime::Handle;

use super::contact::{Connections, hook};

/// What stores and leases of a host need to reach Redis.
pub(crate) struct Redis {
    /// Runtime, metrics, and what is known of each connection.
    pub(super) shared: Shared,
    pub(super) connections: Connections<Connection>,
}

impl Redis {
    /// The connections of the settings; none is tried yet.
    pub(super) fn new(
        plans: &BTreeMap<String, ConnectionPlan>,
        runtime: Handle,
        registry: &mut Registry,
        health: &Arc<Health>,
    ) -> Self {
        let connections = Connections::new(connections(plans), health);
        let shared = Shared::new(
            runtime,
            connections.register(registry, RedisMetrics::register),
            hook(health, "Redis"),
        );
        Self { shared, connections }
    }

    /// The connection of that name.
    pub(super) fn connection(&self, name: &str) -> Result<Connection, Failure> {
        self.connections.get(name)
    }
}

/// All Redis connections of the settings, by name.
pub(crate) fn connections(plans: &BTreeMap<String, ConnectionPlan>) -> BTreeMap<String, Connection> {
    let made = |(name, plan): (&String, &ConnectionPlan)| match plan {
        ConnectionPlan::Redis(redis) => Some((name.clone(), connection(name, redis))),
        ConnectionPlan::Kafka(_) | ConnectionPlan::Kinesis(_) => None,
    };
    plans.iter().filter_map(made).collect()
}

fn connection(name: &str, plan: &RedisConnectionPlan) -> Connection {
    Connection {
        name: name.to_owned(),
        addresses: plan.addresses.clone(),
        mode: match &plan.mode {
            RedisMode::Single => Mode::Single,
            RedisMode::Cluster => Mode::Cluster,
            RedisMode::Sentinel { service } => Mode::Sentinel { service: service.clone() },
        },
        database: i64::from(plan.database),
        username: plan.username.clone(),
        password: plan.password.as_ref().map(|secret| secret.reveal().to_owned()),
        tls: plan.tls.as_ref().map(|tls| Tls {
            ca: tls.ca.clone(),
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
        }),
        connect_timeout: plan.connect_timeout,
        response_timeout: plan.response_timeout,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use spec::plan::{RedisTlsPlan, Secret};

    use super::*;

    #[test]
    fn a_connection_is_what_the_plan_says_and_shows_no_secret() {
        let plan = RedisConnectionPlan {
            addresses: vec!["a:26379".to_owned(), "b:26379".to_owned()],
            mode: RedisMode::Sentinel { service: "mymaster".to_owned() },
            database: 3,
            username: Some("bob".to_owned()),
            password: Some(Secret::new("bob-pw".to_owned())),
            tls: Some(RedisTlsPlan { ca: Some("/ca.pem".into()), ..RedisTlsPlan::default() }),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(2),
        };
        let made = connections(&[("cache".to_owned(), ConnectionPlan::Redis(plan))].into());
        let cache = &made["cache"];
        assert_eq!((cache.name.as_str(), cache.addresses.len(), cache.database), ("cache", 2, 3));
        assert_eq!(cache.mode, Mode::Sentinel { service: "mymaster".to_owned() });
        assert_eq!((cache.username.as_deref(), cache.password.as_deref()), (Some("bob"), Some("bob-pw")));
        assert_eq!(cache.tls.as_ref().unwrap().ca.as_deref(), Some("/ca.pem".as_ref()));
        assert_eq!((cache.connect_timeout.as_secs(), cache.response_timeout.as_secs()), (1, 2));
        assert!(!format!("{cache:?}").contains("bob-pw"));
    }
}
