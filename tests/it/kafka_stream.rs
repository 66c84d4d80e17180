//! Topic to topic: what goes in, what comes out, what is put aside, and what is never seen.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::kafka::{self, Record};
use tests::{Host, eventually};

use crate::kafka_job::{Job, Shape, no_lag, write};
use crate::support::{VIEW, dead_letters, impression, metric, python, read, vectors};

/// Events in each round trip.
const EVENTS: u64 = 2000;

#[test]
fn a_round_trip_keeps_the_order_of_every_entity() {
    if !kafka::there() || !python() {
        return;
    }
    let job = Job::new(&Shape::default());
    let events = job.produce(0..EVENTS);
    let host = Host::start(&job.workspace);
    let records = job.records(&host, events.len());
    job.caught_up(&host);
    no_lag(&host);
    job.check("once", &events, &records, &vectors(&host));
    assert!(host.stop().success());
    // The group has committed everything, and a new start emits nothing again.
    let committed: i64 = job.client.commits(&job.group, &job.source).values().map(|(offset, _)| offset).sum();
    assert_eq!(u64::try_from(committed), Ok(EVENTS));
    let host = Host::start(&job.workspace);
    job.caught_up(&host);
    job.produce(EVENTS..EVENTS + 1);
    job.records(&host, events.len() + 1);
    assert!(host.stop().success());
}

#[test]
fn records_of_version_1_have_texts_only() {
    if !kafka::there() {
        return;
    }
    let job = Job::new(&Shape { stream: "version: \"1\", emit: parallel", ..Shape::default() });
    job.client.produce(&job.source, [Record::new(impression("ada", 5)).key("ada")]);
    let host = Host::start(&job.workspace);
    let record = job.records(&host, 1).remove(0);
    assert_eq!(record.key_text(), "ada");
    let body = record.json();
    let id = &body["feature_view_id"];
    assert_eq!(
        body,
        json!({
            "version": "1", "producer": "millrace", "job_type": "stream", "feature_view_name": VIEW,
            "feature_view_id": id, "feature_timestamp": "2026-01-01T00:00:00.000005Z",
            "entity_keys": {"user_id": "ada"}, "feature_values": {"impression": "1"},
        })
    );
    let header = record.header_text("millrace").expect("the identity is in a header");
    let parts: Vec<&str> = header.split(';').collect();
    let partition = format!("{}-", job.source);
    assert!(parts[3].starts_with(&partition), "{header}");
    assert_eq!(
        (parts[0], parts[1], parts[2], parts[4], parts[5]),
        ("1", "0", "ads", "0000000000000000", "0")
    );
    assert_eq!(record.headers.len(), 1);
    assert!(host.stop().success());
}

#[test]
fn what_the_broker_knows_of_an_event_is_there_for_transforms() {
    if !kafka::there() {
        return;
    }
    let shape = Shape { component: "attributes", ..Shape::default() };
    let job = Job::new(&shape);
    let text = std::fs::read_to_string(job.workspace.join("views/ads.yaml")).unwrap();
    let features = "features: { key: string, headers: string, partition: string, offset: int64, position: bytes, ingest_time: timestamp }";
    // The record's own time is the event time.
    let text = text
        .replace("features: { impression: int64 }", features)
        .replacen("    timestamp: timestamp\n", "    timestamp: timestamp not null\n", 1)
        .replacen("timestamp_field: timestamp\n---", "timestamp_field: _ingest_time\n---", 1);
    job.workspace.write("views/ads.yaml", text);
    let event = || Record::new(impression("ada", 5)).to(1).at(1_767_225_600_123);
    job.client.produce(
        &job.source,
        [event().key("k").header("a", "1").header("a", "2").header("b", ""), event().key("")],
    );
    job.client.produce(&job.source, [event()]);
    let host = Host::start(&job.workspace);
    let records = job.records(&host, 3);
    let features: Vec<Value> = records.iter().map(|record| record.json()["feature_values"].clone()).collect();
    let expected = |offset: u64, key: Value, headers: &str| {
        let position = ["AAAAAAAAAAA=", "AAAAAAAAAAE=", "AAAAAAAAAAI="][usize::try_from(offset).unwrap()];
        json!({
            "key": key, "headers": headers, "partition": format!("{}-1", job.source), "offset": offset,
            "position": position,
            "ingest_time": "2026-01-01T00:00:00.123000Z",
        })
    };
    assert_eq!(features[0], expected(0, json!("k"), "a=1,a=2,b="));
    assert_eq!(features[1], expected(1, json!(""), ""));
    let mut last = expected(2, Value::Null, "");
    if features[2].get("key").is_none() {
        last.as_object_mut().unwrap().remove("key");
    }
    assert_eq!(features[2], last);
    assert!(host.stop().success());
}

#[test]
fn records_of_aborted_transactions_are_never_seen() {
    if !kafka::there() {
        return;
    }
    let job = Job::new(&Shape { partitions: 1, ..Shape::default() });
    let host = Host::start(&job.workspace);
    let events = |user: &str, from: u64| {
        (from..from + 50)
            .map(|number| Record::new(impression(user, number)).key(user))
            .collect::<Vec<Record>>()
    };
    job.client.transaction(&job.source, events("aborted", 0), false);
    job.client.transaction(&job.source, events("committed", 50), true);
    job.client.transaction(&job.source, events("aborted", 100), false);
    let records = job.records(&host, 50);
    assert!(records.iter().all(|record| record.key_text() == "committed"));
    // Markers and aborted records at the end are no lag, and the group's commit passes them.
    no_lag(&host);
    let end = job.client.ends(&job.source)[&0].1;
    assert_eq!(end, 153, "150 records and 3 markers");
    eventually("the commit is at the end", || {
        let commits = job.client.commits(&job.group, &job.source);
        (commits.get(&0)?.0 >= end - 1).then_some(())
    });
    assert_eq!(read(&host, "aborted").json()["results"][1]["statuses"][0], "NOT_FOUND");
    assert!(host.stop().success());
}

#[test]
fn compacted_topics_have_gaps_and_tombstones() {
    if !kafka::there() {
        return;
    }
    let shape = Shape { partitions: 1, ..Shape::default() };
    let job = Job::new(&shape);
    let compacted = kafka::name("compacted");
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.0"),
        ("delete.retention.ms", "60000"),
    ];
    job.client.create(&compacted, 1, &settings);
    let job = Job { source: compacted, ..job };
    job.write(&job.workspace, &shape);
    let event = |user: &str, number| Record::new(impression(user, number)).key(user);
    job.client.produce(&job.source, (0..100).map(|number| event("old", number)));
    job.client.produce(&job.source, [Record::tombstone("gone"), event("kept", 100)]);
    // A segment is compacted once a younger one has begun; what is written last stays as it is.
    let mut last = 101;
    let left = eventually("the topic is compacted", || {
        last += 1;
        job.client.produce(&job.source, [event("old", last)]);
        let left = job.client.read(&job.source);
        (left.len() < 50).then_some(left)
    });
    let rows = left.iter().filter(|record| record.value.is_some()).count();
    let tombstones = left.len() - rows;
    assert_eq!(tombstones, 1, "{left:?}");
    let host = Host::start(&job.workspace);
    let records = job.records(&host, rows);
    assert!(records.iter().all(|record| record.key_text() != "gone"));
    job.caught_up(&host);
    assert_eq!(dead_letters(&job.workspace), Vec::<Value>::new(), "a tombstone is no fault");
    assert_eq!(
        metric(&host, "millrace_kafka_tombstones_total", &[]),
        Some(1.0),
        "{}",
        host.get("/metrics").text
    );
    assert!(host.stop().success());
}

#[test]
fn what_is_too_large_is_put_aside_and_the_partition_goes_on() {
    if !kafka::there() {
        return;
    }
    let transform = "limits: { time: 60s }";
    let shape = Shape { partitions: 1, component: "attributes", transform, ..Shape::default() };
    let job = Job::new(&shape);
    let large = kafka::name("large");
    job.client.create(&large, 1, &[("max.message.bytes", "20000000")]);
    let job = Job { source: large, ..job };
    job.write(&job.workspace, &shape);
    let text = std::fs::read_to_string(job.workspace.join("views/ads.yaml")).unwrap();
    let text = text.replace("features: { impression: int64 }", "features: { key: string }").replacen(
        "  timestamp_field: timestamp\n---",
        "  timestamp_field: timestamp\n  max_row_bytes: 16777216\n---",
        1,
    );
    job.workspace.write("views/ads.yaml", text);
    let event = |number, key: Vec<u8>| Record::new(impression("ada", number)).key(key);
    // The event's payload is larger than a row may be; the key becomes a feature, so that the record is too large.
    let huge = format!("{{\"user_uuid\":\"{}\"}}", "x".repeat(10 << 20));
    job.client.produce(
        &job.source,
        [event(0, b"a".to_vec()), event(1, vec![b'k'; 10 << 20]), Record::new(huge), event(3, b"b".to_vec())],
    );
    let host = Host::start(&job.workspace);
    let records = job.records(&host, 2);
    let keys: Vec<Value> =
        records.iter().map(|record| record.json()["feature_values"]["key"].clone()).collect();
    assert_eq!(keys, ["a", "b"]);
    job.caught_up(&host);
    let letters = dead_letters(&job.workspace);
    let codes: BTreeMap<String, u64> = letters
        .iter()
        .map(|letter| (letter["code"].as_str().unwrap().to_owned(), offset_of(letter)))
        .collect();
    assert_eq!(codes.get("record_too_large"), Some(&1), "{codes:?}");
    assert_eq!(letters.len(), 2, "{codes:?}");
    assert!(host.stop().success());
}

/// The position that a dead letter names.
fn offset_of(letter: &Value) -> u64 {
    u64::from_str_radix(letter["position"].as_str().unwrap_or_default(), 16)
        .unwrap_or_else(|error| panic!("{error}: {letter}"))
}

#[test]
fn dead_letters_go_to_a_topic() {
    if !kafka::there() {
        return;
    }
    let letters = kafka::name("dead-letters");
    let host = format!(
        "dead_letter: {{ kafka: {{ connection: main, topic: {letters}, create: {{ partitions: 1 }} }} }}"
    );
    let job = Job::new(&Shape { host: &host, ..Shape::default() });
    job.client.produce(
        &job.source,
        [
            Record::new("{\"user_uuid\": 7}").key("a").to(0),
            Record::new(impression("ada", 1)).to(0),
            Record::new("not json").to(0),
        ],
    );
    let host = Host::start(&job.workspace);
    job.records(&host, 1);
    let dead = job.client.read_when(&letters, 2);
    assert_eq!(dead.len(), 2);
    assert_eq!(dead[0].value.as_deref(), Some(&b"{\"user_uuid\": 7}"[..]));
    assert_eq!(dead[1].value.as_deref(), Some(&b"not json"[..]));
    for letter in &dead {
        let headers: Vec<String> = letter
            .headers
            .iter()
            .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
            .collect();
        let headers = headers.join("\n");
        assert!(headers.contains(VIEW) || headers.contains("ads"), "{headers}");
        assert!(headers.contains(&format!("{}-0", job.source)), "{headers}");
    }
    // They are synced before the position passes them.
    job.caught_up(&host);
    assert!(host.stop().success());
}

#[test]
fn a_missing_output_topic_is_made_if_the_view_says_how() {
    if !kafka::there() {
        return;
    }
    let job = Job::new(&Shape {
        outputs: 0,
        output: "create: { partitions: 5, replication: 1 }",
        ..Shape::default()
    });
    let host = Host::start(&job.workspace);
    job.produce(0..10);
    eventually("the topic is made", || job.client.topics().contains(&job.output).then_some(()));
    job.records(&host, 10);
    assert_eq!(job.client.ends(&job.output).len(), 5);
    assert!(host.stop().success());
}

#[test]
fn a_missing_output_topic_is_said_and_holds_only_its_view() {
    if !kafka::there() {
        return;
    }
    let job = Job::new(&Shape { outputs: 0, ..Shape::default() });
    job.produce(0..10);
    let host = Host::spawn(&job.workspace, &[]);
    let view = eventually("the view says what is missing", || {
        host.try_get("/readyz").map(|answer| answer.text).filter(|text| text.contains(&job.output))
    });
    assert!(view.contains("create"), "both ways to mend it are named: {view}");
    assert_eq!(host.get("/livez").status, 200);
    assert!(host.stop().success());
    job.client.create(&job.output, 2, &[]);
    let host = Host::start(&job.workspace);
    job.records(&host, 10);
    assert!(host.stop().success());
}

#[test]
fn a_source_may_have_several_topics() {
    if !kafka::there() {
        return;
    }
    let shape = Shape::default();
    let job = Job::new(&shape);
    let second = kafka::name("more-ads");
    job.client.create(&second, 1, &[]);
    let text = std::fs::read_to_string(job.workspace.join("views/ads.yaml")).unwrap();
    let text =
        text.replace(&format!("topic: {},", job.source), &format!("topic: [{}, {second}],", job.source));
    job.workspace.write("views/ads.yaml", text);
    let host = Host::start(&job.workspace);
    write(&job.client.writer(&second), 0..20);
    job.produce(20..40);
    let records = job.records(&host, 40);
    let partition = format!("{second}-0");
    let of_second =
        records.iter().filter(|record| record.json()["source"]["partition"] == partition.as_str()).count();
    assert_eq!(of_second, 20);
    assert!(host.stop().success());
}
