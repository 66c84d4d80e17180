//! What Kinesis may answer on the wire, and nobody at all.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use model::source::{ReadEvent, Reader};

use super::{AMPLE, Rig, next_events};
use crate::kinesis::{Connection, KinesisMetrics, Shared, Stream};
use crate::source::kinesis::calls::{Calls, Kinesis};
use crate::source::kinesis::fetcher::Core;

/// What to do with a question for records.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Answer with this status and body.
    Say(u16, &'static str),
    /// Close the connection within the answer.
    Cut,
    /// Close it before the answer.
    HangUp,
}

const RECORD: &str = r#"{"NextShardIterator": "b", "MillisBehindLatest": 0, "Records": [{"PartitionKey": "k",
    "SequenceNumber": "49590338271490256608559692538361571095921575989136588898", "Data": "b25l",
    "ApproximateArrivalTimestamp": 1700000000.25}]}"#;
const NOTHING: &str = r#"{"NextShardIterator": "b", "MillisBehindLatest": 0, "Records": []}"#;

/// A server that does these things in turn; answers its address.
fn serve(acts: &[Act]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let acts = Arc::new(Mutex::new(acts.iter().copied().collect::<VecDeque<_>>()));
    // Ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let acts = Arc::clone(&acts);
            // A client that hangs up is no failure.
            thread::spawn(move || drop(answer(&stream.unwrap(), &acts)));
        }
    });
    url
}

fn answer(stream: &TcpStream, acts: &Mutex<VecDeque<Act>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut asks_for_records) = (0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
            asks_for_records |= line.ends_with(".getrecords");
            if line.is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        let act = match asks_for_records {
            true => acts.lock().unwrap().pop_front().unwrap_or(Act::Say(200, NOTHING)),
            false => Act::Say(200, r#"{"ShardIterator": "a"}"#),
        };
        let write = |status: u16, length: usize, body: &str| {
            let head = "Content-Type: application/x-amz-json-1.1\r\nContent-Length";
            write!(&mut &*stream, "HTTP/1.1 {status} So\r\n{head}: {length}\r\n\r\n{body}")
        };
        match act {
            Act::Say(status, body) => write(status, body.len(), body)?,
            Act::Cut => {
                write(200, RECORD.len(), &RECORD[..RECORD.len() / 2])?;
                return Ok(());
            }
            Act::HangUp => return Ok(()),
        }
    }
}

/// A rig whose questions go over the wire, and what is heard of the connection.
fn wired(url: String) -> (Rig, Arc<Mutex<Vec<bool>>>) {
    let mut rig = Rig::new(&["s-0"]);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    let connection = Connection {
        name: "aws".to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some(url),
        ..Connection::default()
    };
    let mut shared = Shared::for_tests(rig.runtime.handle().clone());
    shared.hook = Arc::new(move |_, reason| hearing.lock().unwrap().push(reason.is_none()));
    let calls: Arc<dyn Calls> = Arc::new(Kinesis::new(connection, Stream::Name("s".to_owned()), shared));
    let core = &rig.core;
    rig.core = Arc::new(Core {
        name: core.name.clone(),
        connection: core.connection.clone(),
        out_of_range: core.out_of_range,
        calls,
        lineage: Arc::clone(&core.lineage),
        standing: Arc::clone(&core.standing),
        turns: super::quick_turns(),
        pauses: core.pauses,
        metrics: KinesisMetrics::detached().source("clicks"),
        clock: Arc::clone(&core.clock),
    });
    (rig, heard)
}

#[test]
fn whatever_goes_wrong_on_the_way_passes() {
    let url = serve(&[
        Act::Cut,
        Act::Say(400, r#"{"__type": "ProvisionedThroughputExceededException", "message": "Rate exceeded"}"#),
        Act::HangUp,
        Act::Say(400, r#"{"__type": "ExpiredTokenException", "message": "The security token has expired"}"#),
        Act::Say(500, r#"{"__type": "InternalFailure"}"#),
        Act::Say(503, "<html>"),
        Act::Say(400, r#"{"__type": "ExpiredIteratorException", "message": "Iterator expired"}"#),
        Act::Say(200, "{"),
        Act::Say(200, RECORD),
    ]);
    let (rig, heard) = wired(url);
    let mut reader = rig.reader(&["s-0"], &[]);
    let (position, payload, key) = next_events(&mut reader).remove(0);
    assert_eq!((payload.as_str(), key.as_deref()), ("one", Some("k")));
    assert_eq!(position, super::fake::at("49590338271490256608559692538361571095921575989136588898", 0));
    assert_eq!((rig.core.metrics.throttles.get(), rig.core.metrics.expired_iterators.get()), (1, 1));
    assert_eq!(heard.lock().unwrap().first(), Some(&false), "that it is away is told");
    assert_eq!(heard.lock().unwrap().last(), Some(&true), "that it is back is told");
}

#[test]
fn nobody_there_leaves_a_reader_idle() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (rig, heard) = wired(url);
    let mut reader = rig.reader(&["s-0"], &[]);
    testkit::fake::wait::wait_until("it is told", || *heard.lock().unwrap() == [false]);
    let event = reader.next(AMPLE, Duration::from_millis(20)).unwrap();
    assert!(matches!(event, ReadEvent::Idle), "{event:?}");
}
