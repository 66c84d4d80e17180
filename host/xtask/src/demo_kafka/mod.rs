//! `cargo xtask demo --kafka`: the main job from topic to topic, with a broker of its own, a producer and an application.
//!
//! The host is killed in the middle, so that what it promises is seen and not only said.

#![expect(clippy::print_stdout, reason = "the demo shows its results to whoever started it")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::broker::Broker;
use crate::demo::{self, EXAMPLE, VIEW, copy_views, fresh_folder};
use crate::demo_host::{DemoHost, wait};
use crate::setup::{self, Kafka};
use crate::step::{root, run, say};

const TOPIC: &str = "ad_impressions";
const OUTPUT_TOPIC: &str = "feature-stream";
const PARTITIONS: u32 = 4;
/// Events of the whole demo.
const EVENTS: u32 = 10_000;
/// Events a second: the demo takes some ten seconds.
const RATE: u32 = 1_000;
/// When the host is killed.
const KILL_AFTER: Duration = Duration::from_secs(5);
/// How long the application may take for what is still missing when the last event is produced.
const END_LIMIT: Duration = Duration::from_secs(120);

/// Runs the demo.
pub(crate) fn demo(arguments: &[String]) -> anyhow::Result<()> {
    let keep = arguments.iter().any(|argument| argument == "--keep");
    setup::compiler()?;
    setup::wasm()?;
    let kafka = setup::kafka()?;
    let host = demo::build()?;
    let folder = fresh_folder("demo-kafka")?;
    let started = Instant::now();
    say("starting a Kafka broker");
    let broker = Broker::start(&kafka.libs, &folder.join("broker"))?;
    eprintln!("    {} after {:.1} s", broker.address, started.elapsed().as_secs_f64());
    let demo =
        Demo { kafka, host, views: folder.join("views"), settings: folder.join("host.yaml"), folder, broker };
    demo.write_files()?;
    demo.run()?;
    if keep { demo.keep() } else { Ok(()) }
}

/// What the demo works with.
struct Demo {
    kafka: Kafka,
    host: PathBuf,
    folder: PathBuf,
    views: PathBuf,
    settings: PathBuf,
    broker: Broker,
}

impl Demo {
    /// The example's view, but from topic to topic.
    fn write_files(&self) -> anyhow::Result<()> {
        copy_views(&root().join(EXAMPLE), &self.views)?;
        let view = self.views.join("view.yaml");
        let mut text =
            fs::read_to_string(&view).with_context(|| format!("cannot read {}", view.display()))?;
        let create = format!("create: {{ partitions: {PARTITIONS}, replication: 1 }}");
        let changes = [
            // Built already, where its source is; and this version keeps nothing offline.
            ("    build: { rust: ad_impressions }\n".to_owned(), String::new()),
            ("  offline: true\n".to_owned(), String::new()),
            (
                "  push: {}\n".to_owned(),
                format!("  kafka: {{ connection: main, topic: {TOPIC}, start: earliest }}\n"),
            ),
            (
                "    file: { path: out/user_impression_counts.ndjson }\n".to_owned(),
                format!("    kafka: {{ connection: main, topic: {OUTPUT_TOPIC}, {create} }}\n"),
            ),
        ];
        for (from, to) in changes {
            if !text.contains(&from) {
                bail!("the example has no line `{}` any more", from.trim());
            }
            text = text.replace(&from, &to);
        }
        fs::write(&view, text).with_context(|| format!("cannot write {}", view.display()))?;
        let settings = format!(
            "connections:\n  main: {{ kafka: {{ bootstrap_servers: \"{}\" }} }}\n",
            self.broker.address
        );
        fs::write(&self.settings, settings)
            .with_context(|| format!("cannot write {}", self.settings.display()))
    }

    fn run(&self) -> anyhow::Result<()> {
        say(&format!("making topic {TOPIC} with {PARTITIONS} partitions, and a first event in it"));
        self.producer(1)?.finish()?;
        run(
            "host check --connect",
            Command::new(&self.host)
                .args(["check", "--connect", "--config"])
                .arg(&self.settings)
                .arg(&self.views),
        )?;
        let job = DemoHost::start(&self.host, &self.folder, &self.views, Some(&self.settings))?;
        say(&format!("an application in Python reads topic {OUTPUT_TOPIC}"));
        let mut application = self.application(EVENTS + 1, 5)?;
        say(&format!("producing {EVENTS} ad impressions, {RATE} a second, keyed by user"));
        let producer = self.producer(EVENTS)?;
        thread::park_timeout(KILL_AFTER);
        say("killing the host (kill -9) and starting it again, while events keep coming");
        job.kill()?;
        let job = DemoHost::start(&self.host, &self.folder, &self.views, Some(&self.settings))?;
        producer.finish()?;
        let ended = wait(END_LIMIT, || Ok(application.0.try_wait()?))
            .context("the application did not see every event")?;
        if !ended.success() {
            bail!("the application ended with {ended}");
        }
        println!(
            "{} events produced, one record for each: nothing lost; repeats are told apart by one header",
            EVENTS + 1
        );
        say("reading a user's feature vector from the host");
        println!("{}", read(&job.url, "u7")?);
        for what in ["views", "streams"] {
            run(
                &format!("host list {what}"),
                Command::new(&self.host).args(["list", what, "--url", &job.url]),
            )?;
        }
        say("stopping the host");
        job.stop()
    }

    /// Goes on until somebody has seen enough.
    fn keep(&self) -> anyhow::Result<()> {
        let job = DemoHost::start(&self.host, &self.folder, &self.views, Some(&self.settings))?;
        let _producer = self.producer(0)?;
        say(&format!(
            "running: broker {}, host {}, views in {}; press Ctrl-C to stop",
            self.broker.address,
            job.url,
            self.views.display()
        ));
        let mut application = self.application(0, 0)?;
        application.0.wait().context("cannot wait for the application")?;
        Ok(())
    }

    fn producer(&self, events: u32) -> anyhow::Result<Running> {
        // One that goes on for ever is watched by people.
        let rate = if events == 0 { 5 } else { RATE };
        self.python(
            "produce.py",
            &[TOPIC.to_owned(), PARTITIONS.to_string(), events.to_string(), rate.to_string()],
            &[],
        )
    }

    fn application(&self, expected: u32, shown: u32) -> anyhow::Result<Running> {
        let helper = root().join("docs/consumers");
        self.python(
            "consume.py",
            &[OUTPUT_TOPIC.to_owned(), expected.to_string(), shown.to_string()],
            &[helper],
        )
    }

    /// Starts one of our scripts: what comes before the broker's address, and what behind it.
    fn python(&self, script: &str, behind: &[String], before: &[PathBuf]) -> anyhow::Result<Running> {
        let child = Command::new(self.kafka.environment.join("bin/python"))
            .arg(root().join("host/xtask/src/demo_kafka").join(script))
            .args(before)
            .arg(&self.broker.address)
            .args(behind)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {script}"))?;
        Ok(Running(child))
    }
}

/// A process that ends with the demo, whatever becomes of it.
struct Running(Child);

impl Running {
    /// Waits until it has done its work.
    fn finish(mut self) -> anyhow::Result<()> {
        let status = self.0.wait().context("cannot wait for the producer")?;
        if !status.success() {
            bail!("the producer ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A no-op after it has ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn read(url: &str, user: &str) -> anyhow::Result<Value> {
    let request = json!({"features": [format!("{VIEW}:impression")], "entities": {"user_id": [user]}});
    let mut response = ureq::post(format!("{url}/get-online-features")).send(request.to_string())?;
    Ok(serde_json::from_str(&response.body_mut().read_to_string()?)?)
}
