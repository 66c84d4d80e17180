//! Against real servers of the protocol, `MILLRACE_TEST_KINESIS` (kinesis-local) and `MILLRACE_TEST_KINESALITE`, which
//! `cargo xtask test` starts; without them these are skipped and say so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{ShardIteratorType, StreamStatus};
use model::output::OutputStream;
use tokio::runtime::Runtime;

use super::server::{Record, number};
use super::{Kept, LIMIT, Memory, emission, options};
use crate::kinesis::testing::server_url;
use crate::kinesis::{Shared, Stream};
use crate::output::kinesis::KinesisOutput;

/// A stream of one real server; `None` says that it is skipped.
struct Real {
    client: Client,
    url: String,
    runtime: Runtime,
    shared: Shared,
    name: String,
}

impl Real {
    fn start(variable: &str, test: &str, shards: i32) -> Option<Self> {
        let url = server_url(variable, test)?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shared = Shared::for_tests(runtime.handle().clone());
        let name = format!("{test}-{}", std::process::id());
        let connection = options(&url, stream(&name), shared.clone(), Arc::default(), true).connection;
        let client = runtime.block_on(shared.client(&connection)).unwrap();
        let real = Self { client, url, runtime, shared, name };
        real.run(real.client.create_stream().stream_name(&real.name).shard_count(shards).send()).unwrap();
        real.settled();
        Some(real)
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let timed = async { tokio::time::timeout(LIMIT, future).await };
        self.runtime.block_on(timed).expect("the server answers")
    }

    /// Waits until the stream is not being changed any more.
    fn settled(&self) {
        let since = Instant::now();
        loop {
            let answer = self.run(self.client.describe_stream_summary().stream_name(&self.name).send());
            let status = answer.unwrap().stream_description_summary().unwrap().stream_status().clone();
            if status == StreamStatus::Active {
                return;
            }
            assert!(since.elapsed() < LIMIT, "the stream is {status}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn open(&self, memory: &Arc<Memory>) -> Arc<KinesisOutput> {
        let options = options(&self.url, stream(&self.name), self.shared.clone(), Arc::default(), true);
        KinesisOutput::start(options, Box::new(Kept(Arc::clone(memory)))).unwrap()
    }

    /// All records, shard by shard, parents first.
    fn records(&self) -> Vec<Record> {
        let shards = self.run(self.client.list_shards().stream_name(&self.name).send()).unwrap();
        let mut records = Vec::new();
        for shard in shards.shards() {
            let iterator =
                self.client.get_shard_iterator().stream_name(&self.name).shard_id(shard.shard_id());
            let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon);
            let mut next = self.run(iterator.send()).unwrap().shard_iterator().map(str::to_owned);
            let mut empty = 0;
            while let Some(iterator) = next.filter(|_| empty < 3) {
                let page = self.run(self.client.get_records().shard_iterator(iterator).send()).unwrap();
                empty = if page.records().is_empty() { empty + 1 } else { 0 };
                records.extend(page.records().iter().map(|record| Record {
                    key: record.partition_key().unwrap().to_owned(),
                    data: String::from_utf8(record.data().as_ref().to_vec()).unwrap(),
                }));
                next = page.next_shard_iterator().map(str::to_owned);
            }
        }
        records
    }
}

fn stream(name: &str) -> Stream {
    Stream::Name(name.to_owned())
}

/// The numbers of each key, in the order of the stream.
fn by_key(records: &[Record]) -> BTreeMap<String, Vec<u64>> {
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in records {
        numbers.entry(record.key.clone()).or_default().push(number(record));
    }
    numbers
}

#[track_caller]
fn check_order(variable: &str, test: &str) {
    let Some(real) = Real::start(variable, test, 3) else { return };
    let memory = Arc::default();
    let output = real.open(&memory);
    let batches: Vec<_> =
        (0..20).map(|batch| output.emit(emission("p", batch * 50, batch * 50 + 49, 40, 20))).collect();
    batches.into_iter().for_each(|batch| real.run(batch).unwrap());
    let found = by_key(&real.records());
    assert_eq!(found.len(), 40);
    for (key, numbers) in found {
        let entity: u64 = key.parse().unwrap();
        assert_eq!(numbers, (0..1_000).filter(|row| row % 40 == entity).collect::<Vec<_>>(), "{key}");
    }
}

#[test]
fn records_of_a_key_are_in_order_in_kinesis_local() {
    check_order("MILLRACE_TEST_KINESIS", "order-local");
}

#[test]
fn records_of_a_key_are_in_order_in_kinesalite() {
    check_order("MILLRACE_TEST_KINESALITE", "order-kinesalite");
}

#[test]
fn a_stream_that_is_split_goes_on() {
    let Some(real) = Real::start("MILLRACE_TEST_KINESIS", "split", 1) else { return };
    let memory = Arc::default();
    let output = real.open(&memory);
    real.run(output.emit(emission("p", 0, 199, 40, 20))).unwrap();
    let shards = real.run(real.client.list_shards().stream_name(&real.name).send()).unwrap();
    let split =
        real.client.split_shard().stream_name(&real.name).shard_to_split(shards.shards()[0].shard_id());
    real.run(split.new_starting_hash_key((1_u128 << 127).to_string()).send()).unwrap();
    real.run(output.emit(emission("p", 200, 399, 40, 20))).unwrap();
    real.settled();
    real.run(output.emit(emission("p", 400, 599, 40, 20))).unwrap();
    for (key, numbers) in by_key(&real.records()) {
        let entity: u64 = key.parse().unwrap();
        assert_eq!(numbers, (0..600).filter(|row| row % 40 == entity).collect::<Vec<_>>(), "{key}");
    }
}
