//! From the plan's words for Kafka to the connectors' own, and what all Kafka clients of a host share.
//!
//! What it does not do: open sources, outputs or dead letters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use connectors::kafka::{BrokerState, Connection, KafkaMetrics, Sasl, SaslMechanism, Shared, Tls, Watch};
use model::error::Failure;
use prometheus_client::registry::Registry;
use serve::{Health, Trouble};
use spec::plan::{self, ConnectionPlan, KafkaConnectionPlan};

use super::contact::{Connections, subject};

/// What sources, outputs and dead letters of a host need to reach Kafka.
pub(crate) struct Kafka {
    /// Metrics, and what is known of each cluster.
    pub(super) shared: Shared,
    pub(super) connections: Connections<Connection>,
    /// One for each connection that outputs use: what is known of a cluster lasts as long as somebody listens.
    watches: Mutex<BTreeMap<String, Watch>>,
    /// This host's name among hosts.
    pub(super) instance: String,
}

impl Kafka {
    /// The connections of the settings; none is tried yet.
    pub(super) fn new(
        plans: &BTreeMap<String, ConnectionPlan>,
        instance: String,
        registry: &mut Registry,
        health: &Arc<Health>,
    ) -> Self {
        let connections = Connections::new(connections(plans), health);
        let hearing = Arc::clone(health);
        let hook = Arc::new(move |connection: &str, state: &BrokerState| match state {
            BrokerState::Away(reason) => {
                hearing.raise(
                    Trouble::DependencyAway,
                    &subject(connection),
                    format!("no broker answers: {reason}"),
                );
            }
            BrokerState::Back => hearing.clear(Trouble::DependencyAway, &subject(connection)),
        });
        let shared = Shared::new(connections.register(registry, KafkaMetrics::register), hook);
        Self { shared, connections, watches: Mutex::default(), instance }
    }

    /// The connection of that name.
    pub(super) fn connection(&self, name: &str) -> Result<Connection, Failure> {
        self.connections.get(name)
    }

    /// Why nothing works through a connection now, if that is known. Asks nobody.
    pub(super) fn trouble(&self, name: &str) -> Result<Option<Failure>, Failure> {
        let connection = self.connection(name)?;
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = watches.entry(name.to_owned()).or_insert_with(|| self.shared.watch(&connection));
        Ok(watch.trouble())
    }
}

/// All Kafka connections of the settings, by name.
pub(crate) fn connections(plans: &BTreeMap<String, ConnectionPlan>) -> BTreeMap<String, Connection> {
    let made = |(name, plan): (&String, &ConnectionPlan)| match plan {
        ConnectionPlan::Kafka(kafka) => Some((name.clone(), connection(name, kafka))),
        ConnectionPlan::Kinesis(_) | ConnectionPlan::Redis(_) => None,
    };
    plans.iter().filter_map(made).collect()
}

fn connection(name: &str, plan: &KafkaConnectionPlan) -> Connection {
    Connection {
        name: name.to_owned(),
        bootstrap_servers: plan.bootstrap_servers.clone(),
        tls: plan.tls.as_ref().map(|tls| Tls {
            ca: tls.ca.clone(),
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            key_password: tls.key_password.as_ref().map(|secret| secret.reveal().to_owned()),
        }),
        sasl: plan.sasl.as_ref().map(|sasl| Sasl {
            mechanism: match sasl.mechanism {
                plan::SaslMechanism::Plain => SaslMechanism::Plain,
                plan::SaslMechanism::ScramSha256 => SaslMechanism::ScramSha256,
                plan::SaslMechanism::ScramSha512 => SaslMechanism::ScramSha512,
            },
            username: sasl.username.clone(),
            password: sasl.password.reveal().to_owned(),
        }),
        options: plan.options.clone(),
    }
}

#[cfg(test)]
mod tests {
    use spec::plan::{SaslPlan, Secret, TlsPlan};

    use super::*;

    fn plan() -> BTreeMap<String, ConnectionPlan> {
        let kafka = KafkaConnectionPlan {
            bootstrap_servers: "a:9092,b:9092".to_owned(),
            tls: Some(TlsPlan { ca: Some("/ca.pem".into()), ..TlsPlan::default() }),
            sasl: Some(SaslPlan {
                mechanism: plan::SaslMechanism::ScramSha512,
                username: "bob".to_owned(),
                password: Secret::new("bob-pw".to_owned()),
            }),
            options: [("socket.keepalive.enable".to_owned(), "true".to_owned())].into(),
        };
        [("main".to_owned(), ConnectionPlan::Kafka(kafka))].into()
    }

    #[test]
    fn a_connection_is_what_the_plan_says_and_shows_no_secret() {
        let connections = connections(&plan());
        let main = &connections["main"];
        assert_eq!((main.name.as_str(), main.bootstrap_servers.as_str()), ("main", "a:9092,b:9092"));
        assert_eq!(main.tls.as_ref().unwrap().ca.as_deref(), Some("/ca.pem".as_ref()));
        let sasl = main.sasl.as_ref().unwrap();
        assert_eq!((sasl.mechanism.name(), sasl.password.as_str()), ("SCRAM-SHA-512", "bob-pw"));
        assert!(main.options.contains_key("socket.keepalive.enable"));
        assert!(!format!("{main:?}").contains("bob-pw"));
    }

    #[test]
    fn an_unused_connection_is_no_trouble() {
        let health = Arc::new(Health::new());
        let kafka = Kafka::new(&plan(), "0011223344556677".to_owned(), &mut Registry::default(), &health);
        health.raise(Trouble::DependencyAway, &subject("main"), "no broker answers");
        kafka.connections.forget_unused(&["main"]);
        assert_eq!(health.troubles().len(), 1);
        kafka.connections.forget_unused(&[]);
        assert!(health.troubles().is_empty());
        assert!(kafka.connection("other").unwrap_err().to_string().contains("host.yaml has none"));
    }
}
