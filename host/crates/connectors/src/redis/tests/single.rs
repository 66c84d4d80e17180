//! One server, and one of several that is master.

use super::*;
use crate::redis::testing::until;
use crate::redis::{Mode, slot};

#[test]
fn commands_are_answered_in_their_order() {
    let Some(server) = Server::start("commands_are_answered_in_their_order", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    let packed = Keyed::packed(b"c", b"*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n3\r\n");
    let wrong = Keyed::new(b"a", command(&["HGET", "a", "f"]));
    let answers = rig.run(vec![set("a", "1"), set("b", "2"), packed, get("a"), wrong, get("c")]).unwrap();
    assert_eq!(answers[..4], [Ok(Value::Okay), Ok(Value::Okay), Ok(Value::Okay), Ok(bulk("1"))]);
    check_refused(answers[4].clone(), &["a key holds something else", "WRONGTYPE"]);
    assert_eq!(answers[5], Ok(bulk("3")));
    assert_eq!(rig.run(Vec::new()), Ok(Vec::new()));
    assert!(rig.heard.lock().unwrap().is_empty());
}

#[test]
fn slots_are_those_of_a_server() {
    let Some(server) = Server::start(
        "slots_are_those_of_a_server",
        &["--cluster-enabled", "yes", "--cluster-port", "{bus}"],
    ) else {
        return;
    };
    for key in
        ["foo", "{foo}.bar", "a{foo}{bar}", "foo{}{bar}", "foo{{bar}}zap", "foo{bar", "", "}{", "ä{ö}ü"]
    {
        assert_eq!(slot(key.as_bytes()), server.ask::<u16>(&["CLUSTER", "KEYSLOT", key]), "{key}");
    }
}

#[test]
fn scripts_are_taught_and_taught_again() {
    let Some(server) = Server::start("scripts_are_taught_and_taught_again", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    let script = counting();
    let call = || Keyed::script(&script, &["n"], 2);
    assert_eq!(rig.run(vec![call(), call()]), Ok(vec![Ok(Value::Int(2)), Ok(Value::Int(4))]));
    server.ask::<()>(&["SCRIPT", "FLUSH"]);
    assert_eq!(rig.ask(call()), Ok(Value::Int(6)));
    server.ask::<()>(&["SCRIPT", "FLUSH"]);
    let mut master = rig.nodes.master().unwrap();
    assert_eq!(script.run(&mut master.connection, &script.call(&["n"], 2)), Ok(Value::Int(8)));
    assert_eq!(script.run(&mut master.connection, &script.call(&["n"], 2)), Ok(Value::Int(10)));
}

#[test]
fn a_master_tells_who_it_is() {
    let Some(server) = Server::start(
        "a_master_tells_who_it_is",
        &["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"],
    ) else {
        return;
    };
    let rig = Rig::new(&server.connection("cache"));
    let identity = rig.nodes.master().unwrap().identity;
    assert_eq!(identity.run_id, server.info("run_id"));
    assert_eq!(identity.replication_id, server.info("master_replid"));
    assert_eq!(identity.evicts(), Some("allkeys-lru"));
    assert_eq!(identity.maxmemory, Some(64 << 20));
    assert!(identity.version.is_some());
    let shards = rig.runtime.block_on(rig.nodes.masters()).unwrap();
    assert_eq!(shards.len(), 1);
    assert_eq!(shards[0].identity, identity);
    let changes = rig.nodes.changes();
    server.kill();
    assert!(rig.set("a", "1").is_err());
    server.start_again();
    until("back", || rig.set("a", "1").is_ok());
    assert!(rig.nodes.changes() > changes);
    assert_ne!(rig.nodes.master().unwrap().identity.run_id, identity.run_id);
}

#[test]
fn a_server_that_is_away_is_told_once_and_found_again() {
    let Some(server) = Server::start("a_server_that_is_away_is_told_once_and_found_again", &[]) else {
        return;
    };
    let mut connection = server.connection("cache");
    connection.response_timeout = std::time::Duration::from_millis(300);
    let rig = Rig::new(&connection);
    assert_eq!(rig.set("a", "1"), Ok(Value::Okay));
    server.kill();
    for _ in 0..2 {
        check_refused(rig.set("a", "2"), &["in Redis at connection `cache`: nobody answers", "refused"]);
        assert!(rig.nodes.master().is_err());
    }
    let other = Rig::new(&connection);
    check_refused(other.set("a", "2"), &["find the master in Redis at connection `cache`: nobody answers"]);
    server.start_again();
    until("back", || rig.set("a", "3").is_ok());
    let heard = rig.heard.lock().unwrap().clone();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard[0].is_some() && heard[1].is_none(), "{heard:?}");
    assert_eq!(rig.nodes.metrics().reconnects.get(), 1);
    assert!(rig.nodes.master().is_ok());
}

#[test]
fn a_server_that_says_nothing_is_given_up_in_time() {
    let Some(server) = Server::start("a_server_that_says_nothing_is_given_up_in_time", &[]) else { return };
    let mut connection = server.connection("cache");
    connection.response_timeout = std::time::Duration::from_millis(300);
    connection.connect_timeout = std::time::Duration::from_millis(300);
    let rig = Rig::new(&connection);
    assert_eq!(rig.set("a", "1"), Ok(Value::Okay));
    server.pause();
    check_refused(rig.set("a", "2"), &["no answer in time"]);
    assert!(rig.nodes.master().is_err());
    assert!(rig.nodes.reason_away().is_some());
    server.go_on();
    until("back", || rig.set("a", "3").is_ok());
    assert_eq!(rig.get("a"), Ok(bulk("3")));
    assert_eq!(rig.nodes.reason_away(), None);
}

#[test]
fn a_cut_connection_is_made_again_at_once() {
    let Some(server) = Server::start("a_cut_connection_is_made_again_at_once", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    assert_eq!(rig.set("a", "1"), Ok(Value::Okay));
    server.ask::<i64>(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert_eq!(rig.get("a"), Ok(bulk("1")));
    assert!(rig.heard.lock().unwrap().is_empty());
}

/// CLIENT KILL from within the command's own connection: it may have been done.
#[test]
fn what_must_not_be_done_twice_is_not() {
    let Some(server) = Server::start("what_must_not_be_done_twice_is_not", &[]) else { return };
    let mut connection = server.connection("cache");
    connection.response_timeout = std::time::Duration::from_millis(500);
    let rig = Rig::new(&connection);
    let id: i64 = match rig.ask(Keyed::new(b"n", command(&["CLIENT", "ID"]))) {
        Ok(Value::Int(id)) => id,
        other => panic!("{other:?}"),
    };
    let kill = Keyed::new(b"n", command(&["CLIENT", "KILL", "ID", &id.to_string(), "SKIPME", "no"]));
    let count = || Keyed::new(b"n", command(&["INCR", "n"])).once();
    let answers = rig.run(vec![count(), kill, count()]).unwrap();
    assert!(answers[2].is_err(), "{answers:?}");
    let done: i64 = server.ask(&["GET", "n"]);
    assert!(done <= 2, "{done}");
}

#[test]
fn the_promoted_replica_is_found() {
    let Some(first) = Server::start("the_promoted_replica_is_found", &["--repl-diskless-sync-delay", "0"])
    else {
        return;
    };
    let second =
        Server::start("the_promoted_replica_is_found", &["--repl-diskless-sync-delay", "0"]).unwrap();
    second.follow(&first);
    let mut connection = first.connection("cache");
    // The replica first: it has to be passed over.
    connection.addresses.insert(0, second.address());
    let rig = Rig::new(&connection);
    assert_eq!(rig.set("a", "1"), Ok(Value::Okay));
    assert_eq!(rig.nodes.master().unwrap().identity.address, first.address());
    first.kill();
    second.promote();
    assert_eq!(rig.set("a", "2"), Ok(Value::Okay));
    assert_eq!(rig.nodes.master().unwrap().identity.address, second.address());
    // The old one comes back as a replica, and is given the lead once more.
    first.start_again();
    first.follow(&second);
    first.promote();
    second.follow(&first);
    // READONLY now.
    assert_eq!(rig.set("a", "3"), Ok(Value::Okay));
    assert_eq!(first.ask::<String>(&["GET", "a"]), "3");
    assert_eq!(rig.nodes.master().unwrap().identity.address, first.address());
}

#[test]
fn a_replica_leads_to_a_master_that_is_not_listed() {
    let Some(first) =
        Server::start("a_replica_leads_to_a_master_that_is_not_listed", &["--repl-diskless-sync-delay", "0"])
    else {
        return;
    };
    let second = Server::start("a_replica_leads_to_a_master_that_is_not_listed", &[]).unwrap();
    second.follow(&first);
    let rig = Rig::new(&second.connection("cache"));
    assert_eq!(rig.set("a", "1"), Ok(Value::Okay));
    assert_eq!(rig.nodes.master().unwrap().identity.address, first.address());
}

#[test]
fn full_memory_is_told_and_passes() {
    let Some(server) = Server::start("full_memory_is_told_and_passes", &["--maxmemory", "3mb"]) else {
        return;
    };
    let rig = Rig::new(&server.connection("cache"));
    let big = "x".repeat(1 << 18);
    let mut refused = None;
    for n in 0..64 {
        if let Err(text) = rig.set(&format!("k{n}"), &big) {
            refused = Some(text);
            break;
        }
    }
    check_refused(Err(refused.expect("memory ends")), &["maxmemory", "raise it", "OOM"]);
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(rig.set("k", &big), Ok(Value::Okay));
}

#[test]
fn sentinels_name_the_master() {
    let test = "sentinels_name_the_master";
    let Some(first) = Server::start(test, &["--repl-diskless-sync-delay", "0"]) else { return };
    let second = Server::start(test, &["--repl-diskless-sync-delay", "0"]).unwrap();
    second.follow(&first);
    let sentinels: Vec<_> = (0..3).map(|_| Server::start(test, &["--sentinel"]).unwrap()).collect();
    for sentinel in &sentinels {
        sentinel.ask::<()>(&["SENTINEL", "MONITOR", "main", "127.0.0.1", &first.port().to_string(), "2"]);
        sentinel.ask::<()>(&["SENTINEL", "SET", "main", "down-after-milliseconds", "1000"]);
    }
    for sentinel in &sentinels {
        until("sentinels know each other", || {
            let found: Vec<Value> = sentinel.ask(&["SENTINEL", "SENTINELS", "main"]);
            let replicas: Vec<Value> = sentinel.ask(&["SENTINEL", "REPLICAS", "main"]);
            found.len() == 2 && replicas.len() == 1
        });
    }
    let mut connection = Connection::new("cache", sentinels.iter().map(Server::address).collect());
    connection.mode = Mode::Sentinel { service: "main".into() };
    let rig = Rig::new(&connection);
    assert_eq!(rig.set("a", "1"), Ok(Value::Okay));
    assert_eq!(rig.nodes.master().unwrap().identity.address, first.address());
    first.kill();
    until("a new master", || rig.set("a", "2").is_ok());
    assert_eq!(rig.nodes.master().unwrap().identity.address, second.address());
    connection.mode = Mode::Sentinel { service: "other".into() };
    connection.response_timeout = std::time::Duration::from_millis(300);
    check_refused(Rig::new(&connection).set("a", "1"), &["the sentinels know no master `other`"]);
}

#[test]
fn clients_of_one_connection_share_an_opinion() {
    let Some(server) = Server::start("clients_of_one_connection_share_an_opinion", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    let other = Nodes::open(&server.connection("cache"), &rig.shared).unwrap();
    rig.nodes.trouble("memory", "full");
    assert_eq!(other.reason_away().as_deref(), Some("full"));
    assert_eq!(rig.set("a", "1"), Ok(Value::Okay));
    assert_eq!(other.reason_away().as_deref(), Some("full"));
    other.fine("memory");
    assert_eq!(*rig.heard.lock().unwrap(), [Some("full".to_owned()), None]);
}

#[test]
fn a_server_that_loads_is_waited_for() {
    let slowly = ["--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024"];
    let Some(server) = Server::start("a_server_that_loads_is_waited_for", &slowly) else { return };
    let mut client = server.client();
    let mut pipeline = redis::pipe();
    for n in 0..5000 {
        pipeline.cmd("SET").arg(format!("k{n}")).arg("some value that takes its place").ignore();
    }
    pipeline.exec(&mut client).unwrap();
    server.ask::<()>(&["SAVE"]);
    let rig = Rig::new(&server.connection("cache"));
    assert_eq!(rig.set("a", "1"), Ok(Value::Okay));
    server.kill();
    server.start_again();
    let first = rig.get("k7");
    let loading = rig.nodes.metrics().retried(crate::redis::error::Trouble::Loading);
    assert!(loading > 0, "{first:?}");
    if first.is_err() {
        check_refused(first, &["the server is reading its data from disk", "LOADING"]);
    }
    until("loaded", || rig.get("k7") == Ok(bulk("some value that takes its place")));
    assert!(rig.nodes.master().is_ok());
    assert_eq!(rig.nodes.reason_away(), None);
}

/// Somebody with little patience does not end the line of the others.
#[test]
fn little_patience_is_no_trouble() {
    let Some(server) = Server::start("little_patience_is_no_trouble", &[]) else { return };
    let mut connection = server.connection("cache");
    connection.response_timeout = std::time::Duration::from_secs(20);
    let rig = Rig::new(&connection);
    assert_eq!(rig.set("a", "1"), Ok(Value::Okay));
    server.ask::<()>(&["CLIENT", "PAUSE", "500", "ALL"]);
    let soon = std::time::Duration::from_millis(20);
    let answers = rig.runtime.block_on(rig.nodes.run_within(vec![get("a")], soon)).unwrap();
    assert!(answers[0].is_err());
    assert_eq!(rig.get("a"), Ok(bulk("1")));
    assert_eq!(rig.nodes.metrics().reconnects.get(), 0);
}

#[test]
fn many_ask_while_the_server_is_killed_again_and_again() {
    let Some(server) = Server::start("many_ask_while_the_server_is_killed_again_and_again", &[]) else {
        return;
    };
    let mut connection = server.connection("cache");
    connection.response_timeout = std::time::Duration::from_millis(500);
    let rig = Rig::new(&connection);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let asking: Vec<_> = (0..50)
        .map(|n| {
            let (nodes, stopped, key) = (Arc::clone(&rig.nodes), stopped.clone(), format!("k{n}"));
            rig.runtime.spawn(async move {
                let mut answered = 0_u64;
                while !*stopped.borrow() {
                    let round = answered.to_string();
                    match nodes.run(vec![set(&key, &round), get(&key)]).await {
                        Ok(answers) => {
                            let [Ok(Value::Okay), Ok(value)] = &answers[..] else { continue };
                            // Killed in between, it comes back empty.
                            assert!([bulk(&round), Value::Nil].contains(value), "{value:?} is not {round}");
                            answered += 1;
                        }
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
                answered
            })
        })
        .collect();
    for _ in 0..5 {
        until("asked", || {
            server.info("total_commands_processed").is_some_and(|count| count.parse::<u64>().unwrap() > 500)
        });
        server.kill();
        server.start_again();
    }
    until("asked again", || {
        server.info("total_commands_processed").is_some_and(|count| count.parse::<u64>().unwrap() > 500)
    });
    stop.send(true).unwrap();
    for asking in asking {
        assert!(rig.runtime.block_on(asking).unwrap() > 0);
    }
    until("back", || rig.get("k0").is_ok());
    assert_eq!(rig.nodes.reason_away(), None);
}

#[test]
fn a_master_that_hangs_is_left() {
    let test = "a_master_that_hangs_is_left";
    let Some(first) = Server::start(test, &["--repl-diskless-sync-delay", "0"]) else { return };
    let second = Server::start(test, &[]).unwrap();
    second.follow(&first);
    let mut connection = first.connection("cache");
    connection.addresses.push(second.address());
    connection.response_timeout = std::time::Duration::from_millis(300);
    connection.connect_timeout = connection.response_timeout;
    let rig = Rig::new(&connection);
    assert_eq!(rig.set("a", "1"), Ok(Value::Okay));
    let mut master = rig.nodes.master().unwrap();
    first.pause();
    second.promote();
    until("the other is found", || rig.set("a", "2").is_ok());
    let error = command(&["GET", "a"]).query::<String>(&mut master.connection).unwrap_err();
    assert!(crate::redis::is_lost(&error), "{error}");
    assert_eq!(rig.nodes.master().unwrap().identity.address, second.address());
    assert_eq!(rig.nodes.reason_away(), None);
}
