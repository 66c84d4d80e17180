//! A stock Feast client, unchanged, reads what is written with our layout, and we read what it writes.
//!
//! `cargo xtask test` installs Feast; `MILLRACE_FEAST_VENV` names the virtual environment.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use model::batch::RawBatch;
use model::codec::{Format, SourceColumn, TimestampUnit};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::time::parse_rfc3339;
use model::view::{Digest, Generation};
use serde_json::{Value as Json, json};

use super::*;
use crate::codec::json::JsonFormat;

const NAME: &str = "a_stock_client_reads_our_rows_and_writes_its_own";

/// Features of every type that Feast has something for.
const WIDE: [&str; 32] = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "string",
    "bytes",
    "timestamp",
    "date",
    "decimal(10,2)",
    "list<bool>",
    "list<int32>",
    "list<int64>",
    "list<float32>",
    "list<float64>",
    "list<string>",
    "list<bytes>",
    "list<timestamp>",
    "list<date>",
    "list<decimal(10,2)>",
    "list<list<int64>>",
    "struct<a: int64, b: string>",
    "list<struct<a: int64, b: string>>",
    "map<string, int64>",
    "list<map<string, int64>>",
    "map<int64, string>",
];

/// Their values, the same for both writers; `timestamp` in whole seconds, as Feast's are.
fn wide_values() -> Vec<Json> {
    let time = "2026-01-02T03:04:05Z";
    vec![
        json!(false),
        json!(-8),
        json!(-16),
        json!(-32),
        json!(i64::MIN),
        json!(8),
        json!(16),
        json!(u32::MAX),
        json!(i64::MAX),
        json!(0.1),
        json!(-0.1),
        json!("gr\u{fc}n"),
        json!("AP8="),
        json!(time),
        json!("1969-12-31"),
        json!("-123.45"),
        json!([true, false]),
        json!([1, -1]),
        json!([1, -1, i64::MAX]),
        json!([0.5, 0.1]),
        json!([0.5, 0.1]),
        json!(["a", ""]),
        json!(["AP8=", ""]),
        json!([time]),
        json!(["2026-01-02"]),
        json!(["1.50", "-0.01"]),
        json!([[1], [2, 3]]),
        json!({"a": 1, "b": "x"}),
        json!([{"a": 1, "b": "x"}, {"a": 2, "b": ""}]),
        json!({"k": 1, "l": -1}),
        json!([{"k": 1}]),
        json!({"7": "seven"}),
    ]
}

/// Values that only we write: what Feast cannot, or writes as something less.
fn rich_values() -> Vec<Json> {
    let mut values = wide_values();
    values[8] = json!(u64::MAX);
    values[13] = json!("2026-01-02T03:04:05.678901Z");
    values[18] = json!([1, null, 3]);
    values[21] = json!([]);
    values[23] = json!(["2026-01-02T03:04:05.678901Z"]);
    values[28] = json!([{"a": null, "b": "x"}]);
    values[29] = json!({"k": null});
    values[30] = json!([]);
    values[31] = json!({});
    values
}

/// So many of these features Feast's client can write from a data frame: that becomes an Arrow table, which loses lists of
/// maps, and maps whose keys are not text.
const PLAIN: usize = 30;

fn view(name: &str, keys: &[(&str, &str)], features: &[(String, String)]) -> ViewRef {
    let parse = |data_type: &str| -> DataType { data_type.parse().unwrap() };
    Arc::new(ViewShape {
        project: "feast_check".into(),
        name: name.into(),
        source: "events".into(),
        id: String::new(),
        keys: keys.iter().map(|(name, data_type)| Field::required(*name, parse(data_type))).collect(),
        features: features.iter().map(|(name, data_type)| Field::nullable(name, parse(data_type))).collect(),
        ttl_micros: None,
        online: true,
    })
}

/// A row, with its key and values by name.
struct Row {
    view: ViewRef,
    event_time: &'static str,
    key: Json,
    values: Json,
}

impl Row {
    fn new(view: &ViewRef, event_time: &'static str, key: Json, values: &[Json]) -> Self {
        let names = view.features.iter().map(|feature| feature.name.clone());
        let values = names.zip(values.iter().cloned()).collect::<serde_json::Map<_, _>>();
        Self { view: Arc::clone(view), event_time, key, values: values.into() }
    }

    /// As the flow would hand it over.
    fn batch(&self) -> FeatureBatch {
        let mut row = self.key.as_object().unwrap().clone();
        row.extend(self.values.as_object().unwrap().clone());
        let data = serde_json::to_vec(&row).unwrap();
        let columns: Vec<SourceColumn> = self
            .view
            .columns()
            .map(|field| SourceColumn { field: field.clone(), unit: TimestampUnit::Text })
            .collect();
        let position = Position::from_u64(7);
        let raw = RawBatch {
            partition: Partition::new("0"),
            payloads: vec![(0, u32::try_from(data.len()).unwrap())],
            data: data.into(),
            positions: PositionColumn::counting(7, 1),
            ingest_times: Vec::new(),
            ingest_time: 0,
            covers: Covers { first: position, through: position },
            attributes: model::batch::Attributes::default(),
        };
        let events = JsonFormat::new(columns).decoder().decode(raw);
        assert_eq!(events.rejected, []);
        FeatureBatch {
            view: Arc::clone(&self.view),
            rows: events.columns,
            event_times: vec![parse_rfc3339(self.event_time.as_bytes()).unwrap()],
            partition: Partition::new("0"),
            positions: PositionColumn::counting(7, 1),
            ordinals: Vec::new(),
            generation: Generation { number: 1, digest: Digest([0; 32]) },
            covers: Covers { first: position, through: position },
        }
    }

    /// As the other side takes it.
    fn task(&self) -> Json {
        let values: serde_json::Map<_, _> = self
            .view
            .features
            .iter()
            .map(|feature| (feature.name.clone(), pairs(&self.values[&feature.name], &feature.data_type)))
            .collect();
        json!({"view": self.view.name, "event_time": self.event_time, "key": self.key, "values": values})
    }
}

/// Maps as lists of pairs, since keys of JSON are texts.
fn pairs(value: &Json, data_type: &DataType) -> Json {
    match (data_type, value) {
        (DataType::List(item), Json::Array(items)) => items.iter().map(|value| pairs(value, item)).collect(),
        (DataType::Map(key, item), Json::Object(entries)) => entries
            .iter()
            .map(|(name, value)| {
                let name = if **key == DataType::String { json!(name) } else { name.parse().unwrap() };
                json!([name, pairs(value, item)])
            })
            .collect(),
        _ => value.clone(),
    }
}

fn views_of(rows: &[Row]) -> Json {
    let mut views: Vec<&ViewRef> = rows.iter().map(|row| &row.view).collect();
    views.dedup_by(|left, right| left.name == right.name);
    let types = |fields: &[Field]| -> Json {
        let types = fields.iter().map(|field| (field.name.clone(), json!(field.data_type.to_string())));
        types.collect::<serde_json::Map<_, _>>().into()
    };
    let view = |view: &&ViewRef| json!({"name": view.name, "keys": types(&view.keys), "features": types(&view.features)});
    views.iter().map(view).collect()
}

#[track_caller]
fn run_feast(python: &PathBuf, task: &Json) {
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/checker/feast_redis.py"));
    let mut child = Command::new(python)
        .arg(script)
        // Nobody is told that it was used.
        .env("FEAST_USAGE", "False")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(task.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn a_stock_client_reads_our_rows_and_writes_its_own() {
    let venv = std::env::var_os("MILLRACE_FEAST_VENV").map(PathBuf::from);
    let Some(python) = venv.map(|venv| venv.join("bin/python")).filter(|python| python.is_file()) else {
        assert!(
            std::env::var_os("MILLRACE_REQUIRE_SERVICES").is_none(),
            "MILLRACE_FEAST_VENV names no virtual environment, and MILLRACE_REQUIRE_SERVICES is set"
        );
        eprintln!("SKIPPED {NAME}: MILLRACE_FEAST_VENV names no virtual environment");
        return;
    };
    let Some(server) = Server::start(NAME, &[]) else { return };
    let rig = Rig::new(&server.connection("cache"));

    let features: Vec<(String, String)> =
        (0..).zip(WIDE).map(|(index, data_type)| (format!("f{index}"), data_type.to_owned())).collect();
    let wide = view("wide", &[("b", "string"), ("a", "int32")], &features);
    let plain = view("plain", &[("b", "string"), ("a", "int32")], &features[..PLAIN]);
    let short = [("n".to_owned(), "int64".to_owned())];
    let times = view("times", &[("at", "timestamp")], &short);
    let blobs = view("blobs", &[("token", "bytes"), ("id", "int64")], &short);
    let nulls = vec![Json::Null; WIDE.len()];
    let ours = [
        Row::new(&wide, "2026-11-20T08:00:00.123456Z", json!({"a": -5, "b": "x"}), &wide_values()),
        Row::new(&wide, "2026-11-20T08:00:00Z", json!({"a": 6, "b": ""}), &rich_values()),
        Row::new(&wide, "1969-12-31T23:59:59.999999Z", json!({"a": 7, "b": "z"}), &nulls),
        Row::new(&plain, "2026-11-20T08:00:00.123456Z", json!({"a": 7, "b": "z"}), &nulls[..PLAIN]),
        Row::new(&times, "2026-11-20T08:00:00Z", json!({"at": "2026-11-20T08:00:00Z"}), &[json!(1)]),
        Row::new(&blobs, "2026-11-20T08:00:00Z", json!({"token": "AP8=", "id": 1_u64 << 40}), &[json!(2)]),
    ];
    ours.iter().for_each(|row| rig.put(&row.batch()));
    let of_feast = [
        Row::new(&plain, "2026-11-20T09:00:00.5Z", json!({"a": 1, "b": "feast"}), &wide_values()),
        Row::new(&plain, "2026-11-20T08:00:00.123457Z", json!({"a": 7, "b": "z"}), &wide_values()),
        Row::new(&times, "2026-11-20T09:00:00Z", json!({"at": "2026-11-20T09:00:00Z"}), &[json!(3)]),
        Row::new(&blobs, "2026-11-20T09:00:00Z", json!({"token": "AQ==", "id": -1}), &[json!(4)]),
    ];
    let read: Vec<Json> = ours.iter().map(Row::task).collect();
    run_feast(
        &python,
        &json!({
            "connection": server.address(),
            "project": "feast_check",
            "views": views_of(&ours),
            "rows": read,
        }),
    );
    let written: Vec<Json> = of_feast.iter().map(Row::task).collect();
    run_feast(
        &python,
        &json!({
            "connection": server.address(),
            "project": "feast_check",
            "views": views_of(&of_feast),
            "write": written,
            "rows": written,
        }),
    );

    // A second server has the same rows, written by us: both are read as the same.
    let Some(second) = Server::start(NAME, &[]) else { return };
    let same = Rig::new(&second.connection("second"));
    for row in &of_feast {
        let batch = row.batch();
        same.put(&batch);
        let key = key_values(&batch);
        let lookup = Lookup {
            view: Arc::clone(&row.view),
            keys: vec![key],
            features: (0..row.view.features.len()).collect(),
        };
        let found = |rig: &Rig| rig.get_all(vec![lookup.clone()]).unwrap()[0][0].clone().unwrap();
        let (theirs, ours) = (found(&rig), found(&same));
        for ((feature, theirs), ours) in row.view.features.iter().zip(&theirs.values).zip(&ours.values) {
            let (theirs, ours) = (in_order(theirs.clone()), in_order(ours.clone()));
            assert_eq!(theirs, ours, "{}: {}", feature.name, feature.data_type);
        }
        assert_eq!(theirs.version, RowVersion::from(Version::of_feast(batch.event_times[0])));
    }
}

/// With the entries of maps, which protobuf in Python writes in any order, in one order.
fn in_order(value: Value) -> Value {
    match value {
        Value::Map(entries) => {
            let mut entries: Vec<_> =
                entries.into_iter().map(|(key, value)| (in_order(key), in_order(value))).collect();
            entries.sort_by_key(|(key, _)| format!("{key:?}"));
            Value::Map(entries)
        }
        Value::List(items) => Value::List(items.into_iter().map(in_order).collect()),
        Value::Struct(fields) => {
            Value::Struct(fields.into_iter().map(|(name, value)| (name, in_order(value))).collect())
        }
        other => other,
    }
}

/// The join keys of a batch of one row.
fn key_values(batch: &FeatureBatch) -> Vec<Value> {
    batch
        .view
        .keys
        .iter()
        .zip(batch.rows.columns())
        .map(|(field, column)| {
            let mut bytes = Vec::new();
            ValueColumn::new(field, column).unwrap().append(0, &mut bytes);
            decode(&bytes, &field.data_type).unwrap()
        })
        .collect()
}
