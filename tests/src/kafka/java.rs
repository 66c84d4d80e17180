//! Java as brokers and their tools want it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::install::libs;
use crate::process::Process;

/// Starts a class in a folder of its own, where `log` is what it says.
pub(super) fn start(folder: &Path, heap_mib: u32, arguments: &[&str]) -> Process {
    let mut command = java(heap_mib, "WARN");
    command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    Process::start(folder, command)
}

/// Runs a class to its end. Panics with what it said if it fails.
#[track_caller]
pub(super) fn run(arguments: &[&str]) -> String {
    let command = java(128, "OFF");
    let output = Command::new(&command[0])
        .args(&command[1..])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("Java is there");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said.trim().to_owned()
}

/// A Java that starts fast and has few threads: tests have more processes than processors.
fn java(heap_mib: u32, level: &str) -> Vec<String> {
    let libs = libs().expect("callers have asked whether Kafka is there");
    vec![
        "java".to_owned(),
        format!("-Xmx{heap_mib}m"),
        "-XX:+UseSerialGC".to_owned(),
        "-XX:TieredStopAtLevel=1".to_owned(),
        format!("-Dlog4j2.level={level}"),
        "-cp".to_owned(),
        libs.join("*").display().to_string(),
    ]
}
