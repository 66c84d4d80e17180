//! Against servers of others, `MILLRACE_TEST_KINESIS` (kinesis-local) and `MILLRACE_TEST_KINESALITE`, which
//! `cargo xtask test` starts; without them these are skipped and say so.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};
use model::error::Disposition;
use model::position::Partition;
use model::source::{Assignee, Point, Positions, Reader, Source};
use model::time::{Clock, EventTime};
use tempfile::TempDir;
use testkit::fake::wait::wait_until;
use tokio::runtime::Runtime;

use super::packing::pack;
use super::{AMPLE, events, lines_until, next, next_events};
use crate::kinesis::lease::LeasePlace;
use crate::kinesis::testing::server_url;
use crate::kinesis::{Connection, Shared, Stream, position};
use crate::source::OutOfRange;
use crate::source::kinesis::{KinesisSource, KinesisSourceOptions};

/// A stream of a server, and what reads it.
struct Real {
    client: Client,
    shared: Shared,
    connection: Connection,
    stream: String,
    folder: TempDir,
    runtime: Runtime,
    /// Kinesalite never answers who asks for an iterator at a time behind which it has no record.
    knows_future: bool,
}

/// The clock of the machine, which the servers have as well.
struct Ours;

impl Clock for Ours {
    #[expect(clippy::disallowed_methods, reason = "servers stamp records with the time that it is")]
    fn now(&self) -> EventTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        EventTime(i64::try_from(since.as_micros()).unwrap())
    }
}

/// Knows which partitions came and went.
#[derive(Default)]
struct Told {
    assigned: Mutex<BTreeSet<String>>,
}

impl Assignee for Told {
    fn assigned(&self, partitions: &[Partition]) {
        self.assigned.lock().unwrap().extend(partitions.iter().map(Partition::to_string));
    }

    fn revoked(&self, partitions: &[Partition], _deadline: Instant) {
        self.lost(partitions);
    }

    fn lost(&self, partitions: &[Partition]) {
        let mut assigned = self.assigned.lock().unwrap();
        assigned.retain(|assigned| !partitions.iter().any(|lost| lost.as_str() == assigned));
    }
}

/// Runs a test on each server that there is, with a stream of so many shards.
#[track_caller]
fn on_each(name: &str, shards: i32, test: impl Fn(&Real)) {
    for variable in ["MILLRACE_TEST_KINESIS", "MILLRACE_TEST_KINESALITE"] {
        let Some(url) = server_url(variable, name) else { continue };
        test(&Real::new(name, &url, shards, variable == "MILLRACE_TEST_KINESIS"));
    }
}

impl Real {
    fn new(name: &str, url: &str, shards: i32, knows_future: bool) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared = Shared::for_tests(runtime.handle().clone());
        let connection = Connection {
            name: "aws".to_owned(),
            region: Some("us-east-1".to_owned()),
            endpoint_url: Some(url.to_owned()),
            ..Connection::default()
        };
        let client = runtime.block_on(shared.client(&connection)).unwrap();
        // The servers outlive the tests.
        let stream = format!("{name}-{:x}", RandomState::new().hash_one(name));
        let folder = tempfile::tempdir().unwrap();
        let real = Self { client, shared, connection, stream, folder, runtime, knows_future };
        if shards != 0 {
            real.create(shards);
        }
        real
    }

    fn create(&self, shards: i32) {
        let create = self.client.create_stream().stream_name(&self.stream).shard_count(shards);
        self.runtime.block_on(create.send()).unwrap();
        self.settle();
    }

    /// Waits until the stream takes the next change.
    fn settle(&self) {
        wait_until("the stream is active", || {
            let describe = self.client.describe_stream_summary().stream_name(&self.stream);
            let summary = self.runtime.block_on(describe.send()).unwrap().stream_description_summary;
            summary.is_some_and(|summary| summary.stream_status == StreamStatus::Active)
        });
    }

    fn open(&self) -> Arc<KinesisSource> {
        KinesisSource::open(KinesisSourceOptions {
            name: "clicks".to_owned(),
            project: "default".to_owned(),
            connection: self.connection.clone(),
            stream: Stream::Name(self.stream.clone()),
            leases: LeasePlace::Alone { directory: self.folder.path().to_owned() },
            instance: "one".to_owned(),
            out_of_range: OutOfRange::Stop,
            lease_duration: Duration::from_secs(10),
            clock: Arc::new(Ours),
            shared: self.shared.clone(),
        })
        .unwrap()
    }

    /// The source once it has this many shards, and who hears of them.
    fn joined(&self, shards: usize) -> (Arc<KinesisSource>, Arc<Told>) {
        let (source, told) = (self.open(), Arc::new(Told::default()));
        source.join(Arc::clone(&told) as Arc<dyn Assignee>);
        wait_until("shards are assigned", || told.assigned.lock().unwrap().len() == shards);
        (source, told)
    }

    /// A record for the shard of this hash key.
    fn put(&self, hash_key: u128, data: &[u8]) {
        let put = self
            .client
            .put_record()
            .stream_name(&self.stream)
            .partition_key("driver")
            .explicit_hash_key(hash_key.to_string())
            .data(Blob::new(data));
        self.runtime.block_on(put.send()).unwrap();
    }

    fn put_many(&self, texts: impl Iterator<Item = String>) {
        let texts: Vec<String> = texts.collect();
        for texts in texts.chunks(500) {
            let entry = |text: &String| {
                let entry =
                    PutRecordsRequestEntry::builder().partition_key(text).data(Blob::new(text.as_bytes()));
                entry.build().unwrap()
            };
            let entries = texts.iter().map(entry).collect();
            let put = self.client.put_records().stream_name(&self.stream).set_records(Some(entries));
            assert_eq!(self.runtime.block_on(put.send()).unwrap().failed_record_count, Some(0));
        }
    }

    fn split(&self, shard: &str, at: u128) {
        let split = self.client.split_shard().stream_name(&self.stream).shard_to_split(shard);
        self.runtime.block_on(split.new_starting_hash_key(at.to_string()).send()).unwrap();
        self.settle();
    }

    fn merge(&self, shard: &str, with: &str) {
        let merge = self.client.merge_shards().stream_name(&self.stream).shard_to_merge(shard);
        self.runtime.block_on(merge.adjacent_shard_to_merge(with).send()).unwrap();
        self.settle();
    }
}

fn read(source: &KinesisSource, shards: &[&str]) -> Box<dyn Reader> {
    let partitions: Vec<Partition> = shards.iter().map(Partition::new).collect();
    source.read(&partitions, &Positions::new()).unwrap()
}

const S0: &str = "shardId-000000000000";
const S1: &str = "shardId-000000000001";
const S2: &str = "shardId-000000000002";
const S3: &str = "shardId-000000000003";
const S4: &str = "shardId-000000000004";

#[test]
fn everything_comes_once_from_wherever_reading_begins() {
    on_each("everything", 2, |real| {
        real.put_many((0..1500).map(|number| format!("event {number}")));
        let (source, _) = real.joined(2);
        assert_eq!(source.count_partitions().unwrap(), 2);
        let partitions = source.partitions().unwrap();
        let mut seen = BTreeSet::new();
        let mut after = Positions::new();
        let mut tips = BTreeSet::new();
        while tips.len() < 2 {
            // A new reader behind each of the first batches, and small ones.
            let mut reader = source.read(&partitions, &after).unwrap();
            let budget = model::source::BatchBudget { rows: 200, bytes: 1 << 20 };
            for _ in 0..if seen.len() < 800 { 1 } else { 1000 } {
                let batch = next(&mut *reader, budget).unwrap();
                if batch.attributes.at_end {
                    tips.insert(batch.partition.clone());
                    if tips.len() == 2 {
                        break;
                    }
                }
                after.insert(batch.partition.clone(), batch.covers.through);
                for (_, payload, key) in events(&batch) {
                    assert_eq!(key.as_ref(), Some(&payload));
                    assert!(seen.insert(payload), "an event came twice");
                }
                let now = Ours.now().0;
                assert!((0..batch.len()).all(|row| (now - batch.ingest_time(row)).abs() < 3_600_000_000));
            }
        }
        assert_eq!(seen.len(), 1500);
        source.leave();
    });
}

#[test]
fn splits_and_merges_are_followed() {
    on_each("lineage", 1, |real| {
        let (source, told) = real.joined(1);
        let mut reader = read(&source, &[S0]);
        real.put(0, b"0 before");
        assert_eq!(next_events(&mut *reader)[0].1, "0 before");
        // A split, and a split of one half; one child stays empty.
        real.split(S0, 1 << 127);
        real.put(0, b"1 low");
        real.split(S2, 3 << 126);
        real.put(u128::MAX, b"4 high");
        let ends = lines_until(&mut *reader, S0, position::end());
        assert_eq!(ends.last().unwrap(), &format!("{S0}:  end tip"));
        wait_until("children are found", || told.assigned.lock().unwrap().len() == 5);

        let mut reader = read(&source, &[S1, S2, S3, S4]);
        assert!(
            matches!(reader.next(AMPLE, Duration::from_millis(300)).unwrap(), model::source::ReadEvent::Idle),
            "the parent is not delivered"
        );
        let done = |shard: &str| {
            source.release(&Partition::new(shard), Some(&position::end()), &BTreeMap::new()).unwrap()
        };
        done(S0);
        let mut lines = Vec::new();
        while !lines.iter().any(|line| line == &format!("{S2}:  end tip"))
            || !lines.iter().any(|line| line == &format!("{S1}: 1 low"))
        {
            let batch = next(&mut *reader, AMPLE).unwrap();
            let payloads: Vec<String> = events(&batch).into_iter().map(|event| event.1).collect();
            let end = if batch.covers.through == position::end() { " end tip" } else { "" };
            lines.push(format!("{}: {}{end}", batch.partition, payloads.join(" ")));
        }
        assert!(!lines.iter().any(|line| line.starts_with(S4)), "{lines:?}");
        done(S2);
        loop {
            let batch = next(&mut *reader, AMPLE).unwrap();
            if batch.partition.as_str() == S4 && !batch.is_empty() {
                assert_eq!(batch.payload(0), b"4 high");
                break;
            }
        }
        // And a merge, of a half and a quarter.
        real.merge(S1, S3);
        real.put(0, b"5 merged");
        lines_until(&mut *reader, S1, position::end());
        wait_until("the child is found", || told.assigned.lock().unwrap().len() == 6);
        let partition = Partition::new("shardId-000000000005");
        let mut merged = read(&source, &[partition.as_str()]);
        done(S1);
        lines_until(&mut *read(&source, &[S3]), S3, position::end());
        done(S3);
        assert_eq!(next_events(&mut *merged)[0].1, "5 merged");
        source.leave();
    });
}

#[test]
fn places_are_found() {
    on_each("places", 1, |real| {
        let (source, _) = real.joined(1);
        let shard = Partition::new(S0);
        real.put(0, b"before");
        let mut reader = read(&source, &[S0]);
        let arrived = loop {
            let batch = next(&mut *reader, AMPLE).unwrap();
            if !batch.is_empty() {
                break batch.ingest_time(0);
            }
        };
        let begins = |point: &Point| {
            let after = source.find(&shard, point).unwrap();
            let after: Positions = after.map(|after| (shard.clone(), after)).into_iter().collect();
            source.read(std::slice::from_ref(&shard), &after).unwrap()
        };
        assert_eq!(next_events(&mut *begins(&Point::Earliest))[0].1, "before");
        assert_eq!(next_events(&mut *begins(&Point::Time(arrived)))[0].1, "before");
        wait_until("the millisecond is over", || arrived + 2_000 < Ours.now().0);
        if real.knows_future {
            let mut latest = begins(&Point::Latest);
            assert!(next(&mut *latest, AMPLE).unwrap().attributes.at_end);
            real.put(0, b"after");
            assert_eq!(next_events(&mut *latest)[0].1, "after");
        }
        for (point, part) in
            [(Point::Committed, "set `start`"), (Point::Numbers(BTreeMap::new()), "have no offsets")]
        {
            let failure = source.find(&shard, &point).unwrap_err();
            assert!(failure.disposition == Disposition::Stop && failure.message.contains(part), "{failure}");
        }
        assert_eq!(source.end(&shard).unwrap_err().disposition, Disposition::Stop);
        assert!(!source.knows_end());
        source.leave();
    });
}

#[test]
fn packed_records_survive_a_server() {
    on_each("packed", 1, |real| {
        let (source, _) = real.joined(1);
        real.put(7, &pack(&[("a", None, b"one"), ("b", Some("7"), b"two")]));
        let seen: Vec<_> =
            next_events(&mut *read(&source, &[S0])).into_iter().map(|event| (event.1, event.2)).collect();
        let expected =
            [("one", "a"), ("two", "b")].map(|(text, key)| (text.to_owned(), Some(key.to_owned())));
        assert_eq!(seen, expected);
        source.leave();
    });
}

#[test]
fn a_stream_may_come_later() {
    on_each("later", 0, |real| {
        let (source, told) = (real.open(), Arc::new(Told::default()));
        source.join(Arc::clone(&told) as Arc<dyn Assignee>);
        wait_until("it is said what is missing", || source.partitions().is_err());
        let failure = source.partitions().unwrap_err().to_string();
        assert!(failure.contains(&real.stream) || failure.contains("clicks"), "{failure}");
        real.create(1);
        real.put(0, b"one");
        wait_until("the shard is assigned", || told.assigned.lock().unwrap().len() == 1);
        assert_eq!(next_events(&mut *read(&source, &[S0]))[0].1, "one");
        source.leave();
    });
}

#[test]
fn a_stream_that_was_made_anew_stops_the_source() {
    on_each("anew", 1, |real| {
        real.put(0, b"old");
        let (source, _) = real.joined(1);
        let mut reader = read(&source, &[S0]);
        let (old, ..) = next_events(&mut *reader).remove(0);
        drop(reader);
        source.leave();
        // Their sequence numbers count seconds.
        let soon = Ours.now().plus(Duration::from_secs(2));
        wait_until("sequence numbers have risen", || soon < Ours.now());
        let delete = real.client.delete_stream().stream_name(&real.stream);
        real.runtime.block_on(delete.send()).unwrap();
        wait_until("it is gone", || {
            let describe = real.client.describe_stream_summary().stream_name(&real.stream);
            real.runtime.block_on(describe.send()).is_err()
        });
        real.create(1);
        real.put(0, b"new");
        // A host that has forgotten its leases, but not its rows.
        std::fs::remove_dir_all(real.folder.path()).unwrap();
        std::fs::create_dir(real.folder.path()).unwrap();
        let (source, _) = real.joined(1);
        let shard = Partition::new(S0);
        let mut reader = source.read(std::slice::from_ref(&shard), &[(shard.clone(), old)].into()).unwrap();
        let failure = super::next_failure(&mut *reader);
        assert_eq!(failure.disposition, Disposition::Stop);
        assert!(failure.to_string().contains("made anew"), "{failure}");
        source.leave();
    });
}
