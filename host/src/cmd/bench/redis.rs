//! Rows into Redis, and features out of it: against a plain pipelined client, and against Feast.
//!
//! | figure | what is done |
//! |---|---|
//! | plain client | one connection, pipelines of 512 HSET, two under way, of the very bytes that the store has written |
//! | store, claimed / compared | the online store alone, which decides at home under its claim, or inside Redis for each row |
//! | whole path | `host run`: file → WebAssembly → Redis |
//! | reads | `host run` on one core, eight connections and Redis on the other |

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use connectors::online::embedded::{EmbeddedOptions, EmbeddedStore};
use connectors::online::redis::{RedisStore, RedisStoreOptions};
use connectors::redis::limit::Pipelines;
use connectors::redis::{Connection, Shared};
use futures_util::{StreamExt, TryStreamExt, future, stream};
use model::batch::FeatureBatch;
use model::online::{Ledger, OnlineStore};
use tokio::runtime::Runtime;

use super::Bench;
use super::figure::{Figure, count, percentile};
use super::flow::write_events;
use super::read::{Reads, reads};
use super::record::impressions;
use super::redis_server::RedisServer;
use super::service::{Service, ad_view, folder};

/// Batches under way at a time, as the flow has them of one partition.
const IN_FLIGHT: usize = 4;
/// For what the store knows of entities.
const KNOWN_BYTES: usize = 64 << 20;

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let program = bench.kafka.redis_server.as_ref();
    let rounds = if bench.quick { 1 } else { bench.kafka.rounds };
    let [mut plain, mut in_turn, mut claimed, mut compared, mut whole, mut four, mut plain_four] =
        [const { Sums(Vec::new()) }; 7];
    for round in 0..rounds {
        let folder = folder()?;
        let server = RedisServer::start(program, &folder.path().join("store"), None)?;
        claimed.add("store, claimed", round, store(bench, &server, folder.path(), KNOWN_BYTES)?);
        // The very bytes that the store has written, written again.
        plain.add("plain client", round, by_hand(bench, &server, 2, 1)?);
        in_turn.add("plain, one at a time", round, by_hand(bench, &server, 1, 1)?);
        drop(server);
        let server = RedisServer::start(program, &folder.path().join("again"), None)?;
        compared.add("store, compared", round, store(bench, &server, folder.path(), 0)?);
        drop(server);
        let server = RedisServer::start(program, &folder.path().join("whole"), None)?;
        whole.add("file → WASM → Redis", round, whole_path(bench, &server, folder.path(), 1)?);
        drop(server);
        let server = RedisServer::start(program, &folder.path().join("four"), None)?;
        four.add("the same, four views", round, whole_path(bench, &server, folder.path(), 4)?);
        plain_four.add("plain, of four views", round, by_hand(bench, &server, 2, 4)?);
    }
    let [plain, in_turn, claimed, compared, whole, four, plain_four] =
        [plain, in_turn, claimed, compared, whole, four, plain_four].map(|side| side.middle());
    let against = |name: &str, run: &Run, plain: &Run, times| {
        let name = format!("{name}: rows/s");
        let limit = format!("plain client: {:.0} rows/s, {:.2} µs of Redis a row", plain.rate, plain.redis);
        Figure::times_at_least(name, run.rate, "rows/s", limit, plain.rate, times)
    };
    let mut figures = vec![
        Figure::plain("plain client, two pipelines under way: rows/s", plain.rate, "rows/s", ""),
        Figure::plain("plain client, one pipeline at a time: rows/s", in_turn.rate, "rows/s", ""),
        against("file → WASM → Redis, one view and file, the only writer", &whole, &plain, 0.8),
        against("the same, four views of one entity and four files", &four, &plain_four, 0.8),
        against("store alone, the only writer", &claimed, &plain, 0.8),
        against("store alone, every row compared", &compared, &plain, 0.45),
    ];
    for (name, run) in
        [("plain client", &plain), ("claimed", &claimed), ("compared", &compared), ("whole path", &whole)]
    {
        let beside = format!("and {:.2} µs of this side", run.own);
        figures.push(Figure::plain(format!("CPU of Redis a row, {name}"), run.redis, "µs", beside));
    }
    if let Some(python) = &bench.kafka.feast_python {
        let theirs = feast(bench, python)?;
        let against = format!("Feast's writer, 1,000 rows a call: {theirs:.0} rows/s");
        figures.push(Figure::times_at_least(
            "file → WASM → Redis against Feast",
            whole.rate,
            "rows/s",
            against,
            theirs,
            10.0,
        ));
    }
    figures.extend(read(bench)?);
    Ok(figures)
}

/// What a run came to.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Rows a second.
    rate: f64,
    /// Microseconds of Redis' processor time a row.
    redis: f64,
    /// The same of the side that writes.
    own: f64,
}

/// One side's rounds.
struct Sums(Vec<Run>);

impl Sums {
    fn add(&mut self, name: &str, round: u32, run: Run) {
        let Run { rate, redis, own } = run;
        anstream::eprintln!(
            "  {name:<22} {round} {rate:>9.0} rows/s  redis {redis:.2} µs  own {own:.2} µs a row"
        );
        self.0.push(run);
    }

    fn middle(&self) -> Run {
        let of = |value: fn(&Run) -> f64| percentile(&mut self.0.iter().map(value).collect::<Vec<_>>(), 0.5);
        Run { rate: of(|run| run.rate), redis: of(|run| run.redis), own: of(|run| run.own) }
    }
}

/// Measures something that writes so many rows, in this process.
fn timed(server: &RedisServer, rows: f64, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Run> {
    let (redis, own, started) = (server.processor_seconds(), own_seconds(), Instant::now());
    work()?;
    let elapsed = started.elapsed().as_secs_f64();
    let a_row = |seconds: f64| seconds * 1e6 / rows;
    let redis = server.processor_seconds() - redis;
    // The server is this process's child, so what it has used counts as this process's too.
    Ok(Run { rate: rows / elapsed, redis: a_row(redis), own: a_row(own_seconds() - own - redis) })
}

fn own_seconds() -> f64 {
    super::kafka::Usage::of(std::process::id()).seconds
}

fn connection(server: &RedisServer) -> Connection {
    Connection::new("bench", vec![server.address.clone()])
}

/// The store alone: batches of 1,000 rows of 50,000 entities. `memory`: for what is known of entities; with none, every
/// row is compared.
fn store(bench: &Bench, server: &RedisServer, folder: &Path, memory: usize) -> anyhow::Result<Run> {
    let batches = bench.scaled(1000).max(10);
    let runtime = Runtime::new()?;
    let clock = Arc::new(crate::clock::SystemClock);
    let embedded = EmbeddedOptions::new(folder.join(format!("ledger-{memory}")), Arc::clone(&clock) as _);
    let ledger = EmbeddedStore::open(embedded)?;
    let marks = folder.join(format!("marks-{memory}"));
    fs::create_dir_all(&marks)?;
    let store = RedisStore::open(RedisStoreOptions {
        project: "default".to_owned(),
        connection: connection(server),
        ledger: Arc::clone(&ledger) as Arc<dyn Ledger>,
        directory: marks,
        instance: "bench".to_owned(),
        memory_bytes: memory,
        writers: 1,
        clock,
        shared: Shared::for_tests(runtime.handle().clone()),
    })?;
    // Made before the clock runs.
    let made = |from: u64, to: u64| -> anyhow::Result<Vec<_>> {
        (from..to).map(|number| Ok(Arc::new(impressions(number * 1000)?))).collect()
    };
    let write = |batches: &[Arc<FeatureBatch>]| -> anyhow::Result<()> {
        runtime.block_on(async {
            let writes = batches.iter().map(|batch| store.write(Arc::clone(batch)));
            Ok(stream::iter(writes).buffered(IN_FLIGHT).try_for_each(|_| future::ready(Ok(()))).await?)
        })
    };
    // Every entity is there, and known.
    let warm = 100;
    write(&made(0, warm)?)?;
    let batches = made(warm, warm + batches)?;
    let run = timed(server, count(u64::try_from(batches.len())? * 1000), || write(&batches))?;
    store.close()?;
    ledger.close()?;
    Ok(run)
}

/// What is there is written again by a plain client, as often as it takes.
fn by_hand(bench: &Bench, server: &RedisServer, under_way: usize, views: usize) -> anyhow::Result<Run> {
    let runtime = Runtime::new()?;
    let shared = Shared::for_tests(runtime.handle().clone());
    let rows = Pipelines::stored(&connection(server), &shared, 50_000, views)?;
    ensure!(rows.rows() > 0, "nothing was stored");
    let rounds = (bench.scaled(1_000_000) / u64::try_from(rows.rows())?).max(1);
    let written = count(rounds * u64::try_from(rows.rows())?);
    timed(server, written, || {
        (0..rounds).try_for_each(|_| rows.write(&connection(server), &shared, under_way).map(drop))?;
        Ok(())
    })
}

/// Until the last row is acknowledged, beginning with the second tenth: a view for each file, so many of them.
fn whole_path(bench: &Bench, server: &RedisServer, folder: &Path, views: u64) -> anyhow::Result<Run> {
    let each = bench.scaled(2_000_000).max(10_000) / views;
    let path = folder.join("events.ndjson");
    write_events(&path, each)?;
    let service = Service::start(None, |folder| {
        fs::write(folder.with_file_name("host.yaml"), settings(server))?;
        let documents = (0..views).map(|number| {
            let from = format!("file: {{ path: events-{number}.ndjson, follow: true }}");
            // Keys that expire cost Redis more, also those of the plain client, which has none.
            let view = ad_view(&from, None)
                .replace("\n  ttl: 36500d", "")
                .replace("ad_impressions", &format!("ad_impressions_{number}"))
                .replace("name: user_impression_counts", &format!("name: user_impression_counts_{number}"));
            // All are about the same entity, which is declared once.
            if number == 0 {
                view
            } else {
                view.split_once("---\n").map_or_else(String::new, |(_, rest)| rest.to_owned())
            }
        });
        fs::write(folder.join("ads.yaml"), documents.collect::<Vec<_>>().join("---\n"))?;
        fs::write(folder.join("user_impression_counts.wasm"), bench.guests.bytes("ad_impressions")?)?;
        Ok(())
    })?;
    for number in 0..views {
        fs::copy(&path, service.path(&format!("copy-{number}")))?;
    }
    let events = each * views;
    for number in 0..views {
        fs::rename(
            service.path(&format!("copy-{number}")),
            service.path(&format!("events-{number}.ndjson")),
        )?;
    }
    let begun = Instant::now();
    let reach = |least: u64| loop {
        let done: u64 = service.views()?.iter().filter_map(|view| view["rows_out"].as_u64()).sum();
        if done >= least {
            return anyhow::Ok(done);
        }
        ensure!(begun.elapsed() < Duration::from_secs(600), "{done} of {events} rows after ten minutes");
        std::thread::park_timeout(Duration::from_millis(10));
    };
    // From here on every entity is there, as it is for the plain client.
    let before = reach(events / 10)?;
    let (redis, own, started) = (server.processor_seconds(), service.processor_seconds()?, Instant::now());
    reach(events)?;
    let (rows, elapsed) = (count(events - before), started.elapsed().as_secs_f64());
    Ok(Run {
        rate: rows / elapsed,
        redis: (server.processor_seconds() - redis) * 1e6 / rows,
        own: (service.processor_seconds()? - own) * 1e6 / rows,
    })
}

fn settings(server: &RedisServer) -> String {
    format!(
        "connections:\n  cache:\n    redis: {{ addresses: \"{}\" }}\nonline_store:\n  redis: {{ connection: cache }}\n",
        server.address
    )
}

/// Feast's own writer, on the same kind of rows.
fn feast(bench: &Bench, python: &Path) -> anyhow::Result<f64> {
    let folder = folder()?;
    let server = RedisServer::start(bench.kafka.redis_server.as_ref(), &folder.path().join("redis"), None)?;
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/redis/feast_writer.py"));
    let said = Command::new(python)
        .arg(&script)
        .arg(&server.address)
        .arg(fs::canonicalize(folder.path())?)
        .output()
        .with_context(|| format!("cannot start {}", python.display()))?;
    let text = String::from_utf8_lossy(&said.stdout);
    let Some(rate) = text.lines().last().and_then(|line| line.trim().parse().ok()) else {
        bail!("Feast's writer gave no figure; it said:\n{text}{}", String::from_utf8_lossy(&said.stderr));
    };
    Ok(rate)
}

fn read(bench: &Bench) -> anyhow::Result<[Figure; 2]> {
    let folder = folder()?;
    let server = RedisServer::start(bench.kafka.redis_server.as_ref(), folder.path(), Some(1))?;
    let Reads { rate, busy, worst } = reads(bench, &settings(&server))?;
    Ok([
        Figure::at_least(
            "read of one entity through Redis, host on one core, 8 connections",
            rate,
            "/s",
            10_000.0,
        )
        .against(
            format!("Feast, Redis {}/s; the core was {:.0} % busy", super::read::FEAST, busy * 100.0),
            super::read::FEAST,
        ),
        Figure::at_most("read of one entity through Redis, p99", worst, "ms", 2.0),
    ])
}
