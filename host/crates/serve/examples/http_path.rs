//! The HTTP path alone: the server over a store and a log that cost nothing, to be loaded with `wrk` or the like.
//!
//! `cargo run --release -p serve --example http_path [ADDRESS] [THREADS]`, then for instance
//! `wrk -t1 -c8 -d6 -s get.lua http://ADDRESS`. The views are those of the tests; any entity of `driver_stats` is found.
//! One thread serves unless told otherwise, so that what is measured is one core.

#[path = "../tests/http/fakes.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "it belongs to the tests, which use more of it")]
mod fakes;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};

use arc_swap::ArcSwap;
use futures_core::future::BoxFuture;
use model::codec::{SourceColumn, TimestampUnit};
use model::error::Failure;
use model::online::{OnlineReader, StoredRow};
use model::position::{Partition, Position, RowVersion};
use model::schema::{DataType, Field};
use model::source::{Push, PushAck, PushError, PushRequest};
use model::value::Value;
use model::view::ViewShape;
use prometheus_client::registry::Registry;
use serve::{Directory, Health, Phase, PushEntry, ServeSettings, ServeState, Server};

/// 2026-03-04T05:06:07.123456Z.
const EVENT_TIME: i64 = 1_772_600_767_123_456;

/// Finds every entity.
struct EveryEntity {
    partition: Partition,
}

impl OnlineReader for EveryEntity {
    fn get(
        &self,
        _view: &Arc<ViewShape>,
        keys: Vec<Vec<Value>>,
        features: Vec<usize>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredRow>>, Failure>> {
        let row = |key: &Vec<Value>| {
            let Some(Value::Int(id)) = key.first() else { return None };
            let version = RowVersion {
                event_time: EVENT_TIME,
                partition: self.partition.clone(),
                position: Position::from_u64(1),
                generation: 1,
                row: 0,
            };
            let values = features
                .iter()
                .map(|feature| match feature {
                    0 | 1 => Value::Float64(0.123_456_789_012),
                    2 => Value::Int(*id % 1000),
                    3 => Value::String("zurich".to_owned()),
                    _ => Value::Bool(true),
                })
                .collect();
            Some(StoredRow { version, values })
        };
        let found = Ok(keys.iter().map(row).collect());
        Box::pin(async move { found })
    }
}

/// Takes every event and keeps none.
struct Sink {
    taken: AtomicU64,
}

impl Push for Sink {
    fn push(&self, request: PushRequest) -> BoxFuture<'static, Result<PushAck, PushError>> {
        let accepted = u32::try_from(request.rows.len()).unwrap_or(u32::MAX);
        let before = self.taken.fetch_add(u64::from(accepted), std::sync::atomic::Ordering::Relaxed);
        let through = Some(Position::from_u64(before + u64::from(accepted)));
        Box::pin(async move { Ok(PushAck { accepted, rejected: Vec::new(), through, repeated: false }) })
    }

    fn partition(&self) -> Partition {
        Partition::new("0")
    }
}

fn columns() -> Vec<Field> {
    vec![
        Field::nullable("conv_rate", DataType::Float64),
        Field::nullable("acc_rate", DataType::Float64),
        Field::nullable("avg_daily_trips", DataType::Int64),
        Field::nullable("city", DataType::String),
        Field::nullable("active", DataType::Bool),
    ]
}

fn directory() -> Directory {
    let keys = vec![Field::required("driver_id", DataType::Int64)];
    let view = ViewShape {
        project: "default".to_owned(),
        name: "driver_stats".to_owned(),
        source: "driver_push".to_owned(),
        id: String::new(),
        keys: keys.clone(),
        features: columns(),
        ttl_micros: Some(365 * 86_400_000_000),
        online: true,
    };
    let mut fields = keys;
    fields.push(Field::required("event_timestamp", DataType::Timestamp));
    fields.extend(columns());
    let columns = fields.into_iter().map(|field| SourceColumn { field, unit: TimestampUnit::Text }).collect();
    let push = Arc::new(Sink { taken: AtomicU64::new(0) });
    let entry = PushEntry { push: Some(push), columns, kind: "push", raw: false, shared: None };
    Directory::new([Arc::new(view)], [], [("driver_push".to_owned(), entry)])
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:6599".to_owned());
    let threads: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let health = Arc::new(Health::new());
    health.set_phase(Phase::Ready);
    let state = ServeState {
        reader: Arc::new(EveryEntity { partition: Partition::new("0") }),
        overview: Arc::new(fakes::FakeOverview::default()),
        control: Arc::new(fakes::FakeOverview::default()),
        directory: Arc::new(ArcSwap::from_pointee(directory())),
        clock: Arc::new(fakes::FakeClock((EVENT_TIME + 1).into())),
        registry: Arc::new(RwLock::new(Registry::default())),
        health,
        settings: ServeSettings::default(),
    };
    let server = Server::bind(address)?;
    let runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        several => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(several).enable_all().build()?
        }
    };
    runtime.block_on(server.run(state, std::future::pending()))?;
    Ok(())
}
