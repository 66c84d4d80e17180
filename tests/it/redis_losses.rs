//! What Redis has acknowledged and lost: it is found, told, and made again from the source, and nothing is emitted twice.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use tests::redis::{self, Server, Settings};
use tests::{Host, Proxy, Workspace, eventually};

use crate::redis_job::{self as job, Load, all_emitted, check, emits, events, newest, repaired};
use crate::support::{impression, metric, read, slow_ad_impressions};

const VIEW: &str = "user_impression_counts";
/// Each takes a millisecond or more, so that one can look while they are made again.
const ROWS: u64 = 3000;

fn push(host: &Host, rows: std::ops::Range<u64>) {
    let events = rows.map(|row| impression(&format!("u{}", row % 500), row)).collect::<String>();
    host.push("ad_impressions", events);
}

fn emitted(workspace: &Workspace, host: &Host, count: u64) {
    all_emitted(workspace, host, usize::try_from(count).unwrap());
}

/// A master, a replica that follows it over a network of its own, and the keys of a connection to both.
fn pair() -> (Server, Server, Proxy, String) {
    let master = Server::start();
    let replica = master.replica();
    let network = master.proxy();
    replica.follow(network.port());
    let addresses = format!("addresses: [\"{}\", \"{}\"]", master.address(), replica.address());
    (master, replica, network, addresses)
}

/// A replica of which the network stalls takes over from a master that is killed.
#[test]
fn writes_lost_at_a_failover_are_made_again() {
    if !redis::there() {
        return;
    }
    let (mut master, replica, network, addresses) = pair();
    let workspace = Workspace::new();
    slow_ad_impressions(&workspace);
    job::host_file(&workspace, &addresses, job::SHARED);
    let host = Host::start(&workspace);
    push(&host, 0..500);
    emitted(&workspace, &host, 500);
    let _: String = master.ask(&["SET", "canary", "1"]);
    eventually("the replica has it all", || replica.ask::<Option<String>>(&["GET", "canary"]));
    network.stall();
    push(&host, 500..500 + ROWS);
    emitted(&workspace, &host, 500 + ROWS);
    let last = format!("u{}", (499 + ROWS) % 500);
    let newest = read(&host, &last).json()["results"][1]["event_timestamps"].clone();
    assert_eq!(metric(&host, "millrace_view_repairs_total", &[VIEW]).unwrap_or_default(), 0.0);
    master.kill();
    replica.promote();
    host.view_when(VIEW, "it has found the loss", |view| view["state"] == "recovering");
    let answer = read(&host, &last);
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (503, &"recovering".into()),
        "{}",
        answer.text
    );
    assert_eq!(host.get("/readyz").status, 503);
    // Pushes are taken meanwhile: they wait in the log.
    push(&host, 500 + ROWS..510 + ROWS);
    host.view_when(VIEW, "all is made again", |view| view["state"] == "running");
    assert_eq!(read(&host, &last).json()["results"][1]["event_timestamps"], newest);
    assert!(metric(&host, "millrace_view_repairs_total", &[VIEW]).unwrap_or_default() >= 1.0);
    assert!(metric(&host, "millrace_redis_losses_total", &[VIEW]).unwrap_or_default() >= 1.0);
    assert!(host.log().contains("lost"), "{}", host.log());
    emitted(&workspace, &host, 510 + ROWS);
    every_user_is_newest(&host, 510 + ROWS);
    let identities: BTreeSet<String> = workspace
        .lines("out.ndjson")
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["source"].to_string())
        .collect();
    assert_eq!(u64::try_from(identities.len()).unwrap(), 510 + ROWS, "no record stands twice");
    // What was made again is there for good.
    host.kill();
    let host = Host::start(&workspace);
    host.view_when(VIEW, "it runs", |view| view["state"] == "running");
    every_user_is_newest(&host, 510 + ROWS);
    assert!(host.stop().success());
}

#[track_caller]
fn every_user_is_newest(host: &Host, rows: u64) {
    let entities: Vec<Value> =
        (0..500).map(|user| serde_json::json!({"user_id": format!("u{user}")})).collect();
    let request = serde_json::json!({"entities": entities}).to_string();
    let answer = host.post(&format!("/v1/features/{VIEW}"), request).json();
    for user in 0..500 {
        let newest = (rows - 1 - user) / 500 * 500 + user;
        let event: Value = serde_json::from_str(&impression("u", newest)).unwrap();
        let row = &answer["rows"][usize::try_from(user).unwrap()];
        assert_eq!(row["feature_timestamp"], event["timestamp"], "{row}");
    }
}

/// The same with two hosts that write the same entities, under load: what both have lost comes back, and the newest wins.
#[test]
fn two_hosts_make_lost_writes_again() {
    if !redis::there() {
        return;
    }
    let (mut master, replica, network, addresses) = pair();
    let folders = [job::folder(&addresses), job::folder(&addresses)];
    let hosts = [0, 1].map(|index: usize| Host::start(&folders[index]));
    let loads = [Load::new(0, 2), Load::new(1, 2)];
    let more = |what: &str| {
        for (folder, host) in folders.iter().zip(&hosts) {
            emits(folder, host, 300, what);
        }
    };
    loads[0].during(&hosts[0], || {
        loads[1].during(&hosts[1], || {
            more("rows are written");
            network.stall();
            more("rows are written that the replica lacks");
            master.kill();
            replica.promote();
            more("the replica has taken over");
        });
    });
    let expected = newest(loads.iter().flat_map(Load::events));
    for (index, host) in hosts.iter().enumerate() {
        all_emitted(&folders[index], host, loads[index].count());
        repaired(host, &expected);
    }
    for (index, host) in hosts.into_iter().enumerate() {
        let repairs = metric(&host, "millrace_view_repairs_total", &[job::VIEW]);
        assert!(repairs.unwrap_or_default() >= 1.0, "{}", host.log());
        assert!(host.stop().success());
        // Nothing is emitted twice, also when it was made again.
        assert_eq!(job::emitted(&folders[index]), loads[index].count());
    }
}

/// A server that is killed, paused and killed again under load, and then comes back from a file that lacks its end.
#[test]
fn a_server_that_is_killed_comes_back_without_its_last_second() {
    if !redis::there() {
        return;
    }
    let mut server =
        Server::start_with(Settings { lines: "appendonly yes".to_owned(), ..Settings::default() });
    let workspace = job::folder(&format!("{}, response_timeout: 500ms", job::at(&server)));
    let host = Host::start(&workspace);
    let load = Load::new(0, 1);
    load.during(&host, || {
        for round in 0..3 {
            emits(&workspace, &host, 300, "rows are written");
            if round == 1 {
                server.signal("STOP");
                host.unready("");
                server.signal("CONT");
                emits(&workspace, &host, 300, "it answers again");
            }
            server.kill();
            server.restart();
        }
        emits(&workspace, &host, 300, "it is back");
    });
    all_emitted(&workspace, &host, load.count());
    repaired(&host, &newest(load.events()));
    // Nothing comes any more that would hide what is missing now.
    let losses = || metric(&host, "millrace_redis_losses_total", &[job::VIEW]).unwrap_or_default();
    let before = losses();
    server.kill();
    server.lose_last_writes();
    server.restart();
    eventually("the loss is found", || (losses() > before).then_some(()));
    repaired(&host, &newest(load.events()));
    assert!(host.stop().success());
    assert_eq!(job::emitted(&workspace), load.count());
}

/// A server that comes back from an older file, while the host is down: the marks outlive it.
#[test]
fn an_older_snapshot_is_found_after_a_restart_of_the_host() {
    if !redis::there() {
        return;
    }
    let mut server = Server::start();
    let workspace = job::folder(&job::at(&server));
    let host = Host::start(&workspace);
    host.push(job::SOURCE, events(0..1000));
    all_emitted(&workspace, &host, 1000);
    let _: String = server.ask(&["SAVE"]);
    host.push(job::SOURCE, events(1000..2000));
    all_emitted(&workspace, &host, 2000);
    assert!(host.stop().success());
    server.kill();
    server.restart();
    let host = Host::start(&workspace);
    eventually("the loss is found", || {
        (metric(&host, "millrace_view_repairs_total", &[job::VIEW]).unwrap_or_default() >= 1.0).then_some(())
    });
    host.view_when(job::VIEW, "all is made again", |view| view["state"] == "running");
    check(&host, &newest(0..2000));
    all_emitted(&workspace, &host, 2000);
    assert!(host.stop().success());
}

/// Nothing tells what an emptied Redis lacks: the host stops writing, and says how to go on.
#[test]
fn an_emptied_redis_stops_the_view_which_says_how_to_go_on() {
    if !redis::there() {
        return;
    }
    let server = Server::start_with(Settings::default());
    let workspace = job::folder(&job::at(&server));
    let host = Host::start(&workspace);
    host.push(job::SOURCE, events(0..500));
    all_emitted(&workspace, &host, 500);
    let _: String = server.ask(&["FLUSHALL"]);
    // Noticed when it writes next, or looks.
    eventually("writes stop", || {
        host.push(job::SOURCE, events(500..501));
        let view = host.view(job::VIEW);
        (view["state"] == "paused").then_some(())
    });
    let reason = host.view(job::VIEW)["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains("emptied") && reason.contains("`cache`") && reason.contains("host rewind"),
        "{reason}"
    );
    // It stays so, also for the next start.
    host.kill();
    let host = Host::start(&workspace);
    host.view_when(job::VIEW, "it is stopped again", |view| view["state"] == "paused");
    // What it says is what helps: take the store as it is, and fill it again.
    let (_, path) = reason.split_once("remove `").expect("it says what to remove");
    let (path, _) = path.split_once('`').unwrap();
    fs::remove_file(workspace.join(path)).unwrap();
    let rewound = Host::command(&workspace, &["rewind", job::VIEW, "--to", "earliest", "--url", &host.url]);
    assert!(rewound.status.success(), "{}", String::from_utf8_lossy(&rewound.stderr));
    host.view_when(job::VIEW, "it runs again", |view| view["state"] == "running");
    eventually("all rows are there again", || {
        let rows = job::rows(&host, job::VIEW, 0..job::DRIVERS);
        rows.iter().all(|row| row["status"] == "PRESENT").then_some(())
    });
    host.push(job::SOURCE, events(501..600));
    repaired(&host, &newest(0..600));
    assert!(host.stop().success());
}
