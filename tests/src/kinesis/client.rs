//! Stock boto3 as the other side: a Python process that does what it is told line by line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::install::python;
use crate::workspace::checkout;

/// A record to put, or one that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The partition key.
    pub key: String,
    /// The data.
    pub data: Vec<u8>,
    /// A hash key instead of the partition key's own; empty for one that was read.
    pub hash: Option<String>,
    /// The shard; empty for one to put.
    pub shard: String,
    /// The sequence number; empty for one to put.
    pub sequence: String,
}

impl Record {
    /// A record with a key.
    pub fn new(key: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), data: data.into(), ..Self::default() }
    }

    /// The data as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let data = &self.data;
        serde_json::from_slice(data)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(data)))
    }
}

/// A shard as `ListShards` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: String,
    /// One parent after a split, two after a merge.
    pub parents: Vec<String>,
    /// Whether it takes records.
    pub open: bool,
    /// Where its hash keys begin.
    pub first_hash: u128,
    /// Where they end.
    pub last_hash: u128,
}

/// A client. One request at a time; ends with its process when dropped.
pub struct Client {
    driver: Mutex<Driver>,
}

struct Driver {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Client {
    /// A client of an endpoint.
    pub fn new(endpoint: &str) -> Self {
        let mut child = Command::new(python().expect("callers have asked whether boto3 is there"))
            .arg(checkout().join("tests/kinesis/driver.py"))
            .arg(endpoint)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is there");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { driver: Mutex::new(Driver { child, input, output }) }
    }

    #[track_caller]
    fn ask(&self, request: &Value) -> Value {
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(driver.input, "{request}").expect("the driver reads");
        let mut line = String::new();
        driver.output.read_line(&mut line).expect("the driver answers");
        let mut answer: Value = serde_json::from_str(&line).expect("the driver answers in JSON");
        assert!(answer.get("error").is_none(), "{}: {}", request["do"], answer["error"]);
        answer["ok"].take()
    }

    /// Makes a stream.
    #[track_caller]
    pub fn create(&self, stream: &str, shards: usize) {
        self.ask(&json!({"do": "create", "stream": stream, "shards": shards}));
    }

    /// Removes a stream.
    #[track_caller]
    pub fn delete(&self, stream: &str) {
        self.ask(&json!({"do": "delete", "stream": stream}));
    }

    /// Puts records, in this order; gives shard and sequence number of each.
    #[track_caller]
    pub fn put(&self, stream: &str, records: &[Record]) -> Vec<(String, String)> {
        self.put_as("put", stream, records)
    }

    /// The same, but as one record that they are packed into, as Amazon's producer library does it; gives its place.
    #[track_caller]
    pub fn pack(&self, stream: &str, records: &[Record]) -> (String, String) {
        self.put_as("pack", stream, records).pop().expect("one record was put")
    }

    #[track_caller]
    fn put_as(&self, verb: &str, stream: &str, records: &[Record]) -> Vec<(String, String)> {
        let entries: Vec<Value> =
            records.iter().map(|record| json!([record.key, base64(&record.data), record.hash])).collect();
        let places = self.ask(&json!({"do": verb, "stream": stream, "records": entries}));
        let places = places.as_array().expect("there is a place for each record").iter();
        places.map(|place| (text(&place[0]), text(&place[1]))).collect()
    }

    /// All shards that the stream still names.
    #[track_caller]
    pub fn shards(&self, stream: &str) -> Vec<Shard> {
        let shards = self.ask(&json!({"do": "shards", "stream": stream}));
        let shards = shards.as_array().expect("shards are a list").iter();
        let hash = |shard: &Value, end: &str| text(&shard["HashKeyRange"][end]).parse().expect("a number");
        shards
            .map(|shard| Shard {
                id: text(&shard["ShardId"]),
                parents: ["ParentShardId", "AdjacentParentShardId"]
                    .iter()
                    .filter_map(|name| shard[*name].as_str().map(str::to_owned))
                    .collect(),
                open: shard["SequenceNumberRange"].get("EndingSequenceNumber").is_none(),
                first_hash: hash(shard, "StartingHashKey"),
                last_hash: hash(shard, "EndingHashKey"),
            })
            .collect()
    }

    /// The shards that take records, in the order of their hash keys.
    #[track_caller]
    pub fn open_shards(&self, stream: &str) -> Vec<Shard> {
        let mut shards = self.shards(stream);
        shards.retain(|shard| shard.open);
        shards.sort_by_key(|shard| shard.first_hash);
        shards
    }

    /// Splits a shard in the middle.
    #[track_caller]
    pub fn split(&self, stream: &str, shard: &str) {
        self.ask(&json!({"do": "split", "stream": stream, "shard": shard}));
    }

    /// Merges two neighbors.
    #[track_caller]
    pub fn merge(&self, stream: &str, one: &str, other: &str) {
        self.ask(&json!({"do": "merge", "stream": stream, "shards": [one, other]}));
    }

    /// What this client has not read yet, shard by shard, parents first.
    #[track_caller]
    pub fn more(&self, stream: &str) -> Vec<Record> {
        records(&self.ask(&json!({"do": "more", "stream": stream})))
    }

    /// All records, shard by shard, parents first.
    #[track_caller]
    pub fn read(&self, stream: &str) -> Vec<Record> {
        records(&self.ask(&json!({"do": "again", "stream": stream})))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let driver = self.driver.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(driver.child.kill());
        drop(driver.child.wait());
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("the driver gives text").to_owned()
}

#[track_caller]
fn records(answer: &Value) -> Vec<Record> {
    let records = answer.as_array().expect("records are a list").iter();
    records
        .map(|record| Record {
            shard: text(&record[0]),
            sequence: text(&record[1]),
            key: text(&record[2]),
            data: from_base64(&text(&record[3])),
            hash: None,
        })
        .collect()
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let number = group.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let number = number << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = usize::try_from(number >> (18 - 6 * place) & 63).expect("six bits");
            text.push(if place > group.len() { '=' } else { char::from(DIGITS[digit]) });
        }
    }
    text
}

#[track_caller]
fn from_base64(text: &str) -> Vec<u8> {
    let digits = text.trim_end_matches('=').bytes();
    let (mut bytes, mut number, mut bits) = (Vec::new(), 0_u32, 0);
    for digit in digits {
        let value = DIGITS.iter().position(|known| *known == digit).expect("the driver speaks base64");
        number = number << 6 | u32::try_from(value).expect("six bits");
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(number >> bits & 255).expect("eight bits"));
        }
    }
    bytes
}
