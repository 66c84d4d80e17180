//! Kinesis → WebAssembly → Kinesis against Kafka → WebAssembly → Kafka: the host's own processor time for each record.
//!
//! Servers that speak Kinesis' protocol on one machine take some ten thousand records a second, so rates say nothing of
//! the host, and whatever it does each second counts for more than at Kafka's speed. Kafka is therefore measured twice: at
//! the very rate at which Kinesis was, and as fast as it goes. Both ways have the same kind of events, the same view and
//! the embedded store. The last two thirds of the records count: before, a new process gets its memory from the system, page
//! by page.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use connectors::kafka::limit::{Load, generate};
use connectors::kinesis::{Connection, Shared, limit};
use tokio::runtime::Runtime;

use super::Bench;
use super::child::{Killed, free_port, own_binary, said};
use super::client::Client;
use super::figure::{Figure, count, percentile};
use super::kafka::{Stage, Usage, views};
use super::service::{ad_view, is_ready};

/// Of both streams, and of the topics.
const SHARDS: i32 = 4;
const USERS: u64 = 50_000;
/// So many times more records go over Kafka, where they would be through before anything could be measured.
const MORE_OVER_KAFKA: u64 = 10;

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let modules = bench.kafka.kinesalite.as_ref().context(
        "name the folder of an installed `kinesalite` with --kinesalite; `cargo xtask setup` makes one",
    )?;
    let events = bench.scaled(300_000).max(2_000);
    let mut stage = Stage::open(bench)?;
    let rounds = if bench.quick { 1 } else { bench.kafka.rounds };
    let (mut kinesis, mut rates, mut as_fast, mut full) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let (cost, rate) = by_kinesis(&stage, modules, events, round)?;
        let load = Load { events, users: USERS, rate: Some(rate.max(1)) };
        let at_rate = by_kafka(&mut stage, load, &format!("paced-{round}"))?;
        let load = Load { events: MORE_OVER_KAFKA * events, users: USERS, rate: None };
        let at_full = by_kafka(&mut stage, load, &format!("full-{round}"))?;
        anstream::eprintln!(
            "  kinesis {cost:.2} s/M at {rate}/s  kafka {at_rate:.2} s/M at that rate, {at_full:.2} s/M at full speed"
        );
        kinesis.push(cost);
        rates.push(count(rate));
        as_fast.push(at_rate);
        full.push(at_full);
    }
    let [cost, rate, at_rate, at_full] =
        [kinesis, rates, as_fast, full].map(|mut list| percentile(&mut list, 0.5));
    let name = "Kinesis → WASM → Kinesis: CPU";
    let same = format!("Kafka → WASM → Kafka, {rate:.0} records/s as well: {at_rate:.2} s/M");
    let fast = format!("Kafka → WASM → Kafka at full speed: {at_full:.2} s/M");
    Ok(vec![
        Figure::times_at_most(name, cost, "s/M", same, at_rate, 1.5),
        Figure::plain(name, cost, "s/M", String::new()).against(fast, at_full),
    ])
}

fn by_kafka(stage: &mut Stage, load: Load, name: &str) -> anyhow::Result<f64> {
    let input = stage.make_input(&format!("kinesis-peer-in-{name}"))?;
    let output = stage.make_input(&format!("kinesis-peer-out-{name}"))?;
    let (mut running, port) = views::start(stage, &output, views::Store::Embedded, &input, &output)?;
    views::wait_until_ready(&mut running, port)?;
    let cluster = &stage.cluster;
    std::thread::scope(|scope| {
        let generator = scope.spawn(|| generate(cluster, &input, load));
        let series = "millrace_kafka_produced_records_total";
        let (cost, _) = seconds_per_million(port, series, load.events, || running.usage().seconds)?;
        generator.join().map_err(|_| anyhow::anyhow!("the generator of events has panicked"))??;
        Ok(cost)
    })
}

/// What a million records cost, and how many a second there were.
fn by_kinesis(stage: &Stage, modules: &Path, events: u64, round: u32) -> anyhow::Result<(f64, u64)> {
    let folder = stage.empty(&format!("kinesis-{round}"))?;
    let server = Kinesalite::start(modules, &folder)?;
    let runtime = Runtime::new()?;
    let shared = Shared::for_tests(runtime.handle().clone());
    let connection = Connection {
        name: "bench".to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some(server.endpoint()),
        ..Connection::default()
    };
    for stream in ["in", "out"] {
        runtime.block_on(limit::create(&connection, &shared, stream, SHARDS))?;
    }
    // The source reads from the beginning, so that both sides have all of it before them.
    runtime.block_on(limit::generate(&connection, &shared, "in", events, USERS))?;
    let (child, port) = host(stage, &folder, &server)?;
    let child = Killed(child);
    let started = Instant::now();
    while !is_ready(([127, 0, 0, 1], port).into()) {
        ensure!(
            started.elapsed() < Duration::from_secs(60),
            "the host did not become ready:\n{}",
            said(&folder.join("host.log"))
        );
        std::thread::park_timeout(Duration::from_millis(5));
    }
    seconds_per_million(port, "millrace_kinesis_put_records_total", events, || {
        Usage::of(child.0.id()).seconds
    })
}

/// Processor seconds for a million records, over the last two thirds of them, and how many a second those were.
fn seconds_per_million(
    port: u16,
    series: &str,
    events: u64,
    mut seconds: impl FnMut() -> f64,
) -> anyhow::Result<(f64, u64)> {
    let begun = wait_for(port, series, events / 3)?;
    let (before, started) = (seconds(), Instant::now());
    let ended = wait_for(port, series, events)?;
    ensure!(begun < ended, "all {ended} records were through before anything could be measured");
    let (records, elapsed) = (ended - begun, started.elapsed());
    let milliseconds = u64::try_from(elapsed.as_millis())?.max(1);
    Ok(((seconds() - before) / count(records) * 1e6, records * 1000 / milliseconds))
}

fn host(stage: &Stage, folder: &Path, server: &Kinesalite) -> anyhow::Result<(Child, u16)> {
    fs::create_dir_all(folder.join("views"))?;
    fs::write(folder.join("views/user_impression_counts.wasm"), stage.component())?;
    fs::write(
        folder.join("host.yaml"),
        format!(
            "connections:\n  aws:\n    kinesis: {{ region: us-east-1, endpoint_url: \"{}\" }}\n",
            server.endpoint()
        ),
    )?;
    let from = "kinesis: { connection: aws, stream_name: in, start: trim_horizon }\n  batch: { parquet: { path: past.parquet } }";
    let to = "kinesis: { connection: aws, stream_name: out }";
    fs::write(folder.join("views/ads.yaml"), ad_view(from, Some(to)))?;
    let port = free_port()?;
    let log = fs::File::create(folder.join("host.log"))?;
    let child = Command::new(own_binary()?)
        .args(["run", "--views", "views", "--listen", &format!("127.0.0.1:{port}"), "--color", "never"])
        .envs([("AWS_ACCESS_KEY_ID", "bench"), ("AWS_SECRET_ACCESS_KEY", "bench")])
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("cannot start a host")?;
    Ok((child, port))
}

/// Waits until a host has put out so many records, by its own metric. Returns how many those are by then.
fn wait_for(port: u16, series: &str, events: u64) -> anyhow::Result<u64> {
    let started = Instant::now();
    loop {
        let done = produced(port, series)?;
        if done >= events {
            return Ok(done);
        }
        ensure!(started.elapsed() < Duration::from_secs(600), "{done} of {events} records after ten minutes");
        // Each question is work for the host that is measured.
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

fn produced(port: u16, series: &str) -> anyhow::Result<u64> {
    let (_, body) = Client::connect(([127, 0, 0, 1], port).into())?.get("/metrics")?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let values =
        text.lines().filter(|line| line.starts_with(series)).filter_map(|line| line.rsplit(' ').next());
    Ok(values.filter_map(|value| value.parse::<u64>().ok()).sum())
}

/// A server that speaks Kinesis' protocol, ended when dropped.
struct Kinesalite {
    port: u16,
    _child: Killed,
}

impl Kinesalite {
    /// `modules`: the folder that holds `node_modules`, and beside it a preload that keeps it on loopback.
    fn start(modules: &Path, folder: &Path) -> anyhow::Result<Self> {
        let (port, log) = (free_port()?, folder.join("kinesalite.log"));
        let mut node = Command::new("node");
        node.arg("-r")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/kinesis/loopback.js"))
            .arg(modules.join("node_modules/kinesalite/cli.js"))
            .args(["--port", &port.to_string(), "--createStreamMs", "10", "--shardLimit", "50"]);
        let mut child = Killed::start(node, &log)?;
        child.wait_until_listening("kinesalite", &format!("127.0.0.1:{port}"), &log)?;
        Ok(Self { port, _child: child })
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}
