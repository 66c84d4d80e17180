//! Which way rows go: claimed or compared, and what makes it change.

use super::*;

fn rows(times: std::ops::Range<u32>) -> Vec<TestRow> {
    times.map(|n| TestRow::new(n % 10, i64::from(n), u64::from(n), i64::from(n))).collect()
}

struct Rig {
    server: Server,
    _directories: Vec<TempDir>,
    hosts: Vec<(Host, Shared)>,
    view: ViewRef,
}

impl Rig {
    fn start(test: &str, hosts: usize) -> Option<Self> {
        let server = Server::start(test, &[])?;
        let mut rig =
            Self { server, _directories: Vec::new(), hosts: Vec::new(), view: counts_view("counts") };
        for number in 0..hosts {
            rig.open(&format!("host:{number}"));
        }
        Some(rig)
    }

    fn open(&mut self, instance: &str) {
        let directory = tempfile::tempdir().unwrap();
        let shared = Shared::for_tests(RUNTIME.handle().clone());
        let host = Host::try_open(directory.path(), &self.server.connection("cache"), instance, |options| {
            options.shared = shared.clone();
        });
        self.hosts.push((host.unwrap(), shared));
        self._directories.push(directory);
    }

    /// Writes rows, and returns how many went which way: without looking, compared, late.
    fn write(&self, host: usize, rows: &[TestRow]) -> (u64, u64, u64) {
        let (host, shared) = &self.hosts[host];
        let before = host.ways(shared, "counts");
        host.write(batch(&self.view, "0", 1, rows)).unwrap();
        let after = host.ways(shared, "counts");
        (after.0 - before.0, after.1 - before.1, after.2 - before.2)
    }

    /// Writes until the host need not look.
    #[track_caller]
    fn until_claimed(&self, host: usize, rows: &[TestRow]) {
        until("the claim is granted", || self.write(host, rows).0 == rows.len() as u64);
    }

    fn claim(&self) -> Option<String> {
        self.server.ask(&["GET", "millrace:default:claim:counts"])
    }
}

use testkit::contract::online::counts_view;

#[test]
fn a_host_that_is_alone_claims_at_once_and_knows_what_it_wrote() {
    let Some(rig) = Rig::start("a_host_that_is_alone_claims_at_once", 1) else { return };
    assert_eq!(rig.write(0, &rows(0..10)), (0, 10, 0), "nothing is known of them yet");
    assert!(rig.claim().unwrap().starts_with("host:0:"));
    assert_eq!(rig.write(0, &rows(10..20)), (10, 0, 0));
    assert_eq!(rig.write(0, &rows(10..20)), (10, 0, 0), "again changes nothing");
    let (host, _) = &rig.hosts[0];
    assert_eq!(host.write(batch(&rig.view, "0", 1, &rows(0..10))).unwrap(), (0..10).collect::<Vec<_>>());
    assert_eq!(host.get(&rig.view, 3), Some((13, 13)));
}

#[test]
fn another_writer_breaks_the_claim_and_nobody_has_it_while_both_write() {
    let Some(rig) = Rig::start("another_writer_breaks_the_claim", 2) else { return };
    rig.until_claimed(0, &rows(0..10));
    assert_eq!(rig.write(1, &rows(10..20)), (0, 10, 0));
    assert_eq!(rig.claim(), None);
    // What the first knew is of no more use: its rows are late, and it finds out.
    assert_eq!(rig.write(0, &rows(5..15)), (0, 5, 5));
    assert_eq!(rig.write(0, &rows(20..25)), (0, 5, 0));
    assert_eq!(rig.write(1, &rows(25..30)), (0, 5, 0));
    assert_eq!(rig.claim(), None);
    let value = |entity| rig.hosts[0].0.get(&rig.view, entity);
    assert_eq!(
        (value(0), value(4), value(5), value(9)),
        (Some((20, 20)), Some((24, 24)), Some((25, 25)), Some((29, 29)))
    );
}

#[test]
fn a_claim_that_is_quiet_for_long_enough_is_taken_over() {
    let Some(rig) = Rig::start("a_claim_that_is_quiet_for_long_enough_is_taken_over", 2) else { return };
    rig.until_claimed(0, &rows(0..10));
    rig.write(1, &rows(10..20));
    // The other host is gone for a minute, as Redis sees it.
    let now: Vec<u64> = rig.server.ask(&["TIME"]);
    let then = (now[0] - 60).to_string();
    rig.server.ask::<()>(&["HSET", "millrace:default:writers:counts", "host:0", &then]);
    rig.until_claimed(1, &rows(20..30));
    assert!(rig.claim().unwrap().starts_with("host:1:"));
}

#[test]
fn a_restarted_host_claims_at_once() {
    let Some(mut rig) = Rig::start("a_restarted_host_claims_at_once", 1) else { return };
    rig.until_claimed(0, &rows(0..10));
    let before = rig.claim();
    rig.open("host:0");
    assert_eq!(rig.write(1, &rows(10..20)), (0, 10, 0));
    assert_eq!(rig.write(1, &rows(20..30)), (10, 0, 0));
    assert_ne!(rig.claim(), before);
    // The old one, should it still be there, is as any other.
    assert_eq!(rig.write(0, &rows(5..15)), (0, 0, 10));
}

#[test]
fn a_view_that_was_removed_and_comes_back_is_counted() {
    let Some(rig) = Rig::start("a_view_that_was_removed_and_comes_back_is_counted", 1) else { return };
    rig.write(0, &rows(0..3));
    rig.hosts[0].1.metrics.forget_view("counts");
    let (claimed, compared, _) = rig.write(0, &rows(10..13));
    assert_eq!(claimed + compared, 3);
}

#[test]
fn scripts_that_were_flushed_are_loaded_again() {
    let Some(rig) = Rig::start("scripts_that_were_flushed_are_loaded_again", 2) else { return };
    for round in 0..4 {
        rig.server.ask::<()>(&["SCRIPT", "FLUSH"]);
        assert_eq!(rig.write(0, &rows(round * 10..round * 10 + 10)).2, 0);
        rig.server.ask::<()>(&["SCRIPT", "FLUSH"]);
        assert_eq!(rig.write(round as usize % 2, &rows(round * 10..round * 10 + 10)).2, 0);
    }
    assert_eq!(rig.hosts[1].0.get(&rig.view, 7), Some((37, 37)));
}

#[test]
fn a_claim_survives_neither_its_connection_nor_is_it_missed() {
    let Some(rig) = Rig::start("a_claim_survives_neither_its_connection", 1) else { return };
    rig.until_claimed(0, &rows(0..10));
    let before = rig.claim();
    rig.server.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
    let (host, _) = &rig.hosts[0];
    assert_eq!(host.write_at_last(&batch(&rig.view, "0", 1, &rows(10..20))), NONE);
    assert_ne!(rig.claim(), before);
    rig.until_claimed(0, &rows(20..30));
}

#[test]
fn what_feast_writes_is_compared_with() {
    let Some(rig) = Rig::start("what_feast_writes_is_compared_with", 1) else { return };
    rig.hosts[0]
        .0
        .write(batch(
            &rig.view,
            "0",
            1,
            &[TestRow::new(1, 1_000_000, 1, 1), TestRow::new(2, 9_000_000, 1, 2)],
        ))
        .unwrap();
    let keys: Vec<Vec<u8>> = rig.server.ask(&["KEYS", "*user*"]);
    assert_eq!(keys.len(), 2);
    for key in keys {
        // Feast, at second 5.
        let mut command = redis::cmd("HSET");
        command.arg(&key).arg("_ts:counts").arg(&[8u8, 5][..]);
        command.exec(&mut rig.server.client()).unwrap();
    }
    // A host that knows nothing of what was there.
    let directory = tempfile::tempdir().unwrap();
    let other = Host::open(directory.path(), &rig.server.connection("cache"), "other");
    let late = other.write(batch(
        &rig.view,
        "0",
        1,
        &[TestRow::new(1, 4_999_999, 2, 10), TestRow::new(2, 5_000_000, 2, 20)],
    ));
    assert_eq!(late.unwrap(), [0], "entity 1 is older than what Feast wrote, entity 2 is not");
    assert_eq!(other.get(&rig.view, 2), Some((2, 20)));
}

#[test]
fn hashes_live_as_long_as_the_view_that_lives_longest() {
    let Some(rig) = Rig::start("hashes_live_as_long_as_the_view_that_lives_longest", 1) else { return };
    let (host, shared) = &rig.hosts[0];
    let with_ttl = |name: &str, seconds: i64| {
        let mut view = ViewRef::unwrap_or_clone(counts_view(name));
        view.ttl_micros = Some(seconds * 1_000_000);
        Arc::new(view)
    };
    let clock: Vec<i64> = rig.server.ask(&["TIME"]);
    let now = clock[0] * 1_000_000;
    host.clock.0.store(now, Ordering::Relaxed);
    let left = |entity: &str| -> i64 {
        let keys: Vec<Vec<u8>> = rig.server.ask(&["KEYS", &format!("*{entity}*")]);
        redis::cmd("PTTL").arg(&keys[0]).query::<i64>(&mut rig.server.client()).unwrap() / 1_000
    };
    let near = |found: i64, expected: i64| {
        assert!((expected - 30..=expected + 30).contains(&found), "{found}, not {expected}")
    };
    let write = |view: &ViewRef, entity: u32, time: i64| {
        host.write(batch(
            view,
            "0",
            1,
            &[TestRow::new(entity, now + time * 1_000_000, u64::try_from(time).unwrap(), 1)],
        ))
        .unwrap()
    };
    let (short, long) = (with_ttl("short", 1_000), with_ttl("long", 100_000));
    write(&short, 1, 0);
    near(left("u1"), 1_100);
    write(&long, 1, 0);
    near(left("u1"), 110_000);
    write(&short, 1, 50);
    near(left("u1"), 110_000);
    // On the claimed way the deadline moves only when it has to.
    write(&short, 2, 0);
    let before = host.ways(shared, "short").0;
    write(&short, 2, 50);
    assert_eq!(host.ways(shared, "short").0, before + 1);
    near(left("u2"), 1_100);
    write(&short, 2, 200);
    near(left("u2"), 1_300);
    write(&counts_view("forever"), 1, 0);
    let keys: Vec<Vec<u8>> = rig.server.ask(&["KEYS", "*u1*"]);
    let persistent = || redis::cmd("PTTL").arg(&keys[0]).query::<i64>(&mut rig.server.client()).unwrap();
    assert_eq!(persistent(), -1);
    write(&long, 1, 60);
    assert_eq!(persistent(), -1);
}

#[test]
fn a_view_that_loses_its_ttl_keeps_its_rows() {
    let Some(rig) = Rig::start("a_view_that_loses_its_ttl_keeps_its_rows", 1) else { return };
    let (host, shared) = &rig.hosts[0];
    let mut limited = ViewRef::unwrap_or_clone(counts_view("counts"));
    limited.ttl_micros = Some(1_000_000_000);
    let first = [TestRow::new(1, 5, 1, 1), TestRow::new(2, 5, 2, 2)];
    host.write(batch(&Arc::new(limited), "0", 1, &first)).unwrap();
    let permanent = |entity: &str| {
        let keys: Vec<Vec<u8>> = rig.server.ask(&["KEYS", &format!("*{entity}default")]);
        redis::cmd("PTTL").arg(&keys[0]).query::<i64>(&mut rig.server.client()).unwrap() == -1
    };
    assert!(!permanent("u1") && !permanent("u2"));
    // Written again as it was, or as something newer; from then on without looking.
    let then = [first[0], TestRow::new(2, 6, 3, 3)];
    host.write(batch(&rig.view, "0", 1, &then)).unwrap();
    assert!(permanent("u1") && permanent("u2"));
    let before = host.ways(shared, "counts").0;
    host.write(batch(&rig.view, "0", 1, &[TestRow::new(1, 7, 4, 4), TestRow::new(2, 7, 5, 5)])).unwrap();
    assert_eq!(host.ways(shared, "counts").0, before + 2);
    assert!(permanent("u1") && permanent("u2"));
}

#[test]
fn a_deleted_entity_comes_back_and_stays() {
    let Some(rig) = Rig::start("a_deleted_entity_comes_back_and_stays", 1) else { return };
    let (host, _) = &rig.hosts[0];
    let version = |time| model::position::RowVersion {
        event_time: time,
        partition: Partition::new("0"),
        position: Position::from_u64(0),
        generation: 1,
        row: 0,
    };
    let key = vec![vec![Value::String("u1".into())]];
    let delete = |time| block_on(host.store.delete(&rig.view, &key, &version(time))).unwrap();
    // A clock that is far behind: a deletion stays all the same.
    host.clock.0.store(0, Ordering::Relaxed);
    assert_eq!(delete(10), [true]);
    assert_eq!(host.get(&rig.view, 1), None);
    let keys: Vec<Vec<u8>> = rig.server.ask(&["KEYS", "*u1*"]);
    let left = || redis::cmd("PTTL").arg(&keys[0]).query::<i64>(&mut rig.server.client()).unwrap();
    let hour = 3_600_000;
    assert!(
        (23 * hour..=24 * hour).contains(&left()),
        "a deletion of what was not there is forgotten some day"
    );
    assert_eq!(rig.write(0, &[TestRow::new(1, 20, 1, 7)]).2, 0);
    assert_eq!(left(), -1, "a row of a view without TTL stays");
    assert_eq!(host.get(&rig.view, 1), Some((1, 7)));
    assert_eq!(delete(15), [false]);
    assert_eq!(delete(30), [true]);
    assert_eq!(host.get(&rig.view, 1), None);
    assert_eq!(rig.write(0, &[TestRow::new(1, 25, 2, 8)]).2, 1);
    assert_eq!(rig.write(0, &[TestRow::new(1, 35, 3, 9)]).2, 0);
    assert_eq!(left(), -1);
    assert_eq!(host.get(&rig.view, 1), Some((3, 9)));
}

/// The time that a hash holds says nothing of a deletion: where there were any, versions are looked at.
#[test]
fn a_deletion_is_not_hidden_by_what_feast_writes_behind_it() {
    let Some(rig) = Rig::start("a_deletion_is_not_hidden_by_what_feast_writes", 2) else { return };
    let second = |second: i64| second * 1_000_000;
    let row = |at: i64| [TestRow::new(1, second(1_700_000_000 + at), u64::try_from(at).unwrap(), at)];
    let feast_writes = |at: u8| {
        let keys: Vec<Vec<u8>> = rig.server.ask(&["KEYS", "*u1default"]);
        // Seconds from 1700000000 on: the first byte of five counts single ones.
        let time = [8u8, 0x80 + at, 0xe2, 0xcf, 0xaa, 0x06];
        redis::cmd("HSET")
            .arg(&keys[0])
            .arg("_ts:counts")
            .arg(&time[..])
            .exec(&mut rig.server.client())
            .unwrap();
    };
    let delete = |at: i64| {
        let version = model::position::RowVersion {
            event_time: second(1_700_000_000 + at),
            partition: Partition::new("0"),
            position: Position::from_u64(0),
            generation: 1,
            row: 0,
        };
        let key = vec![vec![Value::String("u1".into())]];
        block_on(rig.hosts[0].0.store.delete(&rig.view, &key, &version)).unwrap()
    };
    assert_eq!(rig.write(0, &row(10)).2, 0);
    assert_eq!(delete(30), [true]);
    feast_writes(20);
    for host in [1, 0] {
        assert_eq!(rig.write(host, &row(25)).2, 1, "host {host}");
        assert_eq!(rig.hosts[host].0.get(&rig.view, 1), None);
    }
    assert_eq!(rig.write(1, &row(31)).2, 0);
    feast_writes(40);
    assert_eq!(rig.write(1, &row(35)).2, 1);
    assert_eq!(rig.write(1, &row(45)).2, 0);
    assert_eq!(rig.hosts[1].0.get(&rig.view, 1), Some((45, 45)));
}

/// Hosts take in a changed view one after the other.
#[test]
fn a_view_that_loses_its_ttl_while_another_host_still_has_it_keeps_its_rows() {
    let Some(rig) = Rig::start("a_view_that_loses_its_ttl_while_another_host_still_has_it", 2) else {
        return;
    };
    let mut limited = ViewRef::unwrap_or_clone(counts_view("counts"));
    limited.ttl_micros = Some(1_000_000_000);
    let limited = Arc::new(limited);
    let row = |entity: u32, at: i64| {
        let time = (1_700_000_000 + at) * 1_000_000;
        [TestRow::new(entity, time, u64::try_from(at).unwrap(), at)]
    };
    let is_permanent = |entity: u32| {
        let keys: Vec<Vec<u8>> = rig.server.ask(&["KEYS", &format!("*u{entity}default")]);
        redis::cmd("PTTL").arg(&keys[0]).query::<i64>(&mut rig.server.client()).unwrap() == -1
    };
    let write = |host: usize, view: &ViewRef, row: &[TestRow]| {
        assert_eq!(rig.hosts[host].0.write(batch(view, "0", 1, row)).unwrap(), NONE);
    };
    write(0, &rig.view, &row(0, 0));
    for at in [10, 20] {
        let entity = u32::try_from(at).unwrap();
        write(1, &limited, &row(entity, at));
        assert!(!is_permanent(entity));
        // All fields are there, and the time is later by seconds.
        write(0, &rig.view, &row(entity, at + 5));
        assert!(is_permanent(entity));
        write(1, &limited, &row(entity, at + 7));
        assert!(is_permanent(entity), "one that lives shorter changes nothing");
    }
}
