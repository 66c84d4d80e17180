//! A Redis of its own for groups that need one: no persistence, ended with the measurement.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::kafka::{Usage, free_port};

/// A server, ended when dropped.
pub(super) struct RedisServer {
    child: Child,
    /// `host:port`.
    pub(super) address: String,
}

impl RedisServer {
    /// Starts one in `folder`; `program`: where it is, if not on `PATH`; `core`: the only processor that it may use.
    pub(super) fn start(
        program: Option<&PathBuf>,
        folder: &Path,
        core: Option<usize>,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let port = free_port()?;
        let log = folder.join("redis.log");
        let file = fs::File::create(&log)?;
        let program = program.map_or_else(|| PathBuf::from("redis-server"), Clone::clone);
        let mut command = match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        let child = command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--dir", &fs::canonicalize(folder)?.display().to_string()])
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {}: install Redis (Debian: `redis-server`), or say where it is with --redis-server",
                    program.display()
                )
            })?;
        let mut server = Self { child, address: format!("127.0.0.1:{port}") };
        let started = Instant::now();
        while TcpStream::connect(&server.address).is_err() {
            if server.child.try_wait()?.is_some() || started.elapsed() > Duration::from_secs(20) {
                bail!("Redis does not listen; it said:\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Its process.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Seconds of processor time that it has used.
    pub(super) fn processor_seconds(&self) -> f64 {
        Usage::of(self.child.id()).seconds
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It keeps nothing, so nothing has to be finished.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
