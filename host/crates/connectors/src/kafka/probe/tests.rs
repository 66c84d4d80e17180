//! What can be seen of a mock cluster, which knows no rights and no settings of topics.

use std::time::Duration;

use rdkafka::mocking::MockCluster;

use super::*;

fn connection(servers: String, options: &[(&str, &str)]) -> Connection {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Connection { name: "main".to_owned(), bootstrap_servers: servers, tls: None, sasl: None, options }
}

#[test]
fn a_cluster_that_answers_is_reached() {
    let cluster = MockCluster::new(3).unwrap();
    let reached =
        contact::reach(&connection(cluster.bootstrap_servers(), &[]), Duration::from_secs(30)).unwrap();
    assert_eq!(reached, contact::Cluster { brokers: 3 });
}

#[test]
fn nobody_there_is_a_problem() {
    // Port 1 is reserved and nobody's.
    let nobody = connection("127.0.0.1:1".to_owned(), &[]);
    let why = contact::reach(&nobody, Duration::ZERO).unwrap_err();
    let finding = explain::no_contact(&nobody, why);
    assert_eq!((finding.severity, finding.what.as_str()), (Severity::Problem, "connection `main`"));
    assert!(finding.message.contains("127.0.0.1:1"), "{}", finding.message);
}

#[test]
fn a_setting_that_librdkafka_refuses_is_a_problem() {
    let findings =
        probe(&connection("localhost:9092".to_owned(), &[("socket.timeout.ms", "soon")]), &[], Depth::Check);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].help, "correct `socket.timeout.ms` under `options`");
}
