//! Where the broker and the Python client are. `cargo xtask test` installs them and says where.

use std::path::PathBuf;
use std::process::Command;

use crate::services::{cache, require};

/// Whether brokers can be started here. Says by name which test is skipped if not.
pub fn there() -> bool {
    let java = Command::new("java").arg("-version").output().is_ok_and(|output| output.status.success());
    let libs = libs().is_some_and(|libs| libs.is_dir());
    require("a Kafka broker (`cargo xtask setup` installs one)", java && libs)
}

/// A Python with the Kafka client, or a skip that names the test.
pub fn python() -> Option<PathBuf> {
    let folder = std::env::var_os("MILLRACE_KAFKA_VENV").map(PathBuf::from);
    let folder = folder.or_else(|| Some(cache()?.join("venv-kafka-2.16.0")));
    let python = folder.map(|folder| folder.join("bin/python")).filter(|python| python.is_file());
    require("Python's Kafka client (`cargo xtask setup` installs it)", python.is_some());
    python
}

/// The folder of the broker's jars.
pub(super) fn libs() -> Option<PathBuf> {
    let named = std::env::var_os("MILLRACE_KAFKA_LIBS").map(PathBuf::from);
    named.or_else(|| Some(cache()?.join("kafka-4.3.1/libs")))
}
