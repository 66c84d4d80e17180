//! The harness itself: what other tests rely on when they reshape streams and break networks.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use tests::Workspace;
use tests::kafka::name;
use tests::kinesis::{self, Client, Fault, Make, Record};

use crate::checker;
use crate::support::python;

#[test]
fn records_come_back_through_splits_and_merges() {
    if !kinesis::there() {
        return;
    }
    for make in [Make::Local, Make::Kinesalite] {
        let client = kinesis::shared(make).client();
        let stream = name("reshaped");
        client.create(&stream, 1);
        let put = |from: u8| {
            let records: Vec<Record> =
                (from..from + 10).map(|index| Record::new(format!("k{index}"), [index, 0xff])).collect();
            client.put(&stream, &records)
        };
        let first = put(0);
        assert_eq!(first[0].0, "shardId-000000000000");
        client.split(&stream, &first[0].0);
        let children = client.open_shards(&stream);
        assert_eq!(children.len(), 2, "{make:?}: {children:?}");
        assert_eq!(children[0].parents, [first[0].0.clone()]);
        put(10);
        client.merge(&stream, &children[0].id, &children[1].id);
        let [merged] = &client.open_shards(&stream)[..] else { panic!("{:?}", client.shards(&stream)) };
        assert_eq!(merged.parents.iter().collect::<BTreeSet<_>>().len(), 2);
        put(20);
        let read = client.more(&stream);
        let data: BTreeSet<Vec<u8>> = read.iter().map(|record| record.data.clone()).collect();
        assert_eq!(data, (0..30).map(|index| vec![index, 0xff]).collect());
        assert_eq!((read[0].shard.as_str(), read[0].key.as_str()), ("shardId-000000000000", "k0"));
        assert_eq!(read.last().map(|record| &record.shard), Some(&merged.id));
        assert!(client.more(&stream).is_empty());
        assert_eq!(client.read(&stream), read);
    }
}

#[test]
fn a_proxy_refuses_entries_lies_and_cuts() {
    if !kinesis::there() {
        return;
    }
    let server = kinesis::shared(Make::Kinesalite);
    let (straight, stream) = (server.client(), name("faults"));
    straight.create(&stream, 1);
    let proxy = server.proxy();
    let client = Client::new(&proxy.endpoint());
    let records = ["a", "b", "c"].map(|key| Record::new(key, key));
    let put = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.put(&stream, &records)));
    // The client of the harness takes no for an answer: what it says is what the proxy said.
    proxy.fault("PutRecords", Fault::Entries("InternalFailure", Arc::new(|_, key| key == "b")), 1);
    put().unwrap_err();
    let call = proxy.calls().pop().unwrap();
    assert_eq!((call.status, call.refused), (200, 1));
    assert_eq!(call.keys, ["a", "b", "c"]);
    // Errors like this one are tried again by boto3 itself.
    proxy.fault("PutRecords", Fault::Deny(500, "InternalFailure"), 1);
    put().unwrap();
    proxy.fault("PutRecords", Fault::expired_token(), 1);
    put().unwrap_err();
    assert_eq!(proxy.calls().pop().unwrap().code.as_deref(), Some("ExpiredTokenException"));
    proxy.fault("PutRecords", Fault::CutAfter, 1);
    put().unwrap();
    proxy.only("somebody");
    put().unwrap_err();
    proxy.mend();
    let keys: String = straight.read(&stream).into_iter().map(|record| record.key).collect();
    assert_eq!(keys, "acabcabcabcabc");
    // Held requests go on when all is mended.
    proxy.fault("GetRecords", Fault::HoldAnswer, 1);
    std::thread::scope(|scope| {
        let read = scope.spawn(|| client.more(&stream));
        proxy.met("GetRecords", 1);
        proxy.mend();
        assert_eq!(read.join().unwrap().len(), 14);
    });
}

#[test]
fn the_checker_of_streams_finds_what_is_lost_repeated_or_disordered() {
    if !python() {
        return;
    }
    let sequence = |number: u64| (1_u128 << 70) + u128::from(number);
    let seen = |numbers: &[u64]| -> String {
        let record = |(at, number): (usize, &u64)| {
            let position = format!("{:048x}{:016x}", sequence(*number), 0);
            let identity = format!("1;0;ads;shard-0;{position};0;1;c;true");
            let source = json!({"name": "ads", "partition": "shard-0", "position": position, "row": 0});
            let record = json!({
                "entity_keys": {"user_id": "u"}, "feature_timestamp": format!("time {number}"), "source": source,
                "epoch": 0, "generation": 1, "component": "c", "online_applied": true, "millrace": identity,
            });
            format!("{}\n", json!(["shard-7", at.to_string(), "u", record]))
        };
        numbers.iter().enumerate().map(record).collect()
    };
    let check = |mode: &str, seen: &str, vectors: &str| {
        let workspace = Workspace::new();
        let event = |number| json!(["shard-0", sequence(number).to_string(), "u", format!("time {number}")]);
        let events: String = (0..5).map(|number| format!("{}\n", event(number))).collect();
        workspace.write("events", events).write("seen", seen).write("vectors", vectors);
        checker::ask(&workspace, "check_stream.py", &[mode, "events", "seen", "vectors"])
    };
    let good = seen(&[0, 1, 2, 3, 4]);
    checker::finds_disorder(|mode, numbers| check(mode, &seen(numbers), "null"));
    checker::finds_wrong_rows(|vectors| check("once", &good, vectors));
    for (from, to, fault) in [
        (";0;1;c", ";0;2;c", "identity"),
        ("time 3", "time 4", "no such event"),
        ("\"4\",\"u\"", "\"4\",\"v\"", "key v"),
        ("\"shard-7\",\"4\"", "\"shard-8\",\"4\"", "stood in"),
        ("\"shard-7\",\"4\"", "\"shard-7\",\"2\"", "went back"),
    ] {
        assert!(good.contains(from), "{from} is not in {good}");
        let (good, said) = check("once", &good.replace(from, to), "null");
        assert!(!good && said.contains(fault), "{said}");
    }
}
