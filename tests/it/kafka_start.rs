//! Where a view begins: as its source says, where it was, or where an operator sends it.

use std::collections::BTreeMap;

use tests::kafka::{self, Record};
use tests::{Host, eventually};

use crate::kafka_job::{Job, Shape};
use crate::support::{VIEW, assigned, impression, metric, read};

/// Ten events of a partition, a second apart by the broker's time from 2026-01-01 on.
fn events(partition: i32, from: u64) -> Vec<Record> {
    (from..from + 10)
        .map(|number| {
            let at = 1_767_225_600_000 + i64::try_from(number).unwrap() * 1000;
            Record::new(impression(&format!("u{number}"), number)).to(partition).at(at)
        })
        .collect()
}

/// Starts a job of two partitions with ten events each, and gives the offsets that came out.
fn began(start: &str, prepare: impl FnOnce(&Job)) -> Vec<(String, u64)> {
    let job = Job::new(&Shape { source: start, ..Shape::default() });
    job.client.produce(&job.source, events(0, 0).into_iter().chain(events(1, 0)));
    prepare(&job);
    let host = Host::start(&job.workspace);
    assigned(&host, 2);
    // What comes now is taken in any case: when it is there, all that will come before it has come.
    job.client
        .produce(&job.source, events(0, 10).into_iter().take(1).chain(events(1, 10).into_iter().take(1)));
    let records = eventually("the last events are emitted", || {
        let records = job.client.read(&job.output);
        let last = records.iter().filter(|record| position(record) == 10).count();
        (last == 2).then_some(records)
    });
    assert!(host.stop().success());
    let mut began: Vec<(String, u64)> = records
        .iter()
        .map(|record| {
            let partition = record.json()["source"]["partition"].as_str().unwrap().to_owned();
            (partition.rsplit_once('-').unwrap().1.to_owned(), position(record))
        })
        .collect();
    began.sort();
    began
}

fn position(record: &Record) -> u64 {
    u64::from_str_radix(record.json()["source"]["position"].as_str().unwrap(), 16).unwrap()
}

/// Both partitions from these offsets on.
fn from(zero: u64, one: u64) -> Vec<(String, u64)> {
    (zero..=10)
        .map(|offset| ("0".to_owned(), offset))
        .chain((one..=10).map(|offset| ("1".to_owned(), offset)))
        .collect()
}

#[test]
fn a_new_view_begins_where_its_source_says() {
    if !kafka::there() {
        return;
    }
    assert_eq!(began("start: earliest", |_| {}), from(0, 0));
    assert_eq!(began("start: latest", |_| {}), from(10, 10));
    assert_eq!(began("start: 2026-01-01T00:00:07Z", |_| {}), from(7, 7));
    assert_eq!(began("start: { 0: 3, 1: 8 }", |_| {}), from(3, 8));
    let committed = |job: &Job| {
        job.client.commit(&job.group, &job.source, 0, 4);
        job.client.commit(&job.group, &job.source, 1, 6);
    };
    assert_eq!(began("start: committed", committed), from(4, 6));
}

#[test]
fn without_a_commit_there_is_no_beginning_at_it() {
    if !kafka::there() {
        return;
    }
    let job = Job::new(&Shape { source: "start: committed", ..Shape::default() });
    job.client.produce(&job.source, events(0, 0));
    let host = Host::spawn(&job.workspace, &[]);
    let text = eventually("the view says why it does not start", || {
        let text = host.try_get("/readyz")?.text;
        text.contains("commit").then_some(text)
    });
    assert!(text.contains(&job.group) || text.contains(&job.source), "{text}");
    assert_eq!(host.get("/livez").status, 200);
    assert_eq!(job.client.read(&job.output), Vec::new());
    assert!(host.stop().success());
}

#[test]
fn a_start_says_nothing_to_a_view_that_has_a_position() {
    if !kafka::there() {
        return;
    }
    let shape = Shape { source: "start: latest", ..Shape::default() };
    let job = Job::new(&shape);
    let host = Host::start(&job.workspace);
    assigned(&host, 2);
    job.client.produce(&job.source, events(0, 0));
    job.records(&host, 10);
    assert!(host.stop().success());
    // While nobody looked.
    job.client.produce(&job.source, events(0, 10));
    let host = Host::start(&job.workspace);
    job.records(&host, 20);
    assert!(host.stop().success());
    // Another host of the group knows from the commit, without the first one's data.
    job.client.produce(&job.source, events(0, 20));
    let other = tests::Workspace::new();
    job.write(&other, &shape);
    let host = Host::start(&other);
    job.records(&host, 30);
    assert!(host.stop().success());
}

/// What came out, by epoch: how many records.
fn epochs(records: &[Record]) -> BTreeMap<u64, usize> {
    let mut epochs = BTreeMap::new();
    for record in records {
        *epochs.entry(record.json()["epoch"].as_u64().unwrap()).or_default() += 1;
    }
    epochs
}

#[track_caller]
fn rewind(job: &Job, host: &Host, to: &str) -> String {
    let output =
        Host::command(&job.workspace, &["rewind", VIEW, "--to", to, "--url", &host.url, "--format", "json"]);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}; the host said:\n{}", host.log());
    said
}

#[test]
fn a_rewound_view_takes_events_again_in_a_new_epoch() {
    rewinds("");
}

#[test]
fn a_rewound_view_takes_events_again_exactly_once() {
    rewinds("exactly_once: true");
}

fn rewinds(output: &str) {
    if !kafka::there() {
        return;
    }
    let job = Job::new(&Shape { output, ..Shape::default() });
    job.client.produce(&job.source, events(0, 0).into_iter().chain(events(1, 0)));
    let host = Host::start(&job.workspace);
    job.records(&host, 20);
    job.caught_up(&host);
    rewind(&job, &host, "earliest");
    assert_eq!(epochs(&job.records(&host, 40)), BTreeMap::from([(0, 20), (1, 20)]));
    job.caught_up(&host);
    rewind(&job, &host, "2026-01-01T00:00:08Z");
    assert_eq!(epochs(&job.records(&host, 44)), BTreeMap::from([(0, 20), (1, 20), (2, 4)]));
    job.caught_up(&host);
    rewind(&job, &host, "0:9");
    assert_eq!(epochs(&job.records(&host, 45)), BTreeMap::from([(0, 20), (1, 20), (2, 4), (3, 1)]));
    job.caught_up(&host);
    assert!(host.stop().success());
    // The epoch outlives the host, and what was emitted again is not emitted once more.
    job.client.produce(&job.source, events(0, 10));
    let host = Host::start(&job.workspace);
    assert_eq!(epochs(&job.records(&host, 55))[&3], 11);
    assert_eq!(read(&host, "u3").json()["results"][1]["statuses"][0], "PRESENT");
    assert!(host.stop().success());
}

#[test]
fn an_offset_that_is_gone_stops_the_view_or_is_a_counted_gap() {
    if !kafka::there() {
        return;
    }
    // The view has read ten events of each partition when the next five are deleted unseen.
    let gap = |policy: &str| {
        let source = format!("start: earliest, {policy}");
        let shape = Shape { source: &source, ..Shape::default() };
        let job = Job::new(&shape);
        job.client.produce(&job.source, events(0, 0));
        let host = Host::start(&job.workspace);
        job.records(&host, 10);
        assert!(host.stop().success());
        job.client.produce(&job.source, events(0, 10));
        job.client.truncate(&job.source, 0, 15);
        (Host::start(&job.workspace), job)
    };
    let (host, job) = gap("out_of_range: stop");
    let text = eventually("the view is stopped", || {
        let text = host.get("/readyz").text;
        (text.contains("\"paused\"") || text.contains("\"failed\"")).then_some(text)
    });
    assert!(text.contains("out_of_range"), "the reason says how to go on: {text}");
    assert!(text.contains(&job.source), "{text}");
    assert_eq!(job.client.read(&job.output).len(), 10);
    assert!(host.stop().success());

    let (host, job) = gap("out_of_range: earliest");
    job.records(&host, 15);
    job.caught_up(&host);
    assert_eq!(metric(&host, "millrace_kafka_gap_records_total", &[]), Some(5.0));
    assert!(host.stop().success());

    let (host, job) = gap("out_of_range: latest");
    eventually("the gap is counted", || {
        let gap = metric(&host, "millrace_kafka_gap_records_total", &[]);
        (gap == Some(10.0)).then_some(())
    });
    job.client.produce(&job.source, events(0, 20));
    job.records(&host, 20);
    assert!(host.stop().success());
}

#[test]
fn partitions_that_are_added_are_read_from_their_beginning() {
    added(10);
}

/// The group has nothing to commit for partitions without events, and must know all the same which were there first.
#[test]
fn partitions_that_are_added_to_an_empty_topic_are_too() {
    added(0);
}

/// Adds partitions to a topic that so many events were read of.
fn added(before: usize) {
    if !kafka::there() {
        return;
    }
    let source = "start: latest, options: { topic.metadata.refresh.interval.ms: 1000 }";
    let job = Job::new(&Shape { source, ..Shape::default() });
    let host = Host::start(&job.workspace);
    assigned(&host, 2);
    job.client.produce(&job.source, events(0, 0).into_iter().take(before));
    job.records(&host, before);
    job.client.grow(&job.source, 4);
    job.client.produce(&job.source, events(3, 0));
    job.records(&host, before + 10);
    assert!(host.stop().success());
}

/// Deletes a topic that a view has read ten events of, and makes it again with five others in it.
fn made_anew(policy: &str, running: bool, count: usize) -> (Host, Job) {
    let source = format!(
        "start: earliest, out_of_range: {policy}, options: {{ topic.metadata.refresh.interval.ms: 1000 }}"
    );
    let job = Job::new(&Shape { source: &source, ..Shape::default() });
    job.client.produce(&job.source, events(0, 0));
    let host = Host::start(&job.workspace);
    job.records(&host, 10);
    let anew = || {
        job.client.delete(&job.source);
        job.client.create(&job.source, 2, &[]);
        let events = (0..).flat_map(|round| events(0, 100 + 10 * round));
        job.client.produce(&job.source, events.take(count));
    };
    if running {
        anew();
        return (host, job);
    }
    assert!(host.stop().success());
    anew();
    (Host::start(&job.workspace), job)
}

#[test]
fn a_topic_that_was_made_anew_is_another_one() {
    for policy in ["stop", "earliest"] {
        is_another_one(policy, true, 5);
    }
}

/// The group's commits went with the old topic; the host's own positions did not.
#[test]
fn a_topic_that_was_made_anew_while_nobody_looked_is_another_one() {
    is_another_one("stop", false, 5);
    // Also if it has grown past where the view was.
    is_another_one("stop", false, 15);
}

fn is_another_one(policy: &str, running: bool, count: usize) {
    if !kafka::there() {
        return;
    }
    let (host, job) = made_anew(policy, running, count);
    let view = host.view_when(VIEW, "it says what has happened", |view| view["state"] == "paused");
    let reason = view["reason"].as_str().unwrap();
    assert!(reason.contains(&job.source) && reason.contains("made anew"), "{reason}");
    assert_eq!(host.get("/livez").status, 200);
    assert_eq!(job.client.read(&job.output).len(), 10);
    // What the reason says is what helps.
    assert!(reason.contains("host rewind"), "{reason}");
    rewind(&job, &host, "earliest");
    let records = job.records(&host, 10 + count);
    assert_eq!(epochs(&records), BTreeMap::from([(0, 10), (1, count)]));
    assert!(host.stop().success());
}
