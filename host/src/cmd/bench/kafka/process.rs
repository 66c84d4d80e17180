//! What processes use, by the kernel's account.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;

use crate::cmd::bench::figure::count;

/// Kernel ticks in a second, on every Linux that this runs on.
const TICKS: f64 = 100.0;

/// What a process and everything that it has started used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::cmd::bench) struct Usage {
    /// Seconds of processor time.
    pub(in crate::cmd::bench) seconds: f64,
    /// The most memory that each occupied at any time, summed; bytes.
    pub(super) peak_bytes: f64,
    /// What they occupy now; bytes.
    pub(super) resident_bytes: f64,
}

impl Usage {
    /// Of a process and its descendants, those that have ended included.
    pub(in crate::cmd::bench) fn of(root: u32) -> Self {
        let mut processes = BTreeMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
                && let Some(stat) = stat(id)
            {
                processes.insert(id, stat);
            }
        }
        let belongs = |mut id: u32| {
            while id != root && id > 1 {
                id = processes.get(&id).map_or(0, |stat: &Stat| stat.parent);
            }
            id == root
        };
        let mut usage = Self::default();
        for (&id, stat) in processes.iter().filter(|(id, _)| belongs(**id)) {
            // What the root waited for is its own; of descendants it would be lost when they end.
            usage.seconds += count(stat.own + stat.ended) / TICKS;
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            usage.peak_bytes += kibibytes(&status, "VmHWM:") * 1024.0;
            usage.resident_bytes += kibibytes(&status, "VmRSS:") * 1024.0;
        }
        usage
    }
}

/// Seconds of processor time that a process has used, all threads together, without what it has started.
pub(in crate::cmd::bench) fn processor_seconds(id: u32) -> anyhow::Result<f64> {
    let stat = stat(id).with_context(|| format!("there is no process {id}"))?;
    Ok(count(stat.own) / TICKS)
}

/// Seconds that all processors of the machine were busy so far.
pub(super) fn machine_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first.split_whitespace().skip(1).filter_map(|text| text.parse().ok()).collect();
    // user, nice, system, irq, softirq, steal.
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|index| ticks.get(*index)).sum();
    count(busy) / TICKS
}

struct Stat {
    parent: u32,
    own: u64,
    ended: u64,
}

fn stat(id: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name may hold spaces; what comes after it does not.
    let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: ticks(11) + ticks(12),
        ended: ticks(13) + ticks(14),
    })
}

fn kibibytes(status: &str, name: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0.0)
}
