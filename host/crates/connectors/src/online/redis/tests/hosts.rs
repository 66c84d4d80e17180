//! Two hosts that write the same entities in random order, while connections break, scripts vanish and one of them
//! sleeps: what is left is the newest row of each entity, always.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use testkit::contract::online::counts_view;

use super::*;

const ENTITIES: u32 = 12;

#[derive(Debug, Clone)]
enum Step {
    /// A host writes rows: entity, event time, position.
    Write { host: usize, rows: Vec<(u32, i64, u64)> },
    /// All connections are cut.
    Cut,
    /// The server forgets its scripts.
    Flush,
    /// Somebody removes the claim, or gives it to somebody else.
    Break(bool),
    /// The marks of who writes are forgotten: claims change hands at once.
    Forget,
    /// An entity expires, and with it what was held.
    Restart(usize),
}

/// Times that are microseconds and seconds apart, as the script has a way of its own for each: at the beginning, where a
/// time is hardly anything, in 2023, and where microseconds are more than Lua's numbers can say.
fn any_time() -> impl Strategy<Value = i64> {
    let base =
        prop_oneof![1 => Just(0), 6 => Just(1_700_000_000_000_000), 1 => Just(9_100_000_000_000_000i64)];
    let micros = prop_oneof![Just(0), Just(1), 0..40i64, Just(999_999)];
    (base, 0..5i64, micros).prop_map(|(base, second, micros)| base + second * 1_000_000 + micros)
}

fn any_step() -> impl Strategy<Value = Step> {
    let row = (0..ENTITIES, any_time(), 0..40u64);
    prop_oneof![
        12 => (0..2usize, proptest::collection::vec(row, 1..20)).prop_map(|(host, rows)| Step::Write { host, rows }),
        1 => Just(Step::Cut),
        1 => Just(Step::Flush),
        1 => any::<bool>().prop_map(Step::Break),
        3 => Just(Step::Forget),
        1 => (0..2usize).prop_map(Step::Restart),
    ]
}

/// The value says which row it is.
fn test_row(host: usize, (entity, time, position): (u32, i64, u64)) -> TestRow {
    let value = i64::try_from(position).unwrap() * 2 + i64::try_from(host).unwrap();
    TestRow::new(entity, time, position, value)
}

#[test]
fn hosts_in_turn_converge_and_each_late_row_is_told() {
    let Some(server) = Server::start("hosts_in_turn_converge", &[]) else { return };
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let open =
        |host: usize| Host::open(directories[host].path(), &server.connection("cache"), ["a", "b"][host]);
    let hosts = std::cell::RefCell::new([Some(open(0)), Some(open(1))]);
    let case = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let steps = proptest::collection::vec(any_step(), 1..30);
    let result = runner.run(&steps, |steps| {
        case.set(case.get() + 1);
        let view = counts_view(&format!("counts_{}", case.get()));
        let claim = format!("millrace:default:claim:{}", view.name);
        let writers = format!("millrace:default:writers:{}", view.name);
        let mut newest: BTreeMap<u32, (i64, usize, u64)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Write { host, rows } => {
                    let mut late = Vec::new();
                    for (index, (entity, time, position)) in (0..).zip(&rows) {
                        let version = (*time, host, *position);
                        match newest.get(entity) {
                            Some(held) if *held > version => late.push(index),
                            _ => drop(newest.insert(*entity, version)),
                        }
                    }
                    let rows: Vec<_> = rows.iter().map(|row| test_row(host, *row)).collect();
                    let rows = batch(&view, ["0", "1"][host], 1, &rows);
                    let hosts = hosts.borrow();
                    let host = hosts[host].as_ref().unwrap();
                    match host.write(Arc::clone(&rows)) {
                        Ok(found) => prop_assert_eq!(found, late),
                        // A batch with an unknown end may find its own rows.
                        Err(_) => drop(host.write_at_last(&rows)),
                    }
                }
                Step::Cut => server.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal"]),
                Step::Flush => server.ask::<()>(&["SCRIPT", "FLUSH"]),
                Step::Break(true) => {
                    server.ask::<()>(&["SET", &claim, "somebody else:00000000000000000000000000000000"])
                }
                Step::Break(false) => server.ask::<()>(&["DEL", &claim]),
                Step::Forget => server.ask::<()>(&["DEL", &writers]),
                Step::Restart(host) => {
                    hosts.borrow_mut()[host] = None;
                    hosts.borrow_mut()[host] = Some(open(host));
                }
            }
        }
        for entity in 0..ENTITIES {
            let expected = newest.get(&entity).map(|(time, host, position)| {
                let row = test_row(*host, (entity, *time, *position));
                (*position, row.value.unwrap())
            });
            prop_assert_eq!(
                hosts.borrow()[0].as_ref().unwrap().get(&view, entity),
                expected,
                "entity {}",
                entity
            );
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}\n{runner}");
    }
}

/// Both at the same time, each with two partitions, with trouble of all kinds meanwhile.
#[test]
fn hosts_at_the_same_time_converge() {
    const ROUNDS: u64 = 150;
    let Some(server) = Server::start("hosts_at_the_same_time_converge", &[]) else { return };
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let view = counts_view("counts");
    let hosts = [0, 1]
        .map(|host| Host::open(directories[host].path(), &server.connection("cache"), ["a", "b"][host]));
    // A sequence of its own for each writer; what is random is what a mixed number says.
    let mix = |seed: u64| {
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
    };
    let rows_of = |host: usize, partition: u64, round: u64| -> Vec<TestRow> {
        (0..40)
            .map(|n| {
                let seed = mix(n + 40 * (round + ROUNDS * (partition + 2 * host as u64)));
                // Within the same second, and seconds apart.
                let time = 1_700_000_000_000_000 + i64::try_from(round * 10 + seed % 60).unwrap() * 50_000;
                let position = round * 40 + n;
                let value =
                    i64::try_from((position * 2 + partition) * 2).unwrap() + i64::try_from(host).unwrap();
                TestRow::new(
                    u32::try_from(seed / 64 % u64::from(ENTITIES * 3)).unwrap(),
                    time,
                    position,
                    value,
                )
            })
            .collect()
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = [(0, 0), (0, 1), (1, 0), (1, 1)]
            .into_iter()
            .map(|(host, partition)| {
                let (hosts, view) = (&hosts, &view);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        // One of them sleeps now and then, and finds its claim gone.
                        if host == 1 && round % 50 == 49 {
                            std::thread::park_timeout(Duration::from_millis(300));
                        }
                        let rows = rows_of(host, partition, round);
                        let name = format!("{}", host as u64 * 2 + partition);
                        hosts[host].write_at_last(&batch(view, &name, 1, &rows));
                    }
                })
            })
            .collect();
        let mut round = 0;
        while writers.iter().any(|writer| !writer.is_finished()) {
            round += 1;
            match mix(round) % 5 {
                0 => server.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal"]),
                1 => server.ask::<()>(&["SCRIPT", "FLUSH"]),
                2 => server.ask::<()>(&["DEL", "millrace:default:claim:counts"]),
                3 => server.ask::<()>(&["CLIENT", "PAUSE", "20", "WRITE"]),
                // Claims change hands at once.
                _ => server.ask::<()>(&["DEL", "millrace:default:writers:counts"]),
            }
            std::thread::park_timeout(Duration::from_millis(15));
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
    let mut newest: BTreeMap<u32, ((i64, u64, u64), TestRow)> = BTreeMap::new();
    for (host, partition) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for row in (0..ROUNDS).flat_map(|round| rows_of(host, partition, round)) {
            let version = (row.event_time, host as u64 * 2 + partition, row.position);
            if newest.get(&row.entity).is_none_or(|(held, _)| *held <= version) {
                newest.insert(row.entity, (version, row));
            }
        }
    }
    assert!(newest.len() > 20);
    for (entity, (_, row)) in newest {
        assert_eq!(hosts[0].get(&view, entity), Some((row.position, row.value.unwrap())), "entity {entity}");
    }
    assert_eq!(hosts[0].take_losses(), []);
    assert_eq!(hosts[1].take_losses(), []);
}

/// A host is stopped in the middle of a write, longer than its claim lasts, and goes on: its rows must not replace newer
/// ones.
#[test]
fn a_host_that_wakes_up_finds_its_claim_gone() {
    use std::io::{Read, Write};
    let Some(server) = Server::start("a_host_that_wakes_up", &[]) else { return };
    let view = counts_view("counts");
    // Everything goes through this, which lets nothing through while it is told to wait.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asleep = Arc::new(AtomicBool::new(false));
    let (target, sleeping) = (server.address(), Arc::clone(&asleep));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), std::net::TcpStream::connect(&target).unwrap());
            for (mut from, mut to, sleeps) in
                [(client.try_clone().unwrap(), server.try_clone().unwrap(), true), (server, client, false)]
            {
                let sleeping = Arc::clone(&sleeping);
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = from.read(&mut buffer) {
                        while sleeps
                            && sleeping.load(Ordering::Relaxed)
                            && memchr::memmem::find(&buffer[..count], b"EXEC\r\n").is_some()
                        {
                            std::thread::park_timeout(Duration::from_millis(5));
                        }
                        if to.write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                    drop(to.shutdown(std::net::Shutdown::Both));
                });
            }
        }
    });
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let connection = Connection::new("cache", vec![address.to_string()]);
    let sleepy = Host::try_open(directories[0].path(), &connection, "sleepy", |options| {
        options.connection.response_timeout = Duration::from_secs(30);
    });
    let sleepy = sleepy.unwrap();
    let awake = Host::open(directories[1].path(), &server.connection("cache"), "awake");
    let row = |time: i64| [TestRow::new(1, time, u64::try_from(time).unwrap(), time)];
    sleepy.write(batch(&view, "0", 1, &row(1))).unwrap();
    assert_eq!(sleepy.write(batch(&view, "0", 1, &row(2))).unwrap(), NONE);
    asleep.store(true, Ordering::Relaxed);
    let late = std::thread::scope(|scope| {
        let writing = scope.spawn(|| sleepy.write(batch(&view, "0", 1, &row(3))));
        // It has looked at its claim, and is about to write.
        until("the transaction is there", || server.ask::<String>(&["CLIENT", "LIST"]).contains("multi=1"));
        assert_eq!(awake.write(batch(&view, "0", 1, &row(4))).unwrap(), NONE);
        asleep.store(false, Ordering::Relaxed);
        writing.join().unwrap()
    });
    assert_eq!(late.unwrap(), [0]);
    assert_eq!(awake.get(&view, 1), Some((4, 4)));
}
