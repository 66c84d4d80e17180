//! A Redis of its own for groups that need one: no persistence, ended with the measurement.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::child::{Killed, free_port, pinned};
use super::kafka::Usage;

/// A server, ended when dropped.
pub(super) struct RedisServer {
    child: Killed,
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
        let (port, log) = (free_port()?, folder.join("redis.log"));
        let program = program.map_or_else(|| PathBuf::from("redis-server"), Clone::clone);
        let mut command = pinned(&program, core);
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--dir", &fs::canonicalize(folder)?.display().to_string()]);
        let child = Killed::start(command, &log)
            .context("install Redis (Debian: `redis-server`), or say where it is with --redis-server")?;
        let mut server = Self { child, address: format!("127.0.0.1:{port}") };
        server.child.wait_until_listening("Redis", &server.address, &log)?;
        Ok(server)
    }

    /// Its process.
    pub(super) fn process(&self) -> u32 {
        self.child.0.id()
    }

    /// Seconds of processor time that it has used.
    pub(super) fn processor_seconds(&self) -> f64 {
        Usage::of(self.process()).seconds
    }
}
