//! The example's view file with other ends, and what is asked of a host that runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::demo::{build_host, copy_views};
use crate::step::{root, run};

const EXAMPLE: &str = "guest_examples/02_driver_stats";
pub(super) const VIEW: &str = "driver_hourly_stats_stream";

/// Builds the host and the example's transform in Rust. Says where the host is.
pub(super) fn build() -> anyhow::Result<PathBuf> {
    let host = build_host()?;
    run(
        "building the transform of the driver-statistics example",
        Command::new(&host).arg("build").arg(root().join(EXAMPLE).join("view.yaml")),
    )?;
    Ok(host)
}

/// Writes the example's view with another source and another output stream, each one line of YAML.
pub(super) fn write(views: &Path, source: &str, output: &str) -> anyhow::Result<()> {
    copy_views(&root().join(EXAMPLE), views)?;
    let view = views.join("view.yaml");
    let mut text = fs::read_to_string(&view).with_context(|| format!("cannot read {}", view.display()))?;
    let changes = [
        // Built already, where its source is.
        ("    build: { rust: guest }\n", String::new()),
        ("  start: earliest\n", String::new()),
        ("  file: { path: events.ndjson, follow: false }\n", format!("  {source}\n")),
        ("    file: { path: out/driver_hourly_stats_stream.ndjson }\n", format!("    {output}\n")),
    ];
    for (from, to) in changes {
        if !text.contains(from) {
            bail!("the example has no line `{}` any more", from.trim());
        }
        text = text.replace(from, &to);
    }
    fs::write(&view, text).with_context(|| format!("cannot write {}", view.display()))
}

/// What a host answers for some drivers, as Feast's clients ask.
pub(super) fn read(url: &str, drivers: &[u32]) -> anyhow::Result<Value> {
    let features = [format!("{VIEW}:conv_percentage"), format!("{VIEW}:acc_percentage")];
    let request = json!({"features": features, "entities": {"driver_id": drivers}});
    let mut response = ureq::post(format!("{url}/get-online-features"))
        .send(request.to_string())
        .context("cannot read features")?;
    Ok(serde_json::from_str(&response.body_mut().read_to_string()?)?)
}
