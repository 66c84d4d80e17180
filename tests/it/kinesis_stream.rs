//! From stream to stream on two servers by different hands: the view of the seed, where views begin, packed records.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::kafka::name;
use tests::kinesis::{self, Fault, Make, Record};
use tests::{Host, Workspace, checkout, eventually, pass};

use crate::kinesis_job::{Job, Shape, Tail};
use crate::support::{VIEW, assigned, dead_letters, impression, python, vectors};

const DRIVERS: &str = "driver_hourly_stats_stream";

#[test]
fn driver_statistics_run_on_kinesis_local() {
    driver_statistics(Make::Local);
}

#[test]
fn driver_statistics_run_on_kinesalite() {
    driver_statistics(Make::Kinesalite);
}

/// Every setting as Feast's page on Kinesis sources has it; only the streams have names of their own.
fn driver_statistics(make: Make) {
    if !kinesis::there() {
        return;
    }
    let client = kinesis::shared(make).client();
    let (drivers, output) = (name("drivers"), name("driver-features"));
    client.create(&drivers, 1);
    client.create(&output, 1);
    let workspace = Workspace::new();
    workspace.component("driver_hourly_stats.wasm", "driver_stats").write(
        "host.yaml",
        format!(
            "connections:\n  aws: {{ kinesis: {{ region: us-east-1, endpoint_url: \"{}\" }} }}\n",
            kinesis::shared(make).endpoint()
        ),
    );
    workspace.write(
        "views/drivers.yaml",
        format!(
            "entity: {{ name: driver, join_keys: {{ driver_id: int64 }} }}
---
source:
  name: driver_stats_stream
  kinesis: {{ connection: aws, stream_name: {drivers}, start: trim_horizon }}
  format: json
  schema:
    driver_id: int64 not null
    event_timestamp: timestamp
    conv_rate: float64
    acc_rate: float64
    created: timestamp
  timestamp_field: event_timestamp
  watermark_delay_threshold: 5m
  batch: {{ parquet: {{ path: data/driver_stats.parquet, timestamp_field: event_timestamp }} }}
---
view:
  name: {DRIVERS}
  source: driver_stats_stream
  entities: [driver]
  transform: {{ component: driver_hourly_stats.wasm }}
  features: {{ conv_percentage: float32, acc_percentage: float32 }}
  timestamp_field: event_timestamp
  online: true
  ttl: 8640000000s
  output_stream: {{ kinesis: {{ connection: aws, stream_name: {output} }}, include_features: true }}
"
        ),
    );
    let example = |file: &str| -> Vec<Value> {
        let text =
            std::fs::read_to_string(checkout().join("guest_examples/02_driver_stats").join(file)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let put = |events: &[Value]| {
        let record = |event: &Value| Record::new(event["driver_id"].to_string(), event.to_string());
        client.put(&drivers, &events.iter().map(record).collect::<Vec<_>>());
    };
    let by_driver = |records: Vec<Value>| {
        let mut drivers = BTreeMap::<String, Vec<Value>>::new();
        for mut record in records {
            // What Kinesis has no headers for; the file has none either.
            record.as_object_mut().unwrap().remove("millrace");
            drivers.entry(record["entity_keys"]["driver_id"].to_string()).or_default().push(record);
        }
        drivers
    };
    put(&example("events.ndjson"));
    let checked = Host::command(&workspace, &["check", "--connect", "views"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let host = Host::start(&workspace);
    let expected = example("expected.ndjson");
    eventually("all records are out", || (client.read(&output).len() >= expected.len()).then_some(()));
    let records = client.read(&output);
    assert!(records.iter().all(|record| record.key == record.json()["entity_keys"]["driver_id"]));
    assert_eq!(by_driver(records.iter().map(Record::json).collect()), by_driver(expected.clone()));
    let identity = records[0].json()["millrace"].as_str().unwrap().to_owned();
    assert!(identity.starts_with("1;0;driver_stats_stream;shardId-000000000000;"), "{identity}");
    assert!(dead_letters(&workspace).is_empty());
    let read = |host: &Host| {
        let features = [format!("{DRIVERS}:conv_percentage"), format!("{DRIVERS}:acc_percentage")];
        let request = json!({"features": features, "entities": {"driver_id": [1001, 1002, 7]}});
        let answer = host.post("/get-online-features", request.to_string()).json();
        answer["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|result| result["values"].clone())
            .collect::<Vec<_>>()
    };
    let stored = read(&host);
    assert_eq!(stored[1..], [json!([58.0, 10.0, null]), json!([29.0, 94.337_204, null])]);
    assert!(host.stop().success());
    // Positions are kept: what is there is neither read nor emitted again.
    let host = Host::start(&workspace);
    let mut event = example("events.ndjson")[0].clone();
    event["event_timestamp"] = json!("2022-06-07T12:00:00Z");
    event["conv_rate"] = json!(1.0);
    put(&[event]);
    let records = eventually("the next record is out", || {
        let records = client.read(&output);
        (records.len() > expected.len()).then_some(records)
    });
    assert_eq!(records.len(), expected.len() + 1);
    assert_eq!(read(&host)[1], json!([100.0, 10.0, null]));
    assert!(host.stop().success());
}

/// Starts a job with events before and behind its start, and gives which came out.
fn began(start: impl FnOnce(&Job) -> String) -> BTreeSet<String> {
    let job = Job::new(&Shape::default());
    let before = job.put(0..10);
    let shape = Shape { source: &start(&job), ..Shape::default() };
    job.write(&job.workspace, &shape);
    let host = Host::start(&job.workspace);
    assigned(&host, 2);
    let mut tail = job.tail();
    let behind = job.put(10..20);
    job.emitted(&host, &mut tail, &behind);
    assert!(host.stop().success());
    tail.look();
    let names = |events: &[crate::kinesis_job::Event], name: &str| {
        let places: BTreeSet<_> = events.iter().map(crate::kinesis_job::Event::place).collect();
        let seen = seen(&tail).into_iter().filter(|place| places.contains(place)).count();
        (seen == events.len()).then(|| name.to_owned()).or((seen > 0).then(|| format!("some {name}")))
    };
    [names(&before, "before"), names(&behind, "behind")].into_iter().flatten().collect()
}

fn seen(tail: &Tail) -> Vec<(String, String)> {
    let text = |record: &Record, name: &str| record.json()["source"][name].as_str().unwrap().to_owned();
    tail.seen.iter().map(|record| (text(record, "partition"), text(record, "position"))).collect()
}

#[test]
fn a_view_begins_where_its_source_says() {
    if !kinesis::there() {
        return;
    }
    let both = BTreeSet::from(["before".to_owned(), "behind".to_owned()]);
    let behind = BTreeSet::from(["behind".to_owned()]);
    assert_eq!(began(|_| "start: trim_horizon".to_owned()), both);
    assert_eq!(began(|_| "start: latest".to_owned()), behind);
    let now = || {
        // Records and this time are told in milliseconds by one clock: the next one is behind them.
        std::thread::park_timeout(Duration::from_millis(2));
        let output = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.%6NZ"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(began(|_| format!("start: {{ at_timestamp: \"{}\" }}", now())), behind);
    let before = now();
    assert_eq!(began(|_| format!("start: {{ at_timestamp: \"{before}\" }}")), both);
}

#[test]
fn a_view_without_a_commit_does_not_begin_at_one() {
    if !kinesis::there() {
        return;
    }
    let job = Job::new(&Shape { source: "start: committed", ..Shape::default() });
    let host = Host::start(&job.workspace);
    let view = host.view_when(VIEW, "it says that there is no commit", |view| view["state"] == "paused");
    assert!(view["reason"].as_str().unwrap().contains("committed"), "{view:#}");
    assert!(host.stop().success());
}

/// Amazon's producer library packs records: each comes out, with a place of its own.
#[test]
fn packed_records_are_taken_apart() {
    if !kinesis::there() || !python() {
        return;
    }
    let job = Job::new(&Shape { shards: 1, ..Shape::default() });
    let event =
        |index: u64| Record::new(format!("u{}", index % 4), impression(&format!("u{}", index % 4), index));
    let (shard, _) = job.client.pack(&job.source, &(0..7).map(event).collect::<Vec<_>>());
    let torn = [&[0xf3, 0x89, 0x9a, 0xc2][..], b"packed as it seems, but without a digest"].concat();
    job.client.put(&job.source, &[event(7), Record::new("u1", torn)]);
    job.client.pack(&job.source, &(8..10).map(event).collect::<Vec<_>>());
    let host = Host::start(&job.workspace);
    let mut tail = job.tail();
    eventually("all come out", || {
        tail.look();
        (tail.count() == 10).then_some(())
    });
    let places = seen(&tail);
    let subs: BTreeSet<u64> = places
        .iter()
        .filter(|(partition, _)| *partition == shard)
        .map(|(_, position)| u64::from_str_radix(&position[48..], 16).unwrap())
        .collect();
    assert_eq!(subs, (0..7).collect(), "{places:?}");
    eventually("what only seems packed is a dead letter", || {
        (dead_letters(&job.workspace).len() == 1).then_some(())
    });
    // Positions within packed records are positions: a restart repeats none of them.
    assert!(host.stop().success());
    let host = Host::start(&job.workspace);
    assigned(&host, 1);
    let behind = job.put(10..12);
    job.emitted(&host, &mut tail, &behind);
    assert_eq!(tail.seen.len(), 12);
    let stored = vectors(&host);
    assert_eq!(stored["u1"]["status"], "PRESENT");
    assert!(host.stop().success());
}

/// Sequence numbers never come again, so a stream of the same name is simply read from its beginning; that the old one's
/// rest is lost has to be said.
#[test]
fn a_stream_that_was_made_anew_is_read_only_when_somebody_says_from_where() {
    if !kinesis::there() || !python() {
        return;
    }
    let job = Job::new(&Shape::default());
    let host = Host::start(&job.workspace);
    let mut tail = job.tail();
    let mut events = job.put(0..10);
    job.emitted(&host, &mut tail, &events);
    assert!(host.stop().success());
    job.client.delete(&job.source);
    // Sequence numbers tell shards of the same name apart by the second in which they were made, no closer.
    pass(Duration::from_secs(2));
    job.client.create(&job.source, 2);
    events.extend(job.put(10..20));
    let host = Host::start(&job.workspace);
    let view = host.view_when(VIEW, "it says that the stream is another", |view| view["state"] == "paused");
    let reason = view["reason"].as_str().unwrap();
    assert!(reason.contains("made anew") && reason.contains("host rewind"), "{reason}");
    let rewound = Host::command(&job.workspace, &["rewind", VIEW, "--to", "earliest", "--url", &host.url]);
    assert!(rewound.status.success(), "{rewound:?}");
    job.emitted(&host, &mut tail, &events);
    assert!(host.stop().success());
    job.check("once", &events, &Value::Null);
}

/// Records that the host had not delivered when the stream forgot them.
#[test]
fn what_the_stream_forgot_is_told_or_passed_over() {
    if !kinesis::there() {
        return;
    }
    forgotten("out_of_range: stop");
    forgotten("out_of_range: earliest");
}

fn forgotten(policy: &str) {
    let source = format!("start: trim_horizon, {policy}");
    let (job, proxy) = Job::proxied(&Shape { shards: 1, source: &source, ..Shape::default() });
    let host = Host::start(&job.workspace);
    let mut tail = job.tail();
    let first = job.put(0..10);
    job.emitted(&host, &mut tail, &first);
    // Positions are kept about each second; what comes now is read, and cannot be delivered.
    assert!(host.stop().success());
    let host = Host::start(&job.workspace);
    proxy.fault("PutRecords", Fault::throttle(), u64::MAX);
    let lost = job.put(10..20);
    proxy.met("PutRecords", 1);
    host.kill();
    proxy.mend();
    proxy.forget(&lost[4].sequence);
    let host = Host::start(&job.workspace);
    if policy.ends_with("stop") {
        let view = host.view_when(VIEW, "it says what is missing", |view| view["state"] == "paused");
        let reason = view["reason"].as_str().unwrap();
        assert!(reason.contains("source `ads`") && reason.contains("host rewind"), "{reason}");
    } else {
        job.emitted(&host, &mut tail, &lost[5..]);
        assert_eq!(tail.count(), 15);
    }
    assert!(host.stop().success());
}
