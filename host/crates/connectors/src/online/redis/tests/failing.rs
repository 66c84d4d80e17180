//! What goes wrong while all is there: full memory, wrong types, replicas, passwords, no server at all.

use model::error::Disposition;
use testkit::contract::online::counts_view;

use super::*;

fn rows(range: std::ops::Range<u64>) -> Vec<TestRow> {
    range.map(|n| TestRow::new(u32::try_from(n).unwrap(), 1, n, 1)).collect()
}

#[test]
fn full_memory_is_waited_for() {
    let Some(server) = Server::start("full_memory_is_waited_for", &["--maxmemory", "3mb"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path(), &server.connection("cache"), "host");
    let view = counts_view("counts");
    let mut written = 0;
    let failure = loop {
        match host.write(batch(&view, "0", 1, &rows(written * 500..written * 500 + 500))) {
            Ok(_) => written += 1,
            Err(failure) => break failure,
        }
        assert!(written < 1_000, "the memory is never full");
    };
    assert_eq!(failure.disposition, Disposition::Retry);
    assert!(failure.to_string().contains("`maxmemory`"), "{failure}");
    // Nothing is dropped, and rows that were known are not written on the side.
    let again = batch(&view, "0", 1, &rows(written * 500..written * 500 + 500));
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1mb"]);
    host.write(Arc::clone(&again)).unwrap_err();
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "100mb"]);
    assert_eq!(host.write_at_last(&again), NONE);
    let last = u32::try_from(written * 500 + 499).unwrap();
    assert_eq!(host.get(&view, last), Some((u64::from(last), 1)));
    host.checkpoint();
    assert_eq!(host.durable("counts", "0"), Some(u64::from(last)));
}

#[test]
fn a_key_of_another_type_stops_the_view() {
    let Some(server) = Server::start("a_key_of_another_type_stops_the_view", &[]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path(), &server.connection("cache"), "host");
    let view = counts_view("counts");
    host.write(batch(&view, "0", 1, &rows(0..3))).unwrap();
    let key: Vec<Vec<u8>> = server.ask(&["KEYS", "*u1default"]);
    redis::cmd("SET").arg(&key[0]).arg("text").exec(&mut server.client()).unwrap();
    for _ in 0..2 {
        // On the claimed way, and then compared.
        let failure = host.write(batch(&view, "0", 1, &rows(0..3))).unwrap_err();
        assert_eq!(failure.disposition, Disposition::Stop);
        assert!(failure.to_string().contains("holds something else"), "{failure}");
    }
    // Other views go on.
    host.write(batch(&counts_view("others"), "0", 1, &rows(5..8))).unwrap();
}

#[test]
fn a_version_that_is_damaged_stops_its_view_and_says_where_it_is() {
    let Some(server) = Server::start("a_version_that_is_damaged_stops_its_view", &[]) else { return };
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let open =
        |host: usize, name: &str| Host::open(directories[host].path(), &server.connection("cache"), name);
    let (host, other, view) = (open(0, "host"), open(1, "other"), counts_view("counts"));
    host.write(batch(&view, "0", 1, &rows(0..3))).unwrap();
    let key: Vec<Vec<u8>> = server.ask(&["KEYS", "*u1default"]);
    let set = |field: &str, bytes: &[u8]| {
        redis::cmd("HSET").arg(&key[0]).arg(field).arg(bytes).exec(&mut server.client()).unwrap();
    };
    set("_mv:counts", b"?");
    let failure = other.write(batch(&view, "1", 1, &rows(0..3))).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Stop);
    for part in ["view `counts`", "`_mv:counts`", "u1default", "remove the key"] {
        assert!(failure.to_string().contains(part), "{part} in {failure}");
    }
    other.write(batch(&counts_view("others"), "1", 1, &rows(0..3))).unwrap();
    redis::cmd("DEL").arg(&key[0]).exec(&mut server.client()).unwrap();
    assert_eq!(other.write(batch(&view, "1", 1, &rows(0..3))).unwrap(), NONE);
    // A time that no reader takes holds nobody up: it is compared with as well as it can be, and replaced.
    set("_ts:counts", b"\x10\x80\xc8\xaf\xa0\x25");
    let twice = [TestRow::new(1, 20_000_000, 8, 8), TestRow::new(1, 20_000_000, 9, 9)];
    assert_eq!(host.write(batch(&view, "1", 1, &twice)).unwrap(), NONE);
    assert_eq!(host.get(&view, 1), Some((9, 9)));
}

#[test]
fn a_server_that_comes_later_is_waited_for() {
    let Some(server) = Server::start("a_server_that_comes_later_is_waited_for", &[]) else { return };
    server.kill();
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path(), &server.connection("cache"), "host");
    let view = counts_view("counts");
    let failure = host.write(batch(&view, "0", 1, &rows(0..3))).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry, "{failure}");
    server.start_again();
    assert_eq!(host.write_at_last(&batch(&view, "0", 1, &rows(0..3))), NONE);
    assert_eq!(host.get(&view, 2), Some((2, 1)));
    host.store.close().unwrap();
    host.store.close().unwrap();
    let failure = host.write(batch(&view, "0", 1, &rows(0..3))).unwrap_err();
    assert!(failure.to_string().contains("closed"), "{failure}");
}

#[test]
fn a_silent_server_is_given_up_and_tried_again() {
    let Some(server) = Server::start("a_silent_server_is_given_up_and_tried_again", &[]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let host = Host::try_open(directory.path(), &server.connection("cache"), "host", |options| {
        options.connection.response_timeout = Duration::from_millis(200);
        options.connection.connect_timeout = Duration::from_millis(200);
    });
    let (host, view) = (host.unwrap(), counts_view("counts"));
    host.write(batch(&view, "0", 1, &rows(0..3))).unwrap();
    server.pause();
    let failure = host.write(batch(&view, "0", 1, &rows(3..6))).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry, "{failure}");
    server.go_on();
    assert_eq!(host.write_at_last(&batch(&view, "0", 1, &rows(3..6))), NONE);
    assert_eq!(host.take_losses(), []);
}

#[test]
fn a_master_that_became_a_replica_is_left() {
    let start =
        || Server::start("a_master_that_became_a_replica_is_left", &["--repl-diskless-sync-delay", "0"]);
    let (Some(first), Some(second)) = (start(), start()) else { return };
    second.follow(&first);
    let directory = tempfile::tempdir().unwrap();
    let connection = Connection::new("cache", vec![first.address(), second.address()]);
    let host = Host::open(directory.path(), &connection, "host");
    let view = counts_view("counts");
    host.write(batch(&view, "0", 1, &rows(0..3))).unwrap();
    until("the replica has it all", || second.ask::<u64>(&["DBSIZE"]) == first.ask::<u64>(&["DBSIZE"]));
    let offset = |server: &Server| server.info("master_repl_offset").and_then(|it| it.parse::<u64>().ok());
    until("and its marks", || offset(&second) >= offset(&first));
    // Its connections stay open, and say `READONLY`.
    second.promote();
    first.follow(&second);
    assert_eq!(host.write_at_last(&batch(&view, "0", 1, &rows(3..6))), NONE);
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Host::open(elsewhere.path(), &second.connection("cache"), "other");
    assert_eq!(other.get(&view, 5), Some((5, 1)));
    // A host that only reads would not notice, and answer from what the replica has.
    until("the other one has it all", || offset(&first) >= offset(&second));
    first.promote();
    second.follow(&first);
    second.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let newest = Host::open(elsewhere.path().join("newest").as_path(), &first.connection("cache"), "newest");
    newest.write_at_last(&batch(&view, "1", 1, &[TestRow::new(5, 99, 99, 99)]));
    until("reads follow", || host.get(&view, 5) == Some((99, 99)));
    assert_eq!(host.take_losses(), []);
}

#[test]
fn many_batches_of_many_views_end_and_large_ones_are_cut_up() {
    let Some(server) = Server::start("many_batches_of_many_views_end", &[]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path(), &server.connection("cache"), "host");
    let views: Vec<ViewRef> = (0..5).map(|n| counts_view(&format!("counts_{n}"))).collect();
    std::thread::scope(|scope| {
        for (number, view) in views.iter().enumerate() {
            let host = &host;
            scope.spawn(move || {
                for round in 0..20u64 {
                    let late = host.write(batch(
                        view,
                        &number.to_string(),
                        1,
                        &rows(round * 700..round * 700 + 1_500),
                    ));
                    // The overlap is written again.
                    assert_eq!(late.unwrap(), NONE);
                }
            });
        }
    });
    for view in &views {
        assert_eq!(host.get(view, 14_799), Some((14_799, 1)));
    }
}
