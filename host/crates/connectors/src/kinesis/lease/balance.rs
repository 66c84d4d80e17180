//! Which free leases a host takes, and which it asks others for. Decides, and does no IO.
//!
//! A host takes free leases up to its even share. If it still has two fewer than the host with the most, it asks that one
//! for half of the difference, so that the hosts end at most one apart.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use model::position::Partition;

/// Leases that a host asks for at once. More, and their readers all pause together; fewer, and it takes longer until hosts
/// are even.
const ASK_AT_ONCE: usize = 8;

/// Whose a lease is, as far as one host can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// This host's; somebody may want it.
    Mine {
        /// Who wants it.
        wanted_by: Option<&'a str>,
    },
    /// Nobody's, or of a host that is gone.
    Free,
    /// Given up for this host.
    Promised,
    /// Given up for another host, which has yet to take it.
    PromisedTo(&'a str),
    /// Another host's, or not known to be free yet.
    Other {
        /// Whose.
        owner: &'a str,
        /// Who wants it.
        wanted_by: Option<&'a str>,
    },
}

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// To be taken.
    pub(super) take: Vec<Partition>,
    /// To be asked for, with their owners.
    pub(super) ask: Vec<(Partition, String)>,
}

/// The hosts that are seen in these, `me` included.
pub(super) fn hosts<'a>(me: &'a str, leases: &[(Partition, Standing<'a>)]) -> BTreeSet<&'a str> {
    let mut hosts = BTreeSet::from([me]);
    for (_, standing) in leases {
        match standing {
            Standing::Free | Standing::Promised => {}
            Standing::PromisedTo(host) => {
                hosts.insert(host);
            }
            Standing::Mine { wanted_by } => hosts.extend(wanted_by),
            Standing::Other { owner, wanted_by } => {
                hosts.insert(owner);
                hosts.extend(wanted_by);
            }
        }
    }
    hosts
}

/// What `me`, one of `hosts`, does about these leases.
pub(super) fn balance(me: &str, hosts: usize, leases: &[(Partition, Standing<'_>)]) -> Decision {
    // As if all that is promised had happened.
    let mut counts: BTreeMap<&str, usize> = BTreeMap::from([(me, 0)]);
    let mut free = Vec::new();
    let mut decision = Decision::default();
    let mut is_asking = false;
    for (partition, standing) in leases {
        let next = match *standing {
            Standing::Mine { wanted_by } => wanted_by.unwrap_or(me),
            Standing::PromisedTo(host) => host,
            Standing::Other { owner, wanted_by } => {
                is_asking |= wanted_by == Some(me);
                wanted_by.unwrap_or(owner)
            }
            Standing::Promised => {
                decision.take.push(partition.clone());
                me
            }
            Standing::Free => {
                free.push(partition);
                continue;
            }
        };
        *counts.entry(next).or_default() += 1;
    }
    let mine = counts[me];
    let share = leases.len().div_ceil(hosts.max(1));
    let is_all_taken = free.is_empty();
    // Each host in an order of its own, so that those who look at the same moment seldom want the same.
    free.sort_by_cached_key(|partition| order(me, partition));
    decision.take.extend(free.into_iter().take(share.saturating_sub(mine)).cloned());
    if !is_all_taken || is_asking {
        return decision;
    }
    let idle = leases.iter().filter_map(|(partition, standing)| match standing {
        Standing::Other { owner, wanted_by: None } => Some((partition, *owner)),
        _ => None,
    });
    let donors = idle.clone().map(|(_, owner)| (counts[owner], owner));
    let Some((most, donor)) = donors.max().filter(|(most, _)| *most >= mine + 2) else { return decision };
    let asked = idle.filter(|(_, owner)| *owner == donor).take(((most - mine) / 2).min(ASK_AT_ONCE));
    decision.ask = asked.map(|(partition, owner)| (partition.clone(), owner.to_owned())).collect();
    decision
}

fn order(me: &str, partition: &Partition) -> u64 {
    let mut hasher = DefaultHasher::new();
    (me, partition).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `owners`: one letter for each lease: `-` free, `!` promised to us, a host's letter, or two with a slash: owner and
    /// who wants it. `-/b`: promised to b.
    #[track_caller]
    fn check(owners: &str, takes: usize, asks: usize) {
        let leases: Vec<(Partition, Standing<'_>)> = owners
            .split(' ')
            .enumerate()
            .map(|(index, text)| {
                let (owner, wanted_by) = text.split_once('/').map_or((text, None), |(o, w)| (o, Some(w)));
                let standing = match (owner, wanted_by) {
                    ("-", None) => Standing::Free,
                    ("-", Some(host)) => Standing::PromisedTo(host),
                    ("!", _) => Standing::Promised,
                    ("a", wanted_by) => Standing::Mine { wanted_by },
                    (owner, wanted_by) => Standing::Other { owner, wanted_by },
                };
                (Partition::new(format!("shard-{index}")), standing)
            })
            .collect();
        let decision = balance("a", hosts("a", &leases).len(), &leases);
        assert_eq!((decision.take.len(), decision.ask.len()), (takes, asks), "{owners}: {decision:?}");
    }

    #[test]
    fn a_host_takes_its_share_and_asks_for_what_is_missing() {
        check("- - - -", 4, 0);
        check("- - b -", 2, 0);
        check("- - b c", 2, 0);
        check("a a - b", 0, 0);
        check("a - -", 2, 0);
        check("b b b b", 0, 2);
        check("b b b", 0, 1);
        check("b b", 0, 1);
        check("b", 0, 0);
        check("a b b", 0, 0);
        check("b b c c", 0, 1);
        check("b b b b b b b b b b b b b b b b b b b b b b b b", 0, ASK_AT_ONCE);
    }

    #[test]
    fn what_is_promised_counts_as_done() {
        check("! b b", 1, 0);
        check("b/a b b", 0, 0);
        check("b/a b/c b b", 0, 0);
        check("b/c b/c b b", 0, 1);
        check("b/c b/c b/c b b", 0, 1);
        check("a/b a a b", 0, 0);
        check("-/b -/b", 0, 0);
        check("- -/b", 1, 0);
    }
}
