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
    a_lower_mark_is_found_out_by_writing(&fresh());
    histories_are_noted_before_the_rows(&fresh());
    rows_of_two_shapes_do_not_mix(&fresh());
}

/// One master has lost its last writes, and nothing else tells of it.
fn a_lower_mark_is_found_out_by_writing(place: &OneCluster) {
    let host = Host::open(place.1.path(), &place.0.connection("cache"), "host");
    let write = |number: u64| {
        let row = TestRow::new(1, 1, number * 10, 1);
        let mut batch = Arc::into_inner(batch(&counts_view("counts"), "0", 1, &[row])).unwrap();
        batch.covers.first = Position::from_u64(number * 10);
        host.write(Arc::new(batch))
    };
    let master = &place.0.servers[1];
    let mark = || -> (String, u64) {
        let keys: Vec<String> = master.ask(&["KEYS", "millrace:default:mark:host:*"]);
        let marks = keys.into_iter().map(|key| (key.clone(), master.ask::<u64>(&["GET", &key])));
        marks.max_by_key(|(_, mark)| *mark).unwrap()
    };
    until("the first batch is written", || write(1).is_ok());
    write(2).unwrap();
    let (key, then) = mark();
    write(3).unwrap();
    write(4).unwrap();
    master.ask::<()>(&["SET", &key, &then.to_string()]);
    write(5).unwrap_err();
    until("the loss is told", || !host.losses.lock().unwrap().is_empty());
    let lost =
        Loss { view: "counts".into(), partition: Partition::new("0"), to: Some(Position::from_u64(20)) };
    assert_eq!(host.take_losses(), [lost]);
    assert!(mark().1 > then);
}

/// Nobody asks for them on a cluster; a single server to which the rows are moved does.
fn histories_are_noted_before_the_rows(place: &OneCluster) {
    const KEY: &str = "millrace:default:history:counts";
    let master = place.0.owner(crate::redis::slot(KEY.as_bytes()));
    let noted = || -> Vec<String> {
        let mut noted: Vec<String> = master.ask(&["HKEYS", KEY]);
        noted.sort();
        noted
    };
    let host = Host::open(place.1.path(), &place.0.connection("cache"), "host");
    let view = counts_view("counts");
    let mut limited = ViewRef::unwrap_or_clone(counts_view("counts"));
    limited.ttl_micros = Some(1_000_000_000);
    let limited = Arc::new(limited);
    let row = |entity: u32| [TestRow::new(entity, 5, u64::from(entity), 1)];
    let delete = |entity: u32| {
        let version = model::position::RowVersion {
            event_time: 9,
            partition: Partition::new("0"),
            position: Position::from_u64(0),
            generation: 1,
            row: 0,
        };
        let key = vec![vec![Value::String(format!("u{entity}"))]];
        block_on(host.store.delete(&view, &key, &version))
    };
    host.write_at_last(&batch(&view, "0", 1, &row(1)));
    assert_eq!(noted(), [""; 0]);
    // Nothing is written while it cannot be noted.
    master.ask::<()>(&["SET", KEY, "text"]);
    assert!(
        host.write(batch(&limited, "0", 1, &row(2)))
            .unwrap_err()
            .to_string()
            .contains("holds something else")
    );
    delete(1).unwrap_err();
    assert_eq!((host.get(&view, 1), host.get(&view, 2)), (Some((1, 1)), None));
    master.ask::<()>(&["DEL", KEY]);
    host.write(batch(&limited, "0", 1, &row(2))).unwrap();
    assert_eq!(noted(), ["deadlines"]);
    assert_eq!(delete(1).unwrap(), [true]);
    assert_eq!(noted(), ["deadlines", "deletions"]);
    // A master that takes over may lack them: whatever is written next notes them again, as the rows may be elsewhere.
    master.ask::<()>(&["DEL", KEY]);
    master.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
    until("it is noted again", || {
        host.write_at_last(&batch(&view, "0", 1, &row(3)));
        noted() == ["deadlines", "deletions"]
    });
}

/// Units of a view that was saved anew change one by one, and their batches are written together.
fn rows_of_two_shapes_do_not_mix(place: &OneCluster) {
    use arrow_array::{Int64Array, RecordBatch};
    use futures_util::FutureExt;
    use model::schema::{DataType, Field, arrow_schema};
    let host = Host::open(place.1.path(), &place.0.connection("cache"), "host");
    let old = counts_view("counts");
    let mut new = ViewRef::unwrap_or_clone(counts_view("counts"));
    new.features.insert(0, Field::nullable("other", DataType::Int64));
    let new = Arc::new(new);
    let of_new = |entity: u32| {
        let row = TestRow::new(entity, 5, u64::from(entity), i64::from(entity));
        let mut written = Arc::into_inner(batch(&old, "1", 1, &[row])).unwrap();
        let fields: Vec<Field> = new.columns().cloned().collect();
        let columns = written.rows.columns();
        let columns =
            vec![Arc::clone(&columns[0]), Arc::new(Int64Array::from(vec![-1])) as _, Arc::clone(&columns[1])];
        written.rows = RecordBatch::try_new(arrow_schema(&fields), columns).unwrap();
        written.view = Arc::clone(&new);
        Arc::new(written)
    };
    host.write_at_last(&batch(&old, "0", 1, &[TestRow::new(99, 5, 99, 99)]));
    // They wait for one another, and are taken together.
    place.0.servers[..3].iter().for_each(Server::pause);
    let entities: Vec<u32> = (0..24).collect();
    std::thread::scope(|scope| {
        for entity in &entities {
            let written = match entity % 2 {
                0 => batch(&old, "0", 1, &[TestRow::new(*entity, 5, u64::from(*entity), i64::from(*entity))]),
                _ => of_new(*entity),
            };
            let mut write = host.store.write(Arc::clone(&written));
            assert!((&mut write).now_or_never().is_none());
            let host = &host;
            scope.spawn(move || block_on(write).map_or_else(|_| drop(host.write_at_last(&written)), drop));
        }
        place.0.servers[..3].iter().for_each(Server::go_on);
    });
    for entity in entities {
        assert_eq!(host.get(&old, entity), Some((u64::from(entity), i64::from(entity))), "entity {entity}");
    }
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
