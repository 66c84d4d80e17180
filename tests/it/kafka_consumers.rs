//! A stock Kafka client in Python on an output topic with repeats: the helper that drops them, as the docs show it.

use std::process::Command;

use serde_json::Value;
use tests::kafka;
use tests::{Host, Workspace, checkout};

use crate::kafka_job::{Job, Shape};
use crate::support::VIEW;

const EVENTS: u64 = 300;

#[test]
fn the_helper_drops_repeats_and_nothing_else() {
    if !kafka::there() {
        return;
    }
    let Some(python) = kafka::python() else { return };
    let shape = Shape::default();
    let job = Job::new(&shape);
    let count = usize::try_from(EVENTS).unwrap();
    job.produce(0..EVENTS);
    let host = Host::start(&job.workspace);
    job.records(&host, count);
    assert!(host.stop().success());
    // A group that knows nothing any more of what was emitted, and a host without data: both begin anew.
    for (partition, (first, _)) in job.client.ends(&job.source) {
        job.client.commit(&job.group, &job.source, partition, first);
    }
    let anew = Workspace::new();
    job.write(&anew, &shape);
    let host = Host::start(&anew);
    job.records(&host, 2 * count);
    // What is emitted again on purpose is no repeat.
    job.caught_up(&host);
    let rewound = Host::command(&anew, &["rewind", VIEW, "--to", "earliest", "--url", &host.url]);
    assert!(rewound.status.success(), "{}", String::from_utf8_lossy(&rewound.stderr));
    let records = job.records(&host, 3 * count);
    assert!(host.stop().success());

    let output = Command::new(python)
        .arg(checkout().join("tests/kafka/consume.py"))
        .args([&kafka::shared().bootstrap(), &job.output, &records.len().to_string()])
        .env("PYTHONPATH", checkout().join("docs/consumers"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let kept: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(kept.len(), 2 * count);
    for epoch in [0, 1] {
        let mut ids: Vec<&str> = kept
            .iter()
            .filter(|record| record["epoch"] == epoch)
            .map(|record| record["record_id"].as_str().unwrap())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "every record of epoch {epoch} once");
    }
}
