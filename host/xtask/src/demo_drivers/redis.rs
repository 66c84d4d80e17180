//! Rows in Redis: two hosts that share them, and a stock Feast client that reads them.

#![expect(clippy::print_stdout, reason = "the demo shows its results to whoever started it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use super::files::{self, VIEW};
use super::process::Running;
use crate::demo::fresh_folder;
use crate::demo_host::{DemoHost, wait};
use crate::server::Server;
use crate::setup;
use crate::step::{root, run, say};

const SOURCE: &str = "driver_stats_stream";
/// Events that are pushed, and in how many requests.
const EVENTS: usize = 20_000;
const REQUESTS: usize = 40;
/// How many drivers the events are about.
const DRIVERS: &str = "1000";
/// Reads of one driver whose times are taken.
const READS: usize = 2_000;

/// Runs the demo.
pub(crate) fn demo(arguments: &[String]) -> anyhow::Result<()> {
    let keep = arguments.iter().any(|argument| argument == "--keep");
    setup::compiler()?;
    setup::wasm()?;
    let program = setup::redis()?;
    let feast = setup::feast().map_err(|error| say(&format!("Feast cannot be installed: {error:#}"))).ok();
    let host = files::build()?;
    let folder = fresh_folder("demo-redis")?;
    say("starting a Redis server");
    let server = Server::redis(&program, &folder.join("redis"))?;
    eprintln!("    {}", server.address());
    let demo = Demo { host, folder, server };
    demo.write_files()?;
    let first = demo.start("first")?;
    let drivers = demo.push(&first.url)?;
    let second = demo.start("second")?;
    demo.compare([&first.url, &second.url], &drivers)?;
    match feast {
        Some(environment) => demo.feast(&environment, &drivers)?,
        None => say("without Feast, nobody else reads these rows in this run"),
    }
    run("host list views", Command::new(&demo.host).args(["list", "views", "--url", &first.url]))?;
    if keep {
        say(&format!(
            "still running: Redis {}, hosts {} and {}",
            demo.server.address(),
            first.url,
            second.url
        ));
        say("press Ctrl-C to stop");
        let mut second = second;
        return second.wait();
    }
    say("stopping the hosts");
    first.stop()?;
    second.stop()
}

/// What the demo works with.
struct Demo {
    host: PathBuf,
    folder: PathBuf,
    server: Server,
}

impl Demo {
    fn write_files(&self) -> anyhow::Result<()> {
        let output = format!("file: {{ path: out/{VIEW}.ndjson }}");
        files::write(&self.folder.join("views"), "push: {}", &output)?;
        let settings = format!(
            "connections:\n  cache: {{ redis: {{ address: \"{}\" }} }}\nonline_store: {{ redis: {{ connection: cache }} }}\n",
            self.server.address()
        );
        let path = self.folder.join("host.yaml");
        fs::write(&path, settings).with_context(|| format!("cannot write {}", path.display()))
    }

    /// A host with a data directory of its own.
    fn start(&self, name: &str) -> anyhow::Result<DemoHost> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        DemoHost::start(&self.host, &folder, &self.folder.join("views"), Some(&self.folder.join("host.yaml")))
    }

    /// Pushes generated events and waits until all are in Redis; gives some drivers that they are about.
    fn push(&self, url: &str) -> anyhow::Result<Vec<u32>> {
        say(&format!("pushing {EVENTS} events about drivers over HTTP"));
        let generated = Command::new(&self.host)
            .args(["generate", SOURCE, "--entities", DRIVERS, "--from", "-1h", "--rows", &EVENTS.to_string()])
            .arg("--views")
            .arg(self.folder.join("views"))
            .output()
            .context("cannot start `host generate`")?;
        if !generated.status.success() {
            bail!("`host generate` failed: {}", String::from_utf8_lossy(&generated.stderr));
        }
        let events: Vec<&[u8]> = generated.stdout.split_inclusive(|byte| *byte == b'\n').collect();
        let started = Instant::now();
        for body in events.chunks(EVENTS / REQUESTS) {
            let mut response =
                ureq::post(format!("{url}/v1/push/{SOURCE}")).send(body.concat()).context("cannot push")?;
            let answer: Value = serde_json::from_str(&response.body_mut().read_to_string()?)?;
            if answer["accepted"] != body.len() {
                bail!("not all events were taken: {answer}");
            }
        }
        wait(Duration::from_secs(60), || {
            let ready = ureq::get(format!("{url}/readyz")).call()?.body_mut().read_to_string()?;
            let body: Value = serde_json::from_str(&ready)?;
            let views = body["views"].as_array().context("the host lists its views")?;
            let done = views.iter().any(|view| view["view"] == VIEW && view["rows_out"] == EVENTS);
            Ok(done.then_some(()))
        })
        .context("the events did not get through")?;
        println!(
            "{EVENTS} events transformed, in Redis and emitted after {:.2} s",
            started.elapsed().as_secs_f64()
        );
        let mut drivers = Vec::new();
        for event in events.iter().take(3) {
            let event: Value = serde_json::from_slice(event)?;
            drivers.push(event["driver_id"].as_u64().and_then(|id| u32::try_from(id).ok()).context("an id")?);
        }
        Ok(drivers)
    }

    /// Both hosts must answer alike, although one has seen no event.
    fn compare(&self, urls: [&str; 2], drivers: &[u32]) -> anyhow::Result<()> {
        say("reading from the host that wrote, and from one that has just started beside it");
        let answers = [files::read(urls[0], drivers)?, files::read(urls[1], drivers)?];
        println!("{}\n{}", answers[0], answers[1]);
        let results = |answer: &Value| -> Vec<Value> {
            answer["results"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|result| result["values"].clone())
                .collect()
        };
        if results(&answers[0]) != results(&answers[1]) || results(&answers[0]).is_empty() {
            bail!("the hosts differ");
        }
        let mut times = Vec::with_capacity(READS);
        let agent = ureq::agent();
        for _ in 0..READS {
            let body = serde_json::json!({
                "features": [format!("{VIEW}:conv_percentage")], "entities": {"driver_id": [drivers[0]]},
            });
            let started = Instant::now();
            let mut response = agent
                .post(format!("{}/get-online-features", urls[1]))
                .send(body.to_string())
                .context("cannot read features")?;
            response.body_mut().read_to_vec()?;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        println!(
            "read of one driver over HTTP, through Redis, p50: {:.2} ms",
            times[READS / 2].as_secs_f64() * 1e3
        );
        Ok(())
    }

    /// A stock Feast client reads from Redis, past every host.
    fn feast(&self, environment: &Path, drivers: &[u32]) -> anyhow::Result<()> {
        say("reading the same drivers with a stock Feast client, straight from Redis");
        let project = self.folder.join("feast");
        fs::create_dir_all(&project).with_context(|| format!("cannot make {}", project.display()))?;
        let from = root().join("host/xtask/src/demo_drivers/feast");
        fs::copy(from.join("features.py"), project.join("features.py"))
            .context("cannot copy Feast's files")?;
        let store =
            fs::read_to_string(from.join("feature_store.yaml")).context("cannot read Feast's files")?;
        fs::write(project.join("feature_store.yaml"), store.replace("REDIS", &self.server.address()))
            .context("cannot write Feast's files")?;
        let mut arguments = vec![project.display().to_string()];
        arguments.extend(drivers.iter().map(u32::to_string));
        Running::python(environment, "feast/read.py", arguments)?.finish()
    }
}
