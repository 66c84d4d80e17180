//! kill -9 from stream to stream under load: nothing is lost, each user's records are in order. A checker in another
//! language recomputes all of it.

use std::thread;
use std::time::Duration;

use tests::Host;
use tests::kinesis;
use tests::redis::{self, Server};

use crate::kinesis_group::in_redis;
use crate::kinesis_job::{Job, Shape};
use crate::load::{Load, Target};
use crate::support::{VIEW, python, rounds, vectors};

/// How often the host is killed.
const KILLS: u64 = 5;

#[test]
fn kill_kinesis_loses_nothing_and_keeps_the_order_of_each_key() {
    if !kinesis::there() || !python() {
        return;
    }
    kill_rounds(&Shape::default(), rounds(KILLS));
}

/// The same with rows and leases in Redis: what Redis has is neither forgotten nor doubted after a crash.
#[test]
fn kill_kinesis_with_redis_loses_nothing_and_keeps_the_order_of_each_key() {
    if !kinesis::there() || !redis::there() || !python() {
        return;
    }
    let server = Server::start();
    kill_rounds(&in_redis(&server), rounds(KILLS).div_ceil(2));
}

fn kill_rounds(shape: &Shape<'_>, rounds: u64) {
    let job = Job::new(shape);
    let mut tail = job.tail();
    let load = Load::new(&job);
    load.during(|| {
        for round in 0..rounds {
            let host = Host::start(&job.workspace);
            job.emits(&host, &mut tail, usize::try_from(Job::ROWS).unwrap(), "records come out");
            if round % 3 == 1 {
                let shards = job.client.open_shards(&job.source);
                job.client.split(&job.source, &shards[usize::try_from(round).unwrap() % shards.len()].id);
            }
            // A different moment each time, in terms of work done rather than of time.
            thread::park_timeout(Duration::from_millis(37 * (round % 11)));
            host.kill();
        }
    });
    let host = Host::start(&job.workspace);
    let events = load.events();
    job.emitted(&host, &mut tail, &events);
    host.view_when(VIEW, "it has recovered", |view| view["state"] == "running");
    let stored = vectors(&host);
    assert!(host.stop().success());
    job.check("again", &events, &stored);
}
