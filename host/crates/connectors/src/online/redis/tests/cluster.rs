//! The same on a cluster: the contract, several hosts, and a master that dies.

use std::rc::Rc;

use testkit::contract::online::counts_view;

use super::*;
use crate::redis::testing::Cluster;

struct OneCluster(Rc<Cluster>, TempDir);

impl Place for OneCluster {
    fn open(&self) -> Subject {
        subject(Host::open(self.1.path(), &self.0.connection("cache"), "host"))
    }
}

/// One cluster for all checks: it takes a while to start.
#[test]
fn the_contract_holds_on_a_cluster() {
    let Some(cluster) = Cluster::start("the_contract_holds_on_a_cluster") else { return };
    let cluster = Rc::new(cluster);
    let fresh = || {
        for server in &cluster.servers[..3] {
            server.ask::<()>(&["FLUSHALL"]);
        }
        OneCluster(Rc::clone(&cluster), tempfile::tempdir().unwrap())
    };
    online::newer_wins(&fresh());
    online::replay(&fresh());
    online::late_rows(&fresh());
    online::tombstones(&fresh());
    online::all_types(&fresh());
    online::nulls(&fresh());
    online::many_keys(&fresh());
    online::reopen(&fresh());
    marks_of_an_earlier_life_are_passed(&fresh());
}

/// A host whose notes are gone finds marks that are higher than those that it would begin with. Below them a lower one proves
/// nothing.
fn marks_of_an_earlier_life_are_passed(place: &OneCluster) {
    let rows = |number: u64| batch(&counts_view("counts"), "0", 1, &[TestRow::new(1, 1, number, 1)]);
    let marks = || -> Vec<(&Server, String)> {
        let masters = place.0.servers[..3].iter();
        let marks = masters.flat_map(|server| {
            let keys: Vec<String> = server.ask(&["KEYS", "millrace:default:mark:*"]);
            keys.into_iter().map(move |key| (server, key))
        });
        marks.collect()
    };
    let host = Host::open(place.1.path(), &place.0.connection("cache"), "host");
    host.write_at_last(&rows(1));
    drop(host);
    assert_eq!(marks().len(), 3);
    for (server, key) in marks() {
        server.ask::<()>(&["SET", &key, "1000"]);
    }
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path(), &place.0.connection("cache"), "host");
    host.write_at_last(&rows(2));
    for (server, key) in marks() {
        assert!(server.ask::<u64>(&["GET", &key]) > 1000, "{key}");
    }
}

#[test]
fn a_cluster_whose_master_dies_goes_on() {
    let Some(cluster) = Cluster::start("a_cluster_whose_master_dies_goes_on") else { return };
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path(), &cluster.connection("cache"), "host");
    let view = counts_view("counts");
    let rows = |number: u64| -> Arc<FeatureBatch> {
        let rows: Vec<_> = (0..200)
            .map(|n| {
                TestRow::new(
                    n,
                    i64::try_from(number).unwrap(),
                    number * 1_000 + u64::from(n),
                    i64::try_from(number).unwrap(),
                )
            })
            .collect();
        batch(&view, "0", 1, &rows)
    };
    for number in 0..5 {
        assert_eq!(host.write_at_last(&rows(number)), NONE);
    }
    cluster.servers[0].kill();
    for number in 5..10 {
        // What was lost with the master is told and read again: here simply accepted, as the next rows replace it.
        let mut written = false;
        until("the cluster goes on", || {
            host.store.accept(&host.take_losses());
            written |= host.write(rows(number)).is_ok();
            written
        });
    }
    for entity in 0..200 {
        assert_eq!(host.get(&view, entity), Some((9_000 + u64::from(entity), 9)));
    }
}
