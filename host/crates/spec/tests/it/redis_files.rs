//! Redis in files: connections, the store of all views and that of one, and that secrets stay where they are.

use std::path::Path;
use std::time::Duration;

use spec::check::check;
use spec::diagnostic::{SourceFile, render_text, to_json};
use spec::files::Files;
use spec::host::{self, Environment};
use spec::plan::{
    ConnectionPlan, HostPlan, RedisConnectionPlan, RedisMode, RedisStoresPlan, RedisTlsPlan, StorePlan,
};

use crate::texts::{BASE, VIEW, plan, with_connections};

struct Vault;

impl Environment for Vault {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "PASSWORD").then(|| "hunter2".into())
    }

    fn file(&self, _: &Path) -> Result<String, String> {
        Ok("hunter2\n".into())
    }
}

/// Settings that have nothing wrong; secrets come from a vault.
#[track_caller]
pub(crate) fn host_file(text: &str) -> HostPlan {
    host::check(&SourceFile::new("conf/host.yaml", text), &Vault)
        .map_err(|problems| render_text(&problems, false))
        .unwrap()
}

#[track_caller]
fn redis(plan: &HostPlan, name: &str) -> RedisConnectionPlan {
    let ConnectionPlan::Redis(redis) = &plan.connections[name] else { panic!("it is one to Redis") };
    redis.clone()
}

#[test]
fn connections_to_redis_reach_the_plan() {
    let plan = host_file(
        "connections:
  cache:
    redis:
      address: redis.example.com:6380
      database: 2
      username: shop
      password: ${PASSWORD}
      tls: { ca: ca.pem, certificate: /etc/c.pem, key: k.pem }
      connect_timeout: 100ms
      response_timeout: 3s
  shards: { redis: { addresses: \"one:6379, two:6379\", cluster: true, password: \"${file:x}\" } }
  watched: { redis: { addresses: [one:26379, \"[::1]:26379\"], sentinel: mymaster, cluster: false } }
  nothing_said: { redis: { address: localhost:6379 } }
  system_authorities: { redis: { address: localhost:6379, tls: } }
",
    );
    let cache = redis(&plan, "cache");
    assert_eq!(cache.password.as_ref().unwrap().reveal(), "hunter2");
    let tls = RedisTlsPlan {
        ca: Some("conf/ca.pem".into()),
        certificate: Some("/etc/c.pem".into()),
        key: Some("conf/k.pem".into()),
    };
    let expected = RedisConnectionPlan {
        addresses: vec!["redis.example.com:6380".into()],
        mode: RedisMode::Single,
        database: 2,
        username: Some("shop".into()),
        password: cache.password.clone(),
        tls: Some(tls),
        connect_timeout: Duration::from_millis(100),
        response_timeout: Duration::from_secs(3),
    };
    assert_eq!(cache, expected);
    let shards = redis(&plan, "shards");
    assert_eq!(shards.addresses, ["one:6379", "two:6379"]);
    assert_eq!((shards.mode, shards.password.unwrap().reveal()), (RedisMode::Cluster, "hunter2"));
    let watched = redis(&plan, "watched");
    assert_eq!(watched.addresses, ["one:26379", "[::1]:26379"]);
    assert_eq!(watched.mode, RedisMode::Sentinel { service: "mymaster".into() });
    let plain = redis(&plan, "nothing_said");
    assert_eq!((plain.mode, plain.database, plain.username, plain.password, plain.tls), Default::default());
    assert_eq!(plain.connect_timeout, Duration::from_secs(5));
    assert_eq!(plain.response_timeout, Duration::from_secs(2));
    assert_eq!(redis(&plan, "system_authorities").tls, Some(RedisTlsPlan::default()));
    assert!(!format!("{plan:?}").contains("hunter2"));
}

fn in_redis(connection: &str) -> StorePlan {
    StorePlan::Redis { connection: connection.to_owned() }
}

#[test]
fn the_store_of_all_views_reaches_the_plan() {
    let text = "connections: { cache: { redis: { address: \"a:1\" } } }\n";
    let plan = host_file(&format!("{text}online_store: {{ redis: {{ connection: cache }} }}\n"));
    assert_eq!(plan.default_store, in_redis("cache"));
    assert_eq!(plan.redis_stores, RedisStoresPlan { memory: 256 << 20, writers: 2 });
    let plan = host_file(&format!(
        "{text}online_store: {{ redis: {{ connection: cache, memory: 1GiB, writers: 4 }}, embedded: {{ memory: 1MiB }} }}\n"
    ));
    assert_eq!(plan.redis_stores, RedisStoresPlan { memory: 1 << 30, writers: 4 });
    assert_eq!((plan.default_store, plan.online_store.memory), (in_redis("cache"), 1 << 20));
    assert_eq!(host_file(text).default_store, StorePlan::Embedded);
    assert_eq!(in_redis("cache").to_string(), "redis/cache");
}

/// Where the rows of the one view go, given what is said of it and of all.
#[track_caller]
fn check_store(of_view: &str, of_all: StorePlan, expected: &StorePlan) {
    let host = HostPlan { default_store: of_all, ..with_connections() };
    let report = check(&Files::from_memory([("views/v.yaml", format!("{BASE}{VIEW}{of_view}"))]), &host);
    assert!(!report.has_errors(), "{}", render_text(&report.diagnostics, false));
    assert_eq!(report.plan.views["clicks_per_user"].store, *expected);
}

#[test]
fn a_view_goes_where_it_says_or_where_all_go() {
    check_store("", StorePlan::Embedded, &StorePlan::Embedded);
    check_store("", in_redis("cache"), &in_redis("cache"));
    check_store("  online_store: { embedded: {} }\n", in_redis("cache"), &StorePlan::Embedded);
    check_store(
        "  online_store: { redis: { connection: cache } }\n",
        StorePlan::Embedded,
        &in_redis("cache"),
    );
    // A view without rows is not moved by a default that changes.
    check_store("  online: false\n", in_redis("cache"), &StorePlan::Embedded);
}

#[test]
fn a_view_in_redis_says_the_same_wherever_it_says_it() {
    let text = format!("{BASE}{VIEW}  online_store: {{ redis: {{ connection: cache }} }}\n");
    assert_eq!(plan(&text).views["clicks_per_user"].store.connection(), Some("cache"));
}

/// That a host file is refused and the report keeps its secret, in all its forms.
#[track_caller]
fn kept(text: &str) {
    let file = SourceFile::new("conf/host.yaml", text);
    let problems = host::check(&file, &Vault).unwrap_err();
    let shown = format!("{}{}{problems:?}", render_text(&problems, true), to_json(&problems));
    assert!(!shown.contains("hunter") && !shown.contains("hidden"), "{shown}");
}

#[test]
fn secrets_are_never_shown() {
    let redis = |settings: &str| format!("connections:\n  cache:\n    redis: {{ {settings} }}\n");
    for settings in [
        "address: \"a:1\", password: hunter2",
        "address: \"a:1\", password: \"hunter2${PASSWORD}\"",
        "address: \"a:1\", password: [hunter2, hidden]",
        "address: \"a:1\", passwrod: hunter2",
        "address: \"hidden:hunter2@a:1\"",
        "address: \"redis://:hunter2@a:1\"",
        "addresses: [\"a:1\", \"rediss://hidden:hunter2@a:1/0\"]",
        "addresses: \"a:1,hidden:hunter2@b:1\"",
        "url: \"redis://:hunter2@a:1\"",
        "uri: \"redis://:hunter2@a:1/0?x=hidden\"",
    ] {
        kept(&redis(settings));
    }
    for settings in [
        "secret_access_key: hunter2",
        "region: eu-central-1, session_token: hunter2",
        "endpoint_url: \"https://hidden:hunter2@a:1\"",
        "credentials: { access_key: hunter2, secret_key: hidden }",
    ] {
        kept(&format!("connections:\n  aws:\n    kinesis: {{ {settings} }}\n"));
    }
}
