//! Rows that Redis had acknowledged and lost: they are found, told, refused until accepted, and come back.

use model::error::Disposition;
use testkit::contract::online::counts_view;

use super::*;

struct Rig {
    host: Host,
    view: ViewRef,
    directory: TempDir,
}

impl Rig {
    fn new(connection: &Connection) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let host = Host::open(directory.path(), connection, "host");
        Self { host, view: counts_view("counts"), directory }
    }

    /// One batch: ten rows at positions `number * 10` and on.
    fn batch(&self, partition: &str, number: u64) -> Arc<FeatureBatch> {
        let rows: Vec<_> = (0..10)
            .map(|n| {
                let position = number * 10 + n;
                let entity = u32::try_from(n).unwrap() + if partition == "0" { 0 } else { 10 };
                TestRow::new(
                    entity,
                    i64::try_from(position).unwrap(),
                    position,
                    i64::try_from(position).unwrap(),
                )
            })
            .collect();
        let mut batch = Arc::into_inner(batch(&self.view, partition, 1, &rows)).unwrap();
        batch.covers.first = Position::from_u64(number * 10);
        Arc::new(batch)
    }

    /// Waits for a loss, and is told where to go back to.
    #[track_caller]
    fn until_lost(&self, partition: &str) -> Option<u64> {
        let mut to = None;
        until("a loss is told", || {
            let losses = self.host.losses.lock().unwrap();
            let found = losses.iter().rev().find(|loss| loss.partition.as_str() == partition);
            to = found.map(|loss| loss.to.map(|to| to.as_u64().unwrap()));
            to.is_some()
        });
        to.unwrap()
    }

    /// What a flow does: sets back, accepts, and reads again.
    fn repair(&self, through: &[(&str, u64)]) {
        let losses = self.host.take_losses();
        for loss in &losses {
            let to = [(loss.partition.clone(), loss.to)].into();
            self.host.ledger.set_back(&loss.view, &to).unwrap();
        }
        self.host.store.accept(&losses);
        for (partition, last) in through {
            let durable = self.host.durable("counts", partition);
            let from = durable.map_or(0, |durable| durable / 10 + 1);
            for number in from..=*last {
                self.host.write_at_last(&self.batch(partition, number));
            }
        }
    }

    #[track_caller]
    fn check(&self, entity: u32, position: u64) {
        let expected = Some((position, i64::try_from(position).unwrap()));
        assert_eq!(self.host.get(&self.view, entity), expected);
    }
}

#[test]
fn a_replica_that_lacked_the_last_writes_takes_over() {
    let Some(master) = Server::start("a_replica_that_lacked_the_last_writes_takes_over", &[]) else { return };
    let Some(replica) = Server::start("a_replica_that_lacked_the_last_writes_takes_over", &[]) else {
        return;
    };
    replica.follow(&master);
    let connection = Connection::new("cache", vec![master.address(), replica.address()]);
    let rig = Rig::new(&connection);
    for number in 0..5 {
        rig.host.write(rig.batch("0", number)).unwrap();
        rig.host.write(rig.batch("1", number)).unwrap();
    }
    rig.host.checkpoint();
    let offset =
        |server: &Server, name: &str| server.info(name).and_then(|offset| offset.parse::<u64>().ok());
    until("the replica has it all", || {
        offset(&replica, "slave_repl_offset") >= offset(&master, "master_repl_offset")
    });
    // From here on the replica hears nothing.
    replica.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    for number in 5..8 {
        rig.host.write(rig.batch("0", number)).unwrap();
    }
    rig.host.write(rig.batch("1", 5)).unwrap();
    rig.check(3, 73);
    rig.host.checkpoint();
    assert_eq!(rig.host.durable("counts", "0"), Some(79));
    master.kill();
    replica.promote();
    assert_eq!(rig.until_lost("0"), Some(49));
    assert_eq!(rig.until_lost("1"), Some(49));
    // Until the source is read again, nothing of these partitions is taken; of others it is.
    let failure = rig.host.write(rig.batch("0", 8)).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry);
    assert!(failure.to_string().contains("were lost"), "{failure}");
    rig.host.write_at_last(&rig.batch("2", 0));
    rig.check(3, 43);
    rig.repair(&[("0", 8), ("1", 5)]);
    rig.check(3, 83);
    rig.check(13, 53);
    rig.host.checkpoint();
    assert_eq!(rig.host.durable("counts", "0"), Some(89));
}

#[test]
fn a_snapshot_that_is_older_is_found_out() {
    let Some(server) = Server::start("a_snapshot_that_is_older_is_found_out", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    for number in 0..4 {
        rig.host.write(rig.batch("0", number)).unwrap();
    }
    server.ask::<()>(&["SAVE"]);
    for number in 4..9 {
        rig.host.write(rig.batch("0", number)).unwrap();
    }
    server.kill();
    server.start_again();
    // Nothing is written meanwhile: a store that is idle looks by itself.
    assert_eq!(rig.until_lost("0"), Some(39));
    rig.repair(&[("0", 9)]);
    rig.check(7, 97);
    assert_eq!(rig.host.take_losses(), []);
}

/// Whatever is behind the address may change while a connection lives: each mark says what stood there before.
#[test]
fn a_mark_that_is_lower_is_found_out_on_a_connection_that_lives() {
    let Some(server) = Server::start("a_mark_that_is_lower_is_found_out", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    for number in 0..5 {
        rig.host.write(rig.batch("0", number)).unwrap();
    }
    let keys: Vec<String> = server.ask(&["KEYS", "millrace:default:mark:host:*"]);
    let mut marks = keys.iter().map(|key| (server.ask::<u64>(&["GET", key]), key));
    let (mark, key) = marks.find(|(mark, _)| *mark >= 5).unwrap();
    // Back to before the last two batches, each of which had one mark.
    server.ask::<()>(&["SET", key, &(mark - 2).to_string()]);
    rig.host.write(rig.batch("0", 5)).unwrap_err();
    assert_eq!(rig.until_lost("0"), Some(29));
    rig.repair(&[("0", 5)]);
    rig.check(3, 53);
}

#[test]
fn what_was_lost_is_found_after_a_restart_of_the_host_too() {
    let Some(server) = Server::start("what_was_lost_is_found_after_a_restart", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    for number in 0..4 {
        rig.host.write(rig.batch("0", number)).unwrap();
    }
    server.ask::<()>(&["SAVE"]);
    for number in 4..9 {
        rig.host.write(rig.batch("0", number)).unwrap();
    }
    rig.host.checkpoint();
    let Rig { host, view, directory } = rig;
    drop(host);
    server.kill();
    server.start_again();
    let host = Host::open(directory.path(), &server.connection("cache"), "host");
    let rig = Rig { host, view, directory };
    assert_eq!(rig.host.durable("counts", "0"), Some(89));
    assert_eq!(rig.until_lost("0"), Some(39));
    // The host ends before anybody has done anything about it.
    let Rig { host, view, directory } = rig;
    drop(host);
    let host = Host::open(directory.path(), &server.connection("cache"), "host");
    let rig = Rig { host, view, directory };
    assert_eq!(rig.until_lost("0"), Some(39));
    rig.host.write(rig.batch("0", 9)).unwrap_err();
    rig.repair(&[("0", 9)]);
    rig.check(7, 97);
}

#[test]
fn a_position_behind_the_last_note_is_taken_back() {
    let Some(server) = Server::start("a_position_behind_the_last_note_is_taken_back", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    rig.host.write(rig.batch("0", 0)).unwrap();
    rig.host.checkpoint();
    let path = rig.directory.path().join("redis-cache.json");
    let noted = std::fs::read(&path).unwrap();
    rig.host.write(rig.batch("0", 1)).unwrap();
    rig.host.checkpoint();
    assert_eq!(rig.host.durable("counts", "0"), Some(19));
    let Rig { host, directory, .. } = rig;
    drop(host);
    // As after a crash between the two.
    std::fs::write(&path, noted).unwrap();
    let host = Host::open(directory.path(), &server.connection("cache"), "host");
    assert_eq!(host.durable("counts", "0"), Some(9));
    assert_eq!(host.take_losses(), []);
}

#[test]
fn a_store_that_was_emptied_stops_everything() {
    let Some(server) = Server::start("a_store_that_was_emptied_stops_everything", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    rig.host.write(rig.batch("0", 0)).unwrap();
    rig.host.checkpoint();
    server.ask::<()>(&["FLUSHALL"]);
    let mut failure = None;
    until("writes stop", || {
        failure = rig
            .host
            .write(rig.batch("0", 1))
            .err()
            .filter(|failure| failure.disposition == Disposition::Stop);
        failure.is_some()
    });
    let failure = failure.unwrap().to_string();
    assert!(failure.contains("it was emptied") && failure.contains("redis-cache.json"), "{failure}");
    // The operator takes it as it is.
    std::fs::remove_file(rig.directory.path().join("redis-cache.json")).unwrap();
    rig.host.write_at_last(&rig.batch("1", 2));
    rig.check(13, 23);
}

#[test]
fn another_store_stops_everything_and_the_right_one_mends_it() {
    let Some(server) = Server::start("another_store_stops_everything", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    rig.host.write(rig.batch("0", 0)).unwrap();
    rig.host.checkpoint();
    let name: String = server.ask(&["GET", "millrace:default:store"]);
    server.ask::<()>(&["SET", "millrace:default:store", "another"]);
    server.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
    until("writes stop", || {
        rig.host.write(rig.batch("0", 1)).is_err_and(|failure| failure.disposition == Disposition::Stop)
    });
    server.ask::<()>(&["SET", "millrace:default:store", &name]);
    rig.host.write_at_last(&rig.batch("0", 1));
}

/// A unit that ends gives up what it has handed over, and others decide where its view goes on: what is written all the same
/// must not move that.
#[test]
fn a_batch_that_was_given_up_moves_no_position() {
    use futures_util::FutureExt;
    let Some(server) = Server::start("a_batch_that_was_given_up_moves_no_position", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    rig.host.write(rig.batch("0", 0)).unwrap();
    server.pause();
    // More than are worked on at a time: some are under way, others wait.
    let given_up: Vec<_> = (1..=30)
        .map(|number| {
            let mut write = rig.host.store.write(rig.batch("0", number));
            assert!((&mut write).now_or_never().is_none());
            write
        })
        .collect();
    drop(given_up);
    server.go_on();
    // Goes the same way, behind them.
    rig.host.write_at_last(&rig.batch("1", 0));
    rig.host.checkpoint();
    assert_eq!((rig.host.durable("counts", "0"), rig.host.durable("counts", "1")), (Some(9), Some(9)));
}

/// Two hosts go on and on while the server dies and comes back with older snapshots: each loss is found and read again,
/// and in the end the newest row of each entity is there.
#[test]
fn whatever_is_lost_comes_back() {
    const BATCHES: u64 = 60;
    let Some(server) = Server::start("whatever_is_lost_comes_back", &[]) else { return };
    let view = counts_view("counts");
    let rigs = ["a", "b"].map(|instance| {
        let directory = tempfile::tempdir().unwrap();
        (Host::open(directory.path(), &server.connection("cache"), instance), directory)
    });
    // All write the same few entities; times go up and down.
    let rows = |host: u64, number: u64| -> Vec<TestRow> {
        (0..10u64)
            .map(|n| {
                let seed = (number * 10 + n + host * 1_000_003).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                let (position, time) = (number * 10 + n, number * 5 + seed % 50);
                let value = i64::try_from(position * 2 + host).unwrap();
                TestRow::new(
                    u32::try_from(seed / 64 % 15).unwrap(),
                    i64::try_from(time).unwrap(),
                    position,
                    value,
                )
            })
            .collect()
    };
    for (host, _) in &rigs {
        host.write_at_last(&batch(&view, "x", 1, &[TestRow::new(99, 1, 1, 1)]));
    }
    server.ask::<()>(&["SAVE"]);
    let losses = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        let flows: Vec<_> = (0..2u64)
            .map(|number| {
                let (host, view, rows, losses) =
                    (&rigs[usize::try_from(number).unwrap()].0, &view, &rows, &losses);
                scope.spawn(move || {
                    let partition = number.to_string();
                    let mut next = 0;
                    let mut quiet = 0;
                    // At the end the last batch is written until nothing was lost for a while.
                    while quiet < 30 {
                        let lost = host.take_losses();
                        host.store.accept(&lost);
                        for loss in lost.iter().filter(|loss| loss.partition.as_str() == partition) {
                            losses.fetch_add(1, Ordering::Relaxed);
                            next = loss.to.map_or(0, |to| to.as_u64().unwrap() / 10 + 1);
                            quiet = 0;
                        }
                        let at = next.min(BATCHES - 1);
                        let mut batch =
                            Arc::into_inner(batch(view, &partition, 1, &rows(number, at))).unwrap();
                        batch.covers.first = Position::from_u64(at * 10);
                        match host.write(Arc::new(batch)) {
                            Ok(_) if next < BATCHES => next += 1,
                            Ok(_) => quiet += 1,
                            Err(_) => quiet = 0,
                        }
                        std::thread::park_timeout(Duration::from_millis(20));
                    }
                })
            })
            .collect();
        for round in 0..6 {
            std::thread::park_timeout(Duration::from_millis(200));
            if round % 2 == 0 {
                server.ask::<()>(&["SAVE"]);
            }
            std::thread::park_timeout(Duration::from_millis(150));
            server.kill();
            server.start_again();
        }
        flows.into_iter().for_each(|flow| flow.join().unwrap());
    });
    assert!(losses.into_inner() > 0, "nothing was lost, and nothing was tested");
    let mut newest = std::collections::BTreeMap::new();
    for host in 0..2u64 {
        for row in (0..BATCHES).flat_map(|number| rows(host, number)) {
            let version = (row.event_time, host, row.position);
            let entry = newest.entry(row.entity).or_insert((version, row));
            if entry.0 < version {
                *entry = (version, row);
            }
        }
    }
    for (entity, (_, row)) in newest {
        let expected = Some((row.position, row.value.unwrap()));
        until("the newest row is there", || rigs[0].0.get(&view, entity) == expected);
    }
}
