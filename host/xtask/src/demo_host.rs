//! A host as demos run it: started on a free port, waited for, stopped or killed.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::step::say;

/// A running host.
pub(crate) struct DemoHost {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
}

impl DemoHost {
    /// Starts it with its data in `folder`, and waits until it is ready.
    pub(crate) fn start(
        host: &Path,
        folder: &Path,
        views: &Path,
        settings: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .context("no free port")?
            .port();
        let address = format!("127.0.0.1:{port}");
        say(&format!("host run --views {} --listen {address}", views.display()));
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("host.log"));
        let mut command = Self::command(host);
        command.args(["run", "--listen", &address, "--views"]).arg(views);
        command.arg("--data-dir").arg(folder.join("data")).current_dir(folder);
        if let Some(settings) = settings {
            command.arg("--config").arg(settings);
        }
        let child = command
            .stdin(Stdio::null())
            .stderr(log.context("cannot make the log file")?)
            .spawn()
            .context("cannot start the host")?;
        let mut started = Self { child, url: format!("http://{address}") };
        let ready = wait(Duration::from_secs(60), || {
            if let Some(status) = started.child.try_wait()? {
                bail!("the host stopped at once: {status}");
            }
            Ok(ureq::get(format!("{}/readyz", started.url)).call().is_ok().then_some(()))
        });
        ready.with_context(|| {
            let log = fs::read_to_string(folder.join("host.log")).unwrap_or_default();
            format!("the host did not become ready; it said:\n{log}")
        })?;
        Ok(started)
    }

    /// The host's command, without the account of whoever started the demo: the servers of demos take anybody.
    pub(crate) fn command(host: &Path) -> Command {
        let mut command = Command::new(host);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command.envs([("AWS_ACCESS_KEY_ID", "demo"), ("AWS_SECRET_ACCESS_KEY", "demo")]);
        command
    }

    /// Waits until it ends by itself: until somebody stops it.
    pub(crate) fn wait(&mut self) -> anyhow::Result<()> {
        self.child.wait().context("cannot wait for the host").map(drop)
    }

    /// Kills it.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().context("cannot kill the host")?;
        self.wait()
    }

    /// Stops it as an operator would.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        if !status.success() {
            bail!("cannot signal the host");
        }
        let status = self.child.wait().context("cannot wait for the host")?;
        if !status.success() {
            bail!("the host stopped with {status}");
        }
        Ok(())
    }
}

impl Drop for DemoHost {
    fn drop(&mut self) {
        // A no-op after a clean stop; otherwise nothing may be left running.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Repeats until there is an answer or the time is up.
pub(crate) fn wait<T>(
    limit: Duration,
    mut attempt: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = attempt()? {
            return Ok(answer);
        }
        if started.elapsed() > limit {
            bail!("nothing happened for {} s", limit.as_secs());
        }
        thread::park_timeout(Duration::from_millis(5));
    }
}
