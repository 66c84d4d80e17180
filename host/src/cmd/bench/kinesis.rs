//! Kinesis → WebAssembly → Kinesis against Kafka → WebAssembly → Kafka: the host's own processor time for each record.
//!
//! Servers that speak Kinesis' protocol on one machine take a few thousand records a second, so rates say nothing of the
//! host. Both ways have the same events, the same view and the embedded store, and both sides are busy: the part that counts
//! begins with the first record and ends with the last.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use connectors::kafka::limit::{Load, generate};
use connectors::kinesis::{Connection, Shared, limit};
use tokio::runtime::Runtime;

use super::Bench;
use super::client::Client;
use super::figure::{Figure, count, percentile};
use super::kafka::{Stage, Usage, free_port, said, views};
use super::service::{ad_view, is_ready};

/// Of both streams, and of the topics.
const SHARDS: i32 = 4;
const USERS: u64 = 50_000;

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let modules = bench.kafka.kinesalite.as_ref().context(
        "name the folder of an installed `kinesalite` with --kinesalite; `cargo xtask setup` makes one",
    )?;
    let events = bench.scaled(200_000).max(2_000);
    let mut stage = Stage::open(bench)?;
    let rounds = if bench.quick { 1 } else { bench.kafka.rounds };
    let (mut kafka, mut kinesis) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        kafka.push(by_kafka(&mut stage, events, round)?);
        kinesis.push(by_kinesis(&stage, modules, events, round)?);
        let last = |list: &Vec<f64>| list.last().copied().unwrap_or(f64::NAN);
        anstream::eprintln!("  kafka {:.2} s/M  kinesis {:.2} s/M", last(&kafka), last(&kinesis));
    }
    let kafka = percentile(&mut kafka, 0.5);
    let against = format!("the same events over Kafka: {kafka:.2} s/M");
    let kinesis = percentile(&mut kinesis, 0.5);
    Ok(vec![Figure::times_at_most("Kinesis → WASM → Kinesis: CPU", kinesis, "s/M", against, kafka, 1.5)])
}

fn by_kafka(stage: &mut Stage, events: u64, round: u32) -> anyhow::Result<f64> {
    let input = stage.make_input(&format!("kinesis-peer-in-{round}"))?;
    let output = stage.make_input(&format!("kinesis-peer-out-{round}"))?;
    let (mut running, port) = views::start(stage, &output, views::Store::Embedded, &input, &output)?;
    views::wait_until_ready(&mut running, port)?;
    let before = running.usage().seconds;
    generate(&stage.cluster, &input, Load { events, users: USERS, rate: None })?;
    wait_for(port, "millrace_kafka_produced_records_total", events)?;
    Ok((running.usage().seconds - before) / count(events) * 1e6)
}

fn by_kinesis(stage: &Stage, modules: &Path, events: u64, round: u32) -> anyhow::Result<f64> {
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
    // What the start costs has nothing to do with records; those that came meanwhile are few.
    let (before, done) =
        (Usage::of(child.0.id()).seconds, produced(port, "millrace_kinesis_put_records_total")?);
    wait_for(port, "millrace_kinesis_put_records_total", events)?;
    Ok((Usage::of(child.0.id()).seconds - before) / count(events - done.min(events - 1)) * 1e6)
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
    let child = Command::new(std::env::current_exe()?)
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

/// Waits until a host has put out so many records, by its own metric.
fn wait_for(port: u16, series: &str, events: u64) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let done = produced(port, series)?;
        if done >= events {
            return Ok(());
        }
        ensure!(started.elapsed() < Duration::from_secs(600), "{done} of {events} records after ten minutes");
        // Each question is work for the host that is measured.
        std::thread::park_timeout(Duration::from_millis(250));
    }
}

fn produced(port: u16, series: &str) -> anyhow::Result<u64> {
    let (_, body) = Client::connect(([127, 0, 0, 1], port).into())?.get("/metrics")?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let values =
        text.lines().filter(|line| line.starts_with(series)).filter_map(|line| line.rsplit(' ').next());
    Ok(values.filter_map(|value| value.parse::<u64>().ok()).sum())
}

/// Ended when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Its folder goes too, so nothing has to be finished.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A server that speaks Kinesis' protocol, ended when dropped.
struct Kinesalite {
    port: u16,
    _child: Killed,
}

impl Kinesalite {
    /// `modules`: the folder that holds `node_modules`, and beside it a preload that keeps it on loopback.
    fn start(modules: &Path, folder: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let log = folder.join("kinesalite.log");
        let file = fs::File::create(&log)?;
        let loopback = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/kinesis/loopback.js"));
        let child = Command::new("node")
            .arg("-r")
            .arg(loopback)
            .arg(modules.join("node_modules/kinesalite/cli.js"))
            .args(["--port", &port.to_string(), "--createStreamMs", "10", "--shardLimit", "50"])
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start node")?;
        let server = Self { port, _child: Killed(child) };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if started.elapsed() > Duration::from_secs(20) {
                bail!("kinesalite does not listen; it said:\n{}", said(&log));
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Ok(server)
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}
