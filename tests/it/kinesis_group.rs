//! Several hosts on one stream, with leases and rows in Redis: who reads which shard, what happens when they come, go,
//! sleep and wake.

use tests::kinesis;
use tests::redis::{self, Server};
use tests::{Host, Workspace};

use crate::kafka_group::shared;
use crate::kinesis_job::{Job, Shape};
use crate::load::Load;
use crate::redis_job::at;
use crate::support::{python, vectors};

/// Leases and rows in that Redis.
pub(crate) fn in_redis(server: &Server) -> Shape<'static> {
    Shape {
        shards: 4,
        store: "online_store: { redis: { connection: cache } }",
        host: format!("  cache:\n    redis: {{ {} }}\n", at(server)),
        ..Shape::default()
    }
}

/// A folder with a job's files for a further host.
fn folder(job: &Job, shape: &Shape<'_>) -> Workspace {
    let workspace = Workspace::new();
    job.write(&workspace, shape);
    workspace
}

#[test]
fn hosts_share_shards_and_take_over() {
    if !kinesis::there() || !redis::there() || !python() {
        return;
    }
    let server = Server::start();
    let shape = in_redis(&server);
    let job = Job::new(&shape);
    let second_folder = folder(&job, &shape);
    let mut tail = job.tail();
    let load = Load::new(&job);
    let host = load.during(|| {
        let first = Host::start(&job.workspace);
        shared(&[&first], 4);
        job.emits(&first, &mut tail, 40, "the first emits");
        let second = Host::start(&second_folder);
        shared(&[&first, &second], 4);
        job.emits(&first, &mut tail, 80, "both emit");
        // A clean stop hands over at once; a crash after the lease.
        assert!(second.stop().success());
        shared(&[&first], 4);
        job.emits(&first, &mut tail, 80, "the first has taken over");
        let second = Host::start(&second_folder);
        shared(&[&first, &second], 4);
        first.kill();
        shared(&[&second], 4);
        job.emits(&second, &mut tail, 80, "the second has taken over");
        second
    });
    let events = load.events();
    job.emitted(&host, &mut tail, &events);
    // Every host serves every key, whoever wrote it.
    let first = Host::start(&job.workspace);
    first.ready();
    assert_eq!(vectors(&first), vectors(&host));
    let stored = vectors(&first);
    assert!(first.stop().success());
    assert!(host.stop().success());
    job.check("shared", &events, &stored);
}

/// SIGSTOP past the lease's end, while another host takes over and goes on; then the sleeper wakes.
#[test]
fn a_host_that_slept_emits_nothing_for_shards_that_it_lost() {
    if !kinesis::there() || !redis::there() || !python() {
        return;
    }
    let server = Server::start();
    let shape = Shape { shards: 2, ..in_redis(&server) };
    let job = Job::new(&shape);
    let second_folder = folder(&job, &shape);
    let mut tail = job.tail();
    let load = Load::new(&job);
    load.during(|| {
        let sleeper = Host::start(&job.workspace);
        job.emits(&sleeper, &mut tail, 40, "it emits");
        sleeper.signal("-STOP");
        let second = Host::start(&second_folder);
        shared(&[&second], 2);
        job.emits(&second, &mut tail, 80, "the second has taken over");
        sleeper.signal("-CONT");
        shared(&[&sleeper, &second], 2);
        job.emits(&second, &mut tail, 80, "both go on");
        assert!(second.stop().success());
        shared(&[&sleeper], 2);
        assert!(sleeper.stop().success());
    });
    let host = Host::start(&job.workspace);
    let events = load.events();
    job.emitted(&host, &mut tail, &events);
    let stored = vectors(&host);
    assert!(host.stop().success());
    job.check("shared", &events, &stored);
}
