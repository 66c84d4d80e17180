//! The loops: consume, do the work by hand or none, produce; until the process is ended.

use std::io::Write;
use std::time::Duration;

use model::error::Failure;
use model::time::parse_rfc3339;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use serde::Deserialize;

use super::redis::{PIPELINE, Rows};
use super::{Cluster, Producer, Settings, failed, send};

/// What a loop does with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Nothing: a record that is ready and as large as the output goes out for each.
    ReadyMade,
    /// Decodes the event into a typed struct and formats the output record.
    ByHand,
    /// The same, and before records go out, writes their rows to Redis.
    ByHandWithRedis {
        /// Where, `host:port`.
        address: String,
    },
}

/// A loop.
#[derive(Debug, Clone)]
pub struct Relay {
    /// What is done.
    pub work: Work,
    /// The topic that is read.
    pub input: String,
    /// The topic that is written.
    pub output: String,
    /// Settings of the producer.
    pub producer: Settings,
    /// Settings of the consumer.
    pub consumer: Settings,
    /// Whether a record carries the identity header.
    pub header: bool,
}

/// The event, as one declares it for `serde_json`.
#[derive(Deserialize)]
struct AdEvent<'a> {
    timestamp: &'a str,
    user_uuid: &'a str,
    ad_id: i64,
    #[expect(dead_code, reason = "part of the event")]
    clicked: bool,
    bid: f64,
}

/// Runs a loop until it fails or the process is ended.
pub fn relay(cluster: &Cluster, relay: &Relay) -> Result<(), Failure> {
    let group = format!("limit-{}", std::process::id());
    let consumer = cluster.consumer(&group, &relay.consumer)?;
    let producer = cluster.producer(&relay.producer)?;
    consumer.subscribe(&[&relay.input]).map_err(failed("subscribe"))?;
    if let Work::ByHandWithRedis { address } = &relay.work {
        return with_redis(&consumer, &producer, relay, Rows::connect(address)?);
    }
    let (mut value, mut identity) = (Vec::with_capacity(512), Vec::with_capacity(128));
    write_value(&mut value, "2022-06-07T00:36:08.832793Z", "00000000-0000-4000-a000-000000000000");
    write_identity(&mut identity, &relay.input, 0, 0);
    loop {
        let message = match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(failed("consume")(error)),
            None => continue,
        };
        let key = message.key().unwrap_or_default();
        if relay.work == Work::ByHand {
            let event: AdEvent<'_> = serde_json::from_slice(message.payload().unwrap_or_default())
                .map_err(|error| Failure::stop("read an event").caused_by(error))?;
            // What a rule of the view would look at is there.
            if event.ad_id < 0 || event.bid.is_nan() {
                continue;
            }
            value.clear();
            write_value(&mut value, event.timestamp, event.user_uuid);
            if relay.header {
                identity.clear();
                write_identity(&mut identity, message.topic(), message.partition(), message.offset());
            }
        }
        let mut record = BaseRecord::to(&relay.output).key(key).payload(value.as_slice());
        if relay.header {
            let header = Header { key: "millrace", value: Some(&identity) };
            record = record.headers(OwnedHeaders::new_with_capacity(1).insert(header));
        }
        send(&producer, record)?;
    }
}

/// Rows of a pipeline are written first, then its records go out: whoever receives one can read the row.
fn with_redis(
    consumer: &BaseConsumer,
    producer: &Producer,
    relay: &Relay,
    mut rows: Rows,
) -> Result<(), Failure> {
    // Records of one pipeline, one after the other; through where key, value and identity of each go.
    let (mut bytes, mut ends) = (Vec::with_capacity(PIPELINE * 512), Vec::with_capacity(PIPELINE));
    loop {
        // What waits already is one pipeline, as far as it has room.
        let wait = if ends.is_empty() { Duration::from_millis(100) } else { Duration::ZERO };
        match consumer.poll(wait) {
            Some(Ok(message)) => {
                let event: AdEvent<'_> = serde_json::from_slice(message.payload().unwrap_or_default())
                    .map_err(|error| Failure::stop("read an event").caused_by(error))?;
                if event.ad_id < 0 || event.bid.is_nan() {
                    continue;
                }
                let time = event_time(event.timestamp)?;
                rows.add(event.user_uuid, time, message.topic(), message.partition(), message.offset());
                bytes.extend_from_slice(message.key().unwrap_or_default());
                let key_end = bytes.len();
                write_value(&mut bytes, event.timestamp, event.user_uuid);
                let value_end = bytes.len();
                write_identity(&mut bytes, message.topic(), message.partition(), message.offset());
                ends.push((key_end, value_end, bytes.len()));
                if !rows.is_full() {
                    continue;
                }
            }
            Some(Err(error)) => return Err(failed("consume")(error)),
            None => {}
        }
        rows.write()?;
        let mut start = 0;
        for (key_end, value_end, end) in ends.drain(..) {
            let header = Header { key: "millrace", value: Some(&bytes[value_end..end]) };
            let headers = OwnedHeaders::new_with_capacity(1).insert(header);
            let record = BaseRecord::to(&relay.output).key(&bytes[start..key_end]);
            send(producer, record.payload(&bytes[key_end..value_end]).headers(headers))?;
            start = end;
        }
        bytes.clear();
    }
}

/// Seconds and nanoseconds of an RFC 3339 time in UTC.
fn event_time(text: &str) -> Result<(u64, u64), Failure> {
    let time = parse_rfc3339(text.as_bytes())
        .map_err(|error| Failure::stop(format!("read the time `{text}` of an event")).caused_by(error))?;
    let micros = u64::try_from(time).unwrap_or(0);
    Ok((micros / 1_000_000, micros % 1_000_000 * 1000))
}

/// The output record of version 1.
fn write_value(out: &mut Vec<u8>, timestamp: &str, user: &str) {
    write!(
        out,
        r#"{{"version":"1","producer":"millrace","job_type":"stream","feature_view_name":"user_impression_counts","feature_view_id":"55203e1d77a1632615883a1f52d64b4c","feature_timestamp":"{timestamp}","entity_keys":{{"user_id":"{user}"}},"feature_values":{{"impression":"{}"}}}}"#,
        1
    )
    .expect("writing to memory does not fail");
}

/// What the host says of a record in its header.
fn write_identity(out: &mut Vec<u8>, topic: &str, partition: i32, offset: i64) {
    write!(out, "1;0;ad_impressions;{topic}-{partition};{offset:016x};0;1;55203e1d77a16326;true")
        .expect("writing to memory does not fail");
}
