//! Several hosts whose leases are in a real Redis.

use super::*;
use crate::kinesis::lease::table::tests::redis_table;
use crate::redis::testing::Server;

/// A server that was killed may find that another test's has its port for a while: each test has keys of its own.
fn table(server: &Server, test: &str) -> Arc<dyn LeaseTable> {
    Arc::new(redis_table(server, test, &runtime()))
}

#[test]
fn leases_survive_a_redis_that_is_restarted_and_forgets_all() {
    let Some(server) = Server::start("leases_survive_a_redis_that_forgets", &[]) else { return };
    let stream = Stream::with(4);
    let watch = Watch::over(&stream);
    let hosts: Vec<Host> = ["a", "b"]
        .iter()
        .map(|name| Host::join(name, LONG, &table(&server, "forgetting"), &stream))
        .collect();
    hosts.iter().for_each(|host| watch.add(host));
    even(&hosts, 4);
    let gone = |host: &Host| host.flow.told("lost") + host.flow.told("revoking");
    let before: Vec<_> = hosts.iter().map(|host| (host.leases.partitions(), gone(host))).collect();
    stream.fill(20);
    server.kill();
    until("both know", || hosts.iter().all(|host| host.leases.trouble().is_some()));
    stream.fill(20);
    stream.drained();
    server.start_again();
    until("all is written again", || {
        let fields: Vec<String> =
            server.try_ask(&["HKEYS", "millrace:{forgetting:clicks}:leases"]).unwrap_or_default();
        fields.iter().filter(|field| field.ends_with("/progress")).count() == 4
    });
    until("all is well", || hosts.iter().all(|host| host.leases.trouble().is_none()));
    stream.fill(20);
    stream.drained();
    let after: Vec<_> = hosts.iter().map(|host| (host.leases.partitions(), gone(host))).collect();
    let told: Vec<_> = hosts.iter().map(|host| host.flow.told.lock().unwrap().clone()).collect();
    assert_eq!(before, after, "{told:?}");
    hosts.into_iter().for_each(Host::leave);
    drop(watch);
    assert_eq!(stream.check(), 0);
}

#[test]
fn a_redis_that_pauses_for_too_long_stops_all_until_it_is_back() {
    let Some(server) = Server::start("a_redis_that_pauses_for_too_long", &[]) else { return };
    let stream = Stream::with(4);
    let watch = Watch::over(&stream);
    let hosts: Vec<Host> =
        ["a", "b"].iter().map(|name| Host::join(name, SHORT, &table(&server, "pausing"), &stream)).collect();
    hosts.iter().for_each(|host| watch.add(host));
    even(&hosts, 4);
    stream.fill(20);
    stream.drained();
    server.pause();
    until("nobody has anything", || hosts.iter().all(|host| host.count() == 0));
    stream.fill(20);
    assert!(hosts.iter().all(|host| host.flow.told("lost") >= 2));
    server.go_on();
    even(&hosts, 4);
    stream.drained();
    drop(watch);
    // Nobody else had them meanwhile: each goes on from what it had done.
    stream.check();
}

#[test]
fn hosts_share_a_stream_through_redis_and_find_what_others_did() {
    let Some(server) = Server::start("hosts_share_a_stream_through_redis", &[]) else { return };
    let stream = Stream::with(5);
    let watch = Watch::over(&stream);
    let mut hosts: Vec<Host> = Vec::new();
    for name in ["a", "b", "c"] {
        let host = Host::join(name, LONG, &table(&server, "sharing"), &stream);
        watch.add(&host);
        hosts.push(host);
        even(&hosts, 5);
        stream.fill(10);
        stream.drained();
    }
    for host in hosts {
        host.leave();
    }
    stream.fill(10);
    let last = Host::join("d", LONG, &table(&server, "sharing"), &stream);
    watch.add(&last);
    stream.drained();
    assert_eq!(last.count(), 5);
    drop(watch);
    assert_eq!(stream.check(), 0);
}
