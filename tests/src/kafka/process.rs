//! One Java process under a shell that ends it when this process is gone, however it went.
//!
//! The shell waits for a line on its input: the signal to end Java with. Without a line its input was closed, because
//! we are gone: Java is killed and its folder removed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::install::libs;

const SUPERVISOR: &str = r#"
folder=$1; shift
"$@" </dev/null >>"$folder/log" 2>&1 &
echo $!
read -r signal; told=$?
kill -s "${signal:-KILL}" $! 2>/dev/null
kill -s CONT $! 2>/dev/null
wait $!
[ $told = 0 ] || { rm -rf "$folder"; rmdir "$(dirname "$folder")" 2>/dev/null; }
"#;

/// A running Java program.
pub(super) struct Process {
    supervisor: Child,
    id: u32,
}

impl Process {
    /// Starts a class in a folder of its own, where `log` is what it says.
    pub(super) fn start(folder: &Path, heap_mib: u32, arguments: &[&str]) -> Self {
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(folder)
            .args(java(heap_mib, "WARN"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The shell reports every end; the program's own words go to its log.
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let mut line = String::new();
        let output = supervisor.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("the shell says the process id");
        let id = line.trim().parse().expect("the shell says the process id");
        Self { supervisor, id }
    }

    /// Whether it still runs. One that ended by itself stays a zombie until its shell waits for it.
    pub(super) fn runs(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        // 4711 (java) S …
        status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    /// Sends a signal, as `STOP` or `CONT`.
    pub(super) fn signal(&self, signal: &str) {
        let id = self.id.to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().expect("kill is there");
        assert!(sent.success(), "the broker with process id {id} is gone");
    }

    /// Ends it by `KILL` or `TERM` and waits until it is gone. Its folder stays.
    pub(super) fn end(mut self, signal: &str) {
        let mut input = self.supervisor.stdin.take().expect("it is piped and never taken before");
        writeln!(input, "{signal}").expect("the shell reads");
        drop(input);
        self.supervisor.wait().expect("the shell is ours");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        drop(self.supervisor.wait());
    }
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
