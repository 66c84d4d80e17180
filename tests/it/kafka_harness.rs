//! The harness itself: what other tests rely on when they break brokers and networks.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::kafka::{self, Client, Cluster, Record, Settings};
use tests::{Way, Workspace, api};

use crate::checker;
use crate::support::python;

#[test]
fn records_come_back_as_they_were_written_and_aborted_ones_never() {
    if !kafka::there() {
        return;
    }
    let client = kafka::shared().client();
    let topic = kafka::name("records");
    client.create(&topic, 2, &[]);
    let record = Record::new("v").key("k").to(1).header("h", "x").at(1_700_000_000_000);
    let written = client.produce(&topic, [record.clone(), Record::tombstone("k").to(1)]);
    assert_eq!(written, [(1, 0), (1, 1)]);
    client.transaction(&topic, [Record::new("aborted").to(0)], false);
    client.transaction(&topic, [Record::new("committed").to(0)], true);
    let read = client.read(&topic);
    assert_eq!(read.len(), 3, "{read:?}");
    assert_eq!(read[0].value.as_deref(), Some(&b"committed"[..]));
    assert_eq!(read[1], Record { offset: 0, ..record });
    assert_eq!(read[2].value, None);
    let group = kafka::name("group");
    client.commit(&group, &topic, 1, 2);
    assert_eq!(client.commits(&group, &topic)[&1].0, 2);
}

#[test]
fn a_proxy_holds_swallows_corrupts_and_cuts() {
    if !kafka::there() {
        return;
    }
    let cluster = kafka::shared();
    let topic = kafka::name("proxied");
    cluster.client().create(&topic, 1, &[]);
    let proxy = cluster.proxy();
    let client = Client::new(&proxy.address()).with("socket.timeout.ms", "2000");
    client.produce(&topic, [Record::new("first")]);
    proxy.corrupt(Way::ToBroker, api::PRODUCE, 1);
    client.produce(&topic, [Record::new("second")]);
    proxy.met(Way::ToBroker, api::PRODUCE, 1);
    proxy.swallow(Way::ToClient, api::PRODUCE, 1);
    client.produce(&topic, [Record::new("third")]);
    proxy.hold(Way::ToClient, api::PRODUCE);
    std::thread::scope(|scope| {
        let held = scope.spawn(|| client.produce(&topic, [Record::new("fourth")]));
        proxy.met(Way::ToClient, api::PRODUCE, 1);
        proxy.mend();
        held.join().unwrap();
    });
    proxy.refuse();
    assert_eq!(client.brokers(), 0);
    proxy.mend();
    proxy.latency(Duration::from_millis(100));
    let started = Instant::now();
    client.produce(&topic, [Record::new("fifth")]);
    assert!(started.elapsed() >= Duration::from_millis(200), "there and back");
    let values: Vec<String> = cluster
        .client()
        .read(&topic)
        .into_iter()
        .map(|record| String::from_utf8(record.value.unwrap()).unwrap())
        .collect();
    assert_eq!(values, ["first", "second", "third", "fourth", "fifth"]);
}

#[test]
fn a_cluster_survives_its_leader() {
    if !kafka::there() {
        return;
    }
    let mut cluster = Cluster::start(Settings { brokers: 3, ..Settings::default() });
    let client = cluster.client();
    let topic = kafka::name("replicated");
    client.create(&topic, 1, &[]);
    client.produce(&topic, [Record::new("before")]);
    let leader = usize::try_from(client.leader(&topic, 0)).unwrap() - 1;
    cluster.kill(leader);
    client.produce(&topic, [Record::new("after")]);
    cluster.restart(&[leader]);
    assert_eq!(client.read(&topic).len(), 2);
}

#[test]
fn the_checker_finds_what_is_lost_repeated_or_disordered() {
    if !python() {
        return;
    }
    let seen = |offsets: &[u64]| -> String {
        let record = |(at, offset): (usize, &u64)| {
            let source =
                json!({"name": "ads", "partition": "t-0", "position": format!("{offset:016x}"), "row": 0});
            let record = json!({
                "entity_keys": {"user_id": "u"}, "feature_timestamp": format!("time {offset}"), "source": source,
                "epoch": 0, "generation": 1, "component": "c", "online_applied": true,
            });
            format!("{}\n", json!([0, at, "u", format!("1;0;ads;t-0;{offset:016x};0;1;c;true"), record]))
        };
        offsets.iter().enumerate().map(record).collect()
    };
    let check = |mode: &str, seen: &str, vectors: &str| {
        let workspace = Workspace::new();
        let events: String =
            (0..5).map(|offset| format!("{}\n", json!([0, offset, "u", format!("time {offset}")]))).collect();
        workspace.write("events", events).write("seen", seen).write("vectors", vectors);
        checker::ask(&workspace, "check_topic.py", &[mode, "t", "1", "events", "seen", "vectors"])
    };
    let good = seen(&[0, 1, 2, 3, 4]);
    checker::finds_disorder(|mode, offsets| check(mode, &seen(offsets), "null"));
    checker::finds_wrong_rows(|vectors| check("once", &good, vectors));
    for (from, to, fault) in [
        (";0;1;c", ";0;2;c", "header"),
        ("time 3", "time 4", "no such event"),
        ("[0,4,\"u\"", "[0,4,\"v\"", "key v"),
        ("[0,4,\"u\"", "[1,4,\"u\"", "does not belong"),
        ("[0,4,\"u\"", "[0,2,\"u\"", "went back"),
    ] {
        assert!(good.contains(from), "{from} is not in {good}");
        let (good, said) = check("once", &good.replace(from, to), "null");
        assert!(!good && said.contains(fault), "{said}");
    }
}
