//! Rows into Redis: the store's ways, against a pipelined client that sends the same fields and bytes and compares nothing.
//!
//! `cargo bench -p connectors --bench redis [ROWS]`. Starts a `redis-server` of its own (PORT, or a free one), and prints
//! rows a second, microseconds of Redis' CPU a row (`INFO cpu`), and microseconds of this process' a row.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use connectors::online::embedded::{EmbeddedOptions, EmbeddedStore};
use connectors::online::redis::{RedisStore, RedisStoreOptions, bench};
use connectors::redis::{Connection, Shared};
use model::batch::FeatureBatch;
use model::online::OnlineStore;
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};
use model::time::{Clock, EventTime};
use model::view::{Digest, Generation, ViewRef, ViewShape};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 1_000_000;
const ENTITIES: usize = 50_000;
const BATCH_ROWS: usize = 2_000;
/// Partitions that write at the same time, each a batch at a time.
const PARTITIONS: usize = 4;
/// Rows that the plain client sends before it waits for answers.
const PLAIN_ROWS: usize = 512;
/// 2026-11-20.
const TIME: i64 = 1_795_161_600_000_000;
const ROUNDS: usize = 3;

struct Still;

impl Clock for Still {
    fn now(&self) -> EventTime {
        EventTime(TIME)
    }
}

struct Server {
    child: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

struct Figures {
    rate: f64,
    redis_micros: f64,
    host_micros: f64,
}

fn main() {
    let rows = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(ROWS);
    let Some(server) = start() else {
        println!("SKIPPED: `redis-server` is not on the PATH");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut best: Vec<(&str, Option<Figures>)> =
        ["plain", "claimed by script", "claimed", "compared", "all stale"].map(|name| (name, None)).into();
    for round in 0..ROUNDS {
        let base = (round * 10 * rows) as u64;
        let figures = [
            plain(&server, rows, base),
            scripted(&server, rows, base + rows as u64),
            store(&server, runtime.handle(), rows, base + 2 * rows as u64, 256 << 20, false),
            store(&server, runtime.handle(), rows, base + 6 * rows as u64, 0, false),
            store(&server, runtime.handle(), rows, base, 0, true),
        ];
        for ((_, best), figures) in best.iter_mut().zip(figures) {
            if best.as_ref().is_none_or(|best| best.rate < figures.rate) {
                *best = Some(figures);
            }
        }
    }
    println!(
        "{:<20} {:>10} {:>8} {:>16} {:>16}",
        "way", "rows/s", "ratio", "Redis µs a row", "host µs a row"
    );
    let reference = best[0].1.as_ref().map_or(1.0, |plain| plain.rate);
    for (name, figures) in &best {
        let Some(Figures { rate, redis_micros, host_micros }) = figures else { continue };
        println!(
            "{name:<20} {rate:>10.0} {:>8.2} {redis_micros:>16.2} {host_micros:>16.2}",
            rate / reference
        );
    }
}

/// Rows of a view with four features; each row newer than the one before, entities drawn by a fixed sequence.
fn batches(rows: usize, base: u64, stale: bool) -> Vec<Arc<FeatureBatch>> {
    let view: ViewRef = Arc::new(ViewShape {
        project: "bench".into(),
        name: "driver_stats".into(),
        source: "events".into(),
        id: "0".repeat(32),
        keys: vec![Field::required("driver_id", DataType::Int64)],
        features: vec![
            Field::nullable("conv_percentage", DataType::Float64),
            Field::nullable("acc_percentage", DataType::Float64),
            Field::nullable("trips", DataType::Int64),
            Field::nullable("city", DataType::String),
        ],
        ttl_micros: None,
        online: true,
    });
    let fields: Vec<Field> = view.columns().cloned().collect();
    let schema = arrow_schema(&fields);
    let batch = |first: usize| {
        let numbers = (first..first + BATCH_ROWS).map(|row| row as u64 + base);
        let entity = |number: u64| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as usize % ENTITIES;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(numbers.clone().map(|number| entity(number) as i64))),
            Arc::new(Float64Array::from_iter_values(numbers.clone().map(|number| number as f64 / 7.0))),
            Arc::new(Float64Array::from_iter_values(numbers.clone().map(|number| number as f64 / 3.0))),
            Arc::new(Int64Array::from_iter_values(numbers.clone().map(|number| number as i64))),
            Arc::new(StringArray::from_iter_values(
                numbers.clone().map(|number| format!("city {}", number % 97)),
            )),
        ];
        let time = if stale { TIME - 86_400_000_000 } else { TIME };
        Arc::new(FeatureBatch {
            view: Arc::clone(&view),
            rows: RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns fit the view"),
            event_times: numbers.clone().map(|number| time + number as i64).collect(),
            partition: Partition::new((first / BATCH_ROWS % PARTITIONS).to_string()),
            positions: PositionColumn::counting(base + first as u64, BATCH_ROWS),
            ordinals: Vec::new(),
            generation: Generation { number: 1, digest: Digest([0; 32]) },
            covers: Covers {
                first: Position::from_u64(base + first as u64),
                through: Position::from_u64(base + (first + BATCH_ROWS) as u64 - 1),
            },
        })
    };
    (0..rows / BATCH_ROWS).map(|number| batch(number * BATCH_ROWS)).collect()
}

/// Slices of as many rows as the plain client sends at a time.
fn slices(batches: &[Arc<FeatureBatch>]) -> Vec<FeatureBatch> {
    let slice = |batch: &FeatureBatch, start: usize| {
        let length = PLAIN_ROWS.min(batch.len() - start);
        FeatureBatch {
            view: Arc::clone(&batch.view),
            rows: batch.rows.slice(start, length),
            event_times: batch.event_times[start..start + length].to_vec(),
            partition: batch.partition.clone(),
            positions: batch.positions.slice(start, length),
            ordinals: Vec::new(),
            generation: batch.generation.clone(),
            covers: batch.covers,
        }
    };
    batches
        .iter()
        .flat_map(|batch| (0..batch.len()).step_by(PLAIN_ROWS).map(move |start| slice(batch, start)))
        .collect()
}

fn plain(server: &Server, rows: usize, base: u64) -> Figures {
    let slices = slices(&batches(rows, base, false));
    let mut connection = connect(server);
    measure(server, rows, || {
        // One parcel is always on its way while the answers to the one before are read.
        let mut open = 0;
        for slice in &slices {
            let bytes = bench::plain(slice).expect("encodes");
            connection.send_packed_command(&bytes).expect("sends");
            (0..open).for_each(|_| drop(connection.recv_response().expect("answers")));
            open = slice.len();
        }
        (0..open).for_each(|_| drop(connection.recv_response().expect("answers")));
    })
}

fn scripted(server: &Server, rows: usize, base: u64) -> Figures {
    let slices = slices(&batches(rows, base, false));
    let mut connection = connect(server);
    let load = redis::cmd("SCRIPT").arg("LOAD").arg(bench::SCRIPTED).query::<String>(&mut connection);
    let hash = load.expect("loads");
    redis::cmd("SET").arg("claim").arg("token").exec(&mut connection).expect("sets");
    measure(server, rows, || {
        let mut is_open = false;
        for slice in &slices {
            let bytes = bench::scripted(slice, &hash, "claim", "token").expect("encodes");
            connection.send_packed_command(&bytes).expect("sends");
            if is_open {
                drop(connection.recv_response().expect("answers"));
            }
            is_open = true;
        }
        drop(connection.recv_response().expect("answers"));
    })
}

fn store(
    server: &Server,
    runtime: &tokio::runtime::Handle,
    rows: usize,
    base: u64,
    memory_bytes: usize,
    stale: bool,
) -> Figures {
    let directory = tempfile::tempdir().expect("a directory");
    let ledger = EmbeddedOptions {
        checkpoint_interval: Duration::from_secs(3600),
        ..EmbeddedOptions::new(directory.path().join("ledger"), Arc::new(Still))
    };
    let store = RedisStore::open(RedisStoreOptions {
        project: "bench".into(),
        connection: Connection::new("cache", vec![server.address.clone()]),
        ledger: EmbeddedStore::open(ledger).expect("opens"),
        directory: directory.path().to_owned(),
        instance: "bench".into(),
        memory_bytes,
        writers: 1,
        clock: Arc::new(Still),
        shared: Shared::for_tests(runtime.clone()),
    });
    let store = store.expect("opens");
    let write = |batches: &[Arc<FeatureBatch>]| {
        runtime.block_on(async {
            let mut queues: Vec<Vec<Arc<FeatureBatch>>> = vec![Vec::new(); PARTITIONS];
            for (number, batch) in batches.iter().enumerate() {
                queues[number % PARTITIONS].push(Arc::clone(batch));
            }
            futures_util::future::join_all(queues.into_iter().map(|queue| {
                let store = &store;
                async move {
                    for batch in queue {
                        store.write(batch).await.expect("writes");
                    }
                }
            }))
            .await;
        });
    };
    // So that entities are known, where they can be.
    write(&batches(rows.max(4 * ENTITIES), base, stale));
    let batches = batches(rows, base + rows.max(4 * ENTITIES) as u64, stale);
    let figures = measure(server, rows, || write(&batches));
    store.close().expect("closes");
    figures
}

fn measure(server: &Server, rows: usize, work: impl FnOnce()) -> Figures {
    let (redis, host, start) = (redis_cpu(server), host_cpu(), Instant::now());
    work();
    let seconds = start.elapsed().as_secs_f64();
    let micros = |seconds: f64| seconds * 1e6 / rows as f64;
    Figures {
        rate: rows as f64 / seconds,
        redis_micros: micros(redis_cpu(server) - redis),
        host_micros: micros(host_cpu() - host),
    }
}

/// Seconds of CPU that Redis has used.
fn redis_cpu(server: &Server) -> f64 {
    let text: String = redis::cmd("INFO").arg("cpu").query(&mut connect(server)).expect("answers");
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(name, _)| ["used_cpu_user", "used_cpu_sys"].contains(name))
        .filter_map(|(_, value)| value.parse::<f64>().ok())
        .sum()
}

/// Seconds of CPU that this process has used.
fn host_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("a Linux");
    // User and system time, in hundredths of a second, behind the name in parentheses.
    let parts = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    parts.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn connect(server: &Server) -> redis::Connection {
    let info = redis::IntoConnectionInfo::into_connection_info(format!("redis://{}", server.address))
        .expect("a URL");
    let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    redis::Client::open(info.set_tcp_settings(tcp)).expect("a client").get_connection().expect("connects")
}

fn start() -> Option<Server> {
    let directory = tempfile::tempdir().ok()?;
    let port = match std::env::var("PORT") {
        Ok(port) => port.parse().ok()?,
        Err(_) => TcpListener::bind(("127.0.0.1", 0)).ok()?.local_addr().ok()?.port(),
    };
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .spawn()
        .ok()?;
    let server = Server { child, address: format!("127.0.0.1:{port}"), _directory: directory };
    let limit = Instant::now();
    while redis::Client::open(format!("redis://{}", server.address)).ok()?.get_connection().is_err() {
        if limit.elapsed() > Duration::from_secs(10) {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    Some(server)
}
