//! Where the servers and the Python client are. `cargo xtask test` installs them and says where.

use std::path::PathBuf;
use std::process::Command;

use crate::services::{cache, require};

/// Whether servers can be started here, and talked to by boto3. Says by name which test is skipped if not.
pub fn there() -> bool {
    let node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    let modules = modules().is_some_and(|modules| modules.join("kinesis-local/main.js").is_file());
    let python = python().is_some_and(|python| python.is_file());
    require("servers that speak Kinesis (`cargo xtask setup` installs them)", node && modules)
        && require("Python's boto3 (`cargo xtask setup` installs it)", python)
}

/// The folder of the servers' packages.
pub(super) fn modules() -> Option<PathBuf> {
    let named = std::env::var_os("MILLRACE_KINESIS_MODULES").map(PathBuf::from);
    named.or_else(|| Some(cache()?.join("kinesis-local-0.6.2-kinesalite-3.3.3/node_modules")))
}

/// A Python with boto3.
pub(super) fn python() -> Option<PathBuf> {
    let named = std::env::var_os("MILLRACE_BOTO3_VENV").map(PathBuf::from);
    Some(named.or_else(|| Some(cache()?.join("venv-boto3-1.44.5")))?.join("bin/python"))
}
