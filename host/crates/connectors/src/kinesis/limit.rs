//! Tools of `host bench kinesis`: a stream, full of ad events. Not used by the flow.

use std::time::{Duration, Instant};

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};
use futures_util::future::try_join_all;
use model::error::Failure;

use super::{Connection, Shared};
use crate::codec::json::sample;

/// Entries in a request, the most that Kinesis takes.
const ENTRIES: u64 = 500;
/// Requests under way at a time.
const AT_A_TIME: u64 = 4;

/// Makes a stream and waits until it can be used.
pub async fn create(
    connection: &Connection,
    shared: &Shared,
    stream: &str,
    shards: i32,
) -> Result<(), Failure> {
    let client = shared.client(connection).await?;
    let made = client.create_stream().stream_name(stream).shard_count(shards).send().await;
    made.map_err(|error| failed("make", stream, error))?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let summary = client.describe_stream_summary().stream_name(stream).send().await;
        let summary = summary.map_err(|error| failed("look at", stream, error))?;
        let status = summary.stream_description_summary().map(|summary| summary.stream_status().clone());
        if status == Some(StreamStatus::Active) {
            return Ok(());
        }
        if deadline <= Instant::now() {
            return Err(Failure::retry(format!("use stream `{stream}`: it did not become active")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes ad events, keyed by user.
pub async fn generate(
    connection: &Connection,
    shared: &Shared,
    stream: &str,
    events: u64,
    users: u64,
) -> Result<(), Failure> {
    let client = shared.client(connection).await?;
    let mut next = 0;
    while next < events {
        let end = (next + AT_A_TIME * ENTRIES).min(events);
        let requests = (next..end).step_by(usize::try_from(ENTRIES).unwrap_or(usize::MAX)).map(|first| {
            let entries = (first..(first + ENTRIES).min(end)).map(|number| entry(number, users));
            client.put_records().stream_name(stream).set_records(Some(entries.collect())).send()
        });
        for answer in try_join_all(requests).await.map_err(|error| failed("fill", stream, error))? {
            if answer.failed_record_count().unwrap_or(0) > 0 {
                return Err(Failure::stop(format!("fill stream `{stream}`: it did not take every record")));
            }
        }
        next = end;
    }
    Ok(())
}

fn entry(number: u64, users: u64) -> PutRecordsRequestEntry {
    let mut event = Vec::with_capacity(144);
    sample::write_ad_event(&mut event, number, users);
    PutRecordsRequestEntry::builder()
        .partition_key(format!("u{}", number % users.max(1)))
        .data(Blob::new(event))
        .build()
        .expect("data and key are given")
}

fn failed(what: &str, stream: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::stop(format!("{what} stream `{stream}`")).caused_by(error)
}
