//! Redis as a cluster, and watched by sentinels: masters are killed and slots move under load, and nothing is lost.

use tests::Host;
use tests::redis::{self, Cluster, Sentinels, Settings};

use crate::redis_job::{Load, all_emitted, check, emits, entities, folder, newest, repaired};
use crate::support::metric;

#[test]
fn a_cluster_loses_a_master_and_moves_slots_under_load() {
    if !redis::there() {
        return;
    }
    let mut cluster = Cluster::start();
    let redis = format!("addresses: \"{}\", cluster: true, response_timeout: 1s", cluster.addresses());
    let (workspace, other) = (folder(&redis), folder(&redis));
    let host = Host::start(&workspace);
    let load = Load::new(0, 1);
    let more = |what: &str| emits(&workspace, &host, 200, what);
    load.during(&host, || {
        more("rows are written");
        // Slots that hold rows go to another master, one key at a time.
        for from in 0..2 {
            let to = 2;
            let slot = cluster.slot(entities(&cluster.nodes[from]).first().expect("each master has rows"));
            cluster.begin_move(slot, from, to);
            more("a slot is on the move");
            cluster.move_keys(slot, from, to, 1);
            more("a slot is half moved");
            cluster.end_move(slot, from, to);
            more("a slot has moved");
        }
        cluster.fail_over(2, 16_383);
        more("a replica has taken over");
    });
    // A moved slot is not followed before it is met.
    assert!(metric(&host, "millrace_redis_redirects_total", &["cache"]).unwrap_or_default() > 0.0);
    all_emitted(&workspace, &host, load.count());
    host.ready();
    let expected = newest(load.events());
    repaired(&host, &expected);
    let reader = Host::start(&other);
    check(&reader, &expected);
    assert!(host.stop().success());
    assert!(reader.stop().success());
}

#[test]
fn sentinels_lead_a_host_to_the_new_master() {
    if !redis::there() {
        return;
    }
    let mut all = Sentinels::start(&Settings::default(), 1);
    let redis =
        format!("addresses: \"{}\", sentinel: {}, response_timeout: 1s", all.addresses(), all.service());
    let workspace = folder(&redis);
    let host = Host::start(&workspace);
    let load = Load::new(0, 1);
    load.during(&host, || {
        emits(&workspace, &host, 200, "rows are written");
        all.servers[0].kill();
        all.other_master(0);
        emits(&workspace, &host, 200, "a replica has taken over");
    });
    all_emitted(&workspace, &host, load.count());
    host.ready();
    repaired(&host, &newest(load.events()));
    assert!(host.stop().success());
}
