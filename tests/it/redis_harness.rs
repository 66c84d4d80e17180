//! The harness itself: what other tests rely on when they break Redis servers and networks.

use tests::redis::{self, Cluster, Sentinels, Server, Settings};
use tests::{Way, api, eventually, openssl};

#[test]
fn a_server_keeps_what_it_was_told_to_keep_and_is_reached_through_a_proxy() {
    if !redis::there() {
        return;
    }
    let mut server = Server::start_with(Settings {
        lines: "appendonly yes\nappendfsync always".to_owned(),
        password: Some("geheim".to_owned()),
        ..Settings::default()
    });
    let _: String = server.ask(&["SET", "a", "1"]);
    server.kill();
    server.restart();
    assert_eq!(server.ask::<String>(&["GET", "a"]), "1");
    assert!(server.info("run_id").len() == 40, "{}", server.info("run_id"));
    // An answer that is lost on its way: the server has done it, the client does not know.
    let proxy = server.proxy();
    let client = ::redis::Client::open(format!("redis://:geheim@{}/", proxy.address())).unwrap();
    let mut connection = client.get_connection().unwrap();
    proxy.hold(Way::ToClient, api::BYTES);
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || ::redis::cmd("SET").arg("a").arg("2").exec(&mut connection));
        proxy.met(Way::ToClient, api::BYTES, 1);
        proxy.cut();
        proxy.mend();
        asked.join().unwrap().unwrap_err();
    });
    assert_eq!(server.ask::<String>(&["GET", "a"]), "2");
    proxy.refuse();
    client.get_connection().map(drop).unwrap_err();
}

#[test]
fn a_replica_behind_a_stalled_network_lacks_what_was_acknowledged() {
    if !redis::there() {
        return;
    }
    let mut master = Server::start();
    let replica = master.replica();
    let proxy = master.proxy();
    replica.follow(proxy.port());
    let _: String = master.ask(&["SET", "a", "1"]);
    eventually("the replica has it", || {
        (replica.ask::<Option<String>>(&["GET", "a"]).as_deref() == Some("1")).then_some(())
    });
    proxy.stall();
    let _: String = master.ask(&["SET", "a", "2"]);
    master.kill();
    replica.promote();
    assert_eq!(replica.ask::<String>(&["GET", "a"]), "1");
    let _: String = replica.ask(&["SET", "a", "3"]);
}

#[test]
fn a_server_encrypts_and_is_short_of_memory() {
    if !redis::there() || !openssl() || !redis::with_tls() {
        return;
    }
    let server = Server::start_with(Settings {
        lines: "maxmemory 2mb\nmaxmemory-policy noeviction\nuser app on >pw ~* +@all".to_owned(),
        tls: true,
        ..Settings::default()
    });
    std::net::TcpStream::connect(server.tls_address()).unwrap();
    assert!(server.certificates().join("ca.pem").is_file());
    let large = "x".repeat(100_000);
    let full =
        (0..100).find_map(|index| server.try_ask::<String>(&["SET", &format!("k{index}"), &large]).err());
    assert_eq!(full.unwrap().code(), Some("OOM"));
}

#[test]
fn sentinels_promote_a_replica() {
    if !redis::there() {
        return;
    }
    let mut all = Sentinels::start(&Settings::default(), 1);
    assert_eq!(all.master(), 0);
    let _: String = all.servers[0].ask(&["SET", "a", "1"]);
    all.servers[0].kill();
    assert_eq!(all.other_master(0), 1);
    assert_eq!(all.servers[1].ask::<String>(&["GET", "a"]), "1");
}

#[test]
fn a_cluster_moves_slots_and_survives_a_master() {
    if !redis::there() {
        return;
    }
    let mut cluster = Cluster::start();
    let slot = cluster.slot(b"a");
    let owner = cluster.owner(slot, 0);
    let _: String = cluster.nodes[owner].ask(&["SET", "a", "1"]);
    let other = (owner + 1) % 3;
    cluster.begin_move(slot, owner, other);
    cluster.move_keys(slot, owner, other, 10);
    let asked = cluster.nodes[owner].try_ask::<String>(&["GET", "a"]).unwrap_err();
    assert_eq!(asked.kind(), ::redis::ErrorKind::Server(::redis::ServerErrorKind::Ask), "{asked}");
    cluster.end_move(slot, owner, other);
    assert_eq!(cluster.owner(slot, other), other);
    assert_eq!(cluster.nodes[other].ask::<String>(&["GET", "a"]), "1");
    let taken_over = cluster.fail_over(other, slot);
    assert!(taken_over >= 3, "node {taken_over} was a master before");
    assert_eq!(cluster.nodes[taken_over].ask::<String>(&["GET", "a"]), "1");
}
