//! Shards that are split and merged under load: what a user's events were put in order comes out in order.

use tests::Host;
use tests::kinesis::{self, Make};

use crate::kinesis_job::{Job, Shape};
use crate::load::Load;
use crate::support::{VIEW, python, vectors};

#[test]
fn splits_and_merges_keep_order_on_kinesis_local() {
    children_come_after_their_parents(Make::Local);
}

#[test]
fn splits_and_merges_keep_order_on_kinesalite() {
    children_come_after_their_parents(Make::Kinesalite);
}

fn children_come_after_their_parents(make: Make) {
    if !kinesis::there() || !python() {
        return;
    }
    let job = Job::new(&Shape { make, shards: 1, ..Shape::default() });
    let mut tail = job.tail();
    let open = || job.client.open_shards(&job.source);
    let load = Load::new(&job);
    let host = load.during(|| {
        let host = Host::start(&job.workspace);
        job.emits(&host, &mut tail, 40, "records come out");
        job.client.split(&job.source, &open()[0].id);
        job.emits(&host, &mut tail, 80, "records come out after a split");
        // A child is split before anybody can have read it to its end.
        job.client.split(&job.source, &open()[1].id);
        job.client.split(&job.source, &open()[1].id);
        job.emits(&host, &mut tail, 80, "records come out after a split of a split");
        let shards = open();
        job.client.merge(&job.source, &shards[0].id, &shards[1].id);
        job.emits(&host, &mut tail, 80, "records come out after a merge");
        host.kill();
        // While nobody reads: parents, children and grandchildren are found at once.
        let shards = open();
        job.client.split(&job.source, &shards[0].id);
        job.client.merge(&job.source, &shards[1].id, &shards[2].id);
        job.client.split(&job.source, &open()[2].id);
        let host = Host::start(&job.workspace);
        job.emits(&host, &mut tail, 80, "records come out after a crash between splits");
        host
    });
    let events = load.events();
    job.emitted(&host, &mut tail, &events);
    host.view_when(VIEW, "it runs", |view| view["state"] == "running");
    let stored = vectors(&host);
    assert!(host.stop().success());
    job.check("again", &events, &stored);
}

/// Shards without a record end, too, and keep nobody waiting.
#[test]
fn empty_shards_come_to_their_end() {
    if !kinesis::there() || !python() {
        return;
    }
    let job = Job::new(&Shape { make: Make::Local, shards: 1, ..Shape::default() });
    let host = Host::start(&job.workspace);
    for _ in 0..2 {
        let open = job.client.open_shards(&job.source);
        job.client.split(&job.source, &open[0].id);
    }
    let open = job.client.open_shards(&job.source);
    job.client.merge(&job.source, &open[0].id, &open[1].id);
    let events = job.put(0..20);
    let mut tail = job.tail();
    job.emitted(&host, &mut tail, &events);
    // Parents that are finished are nobody's any more, also after a restart.
    assert!(host.stop().success());
    let host = Host::start(&job.workspace);
    let more = job.put(20..40);
    job.emitted(&host, &mut tail, &more);
    host.ready();
    assert!(host.stop().success());
    job.check("once", &[events, more].concat(), &serde_json::Value::Null);
}
