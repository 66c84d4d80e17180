//! Against real servers: rows of this host, of Feast and of nobody, from one server and from a cluster.

mod feast;

use std::sync::Arc;

use model::batch::FeatureBatch;
use model::error::Disposition;
use model::online::{Lookup, StoredRow};
use model::position::RowVersion;
use model::schema::{DataType, Field};
use model::value::Value;
use model::view::{ViewRef, ViewShape};
use testkit::contract::online::{TestRow, batch, counts_view};
use tokio::runtime::Runtime;

use super::*;
use crate::online::redis::layout::version::Version;
use crate::online::redis::layout::{ValueColumn, append_timestamp};
use crate::redis::testing::{Cluster, Server};
use crate::redis::{Connection, Shared};

/// A reader with a runtime, and a way to write.
struct Rig {
    reader: Reader,
    nodes: Arc<Nodes>,
    runtime: Runtime,
}

impl Rig {
    fn new(connection: &Connection) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let nodes = Nodes::open(connection, &Shared::for_tests(runtime.handle().clone())).unwrap();
        Self { reader: Reader::new(Arc::clone(&nodes)), nodes, runtime }
    }

    /// Sets fields of a key.
    fn set(&self, key: &[u8], fields: &[(&[u8], &[u8])]) {
        let mut command = redis::cmd("HSET");
        command.arg(key);
        for (field, value) in fields {
            command.arg(*field).arg(*value);
        }
        let answers = self.runtime.block_on(self.nodes.run(vec![Keyed::new(key, command)])).unwrap();
        answers.into_iter().for_each(|answer| drop(answer.unwrap()));
    }

    /// Writes rows as they are, without comparing them.
    fn put(&self, batch: &FeatureBatch) {
        let layout = ViewLayouts::default().of(&batch.view).unwrap();
        let mut keys = EntityKeys::default();
        keys.encode(&layout.keys, batch).unwrap();
        for row in 0..batch.len() {
            let mut fields: Vec<(Vec<u8>, Vec<u8>)> = vec![
                (layout.fields.time.clone(), time(batch.event_times[row])),
                (layout.fields.version.clone(), Vec::new()),
            ];
            Version::of_row(batch, row).append(false, &mut fields[1].1);
            for (index, feature) in batch.view.features.iter().enumerate() {
                let column = batch.rows.column(batch.view.keys.len() + index);
                let mut value = Vec::new();
                ValueColumn::new(feature, column).unwrap().append(row, &mut value);
                fields.push((layout.fields.features[index].to_vec(), value));
            }
            let fields: Vec<(&[u8], &[u8])> =
                fields.iter().map(|(field, value)| (&field[..], &value[..])).collect();
            self.set(keys.get(row), &fields);
        }
    }

    fn get_all(&self, lookups: Vec<Lookup>) -> Result<Found, Failure> {
        self.runtime.block_on(self.reader.get_all(lookups))
    }

    /// All features of entities `u…`.
    fn get(&self, view: &ViewRef, entities: &[u32]) -> Vec<Option<StoredRow>> {
        self.get_all(vec![lookup(view, entities)]).unwrap().pop().unwrap()
    }
}

fn time(micros: i64) -> Vec<u8> {
    let mut out = Vec::new();
    append_timestamp(micros, &mut out);
    out
}

fn lookup(view: &ViewRef, entities: &[u32]) -> Lookup {
    let keys = entities.iter().map(|entity| vec![Value::String(format!("u{entity}"))]).collect();
    Lookup { view: Arc::clone(view), keys, features: (0..view.features.len()).collect() }
}

fn key_of(view: &ViewRef, entity: u32) -> Vec<u8> {
    let mut keys = EntityKeys::default();
    let layout = ViewLayouts::default().of(view).unwrap();
    assert!(keys.push(&layout.keys, &[Value::String(format!("u{entity}"))]).unwrap());
    keys.get(0).to_vec()
}

fn counts(rows: &[Option<StoredRow>]) -> Vec<Option<Value>> {
    rows.iter().map(|row| row.as_ref().map(|row| row.values[0].clone())).collect()
}

#[test]
fn rows_of_several_views_are_one_command_for_each_entity() {
    let Some(server) = Server::start("rows_of_several_views_are_one_command_for_each_entity", &[]) else {
        return;
    };
    let rig = Rig::new(&server.connection("cache"));
    let (clicks, buys) = (counts_view("clicks"), counts_view("buys"));
    rig.put(&batch(&clicks, "0", 1, &[TestRow::new(1, 10, 5, 100), TestRow::new(2, 11, 6, 200)]));
    rig.put(&batch(&buys, "7", 2, &[TestRow::new(1, 12, 7, 300)]));
    rig.put(&batch(&counts_view("others"), "0", 1, &[TestRow::new(3, 1, 1, 1)]));
    server.ask::<()>(&["CONFIG", "RESETSTAT"]);
    // Entities in different orders, one twice, one that nobody knows, and one that only another view has.
    let found = rig.get_all(vec![lookup(&clicks, &[1, 2, 3, 9]), lookup(&buys, &[2, 1, 1])]).unwrap();
    assert_eq!(counts(&found[0]), [Some(Value::Int(100)), Some(Value::Int(200)), None, None]);
    assert_eq!(counts(&found[1]), [None, Some(Value::Int(300)), Some(Value::Int(300))]);
    let written = batch(&buys, "7", 2, &[TestRow::new(1, 12, 7, 300)]);
    let expected = RowVersion::from(Version::of_row(&written, 0));
    assert_eq!(found[1][1].as_ref().unwrap().version, expected);
    let calls = server.info("cmdstat_hmget").unwrap();
    assert!(calls.starts_with("calls=4,"), "four entities: {calls}");

    assert_eq!(rig.get_all(vec![lookup(&clicks, &[]), lookup(&buys, &[])]).unwrap(), [vec![], vec![]]);
    let nobody = Lookup { keys: vec![vec![Value::Null]], ..lookup(&clicks, &[]) };
    assert_eq!(rig.get_all(vec![nobody]).unwrap(), [[None]]);
    let too_much = Lookup { features: vec![1], ..lookup(&clicks, &[1]) };
    let failure = rig.get_all(vec![too_much]).unwrap_err();
    assert!(failure.to_string().contains("feature 1 of view `clicks`"), "{failure}");
}

#[test]
fn whoever_wrote_last_is_believed() {
    let Some(server) = Server::start("whoever_wrote_last_is_believed", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    let view = counts_view("clicks");
    let layout = ViewLayouts::default().of(&view).unwrap();
    let (times, versions) = (&layout.fields.time[..], &layout.fields.version[..]);
    let field = &layout.fields.features[0][..];
    let of_feast = |event_time: i64| Some(RowVersion::from(Version::of_feast(event_time)));
    let version_of = |entity: u32| rig.get(&view, &[entity])[0].as_ref().map(|row| row.version.clone());

    // Feast alone.
    rig.set(&key_of(&view, 1), &[(times, &time(5)), (field, b"\x20\x2a")]);
    assert_eq!(counts(&rig.get(&view, &[1])), [Some(Value::Int(42))]);
    assert_eq!(version_of(1), of_feast(5));
    // Feast after this host.
    rig.put(&batch(&view, "0", 1, &[TestRow::new(2, 10, 5, 100)]));
    rig.set(&key_of(&view, 2), &[(times, &time(11)), (field, b"\x20\x2b")]);
    assert_eq!((counts(&rig.get(&view, &[2])), version_of(2)), (vec![Some(Value::Int(43))], of_feast(11)));
    // A deletion, and Feast after it.
    let mut deleted = Vec::new();
    Version::of_feast(20).append(true, &mut deleted);
    rig.set(&key_of(&view, 2), &[(versions, &deleted)]);
    assert_eq!(rig.get(&view, &[2]), [None]);
    rig.set(&key_of(&view, 2), &[(times, &time(21)), (field, b"")]);
    assert_eq!((counts(&rig.get(&view, &[2])), version_of(2)), (vec![Some(Value::Null)], of_feast(21)));
    // Features without a time are nobody's row.
    rig.set(&key_of(&view, 3), &[(field, b"\x20\x2a")]);
    assert_eq!(rig.get(&view, &[3]), [None]);
}

#[test]
fn features_that_changed_are_null() {
    let Some(server) = Server::start("features_that_changed_are_null", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    let view = counts_view("clicks");
    rig.put(&batch(&view, "0", 1, &[TestRow::new(1, 10, 5, 100)]));
    let changed = Arc::new(ViewShape {
        features: vec![Field::nullable("new", DataType::Int64), Field::nullable("count", DataType::String)],
        ..(*view).clone()
    });
    assert_eq!(rig.get(&changed, &[1])[0].as_ref().unwrap().values, [Value::Null, Value::Null]);
    // A layout is remembered by the view's name; the view as it was is not read by that of another.
    assert_eq!(counts(&rig.get(&view, &[1])), [Some(Value::Int(100))]);
}

#[test]
fn damage_is_told_with_view_feature_and_entity() {
    let Some(server) = Server::start("damage_is_told_with_view_feature_and_entity", &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));
    let view = counts_view("clicks");
    let layout = ViewLayouts::default().of(&view).unwrap();
    let check = |entity: u32, words: &[&str]| {
        let failure = rig.get_all(vec![lookup(&view, &[entity])]).unwrap_err();
        assert_eq!(failure.disposition, Disposition::Stop, "{failure}");
        words.iter().for_each(|word| assert!(failure.to_string().contains(word), "{word}: {failure}"));
    };
    rig.set(&key_of(&view, 1), &[(&layout.fields.time, &time(5)), (&layout.fields.features[0], b"\x20")]);
    check(1, &["view `clicks`", "feature `count`", "`user = \"u1\"`", "cut off"]);
    rig.set(&key_of(&view, 2), &[(&layout.fields.time, &time(5)), (&layout.fields.version, b"?")]);
    check(2, &["view `clicks`", "version", "`user = \"u2\"`"]);
    let key = key_of(&view, 3);
    let mut command = redis::cmd("SET");
    command.arg(&key).arg("text");
    rig.runtime.block_on(rig.nodes.run(vec![Keyed::new(&key, command)])).unwrap();
    check(3, &["WRONGTYPE"]);
}

#[test]
fn a_server_that_is_away_is_asked_again() {
    let Some(server) = Server::start("a_server_that_is_away_is_asked_again", &[]) else { return };
    let connection =
        Connection { response_timeout: std::time::Duration::from_millis(300), ..server.connection("cache") };
    let rig = Rig::new(&connection);
    let view = counts_view("clicks");
    assert_eq!(rig.get(&view, &[1]), [None]);
    server.kill();
    let failure = rig.get_all(vec![lookup(&view, &[1])]).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry, "{failure}");
    server.start_again();
    crate::redis::testing::until("reads again", || rig.get_all(vec![lookup(&view, &[1])]).is_ok());
}

#[test]
fn every_node_of_a_cluster_is_asked() {
    let Some(cluster) = Cluster::start("every_node_of_a_cluster_is_asked") else { return };
    let rig = Rig::new(&cluster.connection("cache"));
    let (clicks, buys) = (counts_view("clicks"), counts_view("buys"));
    let rows: Vec<TestRow> =
        (0..300).map(|entity| TestRow::new(entity, 1, entity.into(), entity.into())).collect();
    rig.put(&batch(&clicks, "0", 1, &rows));
    rig.put(&batch(&buys, "0", 1, &rows[..100]));
    let entities: Vec<u32> = (0..400).rev().collect();
    let found = rig.get_all(vec![lookup(&clicks, &entities), lookup(&buys, &entities)]).unwrap();
    for (found, known) in found.iter().zip([300, 100]) {
        for (entity, value) in entities.iter().zip(counts(found)) {
            assert_eq!(value, (*entity < known).then(|| Value::Int((*entity).into())), "u{entity}");
        }
    }
    for server in &cluster.servers[..3] {
        assert_ne!(server.info("cmdstat_hmget"), None, "each master was asked");
    }
}
