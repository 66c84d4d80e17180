//! Kafka in files: what connections, sources and output streams come to, and that secrets stay where they are.

use std::collections::BTreeMap;
use std::path::Path;

use model::time::EventTime;
use spec::check::check;
use spec::diagnostic::{Diagnostic, SourceFile, render_text, to_json};
use spec::files::Files;
use spec::host::{self, Environment};
use spec::plan::{
    ConnectionPlan, CreateTopic, DeadLetterPlan, GroupProtocol, HostPlan, KafkaConnectionPlan,
    KafkaOutputPlan, KafkaSourcePlan, OutOfRange, OutputSink, SaslMechanism, SourceKind, Start,
};

use crate::texts::{plan, with_connections};

fn options(options: &[(&str, &str)]) -> BTreeMap<String, String> {
    options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn every_key_of_kafka_reaches_the_plan() {
    let plan = plan(include_str!("../good/kafka.yaml"));
    let clicks = KafkaSourcePlan {
        connection: "main".into(),
        topics: vec!["clicks-eu".into(), "clicks_us.v2".into()],
        group: "shop: clicks".into(),
        out_of_range: OutOfRange::Earliest,
        group_protocol: GroupProtocol::Consumer,
        options: options(&[
            ("client.id", "007"),
            ("fetch.wait.max.ms", "50"),
            ("isolation.level", "read_committed"),
            ("socket.keepalive.enable", "true"),
        ]),
    };
    assert_eq!(plan.sources["clicks"].kind, SourceKind::Kafka(clicks));
    assert_eq!(plan.sources["clicks"].start, Start::Time(EventTime(1_767_225_600_000_000)));
    assert_eq!(plan.views["clicks_per_user"].start, plan.sources["clicks"].start);
    let output = KafkaOutputPlan {
        connection: "main".into(),
        topic: "features".into(),
        exactly_once: true,
        create: Some(CreateTopic { partitions: 4, replication: Some(3) }),
        options: options(&[("compression.type", "lz4"), ("linger.ms", "5")]),
    };
    let found = plan.views["clicks_per_user"].output.as_ref().unwrap();
    assert_eq!((&found.sink, found.parallel), (&OutputSink::Kafka(output), true));
}

#[test]
fn defaults_of_kafka_are_as_documented() {
    let plan = plan(include_str!("../good/kafka.yaml"));
    let views = KafkaSourcePlan {
        connection: "second".into(),
        topics: vec!["clicks_us.v2".into()],
        group: "millrace-default-views".into(),
        out_of_range: OutOfRange::Stop,
        group_protocol: GroupProtocol::Classic,
        options: BTreeMap::new(),
    };
    assert_eq!(plan.sources["views"].kind, SourceKind::Kafka(views));
    assert_eq!(plan.sources["views"].start, Start::Committed);
    let offsets = BTreeMap::from([(0, 12), (3, 99)]);
    assert_eq!(plan.views["views_per_user"].start, Start::Offsets(offsets));
    let output = KafkaOutputPlan {
        connection: "second".into(),
        topic: "features".into(),
        exactly_once: false,
        create: None,
        options: BTreeMap::new(),
    };
    let found = plan.views["views_per_user"].output.as_ref().unwrap();
    assert_eq!(found.sink, OutputSink::Kafka(output));
}

#[test]
fn a_view_of_topics_starts_at_what_comes_unless_said_otherwise() {
    let text = include_str!("../good/kafka.yaml").replace("    start: 2026-01-01T00:00:00Z\n", "");
    assert_eq!(plan(&text).views["clicks_per_user"].start, Start::Latest);
    let text = include_str!("../good/kafka.yaml").replace("start: 2026-01-01T00:00:00Z", "start: 2026-01-01");
    assert_eq!(plan(&text).views["clicks_per_user"].start, Start::Time(EventTime(1_767_225_600_000_000)));
}

#[test]
fn the_default_group_is_named_after_project_and_source() {
    let host = HostPlan { project: "shop".into(), ..with_connections() };
    let report = check(&Files::from_memory([("views/v.yaml", include_str!("../good/kafka.yaml"))]), &host);
    let SourceKind::Kafka(views) = &report.plan.sources["views"].kind else { panic!("it is a Kafka source") };
    assert_eq!(views.group, "millrace-shop-views");
}

#[test]
fn who_was_first_in_a_group_does_not_matter() {
    let text = include_str!("../good/kafka.yaml");
    let host = with_connections();
    let report = |text: String| check(&Files::from_memory([("views/v.yaml", text)]), &host);
    let one_group = text.replace(
        "connection: second, topic: clicks_us.v2",
        "connection: main, topic: x, group: \"shop: clicks\"",
    );
    let found = report(one_group);
    assert_eq!(found.broken_sources.iter().collect::<Vec<_>>(), ["clicks", "views"]);
    assert!(found.plan.views.is_empty());
    // What runs goes on as it was.
    let running = plan(text);
    assert_eq!(found.over(&running), running);
}

struct Vault;

impl Environment for Vault {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "PASSWORD" => Some("hunter2".into()),
            "ODD" => Some("null".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn file(&self, path: &Path) -> Result<String, String> {
        if path == Path::new("/run/secrets/key") { Ok("hunter2\n".into()) } else { Err("absent".into()) }
    }
}

fn host_file(text: &str) -> Result<HostPlan, Vec<Diagnostic>> {
    host::check(&SourceFile::new("conf/host.yaml", text), &Vault)
}

fn kafka(plan: &HostPlan, name: &str) -> KafkaConnectionPlan {
    let ConnectionPlan::Kafka(kafka) = &plan.connections[name] else { panic!("it is one to Kafka") };
    kafka.clone()
}

const ALL_OF_IT: &str = "
connections:
  main:
    kafka:
      bootstrap_servers: \"one:9092, [::1]:9093\"
      security:
        tls: { ca: ca.pem, certificate: /etc/c.pem, key: k.pem, key_password: \"${file:/run/secrets/key}\" }
        sasl: { mechanism: SCRAM-SHA-512, username: shop, password: \"${PASSWORD}\" }
      options: { socket.keepalive.enable: true, ssl.cipher.suites: TLS_AES_256_GCM_SHA384 }
  plain: { kafka: { bootstrap_servers: one:9092, security: plaintext } }
  nothing_said: { kafka: { bootstrap_servers: one:9092 } }
  system_authorities: { kafka: { bootstrap_servers: one:9092, security: { tls: } } }
  odd: { kafka: { bootstrap_servers: one:9092, security: { sasl: { mechanism: PLAIN, username: u, password: \"${ODD}\" } } } }
dead_letter: { kafka: { connection: main, topic: letters, create: { partitions: 2 } } }
";

#[test]
fn connections_reach_the_plan() {
    let plan = host_file(ALL_OF_IT).map_err(|problems| render_text(&problems, false)).unwrap();
    let main = kafka(&plan, "main");
    assert_eq!(main.bootstrap_servers, "one:9092,[::1]:9093");
    let expected = [("socket.keepalive.enable", "true"), ("ssl.cipher.suites", "TLS_AES_256_GCM_SHA384")];
    assert_eq!(main.options, options(&expected));
    let (tls, sasl) = (main.tls.unwrap(), main.sasl.unwrap());
    let paths = [tls.ca, tls.certificate, tls.key].map(|path| path.unwrap().display().to_string());
    assert_eq!(paths, ["conf/ca.pem", "/etc/c.pem", "conf/k.pem"]);
    assert_eq!(tls.key_password.unwrap().reveal(), "hunter2");
    assert_eq!((sasl.mechanism, sasl.username.as_str()), (SaslMechanism::ScramSha512, "shop"));
    assert_eq!(sasl.password.reveal(), "hunter2");
    for plain in ["plain", "nothing_said"] {
        assert_eq!((kafka(&plan, plain).tls, kafka(&plan, plain).sasl), (None, None));
    }
    assert_eq!(kafka(&plan, "system_authorities").tls, Some(Default::default()));
    assert_eq!(kafka(&plan, "odd").sasl.unwrap().password.reveal(), "null");
    let create = Some(CreateTopic { partitions: 2, replication: None });
    let letters = DeadLetterPlan::Kafka { connection: "main".into(), topic: "letters".into(), create };
    assert_eq!(plan.dead_letter, letters);
    assert!(!format!("{plan:?}").contains("hunter2"));
}

/// That a host file is refused and the report keeps its secret, in all its forms.
#[track_caller]
fn kept(text: &str) {
    let file = SourceFile::new("conf/host.yaml", text);
    let problems = host::check(&file, &Vault).unwrap_err();
    let shown = format!("{}{}{problems:?}{file:?}", render_text(&problems, true), to_json(&problems));
    assert!(!shown.contains("hunter") && !shown.contains("hidden"), "{shown}");
}

#[test]
fn secrets_are_never_shown() {
    let sasl = |password: &str| {
        format!(
            "connections:\n  main:\n    kafka:\n      bootstrap_servers: one:9092\n      security: {{ sasl: {{ mechanism: PLAIN, username: u, password: {password} }} }}\n"
        )
    };
    for password in [
        "hunter2",
        "\"hunter2\"",
        "'hunter2'",
        "\"hun\\x74er2 hidden\"",
        "[hunter2, hidden]",
        "{ hunter2: hidden }",
        "\"hunter2${PASSWORD}\"",
        "\"${PASSWORD}hidden\"",
        "\"${hidden hunter2}\"",
        "\"${hunter2\"",
        "\"$${hunter2}\"",
        "\"${UNSET:-hunter2}\"",
        "&anchor hunter2",
        "!!str hunter2",
        "!tag hunter2",
    ] {
        kept(&sasl(password));
    }
    kept(&sasl("\"hunter2 }"));
    kept(&sasl("\"${EMPTY}\""));
    kept(
        "x: &p hunter2\nconnections: { main: { kafka: { bootstrap_servers: \"a:1\", security: { sasl: { mechanism: PLAIN, username: u, password: *p } } } } }\n",
    );
    kept(
        "conections: { main: { kafka: { security: { sasl: { passwrod: hunter2, PassWord: hidden } } } } }\n",
    );
    kept(
        "connections: { main: { kafka: { bootstrap_servers: \"a:1\", security: { sasl: { mechanism: PLAIN, username: u, password: |\n  hunter2\n  hidden\n",
    );
    kept(
        "connections:\n  main:\n    kafka:\n      options:\n        sasl.password: >\n          hunter2\n          hidden\n    - x\n",
    );
}
