//! Servers on loopback that speak Kinesis or are Redis, for as long as the demo or the tests run.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::demo_host::wait;
use crate::setup::Kinesis;
use crate::step::root;

/// How long a server may take to listen: a cold start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running server. Killed when dropped: whatever it holds it holds in memory.
pub(crate) struct Server {
    child: Child,
    /// Its port on loopback.
    pub(crate) port: u16,
}

impl Server {
    /// `kinesis-local`, the server that knows most of Kinesis.
    pub(crate) fn kinesis_local(kinesis: &Kinesis, folder: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut node = node(kinesis, "kinesis-local/main.js");
        node.env("KINESIS_MOCK_PLAIN_PORT", port.to_string())
            .env("KINESIS_MOCK_TLS_PORT", free_port()?.to_string())
            // Without it, it looks for one in its working folder, and ends.
            .env("KINESIS_MOCK_CERT_PATH", kinesis.modules.join("kinesis-local/server.json"))
            .env("LOG_LEVEL", "ERROR")
            .env("SHARD_LIMIT", "1000");
        for change in ["CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "UPDATE_SHARD_COUNT"]
        {
            node.env(format!("{change}_DURATION"), "10ms");
        }
        Self::start(node, port, folder)
    }

    /// `kinesalite`, a quicker and stricter one.
    pub(crate) fn kinesalite(kinesis: &Kinesis, folder: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut node = node(kinesis, "kinesalite/cli.js");
        node.args(["--port", &port.to_string(), "--shardLimit", "1000"]);
        for change in ["create", "delete", "update"] {
            node.args([&format!("--{change}StreamMs"), "10"]);
        }
        Self::start(node, port, folder)
    }

    /// Redis, which keeps nothing on disk.
    pub(crate) fn redis(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut redis = Command::new(program);
        redis
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(folder);
        Self::start(redis, port, folder)
    }

    fn start(mut command: Command, port: u16, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let log = folder.join("log");
        let output = fs::File::create(&log).context("cannot make the server's log")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot share the server's log")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut server = Self { child, port };
        let listening = wait(START_LIMIT, || {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server stopped at once: {status}");
            }
            Ok(TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(()))
        });
        listening.with_context(|| {
            format!("{command:?} did not start; it said:\n{}", fs::read_to_string(&log).unwrap_or_default())
        })?;
        Ok(server)
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where clients of Kinesis find it.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Node with a server's script. Both listen on every interface unless they are kept from it.
fn node(kinesis: &Kinesis, script: &str) -> Command {
    let mut node = Command::new("node");
    let loopback: PathBuf = root().join("tests/kinesis/loopback.js");
    node.arg("-r").arg(loopback).arg(kinesis.modules.join(script));
    node
}

/// A port that is free now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let socket = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(socket.local_addr().context("no free port")?.port())
}
