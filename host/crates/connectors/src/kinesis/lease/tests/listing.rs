//! What is asked of Kinesis for its shards, and what is made of its answers.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use model::error::Disposition;
use serde_json::{Value, json};

use super::*;
use crate::kinesis::{Connection, Stream as Name};

/// Answers requests with what it was given, one after the other, and keeps their bodies.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    fn answering(answers: Vec<(u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (noted, answers) = (Arc::clone(&asked), Arc::new(Mutex::new(VecDeque::from(answers))));
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (noted, answers) = (Arc::clone(&noted), Arc::clone(&answers));
                thread::spawn(move || serve(stream.unwrap(), &noted, &answers));
            }
        });
        Self { url, asked }
    }

    fn shards(&self, stream: Name) -> StreamShards {
        let connection = Connection {
            name: "aws".to_owned(),
            region: Some("eu-central-1".to_owned()),
            endpoint_url: Some(self.url.clone()),
            ..Connection::default()
        };
        StreamShards::new(Shared::for_tests(runtime()), connection, stream)
    }
}

fn serve(mut stream: TcpStream, asked: &Mutex<Vec<Value>>, answers: &Mutex<VecDeque<(u16, Value)>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
            let is_target = line.starts_with("x-amz-target:");
            assert!(!is_target || line.ends_with("kinesis_20131202.listshards"), "{line}");
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        asked.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        let Some((status, answer)) = answers.lock().unwrap().pop_front() else { return };
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} .\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.as_bytes())).unwrap();
    }
}

#[track_caller]
fn check_pages(stream: Name, expected: &[Value; 2]) {
    let first = json!({
        "NextToken": "more",
        "Shards": [{
            "ShardId": "shardId-0",
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "7"},
            "SequenceNumberRange": {"StartingSequenceNumber": "49", "EndingSequenceNumber": "50"},
        }],
    });
    let second = json!({
        "Shards": [{
            "ShardId": "shardId-2",
            "ParentShardId": "shardId-0",
            "AdjacentParentShardId": "shardId-1",
            "HashKeyRange": {"StartingHashKey": "8", "EndingHashKey": "340282366920938463463374607431768211455"},
            "SequenceNumberRange": {"StartingSequenceNumber": "51"},
        }],
    });
    let server = Server::answering(vec![(200, first), (200, second)]);
    let shards = server.shards(stream);
    let page = runtime().block_on(shards.page(None)).unwrap();
    let closed = Shard {
        id: "shardId-0".to_owned(),
        parents: Vec::new(),
        starting: "49".to_owned(),
        ending: Some("50".to_owned()),
        hash_keys: (0, 7),
    };
    assert_eq!(page, ShardPage { shards: vec![closed], next: Some("more".to_owned()) });
    let page = runtime().block_on(shards.page(page.next)).unwrap();
    let open = Shard {
        id: "shardId-2".to_owned(),
        parents: vec!["shardId-0".to_owned(), "shardId-1".to_owned()],
        starting: "51".to_owned(),
        ending: None,
        hash_keys: (8, u128::MAX),
    };
    assert_eq!(page, ShardPage { shards: vec![open], next: None });
    assert_eq!(&server.asked.lock().unwrap()[..], expected);
}

#[test]
fn further_pages_are_asked_for_by_their_token() {
    let named = Name::Name("ads".to_owned());
    check_pages(named, &[json!({"StreamName": "ads"}), json!({"NextToken": "more"})]);
    let arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/ads";
    let expected = [json!({"StreamARN": arn}), json!({"StreamARN": arn, "NextToken": "more"})];
    check_pages(Name::Arn(arn.to_owned()), &expected);
}

#[track_caller]
fn check_failure(status: u16, code: &str, disposition: Disposition) {
    let server = Server::answering(vec![(status, json!({"__type": code, "message": "so it is"}))]);
    let failure = runtime().block_on(server.shards(Name::Name("ads".to_owned())).page(None)).unwrap_err();
    let text = failure.to_string();
    assert_eq!(failure.disposition, disposition, "{text}");
    assert!(text.starts_with("list the shards of stream `ads` through connection `aws`: "), "{text}");
    assert!(text.contains(code), "{text}");
}

#[test]
fn what_kinesis_refuses_is_said() {
    check_failure(400, "ResourceNotFoundException", Disposition::Stop);
    check_failure(400, "ResourceInUseException", Disposition::Retry);
    check_failure(400, "ExpiredNextTokenException", Disposition::Retry);
    check_failure(400, "ExpiredTokenException", Disposition::Retry);
    check_failure(500, "InternalFailure", Disposition::Retry);
}
