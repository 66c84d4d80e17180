//! What is wrong with a Redis before anything runs: for `host check --connect` and `host doctor`.
//!
//! Goes from the outside in: as long as nobody lets us in, nothing else is looked at. Leaves no trace, except that
//! [`Depth::Doctor`] teaches the server a script, and writes a key of our own and removes it again in one step.

mod rights;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::error::Failure;
use redis::{Cmd, Value};
use tokio::runtime::Handle;

use super::{Connection, Keyed, Mode, Nodes, RedisMetrics, Script, Shard, Shared, Version, layout};
use crate::finding::{Depth, Finding, Severity};

/// The oldest Redis that this is made for.
const OLDEST: Version = Version(6, 2, 0);

/// What the host does with a row, with nothing left of it.
const TRIAL: &str = "\
redis.call('HSET', KEYS[1], 'trial', ARGV[1]) \
redis.call('PEXPIRE', KEYS[1], 1000) \
local read = redis.call('HMGET', KEYS[1], 'trial') \
redis.call('DEL', KEYS[1]) \
return read[1]";

/// Looks at a Redis with the eyes of what is going to use it: an online store or leases of this project. Blocks, for some
/// seconds where something is wrong; not to be called on a thread of the runtime.
pub fn probe(connection: &Connection, project: &str, runtime: &Handle, depth: Depth) -> Vec<Finding> {
    let shared = Shared::new(runtime.clone(), RedisMetrics::detached(), Arc::new(|_, _| {}));
    let probe = match Nodes::open(connection, &shared) {
        Ok(nodes) => Probe { connection, project, nodes },
        Err(failure) => return vec![no_contact(connection, &failure)],
    };
    let shards = match runtime.block_on(probe.nodes.masters()) {
        Ok(shards) => shards,
        Err(failure) => return vec![no_contact(connection, &failure)],
    };
    let mut findings: Vec<Finding> = shards.iter().flat_map(|shard| probe.master(shard)).collect();
    findings.extend(probe.cluster(&shards));
    findings.extend(shards.iter().filter_map(|shard| probe.rights(shard)));
    if depth == Depth::Doctor && findings.iter().all(|finding| finding.severity < Severity::Problem) {
        findings.extend(runtime.block_on(probe.trial()));
    }
    findings
}

struct Probe<'a> {
    connection: &'a Connection,
    project: &'a str,
    nodes: Arc<Nodes>,
}

impl Probe<'_> {
    fn found(&self, severity: Severity, message: String, help: impl Into<String>) -> Finding {
        let what = format!("connection `{}`", self.connection.name);
        Finding { severity, what, message, help: help.into() }
    }

    /// What a master says of itself.
    fn master(&self, shard: &Shard) -> Vec<Finding> {
        let (identity, address) = (&shard.identity, &shard.address);
        let mut told = match identity.version {
            Some(version) => format!("`{address}` is Redis {version}, a master"),
            None => format!("`{address}` is a master"),
        };
        if self.connection.mode == Mode::Cluster {
            told.push_str(&format!(" with {} slots", slots(shard)));
        }
        let mut findings = Vec::new();
        if let Some(version) = identity.version.filter(|version| *version < OLDEST) {
            let message = format!("`{address}` is Redis {version}; nothing before {OLDEST} was ever tried");
            findings.push(self.found(Severity::Warning, message, "use a newer one"));
        }
        if let Some(policy) = identity.evicts() {
            let message = format!(
                "`{address}` has `maxmemory-policy {policy}`: it throws rows away when memory runs short, and nobody notices"
            );
            findings.push(self.found(Severity::Warning, message, "set `maxmemory-policy noeviction`"));
        }
        let used = self.info(shard, "memory", "used_memory").and_then(|bytes| bytes.parse::<u64>().ok());
        if let (Some(used), Some(most)) = (used, identity.maxmemory.filter(|most| *most > 0)) {
            told.push_str(&format!(", {} of {} MiB of memory used", used >> 20, most >> 20));
            // One tenth is soon gone.
            if used > most / 10 * 9 {
                let message = format!(
                    "`{address}` has used {} of the {} MiB of its `maxmemory`",
                    used >> 20,
                    most >> 20
                );
                let help = "raise `maxmemory` or make room: a full server refuses rows, and the host waits";
                findings.push(self.found(Severity::Warning, message, help));
            }
        }
        if self.info(shard, "persistence", "aof_enabled").as_deref() == Some("0") {
            let message = format!(
                "`{address}` keeps no append-only file: what was written since its last snapshot is lost when it restarts, \
                 and has to be read again from the sources"
            );
            findings.push(self.found(Severity::Warning, message, "set `appendonly yes`"));
        }
        findings.insert(0, self.found(Severity::Note, told, ""));
        findings
    }

    /// Slots that nobody holds.
    fn cluster(&self, shards: &[Shard]) -> Option<Finding> {
        let held: usize = shards.iter().map(slots).sum();
        if self.connection.mode != Mode::Cluster || held >= usize::from(super::SLOTS) {
            return None;
        }
        let message = format!("{held} of {} slots are held by a master", super::SLOTS);
        Some(self.found(
            Severity::Problem,
            message,
            "mend the cluster; see `CLUSTER INFO` and `CLUSTER NODES`",
        ))
    }

    /// Commands that the user may not run.
    fn rights(&self, shard: &Shard) -> Option<Finding> {
        let missing = match self.nodes.core.connect(&shard.address) {
            Ok(mut connection) => rights::missing(&mut connection, self.project, self.nodes.is_cluster()),
            Err(error) => Err(error),
        };
        let address = &shard.address;
        match missing {
            Ok(missing) if missing.is_empty() => None,
            Ok(missing) => {
                let user = self.connection.username.as_deref().unwrap_or("default");
                let message = format!("at `{address}` user `{user}` may not: {}", missing.join("; "));
                Some(self.found(Severity::Problem, message, rights::help(user, self.project)))
            }
            Err(error) => Some(no_contact(self.connection, &self.nodes.failure("try commands", error))),
        }
    }

    /// Does what a host does.
    async fn trial(&self) -> Option<Finding> {
        let key = rights::key(self.project);
        let script = Arc::new(Script::new(TRIAL));
        let failed = match self.nodes.run(vec![Keyed::script(&script, &[&key], "1")]).await {
            Ok(answers) => answers.into_iter().find_map(Result::err),
            Err(failure) => Some(failure),
        };
        failed.map(|failure| {
            let help = "mend what it says; a host would wait, or stop, with the same words";
            self.found(Severity::Problem, format!("failed to write, read and remove a key: {failure}"), help)
        })
    }

    /// One line of what a master tells; `None` if it tells nothing.
    fn info(&self, shard: &Shard, section: &str, name: &str) -> Option<String> {
        let mut connection = self.nodes.core.connect(&shard.address).ok()?;
        let mut command = Cmd::new();
        command.arg("INFO").arg(section);
        let answer: Value = command.query(&mut connection).ok()?;
        layout::info(&answer, name).map(str::to_owned)
    }
}

fn slots(shard: &Shard) -> usize {
    shard.slots.iter().map(|slots| usize::from(slots.end() - slots.start()) + 1).sum()
}

fn no_contact(connection: &Connection, failure: &Failure) -> Finding {
    let help = match connection.tls {
        None => "check the addresses, and whether the server wants `tls` or a `password`",
        Some(_) => "check the addresses, the certificates and the `password`",
    };
    Finding {
        severity: Severity::Problem,
        what: format!("connection `{}`", connection.name),
        message: format!("failed to {failure}"),
        help: help.to_owned(),
    }
}
