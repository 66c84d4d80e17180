//! View files that other tests build on.

use std::collections::BTreeMap;

use spec::check::{Report, check};
use spec::diagnostic::render_text;
use spec::files::Files;
use std::time::Duration;

use spec::plan::{
    ConnectionPlan, DeadLetterPlan, HostPlan, KafkaConnectionPlan, KinesisConnectionPlan, Plan,
    RedisConnectionPlan, RedisMode,
};

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

/// Settings with connections to two Kafka clusters, one of them under two names, to Kinesis in two regions, one of them
/// under two names, and to Redis; dead letters go to the topic `letters`.
pub(crate) fn with_connections() -> HostPlan {
    let kafka = |servers: &str| {
        ConnectionPlan::Kafka(KafkaConnectionPlan {
            bootstrap_servers: servers.to_owned(),
            tls: None,
            sasl: None,
            options: BTreeMap::new(),
        })
    };
    let kinesis = |region: &str| {
        let region = Some(region.to_owned());
        ConnectionPlan::Kinesis(KinesisConnectionPlan { region, ..KinesisConnectionPlan::default() })
    };
    let redis = RedisConnectionPlan {
        addresses: vec!["one:6379".to_owned()],
        mode: RedisMode::Single,
        database: 0,
        username: None,
        password: None,
        tls: None,
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(5),
    };
    let connections = [
        ("main", kafka("one:9092")),
        ("alias", kafka("one:9092")),
        ("second", kafka("two:9092")),
        ("aws", kinesis("eu-central-1")),
        ("aws_alias", kinesis("eu-central-1")),
        ("overseas", kinesis("us-east-1")),
        ("cache", ConnectionPlan::Redis(redis)),
    ];
    HostPlan {
        files_root: "/data".into(),
        dead_letter: DeadLetterPlan::Kafka {
            connection: "main".into(),
            topic: "letters".into(),
            create: None,
        },
        connections: connections.into_iter().map(|(name, plan)| (name.to_owned(), plan)).collect(),
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
