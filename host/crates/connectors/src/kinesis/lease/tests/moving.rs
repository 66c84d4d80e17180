//! Shards that go from host to host.

use super::*;

/// Numbers without a pattern, the same in each run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

#[test]
fn a_storm_of_hosts_that_come_and_go_loses_and_repeats_nothing() {
    let stream = Stream::with(9);
    let table = memory();
    let watch = Watch::over(&stream);
    let mut dice = Dice(7);
    let mut hosts: Vec<Host> = Vec::new();
    for step in 0..30 {
        stream.fill(20);
        if hosts.len() < 2 || (hosts.len() < 5 && dice.throw(2) == 0) {
            let host = Host::join(&format!("host-{step}"), LONG, &table, &stream);
            watch.add(&host);
            hosts.push(host);
        } else {
            hosts.swap_remove(dice.throw(hosts.len())).leave();
        }
        // Sometimes the next one does not wait until all is even.
        if dice.throw(3) == 0 {
            even(&hosts, 9);
        }
    }
    even(&hosts, 9);
    stream.drained();
    drop(watch);
    assert_eq!(stream.check(), 0);
    assert!(hosts.iter().all(|host| host.flow.told("lost") == 0));
}

#[test]
fn what_a_dead_host_had_is_taken_over() {
    let stream = Stream::with(6);
    let table = memory();
    let watch = Watch::over(&stream);
    let mut hosts: Vec<Host> =
        ["a", "b", "c"].iter().map(|name| Host::join(name, SHORT, &table, &stream)).collect();
    hosts.iter().for_each(|host| watch.add(host));
    even(&hosts, 6);
    for _ in 0..20 {
        stream.fill(5);
        thread::park_timeout(BEAT);
    }
    hosts.remove(1).die();
    stream.fill(50);
    even(&hosts, 6);
    stream.fill(50);
    stream.drained();
    drop(watch);
    stream.check();
}

#[test]
fn a_host_that_hears_nothing_stops_by_itself_and_comes_back() {
    let stream = Stream::with(4);
    let table = memory();
    let watch = Watch::over(&stream);
    let hosts: Vec<Host> = ["a", "b"].iter().map(|name| Host::join(name, SHORT, &table, &stream)).collect();
    hosts.iter().for_each(|host| watch.add(host));
    even(&hosts, 4);
    stream.fill(30);
    let deaf = &hosts[0];
    deaf.line.is_cut.store(true, Ordering::Release);
    until("the other has all", || hosts[1].count() == 4);
    assert!((0..4).all(|shard| !deaf.leases.holds(&partition(shard))));
    until("its flow is told", || deaf.flow.told("lost") >= 2);
    until("it says why", || deaf.leases.trouble().is_some());
    stream.fill(30);
    deaf.line.is_cut.store(false, Ordering::Release);
    even(&hosts, 4);
    until("it says that all is well", || deaf.leases.trouble().is_none());
    stream.fill(30);
    stream.drained();
    drop(watch);
    stream.check();
}

#[test]
fn a_slow_flow_keeps_its_shards_until_it_is_done_with_them() {
    let stream = Stream::with(2);
    let memory = Arc::new(Memory::default());
    let table: Arc<dyn LeaseTable> = Arc::clone(&memory) as _;
    let slow = Host::join("slow", SHORT, &table, &stream);
    until("it has all", || slow.count() == 2);
    slow.flow.is_slow.store(true, Ordering::Release);
    let other = Host::join("other", SHORT, &table, &stream);
    until("it is asked", || slow.flow.told("revoking") == 1);
    let began = Instant::now();
    let left = || (0..2).map(partition).find(|one| !slow.leases.partitions().contains(one));
    until("one is on its way", || left().is_some());
    let wanted = left().unwrap();
    until("longer than a lease lasts", || {
        stream.fill(1);
        assert!(slow.leases.holds(&wanted), "what is under way may be emitted");
        assert!(!other.leases.holds(&wanted));
        began.elapsed() > 2 * SHORT
    });
    slow.flow.is_slow.store(false, Ordering::Release);
    until("the other has it", || other.leases.holds(&wanted));
    assert_eq!(slow.flow.told("lost"), 0);
    stream.drained();
    assert_eq!(stream.check(), 0);
}

#[test]
fn splits_and_merges_are_read_in_their_order_wherever_the_parents_are() {
    let stream = Stream::with(2);
    let table = memory();
    let watch = Watch::over(&stream);
    let mut hosts: Vec<Host> =
        ["a", "b", "c"].iter().map(|name| Host::join(name, LONG, &table, &stream)).collect();
    hosts.iter().for_each(|host| watch.add(host));
    until("both are read", || hosts.iter().map(Host::count).sum::<usize>() == 2);
    stream.fill(40);
    // A split, a merge of one half with the other shard, and a split of that, all before anything is read.
    stream.add(2, &[0]);
    stream.add(3, &[0]);
    stream.fill(40);
    stream.add(4, &[3, 1]);
    stream.fill(40);
    stream.add(5, &[4]);
    stream.add(6, &[4]);
    stream.fill(40);
    stream.drained();
    // Further ones while the hosts change.
    stream.add(7, &[5, 6]);
    stream.fill(40);
    hosts.remove(0).leave();
    stream.add(8, &[7]);
    stream.add(9, &[2]);
    stream.fill(40);
    stream.drained();
    until("closed shards are finished everywhere", || {
        let closed = [0, 1, 2, 3, 4, 5, 6, 7];
        hosts.iter().all(|host| closed.iter().all(|shard| host.leases.is_finished(&partition(*shard))))
    });
    even(&hosts, 10);
    assert_eq!(hosts[0].leases.count().unwrap(), 10);
    // A view that has read the parents has to read all of the children.
    for host in &hosts {
        for held in host.leases.partitions() {
            let has_parents = !host.leases.shard(&held).unwrap().parents.is_empty();
            assert!(!host.leases.kept("unknown", &held).unwrap().is_new);
            let kept = host.leases.kept(VIEW, &held).unwrap();
            assert!(kept.view.is_some() || has_parents == kept.is_new, "{held}");
        }
    }
    drop(watch);
    assert_eq!(stream.check(), 0);
}

#[test]
fn shards_that_the_stream_drops_are_revoked() {
    let stream = Stream::with(3);
    let host = Host::join("a", LONG, &memory(), &stream);
    until("it has all", || host.count() == 3);
    stream.fill(3);
    stream.drained();
    stream.shards().remove(&partition(1));
    // The end of a shard without children makes the host ask again and again.
    host.leases.end_reached(&partition(0));
    until("it goes", || host.count() == 2);
    until("its flow is told", || host.flow.told("revoked") == 1);
    assert!(host.leases.kept(VIEW, &partition(1)).is_err());
    assert_eq!(host.leases.count().unwrap(), 2);
    assert_eq!(host.leases.shard(&partition(1)), None);
}
