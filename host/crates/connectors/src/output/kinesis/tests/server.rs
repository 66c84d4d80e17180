//! A Kinesis of a few operations, which does to single requests what a test tells it to.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::LIMIT;

/// What to do with the next PutRecords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Do not take these of its records.
    Refuse(Vec<usize>, &'static str),
    /// Take nothing and answer with this status and error.
    Fail(u16, &'static str),
    /// Take all and close without an answer.
    TakeAndCut,
    /// Take nothing and close without an answer.
    Cut,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: String,
    pub(super) data: String,
}

pub(super) struct State {
    pub(super) acts: VecDeque<Act>,
    /// What was taken, in order, by request.
    pub(super) taken: Vec<Vec<Record>>,
    /// Records of each request that came, by key.
    pub(super) requests: Vec<Vec<String>>,
    pub(super) summary: Result<Value, (u16, &'static str)>,
    /// Requests with records wait until they may go on.
    pub(super) is_held: bool,
    /// Of each 10 records this many are refused, by a generator with this state.
    pub(super) chaos: Option<(u64, u64)>,
}

/// A server on loopback.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) state: Arc<(Mutex<State>, Condvar)>,
}

pub(super) fn summary() -> Value {
    json!({
        "StreamName": "features", "StreamARN": "arn:aws:kinesis:us-east-1:0:stream/features", "StreamStatus": "ACTIVE",
        "RetentionPeriodHours": 24, "StreamCreationTimestamp": 1.0, "EnhancedMonitoring": [], "OpenShardCount": 2,
    })
}

impl Server {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            acts: VecDeque::new(),
            taken: Vec::new(),
            requests: Vec::new(),
            summary: Ok(summary()),
            is_held: false,
            chaos: None,
        };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let theirs = Arc::clone(&state);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&theirs);
                thread::spawn(move || serve(stream.unwrap(), &state));
            }
        });
        Self { url, state }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap()
    }

    pub(super) fn act(&self, acts: impl IntoIterator<Item = Act>) {
        self.state().acts.extend(acts);
    }

    pub(super) fn hold(&self, is_held: bool) {
        self.state().is_held = is_held;
        self.state.1.notify_all();
    }

    /// Waits until something is so.
    pub(super) fn wait(&self, what: impl Fn(&State) -> bool) {
        let (mut state, mut left) = (self.state(), LIMIT);
        while !what(&state) {
            let pause = Duration::from_millis(10);
            state = self.state.1.wait_timeout(state, pause).unwrap().0;
            left = left.checked_sub(pause).expect("the condition comes about");
        }
    }

    /// All that was taken, in order.
    pub(super) fn records(&self) -> Vec<Record> {
        self.state().taken.concat()
    }

    /// The numbers in what was taken of one key, in order.
    pub(super) fn numbers(&self, key: &str) -> Vec<u64> {
        let of_key = |record: &Record| record.key == key;
        self.records().iter().filter(|record| of_key(record)).map(number).collect()
    }
}

/// The position in a record's identity.
pub(super) fn number(record: &Record) -> u64 {
    let data: Value = serde_json::from_str(&record.data).unwrap();
    let position = data["millrace"].as_str().unwrap().split(';').nth(4).unwrap().to_owned();
    u64::from_str_radix(&position, 16).unwrap()
}

fn serve(stream: TcpStream, state: &(Mutex<State>, Condvar)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let (mut operation, mut length, mut line) = (String::new(), 0, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "x-amz-target" => operation = value.rsplit('.').next().unwrap().to_owned(),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let Some((status, answer)) = answer(&operation, &body, state) else { return };
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        if writer.write_all(format!("{head}{answer}").as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(operation: &str, body: &[u8], shared: &(Mutex<State>, Condvar)) -> Option<(u16, Value)> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let error =
        |status, code: &str| Some((status, json!({"__type": code, "message": "as the test wants it"})));
    let mut state = shared.0.lock().unwrap();
    match operation {
        "DescribeStreamSummary" => match &state.summary {
            Ok(summary) => Some((200, json!({ "StreamDescriptionSummary": summary }))),
            Err((status, code)) => error(*status, code),
        },
        "ListShards" => {
            let half = 1_u128 << 127;
            let shard = |id: &str, from: u128, to: u128| {
                json!({
                    "ShardId": id,
                    "HashKeyRange": {"StartingHashKey": from.to_string(), "EndingHashKey": to.to_string()},
                    "SequenceNumberRange": {"StartingSequenceNumber": "1"},
                })
            };
            let shards = [shard("shardId-0", 0, half - 1), shard("shardId-1", half, u128::MAX)];
            Some((200, json!({ "Shards": shards })))
        }
        "PutRecords" => {
            assert_eq!(body["StreamName"], "features");
            let records = body["Records"].as_array().unwrap();
            let record = |record: &Value| Record {
                key: record["PartitionKey"].as_str().unwrap().to_owned(),
                data: String::from_utf8(STANDARD.decode(record["Data"].as_str().unwrap()).unwrap()).unwrap(),
            };
            let records: Vec<Record> = records.iter().map(record).collect();
            state.requests.push(records.iter().map(|record| record.key.clone()).collect());
            shared.1.notify_all();
            while state.is_held {
                state = shared.1.wait(state).unwrap();
            }
            let act = state.acts.pop_front().or_else(|| chaos(&mut state.chaos, records.len()));
            let (refused, code) = match act {
                None => (Vec::new(), ""),
                Some(Act::Refuse(refused, code)) => (refused, code),
                Some(Act::Fail(status, code)) => return error(status, code),
                Some(Act::Cut) => return None,
                Some(Act::TakeAndCut) => {
                    state.taken.push(records);
                    return None;
                }
            };
            let result = |index| match refused.contains(&index) {
                true => {
                    json!({"ErrorCode": code, "ErrorMessage": "Rate exceeded for shard shardId-1 in stream"})
                }
                false => json!({"SequenceNumber": "2", "ShardId": "shardId-0"}),
            };
            let results: Vec<Value> = (0..records.len()).map(result).collect();
            let taken = records.into_iter().enumerate().filter(|(index, _)| !refused.contains(index));
            state.taken.push(taken.map(|(_, record)| record).collect());
            Some((200, json!({"FailedRecordCount": refused.len(), "Records": results})))
        }
        other => panic!("unexpected operation `{other}`"),
    }
}

/// Something that happens to a request now and then.
fn chaos(state: &mut Option<(u64, u64)>, records: usize) -> Option<Act> {
    let (seed, of_ten) = state.as_mut()?;
    let mut next = || {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed >> 33
    };
    match next() % 12 {
        0 => Some(Act::Cut),
        1 => Some(Act::TakeAndCut),
        2 => Some(Act::Fail(500, "InternalFailure")),
        3 => Some(Act::Fail(400, "ProvisionedThroughputExceededException")),
        kind => {
            let refused = (0..records).filter(|_| next() % 10 < *of_ten).collect();
            let code =
                if kind % 2 == 0 { "InternalFailure" } else { "ProvisionedThroughputExceededException" };
            Some(Act::Refuse(refused, code))
        }
    }
}
