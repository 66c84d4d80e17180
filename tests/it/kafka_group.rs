//! Several hosts on one topic: who reads what, what happens when they come, go, sleep and wake.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::kafka;
use tests::{Host, Workspace, eventually};

use crate::kafka_job::{Job, Shape, write};
use crate::kafka_kill::settled;
use crate::load::Load;
use crate::support::{VIEW, python};

/// A silent host is noticed after six seconds, which is the least that brokers allow.
const QUICK: &str = "start: earliest, options: { session.timeout.ms: 6000, heartbeat.interval.ms: 500 }";

/// How long faults go on: half a minute, five with `MILLRACE_LONG`.
fn duration() -> Duration {
    let long = std::env::var_os("MILLRACE_LONG").is_some();
    Duration::from_secs(if long { 300 } else { 15 })
}

/// A folder with a job's files for a further host.
fn folder(job: &Job, shape: &Shape<'_>) -> Workspace {
    let workspace = Workspace::new();
    job.write(&workspace, shape);
    workspace
}

/// The partitions that a host has of the view's source.
pub(crate) fn partitions(host: &Host) -> Vec<String> {
    let view = host.view(VIEW);
    let positions = view["positions"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> =
        positions.iter().map(|position| position["partition"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Waits until hosts share that many partitions, each with at least one.
#[track_caller]
pub(crate) fn shared(hosts: &[&Host], count: usize) {
    eventually("the hosts share the partitions", || {
        let mut all: Vec<Vec<String>> = hosts.iter().map(|host| partitions(host)).collect();
        let fair = all.iter().all(|names| !names.is_empty());
        let mut names = all.drain(..).flatten().collect::<Vec<String>>();
        let total = names.len();
        names.sort();
        names.dedup();
        (fair && total == count && names.len() == count).then_some(())
    });
}

#[test]
fn hosts_share_partitions_and_take_over() {
    hosts_share(QUICK);
}

/// The same when the broker assigns.
#[test]
fn hosts_share_partitions_by_the_new_protocol() {
    hosts_share("start: earliest, group_protocol: consumer");
}

fn hosts_share(source: &str) {
    if !kafka::there() || !python() {
        return;
    }
    let shape = Shape { partitions: 4, source, ..Shape::default() };
    let job = Job::new(&shape);
    let second_folder = folder(&job, &shape);
    let tail = job.client.tail(&job.output);
    let mut events = job.produce(0..400);
    let first = Host::start(&job.workspace);
    shared(&[&first], 4);
    let second = Host::start(&second_folder);
    shared(&[&first, &second], 4);
    events.extend(job.produce(400..800));
    eventually("both have emitted", || (tail.count() >= 800).then_some(()));
    // Answers say that a host has only a part.
    let answer = second.get(&format!("/v1/features/{VIEW}?user_id=u1"));
    assert_eq!(answer.json()["partial"]["of"], 4, "{}", answer.text);
    assert!(answer.header("millrace-partial").is_some(), "{:?}", answer.headers);
    // A clean stop hands over at once; a crash after the session.
    assert!(second.stop().success());
    shared(&[&first], 4);
    events.extend(job.produce(800..1200));
    eventually("the first has taken over", || (tail.count() >= 1200).then_some(()));
    let second = Host::start(&second_folder);
    shared(&[&first, &second], 4);
    first.kill();
    events.extend(job.produce(1200..1600));
    shared(&[&second], 4);
    job.caught_up(&second);
    assert!(second.stop().success());
    job.check("shared", &events, &settled(&job, &tail), &Value::Null);
}

#[test]
fn a_rebalance_storm_loses_nothing() {
    storm("", "shared");
}

#[test]
fn a_rebalance_storm_repeats_nothing_in_transactions() {
    storm("exactly_once: true", "once");
}

/// Three hosts on twelve partitions; every moment one of them goes, by its own will or not, and comes back.
fn storm(output: &str, mode: &str) {
    if !kafka::there() || !python() {
        return;
    }
    let shape = Shape { partitions: 12, source: QUICK, output, ..Shape::default() };
    let job = Job::new(&shape);
    let folders: Vec<Workspace> = (0..3).map(|_| folder(&job, &shape)).collect();
    let tail = job.client.tail(&job.output);
    let load = Load::new(&job);
    load.during(|| {
        let mut hosts: Vec<Option<Host>> =
            folders.iter().map(|folder| Some(Host::spawn(folder, &[]))).collect();
        let started = Instant::now();
        let mut round = 0;
        while started.elapsed() < duration() || round < 4 {
            let goes = round % 3;
            let host = hosts[goes].take().expect("it is put back below");
            let before = tail.count();
            eventually("somebody emits", || (tail.count() > before).then_some(()));
            if round % 2 == 0 {
                host.signal("-TERM");
                let (status, log) = host.wait();
                assert!(status.success(), "{status}: {log}");
            } else {
                host.kill();
            }
            hosts[goes] = Some(Host::spawn(&folders[goes], &[]));
            round += 1;
        }
        for host in hosts.into_iter().flatten() {
            eventually("every host is up", || {
                host.try_get("/readyz").filter(|answer| !answer.text.contains("\"starting\""))
            });
            host.signal("-TERM");
            let (status, log) = host.wait();
            assert!(status.success(), "{status}: {log}");
        }
    });
    let host = Host::start(&folders[0]);
    shared(&[&host], 12);
    job.caught_up(&host);
    assert!(host.stop().success());
    job.check(mode, &load.events(), &settled(&job, &tail), &Value::Null);
}

#[test]
fn a_host_that_slept_emits_nothing_for_partitions_that_it_lost() {
    sleeper("", "shared");
}

#[test]
fn a_host_that_slept_cannot_commit_its_transaction() {
    sleeper("exactly_once: true", "once");
}

/// SIGSTOP past the session's end, while another host takes over and goes on; then the sleeper wakes.
fn sleeper(output: &str, mode: &str) {
    if !kafka::there() || !python() {
        return;
    }
    let shape = Shape { partitions: 2, source: QUICK, output, ..Shape::default() };
    let job = Job::new(&shape);
    let second_folder = folder(&job, &shape);
    let tail = job.client.tail(&job.output);
    let load = Load::new(&job);
    load.during(|| {
        let sleeper = Host::start(&job.workspace);
        let before = tail.count();
        eventually("it emits", || (tail.count() > before + 100).then_some(()));
        sleeper.signal("-STOP");
        let second = Host::start(&second_folder);
        shared(&[&second], 2);
        let taken_over = tail.count();
        eventually("the second has taken over", || (tail.count() > taken_over + 500).then_some(()));
        sleeper.signal("-CONT");
        shared(&[&sleeper, &second], 2);
        let awake = tail.count();
        eventually("both go on", || (tail.count() > awake + 500).then_some(()));
        assert!(second.stop().success());
        shared(&[&sleeper], 2);
        assert!(sleeper.stop().success());
    });
    let host = Host::start(&job.workspace);
    job.caught_up(&host);
    assert!(host.stop().success());
    job.check(mode, &load.events(), &settled(&job, &tail), &Value::Null);
}

/// A view that is new on a source that others are far into takes everything from where the source begins.
#[test]
fn a_view_that_is_added_catches_up_by_itself() {
    if !kafka::there() {
        return;
    }
    let job = Job::new(&Shape::default());
    let host = Host::start(&job.workspace);
    write(&job.client.writer(&job.source), 0..300);
    job.records(&host, 300);
    job.caught_up(&host);
    let second = kafka::name("second");
    job.client.create(&second, 2, &[]);
    let text = std::fs::read_to_string(job.workspace.join("views/ads.yaml")).unwrap();
    let view = text.split("---\n").last().unwrap();
    let view = view.replace(&format!("name: {VIEW}"), "name: second").replace(&job.output, &second);
    job.workspace.write("views/second.yaml", view);
    let seen = job.client.read_when(&second, 300);
    assert_eq!(seen.len(), 300);
    host.view_when("second", "it runs with the others", |view| view["state"] == "running");
    write(&job.client.writer(&job.source), 300..310);
    assert_eq!(job.client.read_when(&second, 310).len(), 310);
    job.records(&host, 310);
    // Both are in the group's commit.
    assert!(host.stop().success());
    for (_, metadata) in job.client.commits(&job.group, &job.source).values() {
        assert!(metadata.contains(&format!("{VIEW}=")) && metadata.contains("second="), "{metadata}");
    }
}
