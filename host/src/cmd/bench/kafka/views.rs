//! The host's files for this work: the ad-impression view from one topic to another.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Stage;
use super::watch::Running;
use crate::cmd::bench::child::{free_port, own_binary};
use crate::cmd::bench::service::{ad_view, is_ready};

/// How long a host may take until every view runs.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Whether rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cmd::bench) enum Store<'a> {
    /// Forgotten.
    Null,
    /// In the embedded store.
    Embedded,
    /// In Redis.
    Redis {
        /// Where, `host:port`.
        address: &'a str,
    },
}

/// Starts a host on a folder of its own.
pub(in crate::cmd::bench) fn start(
    stage: &Stage,
    name: &str,
    store: Store<'_>,
    input: &str,
    output: &str,
) -> anyhow::Result<(Running, u16)> {
    let folder = stage.empty(name)?;
    write(&folder, stage, store, input, output)?;
    let port = free_port()?;
    let mut command = Command::new(own_binary()?);
    match store {
        Store::Null => command.args(["bench-part", "null-store"]),
        Store::Embedded | Store::Redis { .. } => command.arg("run"),
    };
    command.args(["--views", "views", "--listen", &format!("127.0.0.1:{port}"), "--color", "never"]);
    command.current_dir(&folder);
    Ok((Running::start(name, command, &folder)?, port))
}

/// Waits until every view of a host runs.
pub(in crate::cmd::bench) fn wait_until_ready(running: &mut Running, port: u16) -> anyhow::Result<()> {
    let address = ([127, 0, 0, 1], port).into();
    running.wait_until("the host did not become ready", START_LIMIT, || is_ready(address))
}

fn write(folder: &Path, stage: &Stage, store: Store<'_>, input: &str, output: &str) -> anyhow::Result<()> {
    let store = match store {
        Store::Redis { address } => format!(
            "  cache:\n    redis: {{ addresses: \"{address}\" }}\nonline_store:\n  redis: {{ connection: cache }}\n"
        ),
        Store::Null | Store::Embedded => String::new(),
    };
    fs::create_dir_all(folder.join("views"))?;
    fs::write(folder.join("views/user_impression_counts.wasm"), &stage.component)?;
    fs::write(
        folder.join("host.yaml"),
        format!(
            "connections:\n  main:\n    kafka: {{ bootstrap_servers: \"{}\", security: plaintext }}\n{store}",
            stage.cluster.bootstrap
        ),
    )?;
    let from = format!("kafka: {{ connection: main, topic: {input}, start: earliest, group: {output} }}");
    let to = format!("kafka: {{ connection: main, topic: {output} }}");
    fs::write(folder.join("views/ads.yaml"), ad_view(&from, Some(&to)))?;
    Ok(())
}
