//! A network before Kinesis that fails in all the ways in which AWS does and no server here can: it throttles, refuses
//! some entries of a request, expires iterators and credentials, answers late, wrongly or not at all.
//!
//! It understands requests, and notes each: what was asked, when, and what came of it.

use std::io::{self, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::Message;
use crate::wait::LIMIT;

/// Chooses entries of `PutRecords` by their number, counted over all requests, and by partition key.
pub type Choice = Arc<dyn Fn(u64, &str) -> bool + Send + Sync>;

/// What becomes of a request.
#[derive(Clone)]
pub enum Fault {
    /// The server never hears of it; the client gets this status and error code.
    Refuse(u16, &'static str),
    /// The server has done it, but the client gets this status and error code.
    Deny(u16, &'static str),
    /// The server never hears of it; the connection ends.
    CutBefore,
    /// The server has done it; the connection ends.
    CutAfter,
    /// It takes this much longer.
    Delay(Duration),
    /// It waits until [`Proxy::mend`] before the server hears of it.
    Hold,
    /// The server has done it; the answer waits until [`Proxy::mend`].
    HoldAnswer,
    /// The chosen entries of `PutRecords` are refused with this error code; the others go on.
    Entries(&'static str, Choice),
}

impl Fault {
    /// More was asked for than the shard or the account allows.
    pub fn throttle() -> Self {
        Self::Refuse(400, "ProvisionedThroughputExceededException")
    }

    /// The iterator is too old.
    pub fn expired_iterator() -> Self {
        Self::Refuse(400, "ExpiredIteratorException")
    }

    /// The credentials are too old.
    pub fn expired_token() -> Self {
        Self::Refuse(400, "ExpiredTokenException")
    }

    /// Each n-th entry of `PutRecords` is throttled.
    pub fn each_entry(nth: u64) -> Self {
        let choice: Choice = Arc::new(move |number, _| number % nth == 0);
        Self::Entries("ProvisionedThroughputExceededException", choice)
    }
}

/// A request as it went through.
#[derive(Debug, Clone)]
pub struct Call {
    /// As `PutRecords`.
    pub operation: String,
    /// The stream, where the request names it.
    pub stream: String,
    /// When it came, since the proxy began.
    pub began: Duration,
    /// When it was answered or cut.
    pub ended: Duration,
    /// The status of the answer; 0 = none was given.
    pub status: u16,
    /// The error code of the answer.
    pub code: Option<String>,
    /// The partition keys of records that were put, in order.
    pub keys: Vec<String>,
    /// How many entries were refused.
    pub refused: usize,
    /// How many records were read.
    pub records: usize,
}

/// A proxy on a port of its own. Passes everything on until it is told otherwise.
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

struct Shared {
    server: u16,
    began: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Operation, what happens, how many requests more.
    rules: Vec<(String, Fault, u64)>,
    /// The only access key that is let in.
    access_key: Option<String>,
    refused: bool,
    /// Records up to this sequence number are not given out.
    forgotten: Option<String>,
    calls: Vec<Call>,
    /// Entries of `PutRecords` so far.
    entries: u64,
    /// How often a rule was met, until it was mended, by operation.
    met: Vec<String>,
    /// Counts the calls of [`Proxy::mend`]: whoever waits sees that its rule is gone.
    epoch: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the rules that stand in this epoch are gone, at most so long.
    fn pass(&self, epoch: u64, limit: Duration) {
        let until = Instant::now() + limit;
        let mut state = self.state();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.epoch != epoch || left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Proxy {
    /// A proxy that leads to a port on loopback.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            server,
            began: Instant::now(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        thread::spawn({
            let shared = shared.clone();
            move || {
                for client in listener.incoming().flatten() {
                    let shared = shared.clone();
                    // Ends when either side does.
                    thread::spawn(move || drop(serve(&shared, &client)));
                }
            }
        });
        Self { shared, port }
    }

    /// Where clients find it.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next so many requests for an operation, as `GetRecords`, meet this. What was said before goes first.
    pub fn fault(&self, operation: &str, fault: Fault, count: u64) {
        self.shared.state().rules.push((operation.to_owned(), fault, count));
    }

    /// Nobody but who comes with this access key is let in: credentials of others have expired.
    pub fn only(&self, access_key: &str) {
        self.shared.state().access_key = Some(access_key.to_owned());
    }

    /// Every connection ends before it is answered.
    pub fn refuse(&self) {
        self.shared.state().refused = true;
    }

    /// Records up to this sequence number are not given out any more, and the stream says that it keeps nothing for long.
    pub fn forget(&self, sequence: &str) {
        self.shared.state().forgotten = Some(sequence.to_owned());
    }

    /// Waits until so many requests for an operation have met a rule.
    #[track_caller]
    pub fn met(&self, operation: &str, count: usize) {
        let started = Instant::now();
        let mut state = self.shared.state();
        while state.met.iter().filter(|met| *met == operation).count() < count {
            let left = LIMIT.saturating_sub(started.elapsed());
            assert!(!left.is_zero(), "{operation} was not asked for {count} times");
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends every fault; what is held goes on. What was forgotten stays so.
    pub fn mend(&self) {
        let mut state = self.shared.state();
        state.rules.clear();
        state.met.clear();
        state.access_key = None;
        state.refused = false;
        state.epoch += 1;
        self.shared.changed.notify_all();
    }

    /// What went through so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    /// How often an operation was asked for.
    pub fn count(&self, operation: &str) -> usize {
        self.shared.state().calls.iter().filter(|call| call.operation == operation).count()
    }
}

/// Serves one connection until its end.
fn serve(shared: &Shared, client: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client);
    while let Some(request) = Message::read(&mut reader)? {
        let mut call = describe(shared, &request);
        let answer = attend(shared, &request, &mut call);
        call.ended = shared.began.elapsed();
        if let Ok(Some(answer)) = &answer {
            call.status = answer.status();
            note(&mut call, answer);
        }
        shared.state().calls.push(call);
        match answer? {
            Some(answer) => answer.write(&mut &*client)?,
            None => return client.shutdown(std::net::Shutdown::Both),
        }
    }
    Ok(())
}

fn describe(shared: &Shared, request: &Message) -> Call {
    // Kinesis_20131202.PutRecords
    let target = request.header("x-amz-target");
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let stream = ["StreamName", "StreamARN"].iter().find_map(|name| body[*name].as_str());
    let put = body["Records"].as_array().into_iter().flatten().chain([&body]);
    Call {
        operation,
        stream: stream.unwrap_or_default().to_owned(),
        began: shared.began.elapsed(),
        ended: Duration::ZERO,
        status: 0,
        code: None,
        keys: put.filter_map(|record| record["PartitionKey"].as_str().map(str::to_owned)).collect(),
        refused: 0,
        records: 0,
    }
}

fn note(call: &mut Call, answer: &Message) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    call.code = body["__type"].as_str().map(str::to_owned);
    call.refused =
        body["FailedRecordCount"].as_u64().map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX));
    if call.operation == "GetRecords" {
        call.records = body["Records"].as_array().map_or(0, Vec::len);
    }
}

/// What becomes of a request; `None` = its connection ends.
fn attend(shared: &Shared, request: &Message, call: &mut Call) -> io::Result<Option<Message>> {
    let (fault, epoch) = {
        let mut state = shared.state();
        let stranger = state
            .access_key
            .as_ref()
            .is_some_and(|key| !request.header("authorization").contains(&format!("Credential={key}/")));
        let fault = if state.refused {
            Some(Fault::CutBefore)
        } else if stranger {
            Some(Fault::expired_token())
        } else {
            let rule = state.rules.iter_mut().find(|rule| rule.0 == call.operation && rule.2 > 0);
            rule.map(|rule| {
                rule.2 = rule.2.saturating_sub(u64::from(rule.2 != u64::MAX));
                rule.1.clone()
            })
        };
        if fault.is_some() {
            state.met.push(call.operation.clone());
            shared.changed.notify_all();
        }
        (fault, state.epoch)
    };
    match fault {
        None => forward(shared, request).map(Some),
        Some(Fault::Refuse(status, code)) => Ok(Some(error(status, code))),
        Some(Fault::Deny(status, code)) => forward(shared, request).map(|_| Some(error(status, code))),
        Some(Fault::CutBefore) => Ok(None),
        Some(Fault::CutAfter) => forward(shared, request).map(|_| None),
        Some(Fault::Delay(delay)) => {
            shared.pass(epoch, delay);
            forward(shared, request).map(Some)
        }
        Some(Fault::Hold) => {
            shared.pass(epoch, LIMIT);
            forward(shared, request).map(Some)
        }
        Some(Fault::HoldAnswer) => {
            let answer = forward(shared, request)?;
            shared.pass(epoch, LIMIT);
            Ok(Some(answer))
        }
        Some(Fault::Entries(code, choice)) => without_some(shared, request, code, &choice).map(Some),
    }
}

/// Has the server answer. Each request has a connection of its own: servers close idle ones when they like.
fn forward(shared: &Shared, request: &Message) -> io::Result<Message> {
    let server = TcpStream::connect(("127.0.0.1", shared.server))?;
    server.set_nodelay(true)?;
    let mut request = request.clone();
    request.headers.push(("connection".to_owned(), "close".to_owned()));
    request.write(&mut &server)?;
    let answer = Message::read(&mut BufReader::new(&server))?;
    let mut answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    if answer.status() == 200
        && let Some(forgotten) = shared.state().forgotten.clone()
    {
        let mut body: Value = serde_json::from_slice(&answer.body)?;
        // Decimal numbers without leading zeros.
        let size = |text: &str| (text.len(), text.to_owned());
        if let Some(records) = body["Records"].as_array_mut()
            && request.header("x-amz-target").ends_with(".GetRecords")
        {
            records.retain(|record| {
                size(record["SequenceNumber"].as_str().unwrap_or_default()) > size(&forgotten)
            });
        }
        if let Some(hours) = body.pointer_mut("/StreamDescriptionSummary/RetentionPeriodHours") {
            *hours = json!(0);
        }
        answer.body = body.to_string().into_bytes();
    }
    Ok(answer)
}

fn error(status: u16, code: &str) -> Message {
    let reason = if status < 500 { "Bad Request" } else { "Internal Server Error" };
    let body = json!({"__type": code, "message": "made by the test's proxy"});
    Message {
        first: format!("HTTP/1.1 {status} {reason}"),
        headers: vec![("content-type".to_owned(), "application/x-amz-json-1.1".to_owned())],
        body: body.to_string().into_bytes(),
    }
}

/// `PutRecords` of the entries that are not chosen; the answer has all.
fn without_some(shared: &Shared, request: &Message, code: &str, choice: &Choice) -> io::Result<Message> {
    let mut body: Value = serde_json::from_slice(&request.body)?;
    let entries = body["Records"].as_array().cloned().unwrap_or_default();
    let first = {
        let mut state = shared.state();
        state.entries += entries.len() as u64;
        state.entries - entries.len() as u64
    };
    let refused: Vec<bool> = (first..)
        .zip(&entries)
        .map(|(number, entry)| choice(number, entry["PartitionKey"].as_str().unwrap_or_default()))
        .collect();
    let left: Vec<Value> =
        entries.into_iter().zip(&refused).filter(|(_, refused)| !**refused).map(|(entry, _)| entry).collect();
    let mut answer = if left.is_empty() {
        let mut answer = error(200, "");
        answer.first = "HTTP/1.1 200 OK".to_owned();
        answer.body = json!({"Records": []}).to_string().into_bytes();
        answer
    } else {
        body["Records"] = left.into();
        let request = Message { body: body.to_string().into_bytes(), ..request.clone() };
        forward(shared, &request)?
    };
    if answer.status() == 200 {
        let mut body: Value = serde_json::from_slice(&answer.body)?;
        let mut taken = body["Records"].as_array().cloned().unwrap_or_default().into_iter();
        let failed = json!({"ErrorCode": code, "ErrorMessage": "made by the test's proxy"});
        let merged = refused.iter().map(|refused| if *refused { Some(failed.clone()) } else { taken.next() });
        let merged: Option<Vec<Value>> = merged.collect();
        body["Records"] = merged.ok_or(io::ErrorKind::InvalidData)?.into();
        body["FailedRecordCount"] = json!(refused.iter().filter(|refused| **refused).count());
        answer.body = body.to_string().into_bytes();
    }
    Ok(answer)
}
