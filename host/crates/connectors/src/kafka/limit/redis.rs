//! Rows written to Redis by hand, as one would with the client library: pipelines of HSET, no comparison.
//!
//! Fields and bytes are those that the online store writes for the same view: Feast's entity key and values, the event
//! time, and a version of the same length.

use std::time::{Duration, Instant};

use model::error::Failure;
use redis::{Client, Connection, Pipeline};

/// Rows in one pipeline.
pub(super) const PIPELINE: usize = 512;

/// Feast's entity key, through the length of the value: one join key, `user_id`, a string of 36 bytes.
const KEY_START: &[u8] = b"\x01\0\0\0\x02\0\0\0\x07\0\0\0user_id\x02\0\0\0\x24\0\0\0";
const PROJECT: &[u8] = b"default";
/// Names are hashes in Feast's layout; any four bytes are as long.
const FEATURE: &[u8] = b"\x5b\x0e\x1f\xa4";
const TIME: &[u8] = b"_ts:user_impression_counts";
const VERSION: &[u8] = b"_mv:user_impression_counts";

/// Rows on their way to Redis.
pub(super) struct Rows {
    connection: Connection,
    pipeline: Pipeline,
    waiting: usize,
    key: Vec<u8>,
    version: Vec<u8>,
}

impl Rows {
    /// Connects; `address`: `host:port`.
    pub(super) fn connect(address: &str) -> Result<Self, Failure> {
        let failed = |error| Failure::stop(format!("connect to Redis at {address}")).caused_by(error);
        let client = Client::open(format!("redis://{address}/")).map_err(failed)?;
        // A server that is loaded first takes its time.
        let deadline = Instant::now() + Duration::from_secs(10);
        let connection = loop {
            match client.get_connection() {
                Ok(connection) => break connection,
                Err(error) if Instant::now() >= deadline => return Err(failed(error)),
                Err(_) => std::thread::park_timeout(Duration::from_millis(50)),
            }
        };
        let pipeline = Pipeline::with_capacity(PIPELINE);
        Ok(Self { connection, pipeline, waiting: 0, key: Vec::new(), version: Vec::new() })
    }

    /// Adds a row. `time`: seconds and nanoseconds of the event.
    pub(super) fn add(&mut self, user: &str, time: (u64, u64), topic: &str, partition: i32, offset: i64) {
        self.key.clear();
        self.key.extend_from_slice(KEY_START);
        self.key.extend_from_slice(user.as_bytes());
        self.key.extend_from_slice(PROJECT);
        let mut stamp = [0_u8; 16];
        let length = protobuf_time(time, &mut stamp);
        self.version.clear();
        self.version.push(1);
        self.version.extend_from_slice(&(time.0 * 1_000_000 + time.1 / 1000).to_be_bytes());
        self.version.extend_from_slice(topic.as_bytes());
        self.version.push(b'-');
        self.version.extend_from_slice(&[b'0' + partition.to_le_bytes()[0] % 10, 0, 8]);
        self.version.extend_from_slice(&offset.to_be_bytes());
        self.version.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
        self.pipeline
            .cmd("HSET")
            .arg(&self.key)
            .arg(FEATURE)
            .arg(b"\x20\x01")
            .arg(TIME)
            .arg(&stamp[..length])
            .arg(VERSION)
            .arg(&self.version)
            .ignore();
        self.waiting += 1;
    }

    /// Whether a pipeline is full.
    pub(super) fn is_full(&self) -> bool {
        self.waiting >= PIPELINE
    }

    /// Writes what was added, and waits for the answer.
    pub(super) fn write(&mut self) -> Result<(), Failure> {
        if self.waiting > 0 {
            self.pipeline
                .query::<()>(&mut self.connection)
                .map_err(|error| Failure::stop("write rows to Redis").caused_by(error))?;
            self.pipeline.clear();
            self.waiting = 0;
        }
        Ok(())
    }
}

/// `google.protobuf.Timestamp`.
fn protobuf_time((seconds, nanos): (u64, u64), out: &mut [u8; 16]) -> usize {
    let mut at = 0;
    for (tag, mut value) in [(0x08, seconds), (0x10, nanos)] {
        if value == 0 {
            continue;
        }
        out[at] = tag;
        at += 1;
        while value >= 0x80 {
            out[at] = value.to_le_bytes()[0] | 0x80;
            value >>= 7;
            at += 1;
        }
        out[at] = value.to_le_bytes()[0];
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_protobuf() {
        let mut out = [0; 16];
        let length = protobuf_time((1_795_161_600, 123_456_000), &mut out);
        assert_eq!(out[..length], *b"\x08\x80\xfc\xff\xd7\x06\x10\x80\x94\xef\x3a");
    }
}
