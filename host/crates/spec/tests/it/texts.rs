//! View files that other tests build on.

use std::collections::BTreeMap;

use spec::check::{Report, check};
use spec::diagnostic::render_text;
use spec::files::Files;
use spec::plan::{ConnectionPlan, DeadLetterPlan, HostPlan, KafkaConnectionPlan, Plan};

/// An entity and a source.
pub(crate) const BASE: &str = "\
entity: { name: user, join_keys: { user_id: string } }
---
source:
  name: clicks
  push: {}
  schema: { user_id: string, ad: int64, ts: timestamp }
  timestamp_field: ts
---
";

/// A view of that source; further keys go below it.
pub(crate) const VIEW: &str = "\
view:
  name: clicks_per_user
  source: clicks
  entities: [user]
  transform: { component: v.wasm, params: { factor: 2 } }
  features: { n: int64 }
";

/// Settings with connections to two clusters, one of them under two names, and dead letters in the topic `letters`.
pub(crate) fn with_connections() -> HostPlan {
    let kafka = |servers: &str| {
        ConnectionPlan::Kafka(KafkaConnectionPlan {
            bootstrap_servers: servers.to_owned(),
            tls: None,
            sasl: None,
            options: BTreeMap::new(),
        })
    };
    let connections = [("main", "one:9092"), ("alias", "one:9092"), ("second", "two:9092")];
    HostPlan {
        files_root: "/data".into(),
        dead_letter: DeadLetterPlan::Kafka {
            connection: "main".into(),
            topic: "letters".into(),
            create: None,
        },
        connections: connections
            .into_iter()
            .map(|(name, servers)| (name.to_owned(), kafka(servers)))
            .collect(),
        ..HostPlan::default()
    }
}

/// Checks one file `views/view.yaml`, files in `/data`.
pub(crate) fn report(text: &str) -> Report {
    check(&Files::from_memory([("views/view.yaml", text)]), &with_connections())
}

/// The plan of a file that has nothing wrong.
#[track_caller]
pub(crate) fn plan(text: &str) -> Plan {
    let report = report(text);
    assert!(!report.has_errors(), "{}", render_text(&report.diagnostics, false));
    report.plan
}
