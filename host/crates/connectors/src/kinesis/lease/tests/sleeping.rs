//! A host whose process is stopped for longer than its leases last, and goes on.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::kinesis::lease::table::tests::redis_table;
use crate::redis;
use crate::redis::testing::Server;

/// Names the port of the Redis to the process that is to be stopped.
const PORT: &str = "MILLRACE_TEST_LEASE_CHILD";

/// The host that is stopped. Not a test: the test below runs it in a process of its own. Each line that it reads asks how many
/// shards it holds and how many its flow has lost.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn the_host_that_is_stopped() {
    let Ok(port) = std::env::var(PORT) else { return };
    let connection = redis::Connection::new("cache", vec![format!("127.0.0.1:{port}")]);
    let shared = redis::Shared::for_tests(runtime());
    let place = LeasePlace::Redis { connection, shared };
    let options = LeaseOptions { place, ..options("stopped", SHORT) };
    let leases = Leases::open(options, Stream::with(2)).unwrap();
    let flow = Arc::new(Counting::default());
    leases.join(Arc::clone(&flow) as _);
    for line in std::io::stdin().lines() {
        if line.is_err() {
            return;
        }
        let held = (0..2).filter(|shard| leases.holds(&partition(*shard))).count();
        println!("held {held} lost {}", flow.lost.lock().unwrap());
    }
}

/// Counts what was lost.
#[derive(Default)]
struct Counting {
    lost: Mutex<usize>,
}

impl Assignee for Counting {
    fn assigned(&self, _partitions: &[Partition]) {}

    fn revoked(&self, _partitions: &[Partition], _deadline: Instant) {}

    fn lost(&self, partitions: &[Partition]) {
        *self.lost.lock().unwrap() += partitions.len();
    }
}

/// The process of the host that is stopped; ended with the test.
struct Stopped {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Stopped {
    fn start(server: &Server) -> Self {
        let test = "kinesis::lease::tests::sleeping::the_host_that_is_stopped";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--ignored", "--nocapture", "--test-threads", "1"])
            .env(PORT, server.port().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// How many shards it holds, and how many its flow was told to be lost.
    fn ask(&mut self) -> (usize, usize) {
        self.child.stdin.as_mut().unwrap().write_all(b"?\n").unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the process has ended");
            // The test harness writes lines of its own.
            let Some((_, answer)) = line.trim().split_once("held ") else { continue };
            let (held, lost) = answer.split_once(" lost ").unwrap();
            return (held.parse().unwrap(), lost.parse().unwrap());
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_host_that_was_stopped_finds_its_leases_gone() {
    let Some(server) = Server::start("a_host_that_was_stopped", &[]) else { return };
    let mut stopped = Stopped::start(&server);
    until("it holds all", || stopped.ask().0 == 2);
    stopped.signal(Signal::STOP);
    let stream = Stream::with(2);
    let table: Arc<dyn LeaseTable> = Arc::new(redis_table(&server, "shop", &runtime()));
    let other = Host::join("other", SHORT, &table, &stream);
    until("the other has all", || other.count() == 2);
    // Leases of the other last while the first is looked at: it is not to get them back for a good reason.
    stopped.signal(Signal::CONT);
    let (held, _) = stopped.ask();
    assert_eq!(held, 0, "it must not emit before it has looked at the table");
    until("its flow is told", || stopped.ask().1 == 2);
    until("they are even in the end", || stopped.ask().0 == 1 && other.count() == 1);
}
