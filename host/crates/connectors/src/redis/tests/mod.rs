//! Against real servers.

mod cluster;
mod login;
mod single;

use std::sync::{Arc, Mutex};

use redis::{Cmd, Value};

use super::testing::Server;
use super::{Connection, Keyed, Nodes, RedisMetrics, Script, Shared};
use crate::contact::ContactHook;

/// What the hook heard: why it is away, or that it is back.
type Heard = Arc<Mutex<Vec<Option<String>>>>;

/// Nodes with a runtime of their own.
struct Rig {
    runtime: tokio::runtime::Runtime,
    shared: Shared,
    nodes: Arc<Nodes>,
    heard: Heard,
}

impl Rig {
    fn new(connection: &Connection) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let heard: Heard = Arc::default();
        let hearing = Arc::clone(&heard);
        let hook: ContactHook =
            Arc::new(move |_, away| hearing.lock().unwrap().push(away.map(str::to_owned)));
        let shared = Shared::new(runtime.handle().clone(), RedisMetrics::detached(), hook);
        let nodes = Nodes::open(connection, &shared).unwrap();
        Self { runtime, shared, nodes, heard }
    }

    fn run(&self, commands: Vec<Keyed>) -> Result<Vec<Result<Value, String>>, String> {
        let answers =
            self.runtime.block_on(self.nodes.run(commands)).map_err(|failure| failure.to_string())?;
        Ok(answers.into_iter().map(|answer| answer.map_err(|failure| failure.to_string())).collect())
    }

    /// Runs one command.
    fn ask(&self, command: Keyed) -> Result<Value, String> {
        self.run(vec![command])?.remove(0)
    }

    fn set(&self, key: &str, value: &str) -> Result<Value, String> {
        self.ask(set(key, value))
    }

    fn get(&self, key: &str) -> Result<Value, String> {
        self.ask(get(key))
    }
}

fn command(parts: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for part in parts {
        command.arg(part);
    }
    command
}

fn set(key: &str, value: &str) -> Keyed {
    Keyed::new(key.as_bytes(), command(&["SET", key, value]))
}

fn get(key: &str) -> Keyed {
    Keyed::new(key.as_bytes(), command(&["GET", key]))
}

fn bulk(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

#[track_caller]
fn check_refused(answer: Result<Value, String>, expected: &[&str]) {
    let text = answer.unwrap_err();
    for part in expected {
        assert!(text.contains(part), "{part:?} in {text:?}");
    }
}

/// Adds up; twice is not once.
fn counting() -> Arc<Script> {
    Arc::new(Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])"))
}
