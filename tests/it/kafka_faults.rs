//! Brokers that go and networks that fail: the host waits, says so once, and goes on by itself.

use std::time::Duration;

use serde_json::Value;
use tests::kafka::{self, Cluster, Settings, Tail};
use tests::{Host, Way, api, eventually, pass};

use crate::kafka_job::{Job, Shape};
use crate::kafka_kill::settled;
use crate::load::Load;
use crate::support::{VIEW, metric, python, read};

/// How many lines a host may say about brokers that are away, however long they are: one for each client that it has,
/// and one when they are back.
const LINES: usize = 8;

/// How long all brokers are away: ten seconds, a minute with `MILLRACE_LONG`.
fn away() -> Duration {
    Duration::from_secs(if std::env::var_os("MILLRACE_LONG").is_some() { 60 } else { 10 })
}

/// Waits until a hundred more records were seen.
#[track_caller]
fn emits(host: &Host, tail: &Tail, what: &str) {
    let before = tail.count();
    host.eventually(what, || match tail.count() - before {
        more @ 101.. => Ok(more),
        more => Err(format!("{more} more")),
    });
}

#[test]
fn brokers_go_one_by_one_and_all_at_once() {
    if !kafka::there() || !python() {
        return;
    }
    let mut cluster = Cluster::start(Settings { brokers: 3, ..Settings::default() });
    let modes = [("", "again"), ("exactly_once: true", "once")];
    let jobs = modes.map(|(output, _)| {
        let bootstrap = Some(cluster.bootstrap());
        Job::new(&Shape { output, bootstrap, client: Some(cluster.client()), ..Shape::default() })
    });
    let hosts = [Host::start(&jobs[0].workspace), Host::start(&jobs[1].workspace)];
    let tails = [0, 1].map(|index| jobs[index].client.tail(&jobs[index].output));
    let loads = [Load::new(&jobs[0]), Load::new(&jobs[1])];
    let more = |what: &str| {
        for (host, tail) in hosts.iter().zip(&tails) {
            emits(host, tail, what);
        }
    };
    loads[0].during(|| {
        loads[1].during(|| {
            more("records come out");
            let leader = usize::try_from(jobs[0].client.leader(&jobs[0].output, 0)).unwrap() - 1;
            cluster.kill(leader);
            more("records come out after a broker was killed");
            cluster.restart(&[leader]);
            let leader = usize::try_from(jobs[1].client.leader(&jobs[1].source, 0)).unwrap() - 1;
            cluster.stop(leader);
            more("records come out after leaders moved");
            cluster.restart(&[leader]);
            more("records come out with all brokers");
        });
    });
    let said = hosts.each_ref().map(|host| host.log().lines().count());
    for index in 0..3 {
        cluster.kill(index);
    }
    for host in &hosts {
        // The reason names the connection.
        host.unready("main");
    }
    pass(away());
    for (host, said) in hosts.iter().zip(said) {
        assert_eq!(host.get("/livez").status, 200);
        assert_eq!(read(host, "u1").status, 200, "reads need no broker");
        let log = host.log();
        let lines: Vec<&str> = log.lines().skip(said).collect();
        assert!(lines.len() <= LINES, "{}", lines.join("\n"));
        assert!(lines.iter().any(|line| line.contains("main")), "{}", lines.join("\n"));
    }
    cluster.restart(&[0, 1, 2]);
    loads[0].during(|| loads[1].during(|| more("records come out again")));
    for (index, host) in hosts.into_iter().enumerate() {
        host.ready();
        jobs[index].caught_up(&host);
        assert!(host.stop().success());
        jobs[index].check(
            modes[index].1,
            &loads[index].events(),
            &settled(&jobs[index], &tails[index]),
            &Value::Null,
        );
    }
}

#[test]
fn a_host_starts_without_its_broker_and_goes_on_when_it_comes() {
    if !kafka::there() {
        return;
    }
    let proxy = kafka::shared().proxy();
    let job = Job::new(&Shape { bootstrap: Some(proxy.address()), ..Shape::default() });
    job.produce(0..10);
    proxy.refuse();
    let host = Host::spawn(&job.workspace, &[]);
    let reasons = host.unready("main");
    assert_eq!(host.get("/livez").status, 200, "{reasons}");
    proxy.mend();
    job.records(&host, 10);
    host.ready();
    // Away once more, for as long as it takes to notice.
    let said = host.log().lines().count();
    proxy.refuse();
    host.unready("");
    pass(Duration::from_secs(3));
    let log = host.log();
    let lines: Vec<&str> = log.lines().skip(said).collect();
    assert!(lines.len() <= LINES, "{}", lines.join("\n"));
    proxy.mend();
    job.produce(10..20);
    job.records(&host, 20);
    host.ready();
    assert!(host.stop().success());
}

#[test]
fn a_slow_output_slows_the_source_and_nothing_else() {
    if !kafka::there() || !python() {
        return;
    }
    let proxy = kafka::shared().proxy();
    let slow = format!("  slow:\n    kafka: {{ bootstrap_servers: \"{}\" }}", proxy.address());
    let job = Job::new(&Shape { output_connection: "slow", host: &slow, ..Shape::default() });
    let host = Host::start(&job.workspace);
    let events = job.produce(0..100);
    job.records(&host, 100);
    proxy.limit(100_000);
    let mut events = events;
    events.extend(job.produce(100..20_000));
    let tail = job.client.tail(&job.output);
    let before = eventually("some of it has come out", || Some(tail.count()).filter(|count| *count > 300));
    // A record takes some 700 bytes, so 20,000 of them minutes: the host must not hold what it cannot send.
    let outstanding = metric(&host, "millrace_kafka_outstanding_records", &[]).unwrap_or_default();
    assert!(before < 20_000, "the output is slow");
    assert!(outstanding < 20_000.0, "{outstanding} records are handed over and not acknowledged");
    assert_eq!(host.get("/readyz").status, 200);
    assert_eq!(read(&host, "u1").status, 200);
    proxy.mend();
    job.caught_up(&host);
    assert!(host.stop().success());
    job.check("once", &events, &settled(&job, &tail), &Value::Null);
}

#[test]
fn a_bad_network_costs_time_only() {
    bad_network("", "again");
}

#[test]
fn a_bad_network_repeats_nothing_in_transactions() {
    bad_network("exactly_once: true", "once");
}

/// Latency, stalls, cuts and garbled bytes between the host and everything that it talks to.
fn bad_network(output: &str, mode: &str) {
    if !kafka::there() || !python() {
        return;
    }
    let proxy = kafka::shared().proxy();
    let job = Job::new(&Shape { output, bootstrap: Some(proxy.address()), ..Shape::default() });
    let tail = job.client.tail(&job.output);
    let host = Host::start(&job.workspace);
    let load = Load::new(&job);
    let more = |what: &str| emits(&host, &tail, what);
    load.during(|| {
        more("records come out");
        proxy.latency(Duration::from_millis(20));
        more("records come out slowly");
        proxy.mend();
        for _ in 0..3 {
            proxy.cut();
            more("records come out after a cut");
        }
        proxy.stall();
        pass(Duration::from_secs(2));
        proxy.mend();
        more("records come out after a stall");
        proxy.corrupt(Way::ToBroker, api::PRODUCE, 2);
        proxy.met(Way::ToBroker, api::PRODUCE, 2);
        more("records come out after garbled requests");
        proxy.corrupt(Way::ToClient, api::PRODUCE, 1);
        proxy.met(Way::ToClient, api::PRODUCE, 1);
        proxy.cut();
        more("records come out after a garbled reply");
    });
    job.caught_up(&host);
    assert_eq!(host.view(VIEW)["state"], "running");
    assert!(host.stop().success());
    job.check(mode, &load.events(), &settled(&job, &tail), &Value::Null);
}
