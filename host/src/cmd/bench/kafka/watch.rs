//! Runs a child and watches, from outside, what it puts out and what that costs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use connectors::kafka::limit::Ends;

use super::process::{Usage, machine_seconds, processor_seconds};
use crate::cmd::bench::child::{Killed, said};
use crate::cmd::bench::figure::count;

/// Time between two looks.
const STEP: Duration = Duration::from_millis(50);
/// Longer than a checkpoint's interval: what was put off is done by then.
const SETTLE: Duration = Duration::from_secs(3);
/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a run came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measured {
    /// Records that came out in a second.
    pub(super) rate: f64,
    /// Seconds of processor time for a million events.
    pub(super) cpu: f64,
    /// The same with what was put off until after the last record: a checkpoint.
    pub(super) settled_cpu: f64,
    /// The broker's.
    pub(super) broker_cpu: f64,
    /// That of the Redis that takes the rows; 0 without one.
    pub(super) store_cpu: f64,
    /// The most memory that it occupied, MiB.
    pub(super) peak: f64,
    /// Processors that everything else on the machine kept busy. Far above 0.3 the figures are not clean.
    pub(super) others: f64,
}

/// A child, asked to end when dropped, and killed if it does not.
pub(in crate::cmd::bench) struct Running {
    child: Killed,
    name: String,
    log: PathBuf,
}

impl Running {
    /// Starts a child that logs into `folder`.
    pub(super) fn start(name: &str, command: Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join("log");
        let child = Killed::start(command, &log).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// Fails if it has ended.
    pub(in crate::cmd::bench) fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.0.try_wait()? {
            bail!("{} ended with {status}; it said:\n{}", self.name, said(&self.log));
        }
        Ok(())
    }

    /// Waits until a question is answered with yes; see [`Killed::wait_until`].
    pub(super) fn wait_until(
        &mut self,
        otherwise: &str,
        limit: Duration,
        is_so: impl Fn() -> bool,
    ) -> anyhow::Result<()> {
        self.child.wait_until(otherwise, limit, &self.log, is_so)
    }

    /// What it used so far.
    pub(in crate::cmd::bench) fn usage(&self) -> Usage {
        Usage::of(self.child.0.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A shell or a virtual machine passes this on to what it has started; it is given a moment for it.
        let terminate = rustix::process::Pid::from_child(&self.child.0);
        let _already_gone = rustix::process::kill_process(terminate, rustix::process::Signal::TERM);
        let started = Instant::now();
        while matches!(self.child.0.try_wait(), Ok(None)) && started.elapsed() < Duration::from_secs(5) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

#[derive(Clone, Copy)]
struct Sample {
    at: f64,
    done: u64,
    cpu: f64,
    broker: f64,
    store: f64,
    machine: f64,
    own: f64,
}

/// Watches a child until its output topic holds that many records. `from`: records before the part that counts.
pub(super) fn watch(
    running: &mut Running,
    ends: &Ends,
    broker: Option<u32>,
    store: Option<u32>,
    events: u64,
    from: u64,
) -> anyhow::Result<Measured> {
    let started = Instant::now();
    let look = |running: &Running, done: u64| Sample {
        at: started.elapsed().as_secs_f64(),
        done,
        cpu: running.usage().seconds,
        broker: broker.map_or(0.0, |process| Usage::of(process).seconds),
        store: store.map_or(0.0, |process| Usage::of(process).seconds),
        machine: machine_seconds(),
        own: own_seconds(),
    };
    // The last look before what counts, and the newest.
    let (mut first, mut last) = (look(running, 0), look(running, 0));
    while last.done < events {
        std::thread::park_timeout(STEP);
        last = look(running, ends.sum()?);
        if last.done <= from {
            first = last;
        }
        running.check()?;
        if started.elapsed() > PATIENCE {
            bail!(
                "{}: {} of {events} records after ten minutes:\n{}",
                running.name,
                last.done,
                said(&running.log)
            );
        }
    }
    std::thread::park_timeout(SETTLE);
    let settled = running.usage();
    let (seconds, millions) = (last.at - first.at, count(last.done - first.done) / 1e6);
    Ok(Measured {
        rate: millions * 1e6 / seconds,
        cpu: (last.cpu - first.cpu) / millions,
        settled_cpu: (settled.seconds - first.cpu) / millions,
        broker_cpu: (last.broker - first.broker) / millions,
        store_cpu: (last.store - first.store) / millions,
        peak: settled.peak_bytes / f64::from(1 << 20),
        others: ((last.machine - first.machine)
            - (last.cpu - first.cpu)
            - (last.broker - first.broker)
            - (last.store - first.store)
            - (last.own - first.own))
            / seconds,
    })
}

/// What looking costs itself: not of the children, which the kernel adds once they have ended.
fn own_seconds() -> f64 {
    processor_seconds(std::process::id()).unwrap_or_default()
}
