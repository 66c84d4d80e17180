//! Redis that goes, is slow, forgets or is full, and networks that fail: the host waits, says so, and loses nothing.

use std::time::Duration;

use tests::redis::{self, Server, Settings};
use tests::{Host, Proxy, Way, Workspace, api, eventually, pass};

use crate::redis_job::{
    CLAIM, Load, SHARED, SOURCE, VIEW, all_emitted, at, check, emits, emitted, entities, event_of, events,
    folder, host_file, newest, rows,
};
use crate::support::{ad_view, impression, read};

/// How many lines a host may say about a Redis that is away, however long.
const LINES: usize = 6;

/// A server, a network before it, and a folder whose host goes through that.
fn proxied(more: &str) -> (Server, Proxy, Workspace) {
    let server = Server::start();
    let proxy = server.proxy();
    let workspace = folder(&format!("address: \"{}\", {more}", proxy.address()));
    (server, proxy, workspace)
}

#[track_caller]
fn away(host: &Host) -> String {
    host.unready("connection `cache`")
}

#[test]
fn a_host_starts_without_redis_and_goes_on_whenever_it_is_there() {
    if !redis::there() {
        return;
    }
    let (_server, proxy, workspace) = proxied("response_timeout: 500ms");
    let redis = format!("address: \"{}\", response_timeout: 500ms", proxy.address());
    host_file(&workspace, &redis, &format!("shutdown_grace: 2s\n{SHARED}"));
    proxy.refuse();
    let host = Host::spawn(&workspace, &[]);
    away(&host);
    assert_eq!(host.get("/livez").status, 200);
    // Pushes are taken: the log is here.
    eventually("a push is taken", || {
        host.try_post(&format!("/v1/push/{SOURCE}"), events(0..100)).filter(|answer| answer.status == 200)
    });
    pass(Duration::from_millis(500));
    assert_eq!(emitted(&workspace), 0, "nothing is emitted that nobody could read");
    proxy.mend();
    all_emitted(&workspace, &host, 100);
    host.ready();
    check(&host, &newest(0..100));
    // Away once more, for as long as it takes to notice, with reads and writes under way.
    let said = host.log().lines().count();
    proxy.refuse();
    host.push(SOURCE, events(100..300));
    away(&host);
    let answer = host.get(&format!("/v1/features/{VIEW}?driver_id=1"));
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(host.get("/livez").status, 200);
    assert_eq!(emitted(&workspace), 100, "{} {}", host.get("/readyz").text, host.log());
    proxy.mend();
    all_emitted(&workspace, &host, 300);
    host.ready();
    check(&host, &newest(0..300));
    let log = host.log();
    let lines: Vec<&str> = log.lines().skip(said).collect();
    assert!(lines.len() <= LINES, "{}", lines.join("\n"));
    assert!(lines.iter().any(|line| line.contains("cache")), "{}", lines.join("\n"));
    // A host that is told to stop while Redis is away stops, and the next one goes on.
    proxy.refuse();
    host.push(SOURCE, events(300..400));
    away(&host);
    assert_eq!(host.stop().code(), Some(70), "what was pushed could not be finished");
    proxy.mend();
    let host = Host::start(&workspace);
    all_emitted(&workspace, &host, 400);
    check(&host, &newest(0..400));
    assert!(host.stop().success());
}

/// Connections that are slow, cut, stalled, or lose answers of which nobody knows what became, and scripts that vanish.
#[test]
fn a_bad_network_loses_and_repeats_nothing() {
    if !redis::there() {
        return;
    }
    let (server, proxy, workspace) = proxied("response_timeout: 500ms, connect_timeout: 500ms");
    let host = Host::start(&workspace);
    let load = Load::new(0, 1);
    let more = |what: &str| emits(&workspace, &host, 100, what);
    load.during(&host, || {
        more("rows are written");
        for _ in 0..3 {
            proxy.cut();
            more("connections were cut");
            let _: String = server.ask(&["SCRIPT", "FLUSH"]);
            // Without a claim every row needs the script.
            let _: u64 = server.ask(&["DEL", CLAIM]);
            more("scripts were flushed");
        }
        proxy.latency(Duration::from_millis(30));
        more("the network is slow");
        proxy.mend();
        proxy.limit(200_000);
        more("the network is narrow");
        proxy.mend();
        for way in [Way::ToClient, Way::ToBroker] {
            proxy.hold(way, api::BYTES);
            proxy.met(way, api::BYTES, 1);
            proxy.cut();
            proxy.mend();
            more("something was lost on its way");
        }
        proxy.stall();
        away(&host);
        proxy.mend();
        more("the network is back");
    });
    all_emitted(&workspace, &host, load.count());
    host.ready();
    check(&host, &newest(load.events()));
    assert!(host.stop().success());
}

#[test]
fn a_full_redis_holds_rows_back_and_drops_none() {
    if !redis::there() {
        return;
    }
    const BATCH: u64 = 1000;
    let server = Server::start();
    let used: u64 = server.info("used_memory").parse().unwrap();
    let limit = |bytes: u64| server.ask::<String>(&["CONFIG", "SET", "maxmemory", &bytes.to_string()]);
    limit(used + (2 << 20));
    let workspace = folder(&at(&server));
    let host = Host::start(&workspace);
    let mut pushed = 0;
    let reasons = eventually("Redis is full", || {
        let body: String = (pushed..pushed + BATCH).map(|index| event_of(index, index)).collect();
        host.push(SOURCE, body);
        pushed += BATCH;
        assert!(pushed < 100 * BATCH, "Redis has no limit");
        let answer = host.get("/readyz");
        (answer.status == 503).then_some(answer.text)
    });
    assert!(reasons.contains("maxmemory") && reasons.contains("`cache`"), "{reasons}");
    eventually("the log says so", || host.log().contains("maxmemory").then_some(()));
    let count = usize::try_from(pushed).unwrap();
    assert!(emitted(&workspace) < count);
    // What is there is read all the same, and pushes are taken.
    assert_eq!(rows(&host, VIEW, [1])[0]["status"], "PRESENT");
    host.push(SOURCE, event_of(pushed, pushed));
    limit(0);
    all_emitted(&workspace, &host, count + 1);
    host.ready();
    for from in (0..=pushed).step_by(5000) {
        let drivers: Vec<u64> = (from..(from + 5000).min(pushed + 1)).collect();
        for (driver, row) in drivers.iter().zip(rows(&host, VIEW, drivers.iter().copied())) {
            let index = f64::from(u32::try_from(*driver).unwrap());
            assert_eq!(row["features"]["conv_percentage"].as_f64(), Some(index), "{row}");
        }
    }
    assert!(host.stop().success());
}

#[test]
fn a_redis_that_evicts_is_warned_about_once() {
    if !redis::there() {
        return;
    }
    let server = Server::start_with(Settings {
        lines: "maxmemory 100mb\nmaxmemory-policy allkeys-lru".to_owned(),
        ..Settings::default()
    });
    let workspace = folder(&at(&server));
    let host = Host::start(&workspace);
    let warnings = || host.log().lines().filter(|line| line.contains("allkeys-lru")).count();
    eventually("it warns", || (warnings() > 0).then_some(()));
    let _: u64 = server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    host.push(SOURCE, events(0..100));
    all_emitted(&workspace, &host, 100);
    check(&host, &newest(0..100));
    assert_eq!(warnings(), 1, "{}", host.log());
    assert!(host.log().contains("noeviction"), "{}", host.log());
    assert!(host.stop().success());
}

/// A key of ours that is of another type: the view says which, and others go on.
#[test]
fn a_key_of_another_type_pauses_the_view() {
    if !redis::there() {
        return;
    }
    let server = Server::start();
    let workspace = folder(&at(&server));
    workspace.write("views/ads.yaml", ad_view("2").replace("out.ndjson", "ads.ndjson"));
    workspace.component("user_impression_counts.wasm", "ad_impressions");
    let host = Host::start(&workspace);
    host.push(SOURCE, event_of(7, 1));
    all_emitted(&workspace, &host, 1);
    let key = entities(&server).pop().expect("there is a row");
    ::redis::cmd("DEL").arg(&key).exec(&mut server.connection()).unwrap();
    ::redis::cmd("SET").arg(&key).arg("not a hash").exec(&mut server.connection()).unwrap();
    host.push(SOURCE, event_of(7, 1025));
    let view = host.view_when(VIEW, "it is paused", |view| view["state"] == "paused");
    let reason = view["reason"].as_str().unwrap();
    assert!(reason.contains("`cache`") && reason.contains("remove it"), "{reason}");
    host.push("ad_impressions", impression("u", 0));
    eventually("the other view goes on", || (workspace.lines("ads.ndjson").len() == 1).then_some(()));
    assert_eq!(read(&host, "u").json()["results"][1]["statuses"], serde_json::json!(["PRESENT"]));
    assert_eq!(emitted(&workspace), 1, "what is not stored is not emitted");
    assert!(host.stop().success());
}
