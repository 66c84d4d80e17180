//! One server process under a shell that ends it when this process is gone, however it went.
//!
//! The shell waits for a line on its input: the signal to end the server with. Without a line its input was closed,
//! because we are gone: the server is killed and its folder removed.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::wait::LIMIT;

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

/// A running server.
pub(crate) struct Process {
    supervisor: Child,
    id: u32,
}

impl Process {
    /// Starts a command in a folder of its own, where `log` is what it says.
    pub(crate) fn start(folder: &Path, command: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        Self::start_with(folder, command, &[])
    }

    /// The same with further variables in its environment.
    pub(crate) fn start_with(
        folder: &Path,
        command: impl IntoIterator<Item = impl AsRef<OsStr>>,
        variables: &[(&str, String)],
    ) -> Self {
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(folder)
            .args(command)
            .envs(variables.iter().map(|(name, value)| (name, value)))
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
    pub(crate) fn runs(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        // 4711 (java) S …
        status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    /// Waits until a question is answered with yes; `false` = it has ended, or takes longer than anything may.
    pub(crate) fn comes_up(&self, mut is_up: impl FnMut() -> bool) -> bool {
        let started = Instant::now();
        while !is_up() {
            if !self.runs() || started.elapsed() > LIMIT {
                return false;
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        true
    }

    /// Sends a signal, as `STOP` or `CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.id.to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().expect("kill is there");
        assert!(sent.success(), "the server with process id {id} is gone");
    }

    /// Ends it by `KILL` or `TERM` and waits until it is gone. Its folder stays.
    pub(crate) fn end(mut self, signal: &str) {
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
