//! Six nodes: keys everywhere, slots that move, masters that die.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::redis::slot;
use crate::redis::testing::{Cluster, until};

/// Keys in slots all over the cluster.
fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("key:{n}")).collect()
}

fn rig(cluster: &Cluster) -> Rig {
    Rig::new(&cluster.connection("cache"))
}

#[track_caller]
fn set_all(rig: &Rig, keys: &[String], value: &str) {
    let answers = rig.run(keys.iter().map(|key| set(key, value)).collect()).unwrap();
    assert!(answers.iter().all(|answer| *answer == Ok(Value::Okay)), "{answers:?}");
}

#[track_caller]
fn check_all(rig: &Rig, keys: &[String], value: &str) {
    let answers = rig.run(keys.iter().map(|key| get(key)).collect()).unwrap();
    assert!(answers.iter().all(|answer| *answer == Ok(bulk(value))), "{answers:?}");
}

/// A slot is set to move to the third node, which has none of its keys yet. Always to the same one: two nodes that give
/// each other slots quickly can end up each sure that a slot is the other's.
struct Move<'a> {
    from: &'a Server,
    to: &'a Server,
    slot: String,
}

impl<'a> Move<'a> {
    fn begin(cluster: &'a Cluster, slot: u16) -> Self {
        let (from, to) = (cluster.owner(slot), &cluster.servers[2]);
        let slot = slot.to_string();
        let id = |server: &Server| server.ask::<String>(&["CLUSTER", "MYID"]);
        to.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
        from.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
        Self { from, to, slot }
    }

    fn take(&self, key: &str) {
        let port = self.to.port().to_string();
        self.from.ask::<()>(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
    }

    fn end(&self) {
        let id = self.to.ask::<String>(&["CLUSTER", "MYID"]);
        for server in [self.to, self.from] {
            server.ask::<()>(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &id]);
        }
    }
}

#[test]
fn keys_go_to_the_nodes_that_hold_them() {
    let Some(cluster) = Cluster::start("keys_go_to_the_nodes_that_hold_them") else { return };
    let rig = rig(&cluster);
    let keys = keys(300);
    set_all(&rig, &keys, "1");
    check_all(&rig, &keys, "1");
    assert!(cluster.servers[..3].iter().all(|server| server.ask::<usize>(&["DBSIZE"]) > 50));
    let shards = rig.runtime.block_on(rig.nodes.masters()).unwrap();
    assert_eq!(shards.len(), 3);
    let slots: BTreeSet<u16> =
        shards.iter().flat_map(|shard| shard.slots.iter().cloned().flatten()).collect();
    assert_eq!(slots.len(), 16_384);
    for shard in &shards {
        let server = cluster.servers.iter().find(|server| server.address() == shard.address).unwrap();
        assert_eq!(shard.id, server.ask::<String>(&["CLUSTER", "MYID"]));
        assert_eq!(shard.identity.run_id, server.info("run_id"));
    }
    assert!(rig.nodes.master().is_err());
    let script = counting();
    let calls = keys.iter().map(|key| Keyed::script(&script, &[key], 4)).collect();
    let answers = rig.run(calls).unwrap();
    assert!(answers.iter().all(|answer| *answer == Ok(Value::Int(5))), "{answers:?}");
    assert!(rig.heard.lock().unwrap().is_empty());
}

#[test]
fn a_moving_slot_is_followed() {
    let Some(cluster) = Cluster::start("a_moving_slot_is_followed") else { return };
    let rig = rig(&cluster);
    let (one, two, three) = ("{bar}1", "{bar}2", "{bar}3");
    let all = [one, two, three].map(str::to_owned);
    set_all(&rig, &all, "1");
    let changes = rig.nodes.changes();
    let moving = Move::begin(&cluster, slot(b"bar"));
    moving.take(one);
    // One is there already (ASK), two is here still, three is made anew there, between the two.
    check_all(&rig, &all, "1");
    moving.take(three);
    set_all(&rig, &all, "2");
    // The other one is a master of its own: nothing is where nobody expects it.
    assert_eq!(rig.nodes.changes(), changes);
    let once = Keyed::new(one.as_bytes(), ::redis::cmd("GET").arg(one).clone()).once();
    assert_eq!(rig.ask(once), Ok(Value::BulkString(b"2".to_vec())));
    assert!(rig.nodes.changes() > changes);
    let script = counting();
    assert_eq!(rig.ask(Keyed::script(&script, &[one], 1)), Ok(Value::Int(3)));
    // Keys on both sides: TRYAGAIN until they are together.
    let both = || Keyed::new(one.as_bytes(), command(&["MGET", one, two]));
    check_refused(
        rig.runtime
            .block_on(rig.nodes.run_within(vec![both()], Duration::from_millis(300)))
            .unwrap()
            .remove(0)
            .map_err(|failure| failure.to_string()),
        &["the slot is being moved", "TRYAGAIN"],
    );
    let nodes = Arc::clone(&rig.nodes);
    let waiting =
        rig.runtime.spawn(async move { nodes.run_within(vec![both()], Duration::from_secs(30)).await });
    let retries = rig.nodes.metrics().retried(crate::redis::error::Trouble::TryAgain);
    until("it is tried again", || {
        rig.nodes.metrics().retried(crate::redis::error::Trouble::TryAgain) > retries
    });
    moving.take(two);
    let answer = rig.runtime.block_on(waiting).unwrap().unwrap().remove(0).unwrap();
    assert_eq!(answer, Value::Array(vec![bulk("3"), bulk("2")]));
    moving.end();
    // MOVED now, once.
    let moved = || rig.nodes.metrics().redirected(crate::redis::error::Trouble::Moved);
    let before = moved();
    assert_eq!(rig.get(one), Ok(bulk("3")));
    assert_eq!(rig.get(two), Ok(bulk("2")));
    assert_eq!(moved() - before, 1);
    assert!(rig.heard.lock().unwrap().is_empty());
}

#[test]
fn slots_move_while_keys_are_written() {
    let Some(cluster) = Cluster::start("slots_move_while_keys_are_written") else { return };
    let rig = rig(&cluster);
    let keys: Vec<_> = (0..40).flat_map(|tag| (0..4).map(move |n| format!("{{{tag}}}{n}"))).collect();
    set_all(&rig, &keys, "0");
    let (nodes, all) = (Arc::clone(&rig.nodes), keys.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let writing = rig.runtime.spawn(async move {
        let mut stopped = stopped;
        let mut round = 0;
        while stopped.try_recv().is_err() {
            round += 1;
            let value = round.to_string();
            let commands = all.iter().map(|key| set(key, &value)).collect();
            for answer in nodes.run(commands).await.unwrap() {
                assert_eq!(answer.unwrap(), Value::Okay);
            }
        }
        round
    });
    for tag in (0..40)
        .filter(|tag| cluster.owner(slot(tag.to_string().as_bytes())).port() != cluster.servers[2].port())
    {
        let moving = Move::begin(&cluster, slot(tag.to_string().as_bytes()));
        for n in 0..4 {
            moving.take(&format!("{{{tag}}}{n}"));
        }
        moving.end();
    }
    stop.send(()).unwrap();
    let rounds = rig.runtime.block_on(writing).unwrap();
    assert!(rounds > 1);
    check_all(&rig, &keys, &rounds.to_string());
}

#[test]
fn a_killed_master_is_replaced() {
    let Some(cluster) = Cluster::start("a_killed_master_is_replaced") else { return };
    let rig = rig(&cluster);
    let keys = keys(60);
    set_all(&rig, &keys, "1");
    let changes = rig.nodes.changes();
    let shards = rig.runtime.block_on(rig.nodes.masters()).unwrap();
    cluster.servers[0].kill();
    let fail_for = |key: &str| cluster.servers[0].port() == port_of(&shards, slot(key.as_bytes()));
    let answers = rig.run(keys.iter().map(|key| set(key, "2")).collect()).unwrap();
    for (key, answer) in keys.iter().zip(&answers) {
        // The others are not held up.
        assert!(answer.is_ok() || fail_for(key), "{key}: {answer:?}");
    }
    assert!(rig.nodes.reason_away().is_some());
    until("another has taken over", || {
        let answers = rig.run(keys.iter().map(|key| set(key, "3")).collect());
        answers.is_ok_and(|answers| answers.iter().all(Result::is_ok))
    });
    check_all(&rig, &keys, "3");
    assert_eq!(rig.nodes.reason_away(), None);
    assert!(rig.nodes.changes() > changes);
    let now = rig.runtime.block_on(rig.nodes.masters()).unwrap();
    assert_eq!(now.len(), 3);
    assert!(now.iter().all(|shard| shard.address != cluster.servers[0].address()));
    cluster.servers[0].start_again();
    until("the old master follows", || cluster.servers[0].info("role").as_deref() == Some("slave"));
    check_all(&rig, &keys, "3");
}

#[test]
fn a_master_that_hangs_is_replaced() {
    let Some(cluster) = Cluster::start("a_master_that_hangs_is_replaced") else { return };
    let mut connection = cluster.connection("cache");
    connection.response_timeout = Duration::from_millis(500);
    let rig = Rig::new(&connection);
    let keys = keys(60);
    set_all(&rig, &keys, "1");
    cluster.servers[0].pause();
    let all = |value: &str| {
        let answers = rig.run(keys.iter().map(|key| set(key, value)).collect());
        answers.is_ok_and(|answers| answers.iter().all(Result::is_ok))
    };
    until("another has taken over", || all("2"));
    check_all(&rig, &keys, "2");
    assert_eq!(rig.nodes.reason_away(), None);
    cluster.servers[0].go_on();
    until("the old master follows", || cluster.servers[0].info("role").as_deref() == Some("slave"));
    set_all(&rig, &keys, "3");
    check_all(&rig, &keys, "3");
}

#[test]
fn slots_that_nobody_holds_are_told() {
    let Some(cluster) = Cluster::start("slots_that_nobody_holds_are_told") else { return };
    let mut connection = cluster.connection("cache");
    connection.response_timeout = Duration::from_millis(500);
    for server in &cluster.servers {
        server.ask::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let (key, number) = ("{bar}", slot(b"bar").to_string());
    for server in &cluster.servers[..3] {
        server.ask::<()>(&["CLUSTER", "DELSLOTS", &number]);
    }
    let rig = Rig::new(&connection);
    check_refused(rig.set(key, "1"), &["the cluster does not hold all its slots", &number]);
    assert_eq!(rig.set("{foo}", "1"), Ok(Value::Okay));
    assert!(rig.nodes.reason_away().is_some());
    cluster.servers[0].ask::<()>(&["CLUSTER", "ADDSLOTS", &number]);
    until("held again", || rig.set(key, "1").is_ok());
    assert_eq!(rig.nodes.reason_away(), None);
    let heard = rig.heard.lock().unwrap().clone();
    assert_eq!(heard.len(), 2, "{heard:?}");
}

fn port_of(shards: &[crate::redis::Shard], slot: u16) -> u16 {
    let shard = shards.iter().find(|shard| shard.slots.iter().any(|slots| slots.contains(&slot))).unwrap();
    shard.address.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn a_cluster_wants_to_be_called_one() {
    let Some(cluster) = Cluster::start("a_cluster_wants_to_be_called_one") else { return };
    let rig = Rig::new(&cluster.servers[0].connection("cache"));
    let refused: Vec<_> = keys(20).iter().filter_map(|key| rig.set(key, "1").err()).collect();
    assert!(!refused.is_empty());
    check_refused(Err(refused[0].clone()), &["is a node of a cluster; set `cluster: true`"]);
    let Some(server) = Server::start("a_cluster_wants_to_be_called_one", &[]) else { return };
    let mut connection = server.connection("cache");
    connection.mode = crate::redis::Mode::Cluster;
    check_refused(Rig::new(&connection).set("a", "1"), &["cluster support disabled"]);
}
