//! One of the demos' own scripts as it runs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, bail};

use crate::step::root;

/// A process that ends with the demo, whatever becomes of it.
pub(super) struct Running(Child);

impl Running {
    /// Starts a script of this folder with the Python of an environment.
    pub(super) fn python<A: AsRef<OsStr>>(
        environment: &Path,
        script: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Self> {
        let child = Command::new(environment.join("bin/python"))
            .arg(root().join("host/xtask/src/demo_drivers").join(script))
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {script}"))?;
        Ok(Self(child))
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.0.try_wait().context("cannot wait for a script")
    }

    /// Waits until it has done its work.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let status = self.0.wait().context("cannot wait for a script")?;
        if !status.success() {
            bail!("a script ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A no-op after it has ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
