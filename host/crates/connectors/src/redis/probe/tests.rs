//! Servers as they should be, and as they are.

use tokio::runtime::Runtime;

use super::*;
use crate::redis::testing::{Cluster, Server};

const TEST: &str = "probe";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Each finding is a severity and a part of its words; notes come first.
#[track_caller]
fn check(connection: &Connection, depth: Depth, expected: &[(Severity, &str)]) {
    let runtime = runtime();
    let findings = probe(connection, "rides", runtime.handle(), depth);
    assert_eq!(findings.len(), expected.len(), "{findings:#?}");
    for (finding, (severity, part)) in findings.iter().zip(expected) {
        assert_eq!(finding.severity, *severity, "{finding:?}");
        assert!(finding.message.contains(part), "{part:?} in {finding:?}");
        assert_eq!(finding.what, "connection `cache`");
        assert_eq!(finding.help.is_empty(), *severity == Severity::Note, "{finding:?}");
    }
}

#[test]
fn a_server_as_it_should_be_and_its_keys_stay_as_they_are() {
    let Some(server) = Server::start(TEST, &["--appendonly", "yes", "--maxmemory", "64mb"]) else { return };
    for depth in [Depth::Check, Depth::Doctor] {
        check(&server.connection("cache"), depth, &[(Severity::Note, "of 64 MiB of memory used")]);
        assert_eq!(server.ask::<usize>(&["DBSIZE"]), 0);
    }
}

#[test]
fn what_loses_rows_is_warned_of() {
    let Some(server) = Server::start(TEST, &["--maxmemory", "1mb", "--maxmemory-policy", "allkeys-lru"])
    else {
        return;
    };
    check(
        &server.connection("cache"),
        Depth::Check,
        &[
            (Severity::Note, "is Redis"),
            (Severity::Warning, "`maxmemory-policy allkeys-lru`"),
            (Severity::Warning, "of the 1 MiB of its `maxmemory`"),
            (Severity::Warning, "no append-only file"),
        ],
    );
}

#[test]
fn rights_that_are_missing_are_all_named() {
    let user = ["--user", "host", "on", ">word", "~*rides", "~millrace:rides:*"];
    let rights =
        ["+@read", "+hset", "+hdel", "+@scripting", "+@transaction", "+@connection", "+info", "+role"];
    let Some(server) = Server::start(TEST, &[&["--appendonly", "yes"], &user[..], &rights[..]].concat())
    else {
        return;
    };
    let mut connection = server.connection("cache");
    connection.username = Some("host".into());
    connection.password = Some("word".into());
    let runtime = runtime();
    let findings = probe(&connection, "rides", runtime.handle(), Depth::Doctor);
    let problem = findings.last().unwrap();
    assert_eq!(problem.severity, Severity::Problem, "{findings:#?}");
    for part in ["user `host` may not: ", "'set'", "'hsetnx'", "'pexpireat'", "'time'"] {
        assert!(problem.message.contains(part), "{part} in {}", problem.message);
    }
    assert!(!problem.message.contains("'hset'"), "{}", problem.message);
    // What the help says is enough, and what it leaves out is not needed.
    let (_, help) = problem.help.split_once('`').unwrap();
    let administrator =
        help.split_once('`').unwrap().0.replace("SETUSER host", "SETUSER host reset on >word");
    server.ask::<()>(&administrator.split(' ').collect::<Vec<_>>());
    check(&connection, Depth::Doctor, &[(Severity::Note, "a master")]);
    server.ask::<()>(&["ACL", "SETUSER", "host", "resetkeys", "~millrace:*"]);
    let findings = probe(&connection, "rides", runtime.handle(), Depth::Check);
    assert!(findings.last().unwrap().message.contains("key"), "{findings:#?}");
}

#[test]
fn nobody_lets_us_in() {
    let Some(server) = Server::start(TEST, &["--requirepass", "secret"]) else { return };
    check(&server.connection("cache"), Depth::Doctor, &[(Severity::Problem, "does not let us in")]);
    let connection = server.connection("cache");
    server.kill();
    check(&connection, Depth::Doctor, &[(Severity::Problem, "nobody answers")]);
}

#[test]
fn a_cluster_with_all_its_slots() {
    let Some(cluster) = Cluster::start(TEST) else { return };
    let append = (Severity::Warning, "no append-only file");
    let expected = [
        (Severity::Note, "5461 slots"),
        append,
        (Severity::Note, "5462 slots"),
        append,
        (Severity::Note, "5461 slots"),
        append,
    ];
    check(&cluster.connection("cache"), Depth::Doctor, &expected);
    cluster.servers[0].ask::<()>(&["CLUSTER", "DELSLOTS", "7"]);
    let runtime = runtime();
    let findings = probe(
        &cluster.servers[0].connection("cache").into_cluster(),
        "rides",
        runtime.handle(),
        Depth::Check,
    );
    let last = findings.last().unwrap();
    assert_eq!(
        (last.severity, last.message.contains("16383 of 16384")),
        (Severity::Problem, true),
        "{findings:#?}"
    );
}
