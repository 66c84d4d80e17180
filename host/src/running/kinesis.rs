//! From the plan's words for Kinesis to the connectors' own, and what all Kinesis clients of a host share.
//!
//! What it does not do: open sources or outputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use connectors::kinesis::{Connection, KinesisMetrics, Shared, Stream};
use model::error::Failure;
use prometheus_client::registry::Registry;
use serve::Health;
use spec::plan::{ConnectionPlan, KinesisConnectionPlan, StreamPlan};
use tokio::runtime::Handle;

use super::contact::{Connections, hook};

/// What sources and outputs of a host need to reach Kinesis.
pub(crate) struct Kinesis {
    /// Runtime, metrics, and what is known of each connection.
    pub(super) shared: Shared,
    pub(super) connections: Connections<Connection>,
}

impl Kinesis {
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
            connections.register(registry, KinesisMetrics::register),
            hook(health, "Kinesis"),
        );
        Self { shared, connections }
    }

    /// The connection of that name.
    pub(super) fn connection(&self, name: &str) -> Result<Connection, Failure> {
        self.connections.get(name)
    }

    /// Why nothing works through a connection now, if that is known. Asks nobody.
    pub(super) fn trouble(&self, name: &str) -> Result<Option<Failure>, Failure> {
        let contact = self.shared.contact(&self.connection(name)?);
        Ok(contact
            .trouble()
            .map(|reason| Failure::retry(format!("reach Kinesis at connection `{name}`: {reason}"))))
    }
}

/// All Kinesis connections of the settings, by name.
pub(crate) fn connections(plans: &BTreeMap<String, ConnectionPlan>) -> BTreeMap<String, Connection> {
    let made = |(name, plan): (&String, &ConnectionPlan)| match plan {
        ConnectionPlan::Kinesis(kinesis) => Some((name.clone(), connection(name, kinesis))),
        ConnectionPlan::Kafka(_) | ConnectionPlan::Redis(_) => None,
    };
    plans.iter().filter_map(made).collect()
}

fn connection(name: &str, plan: &KinesisConnectionPlan) -> Connection {
    // Every field is named, so that a new one cannot be forgotten here.
    let KinesisConnectionPlan { region, endpoint_url, profile, role_arn, external_id, ca } = plan.clone();
    Connection { name: name.to_owned(), region, endpoint_url, profile, role_arn, external_id, ca }
}

/// A stream as the connectors name it.
pub(crate) fn stream(plan: &StreamPlan) -> Stream {
    match plan {
        StreamPlan::Name(name) => Stream::Name(name.clone()),
        StreamPlan::Arn(arn) => Stream::Arn(arn.clone()),
    }
}
