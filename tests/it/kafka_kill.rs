//! kill -9 from topic to topic under load, beside a consumer of committed records: nothing is lost, order is kept, and
//! in transactions nothing is repeated. A checker in another language recomputes all of it.

use std::thread;
use std::time::Duration;

use tests::kafka;
use tests::{Host, Way, api, eventually};

use crate::kafka_job::{Job, Shape};
use crate::load::{Load, Target};
use crate::support::{VIEW, python, rounds, vectors};

/// How often the host is killed.
const KILLS: u64 = 6;

#[test]
fn kill_at_least_once_loses_nothing_and_repeats_in_order() {
    kill_rounds("", "again");
}

#[test]
fn kill_exactly_once_loses_nothing_and_repeats_nothing() {
    kill_rounds("exactly_once: true", "once");
}

fn kill_rounds(output: &str, mode: &str) {
    if !kafka::there() || !python() {
        return;
    }
    let job = Job::new(&Shape { output, ..Shape::default() });
    let tail = job.client.tail(&job.output);
    let load = Load::new(&job);
    load.during(|| {
        for round in 0..rounds(KILLS) {
            let before = tail.count();
            let host = Host::start(&job.workspace);
            let enough = before + usize::try_from(Job::ROWS).unwrap();
            eventually("records come out", || (tail.count() > enough).then_some(()));
            // A different moment each time, in terms of work done rather than of time.
            thread::park_timeout(Duration::from_millis(17 * (round % 11)));
            host.kill();
        }
    });
    let host = Host::start(&job.workspace);
    job.caught_up(&host);
    let events = load.events();
    let stored = vectors(&host);
    // A clean stop: all is emitted and committed.
    assert!(host.stop().success());
    let seen = settled(&job, &tail);
    job.check(mode, &events, &seen, &stored);
    let committed: i64 = job.client.commits(&job.group, &job.source).values().map(|(offset, _)| offset).sum();
    assert_eq!(usize::try_from(committed), Ok(events.len()));
}

/// What a consumer saw, once it has seen all that is there.
pub(crate) fn settled(job: &Job, tail: &kafka::Tail) -> Vec<kafka::Record> {
    let all = job.client.read(&job.output).len();
    eventually("the consumer has seen all", || (tail.count() >= all).then_some(()));
    tail.records()
}

/// The broker has committed, but the host never hears of it; it is killed, and the next one must not write again.
#[test]
fn a_commit_whose_answer_is_lost_counts_once() {
    ambiguous_commit(Way::ToClient);
}

/// The host is gone when its commit arrives: the next one has made it void, and wrote everything again.
#[test]
fn a_commit_that_comes_after_its_producer_is_void() {
    ambiguous_commit(Way::ToBroker);
}

fn ambiguous_commit(way: Way) {
    if !kafka::there() || !python() {
        return;
    }
    let proxy = kafka::shared().proxy();
    let shape = Shape { output: "exactly_once: true", bootstrap: Some(proxy.address()), ..Shape::default() };
    let job = Job::new(&shape);
    let tail = job.client.tail(&job.output);
    let load = Load::new(&job);
    load.during(|| {
        for _ in 0..2 {
            let host = Host::start(&job.workspace);
            let before = tail.count();
            eventually("records come out", || (tail.count() > before).then_some(()));
            proxy.hold(way, api::END_TXN);
            proxy.met(way, api::END_TXN, 1);
            host.kill();
            let next = Host::spawn(&job.workspace, &[]);
            // The next producer of the same name has been made when the old one's commit or its answer arrives.
            let seen = tail.count();
            eventually("the next host answers", || next.try_get("/livez"));
            proxy.mend();
            eventually("records come out again", || (tail.count() > seen).then_some(()));
            next.kill();
        }
    });
    let host = Host::start(&job.workspace);
    job.caught_up(&host);
    assert!(host.stop().success());
    job.check("once", &load.events(), &settled(&job, &tail), &serde_json::Value::Null);
}

/// The same without a kill: the host itself has to give its producer up and find out what became of the commit.
#[test]
fn a_host_finds_out_what_became_of_its_commit() {
    if !kafka::there() || !python() {
        return;
    }
    let proxy = kafka::shared().proxy();
    let shape = Shape { output: "exactly_once: true", bootstrap: Some(proxy.address()), ..Shape::default() };
    let job = Job::new(&shape);
    let tail = job.client.tail(&job.output);
    let load = Load::new(&job);
    let host = Host::start(&job.workspace);
    load.during(|| {
        for way in [Way::ToClient, Way::ToBroker] {
            let before = tail.count();
            eventually("records come out", || (tail.count() > before).then_some(()));
            proxy.swallow(way, api::END_TXN, 1);
            proxy.met(way, api::END_TXN, 1);
            let seen = tail.count();
            eventually("records come out again", || (tail.count() > seen + 200).then_some(()));
        }
    });
    job.caught_up(&host);
    assert_eq!(host.view(VIEW)["state"], "running");
    assert!(host.stop().success());
    job.check("once", &load.events(), &settled(&job, &tail), &serde_json::Value::Null);
}

/// From the push log to a topic in transactions: progress is a record in the same transaction.
#[test]
fn kill_from_push_to_topic_repeats_nothing() {
    if !kafka::there() {
        return;
    }
    let shape = Shape { output: "exactly_once: true", ..Shape::default() };
    let job = Job::new(&shape);
    let text = std::fs::read_to_string(job.workspace.join("views/ads.yaml")).unwrap();
    let kafka_key = text.lines().find(|line| line.starts_with("  kafka: ")).unwrap().to_owned();
    job.workspace.write("views/ads.yaml", text.replacen(&kafka_key, "  push: {}", 1));
    let mut pushed = 0;
    for round in 0..rounds(KILLS).min(10) {
        let host = Host::start(&job.workspace);
        host.view_when(VIEW, "it runs", |view| view["state"] == "running");
        for _ in 0..=round % 3 {
            let body: String = (pushed..pushed + Job::ROWS)
                .map(|row| crate::support::impression(&format!("u{}", row % 7), row))
                .collect();
            host.push("ads", body);
            pushed += Job::ROWS;
        }
        thread::park_timeout(Duration::from_millis(13 * (round % 7)));
        host.kill();
    }
    let host = Host::start(&job.workspace);
    host.push("ads", crate::support::impression("last", pushed));
    pushed += 1;
    let records = job.records(&host, usize::try_from(pushed).unwrap());
    let mut positions: Vec<String> = records
        .iter()
        .map(|record| record.json()["source"]["position"].as_str().unwrap().to_owned())
        .collect();
    positions.sort();
    positions.dedup();
    assert_eq!(positions.len(), records.len(), "no event came out twice");
    assert!(host.stop().success());
}
