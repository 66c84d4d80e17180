//! Partitions that go from host to host: nothing is lost, and repeated is only what could not be committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::error::Disposition;
use testkit::fake::component::FakeComponent;
use testkit::fake::group::MemoryGroup;

use crate::hosts::{Host, PATIENT, append, positions};

const PARTITIONS: [&str; 4] = ["t-0", "t-1", "t-2", "t-3"];
/// What hosts have a view of.
const VIEWS: [&str; 2] = ["v", "w"];

/// A sequence of numbers that a seed decides.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound as u64).unwrap()
    }
}

/// Two hosts on one group, and what has happened to each partition.
struct Pair {
    group: Arc<MemoryGroup>,
    hosts: Vec<Option<Host>>,
    owners: BTreeMap<&'static str, usize>,
    appended: BTreeMap<&'static str, u64>,
    /// How often records may have been emitted that were not committed.
    breaks: BTreeMap<&'static str, usize>,
    lives: usize,
}

impl Pair {
    fn new() -> Self {
        let group = MemoryGroup::new(&PARTITIONS);
        let mut pair = Self {
            group,
            hosts: Vec::new(),
            owners: BTreeMap::new(),
            appended: BTreeMap::new(),
            breaks: BTreeMap::new(),
            lives: 0,
        };
        for number in 0..2 {
            pair.lives += 1;
            pair.hosts.push(Some(started(Host::new(&pair.group, number))));
        }
        pair
    }

    fn host(&self, number: usize) -> &Host {
        self.hosts[number].as_ref().unwrap()
    }

    fn append(&mut self, partition: &'static str, count: usize) {
        let before = self.appended.get(partition).copied().unwrap_or(0);
        let values = (before as i64 + 1..).take(count);
        self.appended.insert(partition, append(&self.group, partition, values));
    }

    fn assign(&mut self, partition: &'static str, host: usize) {
        self.owners.insert(partition, host);
        self.host(host).member.assign(&[partition]);
    }

    fn revoke(&mut self, partition: &'static str) {
        let Some(owner) = self.owners.remove(partition) else { return };
        self.host(owner).member.revoke(&[partition], PATIENT);
    }

    /// Acknowledgements do not come in time.
    fn revoke_in_vain(&mut self, partition: &'static str) {
        let Some(owner) = self.owners.remove(partition) else { return };
        *self.breaks.entry(partition).or_default() += 1;
        let host = self.host(owner);
        host.output.gate.close();
        host.member.revoke(&[partition], Duration::from_millis(2));
        host.output.gate.open();
    }

    fn lose(&mut self, partition: &'static str) {
        let Some(owner) = self.owners.remove(partition) else { return };
        *self.breaks.entry(partition).or_default() += 1;
        self.host(owner).member.lose(&[partition]);
    }

    fn crash(&mut self, host: usize) {
        for (partition, owner) in std::mem::take(&mut self.owners) {
            if owner == host {
                *self.breaks.entry(partition).or_default() += 1;
            } else {
                self.owners.insert(partition, owner);
            }
        }
        self.lives += 1;
        let gone = self.hosts[host].take().unwrap();
        assert_eq!(gone.member.strays(), 0, "records for partitions that were gone");
        self.hosts[host] = Some(started(gone.crash(&self.group, self.lives)));
    }

    fn step(&mut self, chance: &mut Chance) {
        let partition = PARTITIONS[chance.below(PARTITIONS.len())];
        let host = chance.below(2);
        match chance.below(20) {
            0..5 => {
                let count = 1 + chance.below(40);
                self.append(partition, count);
            }
            5..9 if !self.owners.contains_key(partition) => self.assign(partition, host),
            5..9 => {
                self.revoke(partition);
                self.assign(partition, host);
            }
            9 => self.revoke(partition),
            10 => self.lose(partition),
            11 => self.host(host).member.commit(),
            12 => self.host(host).checkpoint(),
            13 => self.crash(host),
            14 => self.revoke_in_vain(partition),
            15 => self.host(host).member.failures.fail_next(1 + chance.below(3), Disposition::Retry),
            16 => self.host(host).output.failures.fail_next(1, Disposition::Retry),
            17 => {
                let view = VIEWS[chance.below(2)];
                let other = FakeComponent::adding(u8::try_from(2 + chance.below(200)).unwrap(), 0);
                let setup = self.host(host).view(view, &other);
                self.host(host).flow.swap_view(setup).unwrap();
            }
            // Let something be done.
            _ => std::thread::park_timeout(Duration::from_micros(300)),
        }
    }

    fn finish(&mut self) {
        for partition in PARTITIONS {
            self.append(partition, 1);
            if !self.owners.contains_key(partition) {
                self.assign(partition, 0);
            }
        }
        for partition in PARTITIONS {
            let through = self.appended[partition];
            let owner = self.host(self.owners[partition]);
            for view in VIEWS {
                owner.wait_marks(view, partition, through);
            }
        }
    }

    fn check(&self) {
        for partition in PARTITIONS {
            let through = self.appended[partition];
            let breaks = self.breaks.get(partition).copied().unwrap_or(0);
            for view in VIEWS {
                let positions = positions(&self.group, view, partition);
                check_suffixes(&positions, through, breaks);
            }
        }
        for host in self.hosts.iter().flatten() {
            assert_eq!(host.member.strays(), 0, "records for partitions that were gone");
        }
    }
}

fn started(host: Host) -> Host {
    VIEWS.iter().for_each(|view| host.start(view));
    host
}

/// All positions through the last, in order. After each break it may go on from further back; and from there right
/// behind the furthest, if the acknowledgement of what is there came late, which is true all the same.
#[track_caller]
fn check_suffixes(positions: &[u64], through: u64, breaks: usize) {
    let mut furthest = 0;
    let mut last = 0;
    let mut repeats = 0;
    for position in positions {
        assert!(*position <= furthest + 1, "a gap before {position} in {positions:?}");
        if *position != last + 1 && *position != furthest + 1 {
            assert!(*position <= last, "{position} behind {last} in {positions:?}");
            repeats += 1;
        }
        last = *position;
        furthest = furthest.max(last);
    }
    assert_eq!(furthest, through, "the last of {positions:?}");
    assert!(repeats <= breaks, "{repeats} repeats after {breaks} breaks in {positions:?}");
}

/// `HANDOVER_SEEDS` for a longer search.
fn seeds() -> u64 {
    std::env::var("HANDOVER_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(300)
}

#[test]
fn whatever_hosts_do_to_each_other_nothing_is_lost() {
    let first = std::env::var("HANDOVER_FIRST").ok().and_then(|first| first.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds() {
        let outcome = std::panic::catch_unwind(|| {
            let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut pair = Pair::new();
            for _ in 0..20 + chance.below(40) {
                pair.step(&mut chance);
            }
            pair.finish();
            pair.check();
        });
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
