//! Builds a guest written in Rust.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use serde_json::Value;

use super::toolchain::{self, Rust};

/// Builds the crate in `directory`; gives the bytes of its core module.
pub(super) fn build(rust: &Rust, directory: &Path) -> anyhow::Result<Vec<u8>> {
    let manifest = directory.join("Cargo.toml");
    if !manifest.is_file() {
        bail!("{} is not there; `transform.build.rust` names the folder of a crate", manifest.display());
    }
    toolchain::require_cargo()?;
    // One target folder for all guests: the standard library and common dependencies are compiled once.
    let target = super::cache_directory()?.join("wasm-target").join(rust.name());
    let mut child = rust
        .cargo(&target)
        .arg("--message-format=json-render-diagnostics")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let stdout = child.stdout.take().expect("stdout was piped");
    let mut module = None;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo says")?;
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        if let Some(path) = artifact(&message, &manifest) {
            module = Some(path);
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("cargo failed: {status}");
    }
    let Some(module) = module else {
        bail!(
            "{} makes no wasm module; it needs\n    [lib]\n    crate-type = [\"cdylib\"]",
            manifest.display()
        );
    };
    fs::read(&module).with_context(|| format!("cannot read {}", module.display()))
}

/// The wasm file that a message of cargo announces for the crate of `manifest`.
fn artifact(message: &Value, manifest: &Path) -> Option<PathBuf> {
    let manifest = fs::canonicalize(manifest).ok()?;
    let announced = fs::canonicalize(message["manifest_path"].as_str()?).ok()?;
    if message["reason"] != "compiler-artifact" || announced != manifest {
        return None;
    }
    let files = message["filenames"].as_array()?;
    files
        .iter()
        .filter_map(Value::as_str)
        .map(PathBuf::from)
        .find(|path| path.extension().is_some_and(|e| e == "wasm"))
}
