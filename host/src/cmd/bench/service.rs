//! A host of its own for groups that measure from outside.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;

/// An empty folder on the disk that is worked on, not one in memory.
pub(super) fn folder() -> anyhow::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(".millrace-bench-")
        .tempdir_in(".")
        .context("cannot write into the working folder")
}

/// A host process, ended when dropped.
pub(super) struct Service {
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
    folder: TempDir,
}

impl Service {
    /// Starts a host on views that `prepare` writes. `core`: the only processor that it may use.
    pub(super) fn start(
        core: Option<usize>,
        prepare: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let folder = folder()?;
        fs::create_dir(folder.path().join("views"))?;
        prepare(&folder.path().join("views"))?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let host = std::env::current_exe().context("this binary is nowhere")?;
        // `taskset` is part of every Debian; pinning from within would come after the first threads.
        let mut command = match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(&host);
                command
            }
            None => Command::new(&host),
        };
        let log = fs::File::create(folder.path().join("host.log"))?;
        let child = command
            .args(["run", "--views", "views", "--listen", &address.to_string(), "--color", "never"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start a host")?;
        let mut service = Self { child, address, folder };
        service.wait_until_ready()?;
        Ok(service)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while !is_ready(self.address) {
            if self.child.try_wait()?.is_some() || started.elapsed() > Duration::from_secs(120) {
                let log = fs::read_to_string(self.path("host.log")).unwrap_or_default();
                bail!("the host did not become ready; it said:\n{log}");
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }

    /// A path in the host's folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `/readyz` says of the views.
    pub(super) fn views(&self) -> anyhow::Result<Vec<Value>> {
        let (_, body) = Client::connect(self.address)?.get("/readyz")?;
        let body: Value = serde_json::from_slice(&body)?;
        Ok(body["views"].as_array().cloned().unwrap_or_default())
    }

    /// Seconds of processor time that it has used, all threads together.
    pub(super) fn processor_seconds(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name may hold spaces; what comes after it does not.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        Ok(super::figure::count(ticks(11) + ticks(12)) / 100.0)
    }

    /// Bytes of memory that it occupies.
    pub(super) fn resident_bytes(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("the kernel says no VmRSS")?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024.0)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The folder goes too, so nothing has to be finished.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether the host there says that it is ready.
pub(super) fn is_ready(address: SocketAddr) -> bool {
    Client::connect(address)
        .and_then(|mut client| client.get("/readyz"))
        .is_ok_and(|(status, _)| status == 200)
}

/// The output stream of most groups.
pub(super) const TO_FILE: &str = "file: { path: out.ndjson }";

/// The ad-impression view over a source that `source` describes (`push: {}`, `file: {…}`, `kafka: {…}`), with an output
/// stream that `output` describes likewise.
pub(super) fn ad_view(source: &str, output: Option<&str>) -> String {
    let output = output.map_or_else(String::new, |output| {
        format!("\n  output_stream:\n    {output}\n    include_features: true")
    });
    format!(
        "entity: {{ name: user, join_keys: {{ user_id: string }} }}
---
source:
  name: ad_impressions
  {source}
  schema:
    timestamp: timestamp
    user_uuid: {{ type: string, nullable: false }}
    ad_id: int64
    clicked: bool
    bid: float64
  timestamp_field: timestamp
---
view:
  name: user_impression_counts
  source: ad_impressions
  entities: [user]
  transform: {{ component: user_impression_counts.wasm }}
  features: {{ impression: int64 }}
  timestamp_field: timestamp
  ttl: 36500d{output}
"
    )
}
