//! A program that a group starts beside itself: where it may listen, whether it does, what it has said, and its end.
//!
//! What programs there are and how they are told what to do is not known here.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How long a server may take until it listens: a cold start on a busy machine.
const LISTEN_LIMIT: Duration = Duration::from_secs(60);
/// Lines of what a program has said that are worth showing: its last words.
const LINES: usize = 20;

/// A child that is killed when dropped. Its folder goes with the measurement, so it has nothing to finish.
pub(super) struct Killed(pub(super) Child);

impl Killed {
    /// Starts a command that reads nothing and whose words go to the file `log`.
    pub(super) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = fs::File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let program = Path::new(command.get_program()).display().to_string();
        command.spawn().map(Self).with_context(|| format!("cannot start {program}"))
    }

    /// Waits until somebody listens at `address`; fails with what it said if it ends or takes too long.
    pub(super) fn wait_until_listening(
        &mut self,
        name: &str,
        address: &str,
        log: &Path,
    ) -> anyhow::Result<()> {
        self.wait_until(&format!("{name} does not listen"), LISTEN_LIMIT, log, || {
            TcpStream::connect(address).is_ok()
        })
    }

    /// Waits until a question is answered with yes; fails with `otherwise` and what it said if it ends or takes too long.
    pub(super) fn wait_until(
        &mut self,
        otherwise: &str,
        limit: Duration,
        log: &Path,
        is_so: impl Fn() -> bool,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        while !is_so() {
            if self.0.try_wait()?.is_some() || started.elapsed() > limit {
                bail!("{otherwise}; it said:\n{}", said(log));
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The last lines that a child has said so far, for messages.
pub(super) fn said(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// A port that is free now.
pub(super) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A program, on the only processor that it may use, if one is named.
///
/// `taskset` is part of every Debian; pinning from within would come after the first threads.
pub(super) fn pinned(program: &Path, core: Option<usize>) -> Command {
    match core {
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string()]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// This binary.
pub(super) fn own_binary() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("this binary is nowhere")
}
