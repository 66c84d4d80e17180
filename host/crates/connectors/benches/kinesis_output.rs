//! CPU of encoding, sending and hearing back, for each record, in front of a server in another process that takes
//! everything at once: `cargo bench -p connectors --bench kinesis_output [-- CASE]`.
//!
//! `KINESIS=http://127.0.0.1:4567` names another server, whose stream `bench-output` is there.

#![expect(clippy::print_stdout, reason = "a benchmark says what it found")]

mod output;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use connectors::dead_letter::file::FileDeadLetters;
use connectors::kinesis::{Connection, Shared, Stream};
use connectors::output::kinesis::{KinesisOutput, KinesisOutputOptions, Progress};
use output::{idle, stream, wanted};

/// The allocator of the host.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STREAM: &str = "bench-output";

fn main() {
    let wanted = wanted();
    if wanted == "sink" {
        return sink();
    }
    let (_sink, url) = match std::env::var("KINESIS") {
        Ok(url) => (None, url),
        Err(_) => {
            let (sink, url) = Sink::start();
            (Some(sink), url)
        }
    };
    for round in 0..3 {
        println!("round {round}");
        for (name, ordered) in [("ordered", true), ("unordered", false)] {
            if name.contains(&wanted) {
                let (_directory, runtime, output) = open(&url, ordered);
                stream(&runtime, &*output, name);
            }
            let idle_name = format!("idle, {name}");
            if idle_name.contains(&wanted) {
                let (_directory, runtime, output) = open(&url, ordered);
                idle(&runtime, &*output, &idle_name);
            }
        }
    }
}

/// This program once more, as a server.
struct Sink(Child);

impl Sink {
    fn start() -> (Self, String) {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child =
            Command::new(program).arg("sink").stdout(Stdio::piped()).spawn().expect("it runs once more");
        let mut url = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut url).expect("it says where it is");
        (Self(child), url.trim().to_owned())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It has nothing to finish.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Takes every record of every request.
fn sink() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    println!("http://{}", listener.local_addr().expect("it is bound"));
    for stream in listener.incoming() {
        std::thread::spawn(move || serve(stream.expect("a connection")));
    }
}

fn serve(stream: TcpStream) {
    let mut reader = BufReader::with_capacity(1 << 20, stream.try_clone().expect("a socket can be shared"));
    let mut writer = stream;
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let (mut length, mut is_put) = (0, false);
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let lower = line.trim_end().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            is_put |= lower.ends_with(".putrecords");
            if let Some(value) = lower.strip_prefix("content-length: ") {
                length = value.parse().expect("a number");
            }
        }
        body.resize(length, 0);
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let answer = if is_put {
            let records = memchr::memmem::find_iter(&body, b"\"PartitionKey\":").count();
            let result = r#"{"SequenceNumber":"49590338271490256608559692538361571095921575989136588898","ShardId":"shardId-000000000000"}"#;
            format!("{{\"FailedRecordCount\":0,\"Records\":[{}]}}", vec![result; records].join(","))
        } else {
            format!(
                r#"{{"StreamDescriptionSummary":{{"StreamName":"{STREAM}","StreamARN":"a","StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":1,"EnhancedMonitoring":[],"OpenShardCount":1}}}}"#
            )
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        if writer.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// The stream, as the host opens it, and what it runs on.
fn open(url: &str, ordered: bool) -> (tempfile::TempDir, tokio::runtime::Runtime, Arc<KinesisOutput>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let output = KinesisOutput::open(KinesisOutputOptions {
        project: "bench".into(),
        view: "v".into(),
        source: "s".into(),
        connection: Connection {
            name: "aws".into(),
            region: Some("us-east-1".into()),
            endpoint_url: Some(url.to_owned()),
            ..Connection::default()
        },
        stream: Stream::Name(STREAM.into()),
        ordered,
        progress: Progress::Ledger(Arc::new(testkit::fake::online::MemoryStore::default())),
        dead_letters: FileDeadLetters::open(&directory.path().join("dead")).expect("a new file opens"),
        shared: Shared::for_tests(runtime.handle().clone()),
    });
    (directory, runtime, output.expect("the server is there"))
}
