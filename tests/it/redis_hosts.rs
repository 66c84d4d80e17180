//! Several hosts on one Redis: all of them answer for every entity, and what they write about the same entities ends
//! as the newest, whoever sleeps, dies, or loses its claim in between.

use std::collections::BTreeMap;

use tests::redis::{self, Server};
use tests::{Host, Workspace, eventually};

use crate::redis_job::{
    CLAIM, DRIVERS, Load, SHARED, SOURCE, VIEW, WRITERS, all_emitted, at, check, emits, entities, event_of,
    events, folder, further_view, newest, rows, write,
};
use crate::support::metric;

/// Who has the claim of the view.
fn owner(server: &Server) -> Option<String> {
    let claim: Option<String> = server.ask(&["GET", CLAIM]);
    claim.map(|claim| claim.rsplit_once(':').expect("a token ends in random digits").0.to_owned())
}

/// Rows that a host wrote in one way.
fn written(host: &Host, way: &str) -> f64 {
    metric(host, "millrace_redis_rows_total", &[VIEW, &format!("way=\"{way}\"")]).unwrap_or_default()
}

/// Lets claims change hands at once, not after half a minute, until that host has it.
#[track_caller]
fn claims(server: &Server, host: &Host, not: Option<&str>) -> String {
    let before = written(host, "claimed");
    eventually("the host has the claim and writes under it", || {
        let _: u64 = server.ask(&["DEL", WRITERS]);
        let owner = owner(server).filter(|owner| Some(owner.as_str()) != not)?;
        (written(host, "claimed") > before).then_some(owner)
    })
}

#[test]
fn two_hosts_that_write_the_same_entities_converge() {
    if !redis::there() {
        return;
    }
    let server = Server::start();
    let redis = at(&server);
    let folders = [folder(&redis), folder(&redis)];
    let hosts = [0, 1].map(|index: usize| Host::start(&folders[index]));
    let loads = [Load::new(0, 2), Load::new(1, 2)];
    let more = |index: usize, what: &str| emits(&folders[index], &hosts[index], 300, what);
    loads[0].during(&hosts[0], || {
        // Alone, it has the view to itself.
        let first = claims(&server, &hosts[0], None);
        loads[1].during(&hosts[1], || {
            more(1, "the second writes");
            more(0, "the first goes on");
            // The first sleeps, in whatever step it is, and the second has the claim when it wakes.
            hosts[0].signal("-STOP");
            let second = claims(&server, &hosts[1], Some(&first));
            more(1, "the second writes alone");
            hosts[0].signal("-CONT");
            more(0, "the first is awake");
            eventually("the claim is broken", || (owner(&server) != Some(second.clone())).then_some(()));
            // Both remember what they wrote under claims that are somebody else's, or nobody's, from one moment to the next.
            for round in 0..4 {
                let _: u64 = server.ask(&["DEL", WRITERS]);
                more(round % 2, "claims change hands");
                let _: String = server.ask(&["SET", CLAIM, "nobody:00000000000000000000000000000000"]);
                more((round + 1) % 2, "the claim is somebody else's");
                let _: u64 = server.ask(&["DEL", CLAIM]);
            }
        });
    });
    let all: Vec<u64> = loads.iter().flat_map(Load::events).collect();
    let expected = newest(all);
    assert_eq!(expected.len(), usize::try_from(DRIVERS).unwrap());
    for (index, host) in hosts.iter().enumerate() {
        all_emitted(&folders[index], host, loads[index].count());
    }
    for host in hosts {
        check(&host, &expected);
        for way in ["claimed", "compared", "late"] {
            assert!(written(&host, way) > 0.0, "no row was {way}");
        }
        assert!(host.stop().success());
    }
}

/// A host that is killed leaves its rows to the others, and a host without any events answers for all.
#[test]
fn every_host_serves_every_entity() {
    if !redis::there() {
        return;
    }
    let server = Server::start();
    let redis = at(&server);
    let folders = [folder(&redis), folder(&redis)];
    let writer = Host::start(&folders[0]);
    let reader = Host::start(&folders[1]);
    writer.push(SOURCE, events(0..500));
    all_emitted(&folders[0], &writer, 500);
    check(&reader, &newest(0..500));
    let feast = |host: &Host| {
        let request = serde_json::json!({
            "features": [format!("{VIEW}:conv_percentage"), format!("{VIEW}:acc_percentage")],
            "entities": {"driver_id": (0..=DRIVERS).collect::<Vec<u64>>()},
        });
        let answer = host.post("/get-online-features", request.to_string());
        assert_eq!((answer.status, answer.header("millrace-partial")), (200, None), "{}", answer.text);
        answer.json()
    };
    let read = feast(&writer);
    assert_eq!(read["results"][1]["statuses"][0], "PRESENT", "{read}");
    assert_eq!(read["results"][1]["statuses"][usize::try_from(DRIVERS).unwrap()], "NOT_FOUND", "{read}");
    assert_eq!(feast(&reader), read);
    writer.kill();
    assert_eq!(feast(&reader), read, "a host that is gone takes no rows with it");
    reader.push(SOURCE, event_of(DRIVERS, 600));
    all_emitted(&folders[1], &reader, 1);
    let writer = Host::start(&folders[0]);
    writer.view_when(VIEW, "it runs again", |view| view["state"] == "running");
    assert_eq!(feast(&writer)["results"][1]["values"][usize::try_from(DRIVERS).unwrap()], 600.0);
    assert!(writer.stop().success());
    assert!(reader.stop().success());
}

/// Each view may say where its rows are, beside the default.
#[test]
fn a_view_names_its_own_store() {
    if !redis::there() {
        return;
    }
    let (here, redis) = (
        "online_store: { embedded: { checkpoint_interval: 100ms } }",
        "online_store: { redis: { connection: cache } }",
    );
    one_of_two_in_redis("second", here, redis);
    one_of_two_in_redis(VIEW, SHARED, "online_store: { embedded: {} }");
}

/// Two views of one entity have the same rows; only those of the named one are in Redis.
#[track_caller]
fn one_of_two_in_redis(in_redis: &str, default_store: &str, second_store: &str) {
    let server = Server::start();
    let workspace = Workspace::new();
    write(&workspace, &at(&server), default_store);
    further_view(&workspace, "second", |view| format!("{view}  {second_store}\n"));
    let host = Host::start(&workspace);
    host.push(SOURCE, events(0..200));
    all_emitted(&workspace, &host, 200);
    check(&host, &newest(0..200));
    let first = rows(&host, VIEW, 0..DRIVERS);
    eventually("the second view has them too", || {
        (values(&rows(&host, "second", 0..DRIVERS)) == values(&first)).then_some(())
    });
    let hashes = entities(&server);
    assert_eq!(hashes.len(), newest(0..200).len());
    let hash = std::str::from_utf8(&hashes[0]).expect("keys of small numbers are text");
    // Two features, time and version.
    assert_eq!(server.ask::<u64>(&["HLEN", hash]), 4);
    for view in [VIEW, "second"] {
        let there: bool = server.ask(&["HEXISTS", hash, &format!("_ts:{view}")]);
        assert_eq!(there, view == in_redis, "rows of {view}");
    }
    assert!(host.stop().success());
}

fn values(rows: &[serde_json::Value]) -> BTreeMap<String, serde_json::Value> {
    rows.iter().map(|row| (row["entity"].to_string(), row["features"].clone())).collect()
}
