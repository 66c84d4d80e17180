//! What files come to: every key, every default.

use std::path::Path;
use std::time::Duration;

use model::codec::TimestampUnit;
use model::output::RecordVersion;
use model::schema::{DataType, Field};
use model::transform::Limits;
use spec::diagnostic::{SourceFile, render_text};
use spec::host::{self, Environment};
use spec::plan::{
    BatchPlan, BuildPlan, ConnectionPlan, DeadLetterPlan, EventTimeBounds, FormatKind, HostPlan, OutputSink,
    ServiceFeatures, SourceKind, Start,
};

use crate::texts::{BASE, VIEW, plan};

#[test]
fn every_key_reaches_the_plan() {
    let plan = plan(include_str!("../good/everything.yaml"));
    let entity = &plan.entities["user"];
    assert_eq!(
        entity.join_keys,
        [("user_id".to_owned(), DataType::String), ("region".to_owned(), DataType::Int32)]
    );
    assert_eq!(entity.description, "who clicks");

    let source = &plan.sources["clicks"];
    assert_eq!(source.kind, SourceKind::File { path: "/data/events/clicks.ndjson".into(), follow: true });
    assert_eq!(source.format, FormatKind::Json);
    let columns: Vec<String> = source.columns.iter().map(|column| column.field.to_string()).collect();
    let expected = [
        "user_id: string not null",
        "region: int32 not null",
        "price: decimal(10,2)",
        "tags: list<string>",
        "where: struct<lat: float64, lon: float64>",
        "counts: map<string, int64>",
        "at: timestamp not null",
    ];
    assert_eq!(columns, expected);
    assert_eq!(source.column("at").unwrap().unit, TimestampUnit::Millis);
    assert_eq!(source.start, Start::Latest);
    assert_eq!(source.watermark_delay, Some(Duration::from_secs(300)));
    let batch = BatchPlan { path: "/data/history/clicks".into(), timestamp_field: "at".into() };
    assert_eq!(source.batch, Some(batch));
    assert_eq!(source.max_row_bytes, 64 << 10);
    assert_eq!(source.bounds, EventTimeBounds { earliest: 1_420_070_400_000_000, max_future: 3_600_000_000 });
    assert_eq!(plan.sources["blobs"].format, FormatKind::Raw);

    let view = &plan.views["clicks_per_user"];
    assert_eq!(view.shape.project, "default");
    assert_eq!(
        view.shape.keys,
        [Field::required("user_id", DataType::String), Field::required("region", DataType::Int32)]
    );
    let price = DataType::Decimal { precision: 10, scale: 2 };
    assert_eq!(
        view.shape.features,
        [Field::nullable("clicks", DataType::Int64), Field::nullable("price", price)]
    );
    assert_eq!(view.shape.ttl_micros, Some(8_640_000_000_000_000));
    assert!(view.shape.online && !view.offline);
    assert_eq!(view.component, Path::new("views/clicks.wasm"));
    assert_eq!(view.params_json, r#"{"a":{"y":null,"z":true},"b":[1,2.5,"x"]}"#);
    assert_eq!(view.samples.as_deref(), Some(Path::new("views/samples.ndjson")));
    let build = BuildPlan::Command {
        command: vec!["sh".into(), "-c".into(), "make component".into()],
        directory: "views".into(),
        output: "views/build/out.wasm".into(),
        watch: vec!["views/src".into(), "views/Makefile".into()],
    };
    assert_eq!(view.build, Some(build));
    let limits = Limits {
        memory: 32 << 20,
        time: Duration::from_secs(1),
        time_per_row: Duration::from_millis(5),
        rows_per_row: 8,
        output: 1 << 20,
        log: 1 << 10,
        batches_per_instance: 100,
    };
    assert_eq!((&view.limits, view.failures_to_pause), (&limits, 5));
    assert_eq!((view.timestamp_column.as_str(), view.start.clone()), ("at", Start::Earliest));
    let output = view.output.as_ref().unwrap();
    assert_eq!(output.sink, OutputSink::File { path: "/data/out/clicks.ndjson".into() });
    assert_eq!((output.options.version, output.options.include_features), (RecordVersion::V2, true));
    assert_eq!((output.options.producer.as_str(), output.parallel), ("tecton", true));
    assert_eq!(view.feature_start.unwrap().to_string(), "2022-02-01T00:00:00.000000Z");
    assert_eq!(view.batch_schedule, Some(Duration::from_secs(86_400)));
    assert_eq!((view.description.as_str(), view.owner.as_str()), ("how often", "ads@example.com"));
    assert_eq!(view.tags["team"], "ads");
    assert_eq!(view.file(), Path::new("views/view.yaml"));

    let rust = BuildPlan::Rust { directory: "views/blobs".into(), watch: Vec::new() };
    assert_eq!(plan.views["blob_sizes"].build, Some(rust));
    let parts = [
        ServiceFeatures { view: "clicks_per_user".into(), feature: None },
        ServiceFeatures { view: "blob_sizes".into(), feature: Some("size".into()) },
    ];
    assert_eq!(plan.services["promotion"].features, parts);
}

#[test]
fn defaults_are_as_documented() {
    let plan = plan(&format!("{BASE}{VIEW}"));
    let view = &plan.views["clicks_per_user"];
    // `printf default/clicks_per_user | sha256sum | cut -c-32`
    assert_eq!(view.shape.id, "799c9318721b23973cec1fc48da150e1");
    assert_eq!((&view.limits, view.failures_to_pause), (&Limits::default(), 1_000));
    assert_eq!((view.timestamp_column.as_str(), view.start.clone()), ("ts", Start::Latest));
    assert_eq!((view.shape.ttl_micros, view.output.as_ref()), (None, None));
    assert_eq!(view.params_json, r#"{"factor":2}"#);
    let source = &plan.sources["clicks"];
    assert_eq!(source.max_row_bytes, 1 << 20);
    assert_eq!(source.bounds, EventTimeBounds { earliest: 946_684_800_000_000, max_future: 600_000_000 });
    let output =
        crate::texts::plan(&format!("{BASE}{VIEW}  output_stream: {{ file: {{ path: out.ndjson }} }}\n"));
    let output = output.views["clicks_per_user"].output.as_ref().unwrap();
    assert_eq!((output.options.version, output.options.include_features), (RecordVersion::V1, false));
    assert_eq!((output.options.producer.as_str(), output.parallel), ("millrace", false));
}

#[test]
fn files_are_read_from_their_beginning_unless_said_otherwise() {
    let text = BASE.replace("push: {}", "file: { path: a.ndjson }");
    assert_eq!(plan(&format!("{text}{VIEW}")).views["clicks_per_user"].start, Start::Earliest);
    assert_eq!(plan(&format!("{text}{VIEW}  start: latest\n")).views["clicks_per_user"].start, Start::Latest);
}

#[test]
fn anchors_aliases_and_json_are_yaml() {
    let text = BASE.replace("push: {}", "push:").replace("ad: int64", "ad: &number int64, more: *number");
    assert_eq!(
        plan(&format!("{text}{VIEW}")).sources["clicks"].column("more").unwrap().field.data_type,
        DataType::Int64
    );
    plan(&format!(
        "{BASE}{}",
        r#"{"view":{"name":"v","source":"clicks","entities":["user"],"transform":{"component":"v.wasm"},"features":{"n":"int64"}}}"#
    ));
}

struct Fixed;

impl Environment for Fixed {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "PORT" => Some("7000".into()),
            "THREADS" => Some("3".into()),
            "EMPTY" => Some(String::new()),
            "EVIL" => Some("a\nlisten: b".into()),
            _ => None,
        }
    }

    fn file(&self, path: &Path) -> Result<String, String> {
        if path == Path::new("conf/secrets/dir") { Ok("kept/here\n".into()) } else { Err("absent".into()) }
    }
}

#[track_caller]
fn host(text: &str) -> HostPlan {
    host::check(&SourceFile::new("conf/host.yaml", text), &Fixed)
        .map_err(|problems| render_text(&problems, false))
        .unwrap()
}

#[test]
fn host_files_are_filled_in_from_the_environment() {
    let plan = host(concat!(
        "listen: 0.0.0.0:${PORT}\nthreads: ${THREADS}\ndata_dir: ${file:secrets/dir}\n",
        "files_root: \"${EMPTY:-files}\"\ndead_letter: { file: { path: \"$${x}${UNSET:-}\" } }\n",
        "connections: { main: { kafka: { bootstrap_servers: \"a:1\", options: { client.id: \"${EVIL}\" } } } }\n",
        "project: p\nserve_while_recovering: true\n",
        "online_store: { embedded: { memory: 1GiB, checkpoint_interval: 500ms, checkpoint_bytes: 16MiB } }\n",
        "push: { max_log_bytes: 1TiB, segment_bytes: 1MiB, max_body_bytes: 1MiB, max_row_bytes: 2KiB }\n",
        "event_time: { earliest: 2010-01-01T00:00:00Z, max_future: 1m }\nshutdown_grace: 5s\n",
    ).replace("1TiB", "1024GiB").as_str());
    assert_eq!((plan.listen.as_str(), plan.threads, plan.project.as_str()), ("0.0.0.0:7000", Some(3), "p"));
    assert_eq!(
        (plan.data_dir.as_path(), plan.files_root.as_path()),
        (Path::new("conf/kept/here"), Path::new("conf/files"))
    );
    assert_eq!(plan.dead_letter, DeadLetterPlan::File("conf/${x}".into()));
    let ConnectionPlan::Kafka(main) = &plan.connections["main"] else { panic!("it is one to Kafka") };
    assert_eq!(main.options["client.id"], "a\nlisten: b");
    assert!(plan.serve_while_recovering);
    assert_eq!((plan.online_store.memory, plan.online_store.checkpoint_bytes), (1 << 30, 16 << 20));
    assert_eq!(plan.online_store.checkpoint_interval, Duration::from_millis(500));
    assert_eq!((plan.push.max_log_bytes, plan.push.max_row_bytes), (1 << 40, 2 << 10));
    assert_eq!(plan.event_time.max_future, 60_000_000);
    assert_eq!(plan.shutdown_grace, Duration::from_secs(5));
}

#[test]
fn an_empty_host_file_is_all_defaults() {
    assert_eq!(host(""), HostPlan::default());
    assert_eq!(host("# nothing\n"), HostPlan::default());
}
