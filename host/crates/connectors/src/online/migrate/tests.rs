//! From one embedded store to another: what went in comes out, with its versions.

use model::online::{OnlineReader, StoredRow};
use model::schema::DataType;
use model::time::{Clock, EventTime};
use model::view::ViewShape;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::super::embedded::EmbeddedOptions;
use super::*;

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> EventTime {
        EventTime(1_000)
    }
}

struct Place {
    runtime: Runtime,
    _folder: TempDir,
    store: Arc<EmbeddedStore>,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = EmbeddedStore::open(EmbeddedOptions {
            directory: folder.path().to_owned(),
            memory_bytes: 16 << 20,
            checkpoint_interval: Duration::from_secs(3600),
            checkpoint_bytes: 16 << 20,
            clock: Arc::new(Fixed),
        });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { runtime, _folder: folder, store: store.unwrap() }
    }

    fn write(&self, view: &ViewRef, partition: &str, generation: u32, rows: &[(i64, u64, i64)]) {
        let rows: Vec<EntityRow> = rows
            .iter()
            .map(|(id, position, value)| {
                row(*id, version(partition, *position, generation, 1_000), vec![Value::Int(*value)])
            })
            .collect();
        let made = batch(view, (Partition::new(partition), generation, 8), &rows).unwrap();
        self.runtime.block_on(self.store.write(Arc::new(made))).unwrap();
    }

    fn get(&self, view: &ViewRef, id: i64) -> Option<StoredRow> {
        let features = (0..view.features.len()).collect();
        let rows = self.runtime.block_on(self.store.get(view, vec![vec![Value::Int(id)]], features));
        rows.unwrap().pop().flatten()
    }

    fn migrate(&self, to: &Self, view: &ViewRef) -> Moved {
        migrate(&self.store, to.store.as_ref(), view, self.runtime.handle(), &mut |_| {}).unwrap()
    }
}

impl Target for EmbeddedStore {
    fn store(&self) -> &dyn OnlineStore {
        self
    }

    fn delete(
        &self,
        view: &ViewRef,
        key: &[Vec<Value>],
        version: &RowVersion,
    ) -> BoxFuture<'static, Result<Vec<bool>, Failure>> {
        Box::pin(std::future::ready(Self::delete(self, view, key, version)))
    }
}

fn view(features: Vec<Field>) -> ViewRef {
    Arc::new(ViewShape {
        project: "p".to_owned(),
        name: "v".to_owned(),
        source: "s".to_owned(),
        id: String::new(),
        keys: vec![Field::required("id", DataType::Int64)],
        features,
        ttl_micros: None,
        online: true,
    })
}

fn counts() -> ViewRef {
    view(vec![Field::nullable("n", DataType::Int64)])
}

fn version(partition: &str, position: u64, generation: u32, event_time: i64) -> RowVersion {
    RowVersion {
        event_time,
        partition: Partition::new(partition),
        position: Position::from_u64(position),
        generation,
        row: 0,
    }
}

fn row(id: i64, version: RowVersion, values: Vec<Value>) -> EntityRow {
    EntityRow { key: vec![Value::Int(id)], version, values: Some(values) }
}

#[test]
fn rows_arrive_with_their_versions_and_a_repeat_changes_nothing() {
    let (from, to, view) = (Place::new(), Place::new(), counts());
    from.write(&view, "a", 1, &[(1, 10, 100), (2, 11, 200)]);
    from.write(&view, "b", 2, &[(3, 7, 300)]);
    let dead = [vec![Value::Int(2)]];
    assert_eq!(from.store.delete(&view, &dead, &version("a", 12, 1, 1_000)).unwrap(), [true]);
    // The other store has a newer row of one of them.
    to.write(&view, "z", 1, &[(3, 1, 999)]);
    let expected = Moved { rows: 3, late: 1, deleted: 1, unnamed: 0 };
    assert_eq!(from.migrate(&to, &view), expected);
    let found = to.get(&view, 1).unwrap();
    assert_eq!((found.version, found.values), (version("a", 10, 1, 1_000), vec![Value::Int(100)]));
    assert_eq!(to.get(&view, 2), None);
    assert_eq!(to.get(&view, 3).unwrap().values, [Value::Int(999)]);
    use model::online::Ledger;
    let online = |place: &Place, partition: &str| {
        place.store.view("v").unwrap().online.get(&Partition::new(partition)).copied()
    };
    to.runtime.block_on(to.store.checkpoint()).unwrap();
    assert_eq!(online(&to, "a"), online(&from, "a"), "how far the view is, is said last");
    // What is older than the deletion stays away.
    to.write(&view, "a", 1, &[(2, 11, 200)]);
    assert_eq!(to.get(&view, 2), None);
    let again = from.migrate(&to, &view);
    assert_eq!((again.rows, again.unnamed), (3, 0));
    assert_eq!(to.get(&view, 1).unwrap().values, [Value::Int(100)]);
}

#[test]
fn many_rows_of_many_partitions_all_arrive() {
    let (from, to, view) = (Place::new(), Place::new(), counts());
    let mut wanted = 0;
    for partition in 0..5_i64 {
        let rows: Vec<_> = (0..3_000).map(|id| (partition * 3_000 + id, 1, partition)).collect();
        wanted += rows.len();
        from.write(&view, &format!("p{partition}"), 1, &rows);
    }
    let moved = from.migrate(&to, &view);
    assert_eq!(moved, Moved { rows: wanted as u64, ..Moved::default() });
    assert_eq!(to.store.rows(&view, &mut |_| Ok(true)).unwrap().rows, wanted as u64);
    let has_rows = |place: &Place| place.store.has_rows(&view).unwrap();
    assert!(has_rows(&to) && !has_rows(&Place::new()));
}

#[test]
fn every_type_arrives() {
    let decimal = DataType::Decimal { precision: 30, scale: 2 };
    let parse = |text: &str| text.parse::<DataType>().unwrap();
    let entry = |name: Value, at: Value| Value::Struct(vec![("name".into(), name), ("at".into(), at)]);
    let samples = vec![
        (DataType::Bool, Value::Bool(true)),
        (DataType::Int8, Value::Int(-8)),
        (DataType::Int16, Value::Int(-16)),
        (DataType::Int32, Value::Int(-32)),
        (DataType::Int64, Value::Int(i64::MIN)),
        (DataType::UInt8, Value::UInt(255)),
        (DataType::UInt16, Value::UInt(65_535)),
        (DataType::UInt32, Value::UInt(7)),
        (DataType::UInt64, Value::UInt(u64::MAX)),
        (DataType::Float32, Value::Float32(0.1)),
        (DataType::Float64, Value::Float64(-0.1)),
        (DataType::String, Value::String("gr\u{fc}n".into())),
        (DataType::Bytes, Value::Bytes(b"\0\xff".to_vec())),
        (DataType::Timestamp, Value::Timestamp(12)),
        (DataType::Date, Value::Date(-1)),
        (decimal, Value::Decimal(-12_345, 2)),
        (parse("list<float32>"), Value::List(vec![Value::Float32(1.5), Value::Null])),
        (
            parse("list<struct<name: string, at: int32>>"),
            Value::List(vec![entry(Value::String("a".into()), Value::Int(1)), Value::Null]),
        ),
        (
            parse("map<string, int64>"),
            Value::Map(vec![
                (Value::String("x".into()), Value::Int(1)),
                (Value::String("y".into()), Value::Null),
            ]),
        ),
    ];
    let fields = samples.iter().enumerate();
    let view = view(
        fields
            .map(|(index, (data_type, _))| Field::nullable(format!("f{index}"), data_type.clone()))
            .collect(),
    );
    let values: Vec<Value> = samples.iter().map(|(_, value)| value.clone()).collect();
    let nulls = vec![Value::Null; values.len()];
    let (from, to) = (Place::new(), Place::new());
    let rows = [row(1, version("a", 1, 1, 1), values.clone()), row(2, version("a", 2, 1, 1), nulls.clone())];
    let made = batch(&view, (Partition::new("a"), 1, 8), &rows).unwrap();
    from.runtime.block_on(from.store.write(Arc::new(made))).unwrap();
    assert_eq!(from.migrate(&to, &view).rows, 2);
    assert_eq!(to.get(&view, 1).unwrap().values, values);
    assert_eq!(to.get(&view, 2).unwrap().values, nulls);
    let wrong = [row(1, version("a", 1, 1, 1), values.into_iter().rev().collect())];
    let failure = batch(&view, (Partition::new("a"), 1, 8), &wrong).unwrap_err();
    assert!(failure.to_string().contains("of another type"), "{failure}");
}

#[test]
fn keys_that_nobody_can_read_back_are_counted() {
    let view =
        Arc::new(ViewShape { keys: vec![Field::required("id", DataType::String)], ..(*counts()).clone() });
    let (from, to) = (Place::new(), Place::new());
    let rows = ["short".to_owned(), "long".repeat(1_000)].map(|key| EntityRow {
        key: vec![Value::String(key)],
        version: version("a", 1, 1, 1),
        values: Some(vec![Value::Int(1)]),
    });
    let made = batch(&view, (Partition::new("a"), 1, 8), &rows).unwrap();
    from.runtime.block_on(from.store.write(Arc::new(made))).unwrap();
    assert_eq!(from.migrate(&to, &view), Moved { rows: 1, unnamed: 1, ..Moved::default() });
}

#[test]
fn what_positions_rest_on_is_noted_before_they_are_durable() {
    use std::sync::Mutex;
    let (place, view) = (Place::new(), counts());
    let told = Arc::new(Mutex::new(Vec::new()));
    let (telling, fails) = (Arc::clone(&told), Arc::new(Mutex::new(true)));
    let (failing, ledger) = (Arc::clone(&fails), Arc::downgrade(&place.store));
    place.store.before_checkpoint(Box::new(move || {
        use model::online::Ledger;
        let store = ledger.upgrade().unwrap();
        telling.lock().unwrap().push(store.durable("v", &Partition::new("a")));
        if *failing.lock().unwrap() { Err(Failure::retry("note it")) } else { Ok(()) }
    }));
    place.write(&view, "a", 1, &[(1, 10, 100)]);
    assert!(place.runtime.block_on(place.store.checkpoint()).is_err());
    *fails.lock().unwrap() = false;
    place.runtime.block_on(place.store.checkpoint()).unwrap();
    assert!(told.lock().unwrap().iter().all(Option::is_none), "it was not durable yet");
    use model::online::Ledger;
    assert!(place.store.durable("v", &Partition::new("a")).is_some());
}
