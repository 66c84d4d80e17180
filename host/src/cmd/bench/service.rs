//! A host of its own for groups that measure from outside.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tempfile::TempDir;

use super::child::{Killed, own_binary, pinned};
use super::client::Client;
use super::kafka::processor_seconds;

/// An empty folder on the disk that is worked on, not one in memory.
pub(super) fn folder() -> anyhow::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(".millrace-bench-")
        .tempdir_in(".")
        .context("cannot write into the working folder")
}

/// How long a host may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A host process, ended when dropped.
pub(super) struct Service {
    child: Killed,
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
        let mut command = pinned(&own_binary()?, core);
        let log = fs::File::create(folder.path().join("host.log"))?;
        let child = command
            .args(["run", "--views", "views", "--listen", &address.to_string(), "--color", "never"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start a host")?;
        let mut service = Self { child: Killed(child), address, folder };
        let log = service.path("host.log");
        service.child.wait_until("the host did not become ready", START_LIMIT, &log, || is_ready(address))?;
        Ok(service)
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
        processor_seconds(self.child.0.id())
    }

    /// Bytes of memory that it occupies.
    pub(super) fn resident_bytes(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.0.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("the kernel says no VmRSS")?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024.0)
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
