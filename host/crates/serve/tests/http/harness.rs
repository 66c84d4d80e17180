//! A real server on loopback over the fakes, and the views, services and sources that all tests share.

use std::net::SocketAddr;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, RwLock};

use arc_swap::ArcSwap;
use model::codec::{SourceColumn, TimestampUnit};
use model::position::{Partition, Position};
use model::schema::{DataType, Field};
use model::status::{PartitionStatus, ViewState, ViewStatus};
use model::time::parse_rfc3339;
use model::value::Value;
use model::view::{Digest, ViewShape};
use prometheus_client::registry::Registry;
use serve::{Directory, Health, Phase, PushEntry, ServeSettings, ServeState, Server, Service};
use tokio::sync::oneshot;

use crate::fakes::{FakeClock, FakeOverview, FakePush, FakeReader};

/// A running server.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    pub(crate) reader: Arc<FakeReader>,
    pub(crate) overview: Arc<FakeOverview>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) health: Arc<Health>,
    pub(crate) directory: Arc<ArcSwap<Directory>>,
    pub(crate) ad_impressions: Arc<FakePush>,
    pub(crate) driver_push: Arc<FakePush>,
    pub(crate) lines: Arc<FakePush>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Code and message of an error, and that it has the one shape.
    pub(crate) fn error(&self) -> (String, String) {
        let json = self.json();
        let text =
            |name: &str| json["error"][name].as_str().unwrap_or_else(|| panic!("{}", self.body)).to_owned();
        assert!(!text("help").is_empty(), "no help in {}", self.body);
        (text("code"), text("message"))
    }
}

impl Host {
    /// A server with default settings, ready.
    pub(crate) fn start() -> Self {
        Self::start_with(ServeSettings::default())
    }

    pub(crate) fn start_with(settings: ServeSettings) -> Self {
        let reader = Arc::new(FakeReader::default());
        fill(&reader);
        let overview = Arc::new(FakeOverview::default());
        for view in views() {
            let status = status(&view);
            overview.views.lock().unwrap().insert(view.name.clone(), status);
        }
        let clock = Arc::new(FakeClock(AtomicI64::new(micros("2026-03-04T06:00:00Z"))));
        let health = Arc::new(Health::new());
        health.set_phase(Phase::Ready);
        let ad_impressions = Arc::new(FakePush::new(&["user_uuid", "timestamp"], false));
        let driver_push = Arc::new(FakePush::new(&["driver_id", "event_timestamp"], false));
        let lines = Arc::new(FakePush::new(&[], true));
        let directory = Arc::new(ArcSwap::from_pointee(directory(&ad_impressions, &driver_push, &lines)));

        let server = Server::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr();
        let state = ServeState {
            reader: Arc::clone(&reader) as _,
            overview: Arc::clone(&overview) as _,
            control: Arc::clone(&overview) as _,
            directory: Arc::clone(&directory),
            clock: Arc::clone(&clock) as _,
            registry: Arc::new(RwLock::new(Registry::default())),
            health: Arc::clone(&health),
            settings,
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let shutdown = async {
                // A dropped sender means the same as a sent word.
                let _ = stopped.await;
            };
            runtime.block_on(server.run(state, shutdown)).unwrap();
        });
        let (stop, thread) = (Some(stop), Some(thread));
        Self {
            address,
            reader,
            overview,
            clock,
            health,
            directory,
            ad_impressions,
            driver_push,
            lines,
            stop,
            thread,
        }
    }

    /// Tells the server to stop, without waiting for it.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until the server has stopped.
    pub(crate) fn stopped(&mut self) {
        self.begin_stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[], body)
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let agent = ureq::Agent::new_with_config(config);
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = if body.is_empty() && method != "POST" {
            agent.run(request.body(()).unwrap())
        } else {
            agent.run(request.body(body.as_bytes()).unwrap())
        };
        let mut response = response.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.body_mut().read_to_string().unwrap(),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stopped();
        }
    }
}

pub(crate) fn micros(text: &str) -> i64 {
    parse_rfc3339(text.as_bytes()).unwrap()
}

pub(crate) fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn view(
    name: &str,
    source: &str,
    keys: &[(&str, DataType)],
    features: &[(&str, &str)],
    ttl: Option<i64>,
) -> Arc<ViewShape> {
    Arc::new(ViewShape {
        project: "default".to_owned(),
        name: name.to_owned(),
        source: source.to_owned(),
        id: String::new(),
        keys: keys.iter().map(|(name, data_type)| Field::required(*name, data_type.clone())).collect(),
        features: features.iter().map(|(name, text)| Field::nullable(*name, text.parse().unwrap())).collect(),
        ttl_micros: ttl,
        online: name != "drafts",
    })
}

const DAY: i64 = 86_400_000_000;

pub(crate) fn views() -> Vec<Arc<ViewShape>> {
    let user = || ("user_id", DataType::String);
    vec![
        view(
            "user_impression_counts",
            "ad_impressions",
            &[user()],
            &[("impression", "int64")],
            Some(365 * DAY),
        ),
        view(
            "user_purchases",
            "purchases",
            &[user()],
            &[("lifetime_value", "float64"), ("city", "string")],
            None,
        ),
        view(
            "driver_stats",
            "driver_push",
            &[("driver_id", DataType::Int64)],
            &[
                ("conv_rate", "float64"),
                ("acc_rate", "float64"),
                ("avg_daily_trips", "int64"),
                ("city", "string"),
                ("active", "bool"),
            ],
            Some(DAY),
        ),
        view("ad_clicks", "clicks", &[user(), ("ad_id", DataType::Int64)], &[("clicks", "int64")], None),
        view(
            "profiles",
            "lines",
            &[user()],
            &[
                ("embedding", "list<float32>"),
                ("raw", "bytes"),
                ("seen", "timestamp"),
                ("price", "decimal(10,2)"),
                ("home", "struct<lat: float64, tags: list<string>>"),
                ("score", "float64"),
            ],
            None,
        ),
        view(
            "visits",
            "visits",
            &[("at", DataType::Timestamp), ("token", DataType::Bytes)],
            &[("n", "uint64")],
            None,
        ),
        view("totals", "visits", &[], &[("n", "int64")], None),
        view("drafts", "visits", &[user()], &[("n", "int64")], None),
    ]
}

fn fill(reader: &FakeReader) {
    let counts = "user_impression_counts";
    reader.put(counts, &[string("u1")], micros("2026-03-04T05:06:07.832793Z"), 7, vec![Value::Int(1)]);
    reader.put(counts, &[string("old")], micros("2024-01-01T00:00:00Z"), 2, vec![Value::Int(5)]);
    reader.put(counts, &[string("null")], micros("2026-03-04T05:06:08Z"), 8, vec![Value::Null]);
    let bought = vec![Value::Float64(99.5), string("zurich")];
    reader.put("user_purchases", &[string("u1")], micros("2026-03-03T10:00:00.25Z"), 3, bought);
    let stats = |trips| {
        vec![Value::Float64(0.5), Value::Float64(1.0), Value::Int(trips), string("zurich"), Value::Bool(true)]
    };
    let time = micros("2026-03-04T05:06:07.123456Z");
    reader.put("driver_stats", &[Value::Int(1001)], time, 1, stats(9_007_199_254_740_993));
    reader.put("ad_clicks", &[string("u1"), Value::Int(7)], time, 4, vec![Value::Int(12)]);
    let profile = vec![
        Value::List(vec![Value::Float32(0.1), Value::Null, Value::Float32(f32::NAN)]),
        Value::Bytes(vec![0, 255]),
        Value::Timestamp(micros("2026-01-02T03:04:05.678Z")),
        Value::Decimal(-1999, 2),
        Value::Struct(vec![
            ("lat".to_owned(), Value::Float64(47.4)),
            ("tags".to_owned(), Value::List(vec![string("a\"b")])),
        ]),
        Value::Float64(f64::NEG_INFINITY),
    ];
    reader.put("profiles", &[string("u1")], time, 5, profile);
    let visit = [Value::Timestamp(micros("2026-01-02T03:04:05Z")), Value::Bytes(vec![1, 2, 3])];
    reader.put("visits", &visit, time, 6, vec![Value::UInt(u64::MAX)]);
    reader.put("totals", &[], time, 9, vec![Value::Int(42)]);
}

fn status(view: &ViewShape) -> ViewStatus {
    ViewStatus {
        view: view.name.clone(),
        source: view.source.clone(),
        state: ViewState::Running,
        generation: 3,
        digest: Some(Digest([0xab; 32])),
        component: format!("{} 0.1.0", view.name),
        rows_in: 10,
        rows_out: 9,
        dead_letters: 1,
        partitions: vec![PartitionStatus {
            partition: Partition::new("0"),
            applied: Some(Position::from_u64(9)),
            emitted: None,
        }],
        last_error: None,
    }
}

fn directory(
    ad_impressions: &Arc<FakePush>,
    driver_push: &Arc<FakePush>,
    lines: &Arc<FakePush>,
) -> Directory {
    let column = |name: &str, text: &str, nullable| SourceColumn {
        field: Field { name: name.to_owned(), data_type: text.parse().unwrap(), nullable },
        unit: TimestampUnit::Text,
    };
    let entry = |push: &Arc<FakePush>, columns| PushEntry {
        push: Some(Arc::clone(push) as _),
        columns,
        kind: "push",
        raw: push.raw,
        shared: None,
    };
    let ads = vec![
        column("user_uuid", "string", false),
        column("ad_id", "int64", true),
        column("timestamp", "timestamp", false),
    ];
    let drivers = vec![
        column("driver_id", "int64", false),
        column("event_timestamp", "timestamp", false),
        column("conv_rate", "float64", true),
        column("city", "string", true),
    ];
    let history = PushEntry { push: None, columns: ads.clone(), kind: "file", raw: false, shared: None };
    let feature = |view: &str, feature: Option<&str>| (view.to_owned(), feature.map(str::to_owned));
    let promotion =
        vec![feature("user_impression_counts", None), feature("user_purchases", Some("lifetime_value"))];
    let broken = vec![feature("user_impression_count", None)];
    Directory::new(
        views(),
        [
            Service { name: "promotion".to_owned(), features: promotion },
            Service { name: "broken".to_owned(), features: broken },
        ],
        [
            ("ad_impressions".to_owned(), entry(ad_impressions, ads)),
            ("driver_push".to_owned(), entry(driver_push, drivers)),
            ("lines".to_owned(), entry(lines, Vec::new())),
            ("history".to_owned(), history),
        ],
    )
}
