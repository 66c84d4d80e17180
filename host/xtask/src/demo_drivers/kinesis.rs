//! From stream to stream, with a server of its own, a producer and an application in boto3.
//!
//! A shard is split and the host is killed in the middle, so that what it promises is seen and not only said.

#![expect(clippy::print_stdout, reason = "the demo shows its results to whoever started it")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::files;
use super::process::Running;
use crate::demo::fresh_folder;
use crate::demo_host::{DemoHost, wait};
use crate::server::Server;
use crate::setup::{self, Kinesis};
use crate::step::{root, run, say};

const STREAM: &str = "drivers";
const OUTPUT_STREAM: &str = "driver-features";
/// Events of the whole demo. The server slows with what a shard holds, so they are few.
const EVENTS: u32 = 2_000;
/// Events a second: the demo takes some ten seconds.
const RATE: u32 = 250;
/// When a shard is split, and when the host is killed.
const PAUSE: Duration = Duration::from_secs(2);
/// How long the application may take for what is still missing when the last event is produced.
const END_LIMIT: Duration = Duration::from_secs(120);

/// Runs the demo.
pub(crate) fn demo(arguments: &[String]) -> anyhow::Result<()> {
    let keep = arguments.iter().any(|argument| argument == "--keep");
    setup::compiler()?;
    setup::wasm()?;
    let kinesis = setup::kinesis()?;
    let host = files::build()?;
    let folder = fresh_folder("demo-kinesis")?;
    let started = Instant::now();
    say("starting a server that speaks Kinesis");
    let server = Server::kinesis_local(&kinesis, &folder.join("kinesis"))?;
    eprintln!("    {} after {:.1} s", server.endpoint(), started.elapsed().as_secs_f64());
    let demo = Demo {
        kinesis,
        host,
        views: folder.join("views"),
        settings: folder.join("host.yaml"),
        folder,
        server,
    };
    demo.write_files()?;
    demo.run()?;
    if keep { demo.keep() } else { Ok(()) }
}

/// What the demo works with.
struct Demo {
    kinesis: Kinesis,
    host: PathBuf,
    folder: PathBuf,
    views: PathBuf,
    settings: PathBuf,
    server: Server,
}

impl Demo {
    fn write_files(&self) -> anyhow::Result<()> {
        files::write(
            &self.views,
            &format!("kinesis: {{ connection: aws, stream_name: {STREAM}, start: trim_horizon }}"),
            &format!("kinesis: {{ connection: aws, stream_name: {OUTPUT_STREAM} }}"),
        )?;
        let settings = format!(
            "connections:\n  aws: {{ kinesis: {{ region: us-east-1, endpoint_url: \"{}\" }} }}\n",
            self.server.endpoint()
        );
        fs::write(&self.settings, settings)
            .with_context(|| format!("cannot write {}", self.settings.display()))
    }

    fn start(&self) -> anyhow::Result<DemoHost> {
        DemoHost::start(&self.host, &self.folder, &self.views, Some(&self.settings))
    }

    fn run(&self) -> anyhow::Result<()> {
        say(&format!("making streams {STREAM} and {OUTPUT_STREAM} with two shards each, and a first event"));
        self.producer(1, 0)?.finish()?;
        run(
            "host check --connect",
            DemoHost::command(&self.host)
                .args(["check", "--connect", "--config"])
                .arg(&self.settings)
                .arg(&self.views),
        )?;
        let job = self.start()?;
        say(&format!("an application in boto3 reads stream {OUTPUT_STREAM}"));
        let mut application = self.application(EVENTS + 1, 5)?;
        say(&format!("putting {EVENTS} events about drivers, {RATE} a second, keyed by driver"));
        let producer = self.producer(EVENTS, 0)?;
        thread::park_timeout(PAUSE);
        say(&format!("splitting the first shard of {STREAM}"));
        self.producer(0, 1)?.finish()?;
        thread::park_timeout(PAUSE);
        say("killing the host (kill -9) and starting it again, while events keep coming");
        job.kill()?;
        let job = self.start()?;
        producer.finish()?;
        let ended =
            wait(END_LIMIT, || application.ended()).context("the application did not see every event")?;
        if !ended.success() {
            bail!("the application ended with {ended}");
        }
        println!("{} events put, one record for each: nothing lost, each driver's in order", EVENTS + 1);
        say("reading two drivers' feature vectors from the host");
        println!("{}", files::read(&job.url, &[1001, 1002])?);
        run("host list views", Command::new(&self.host).args(["list", "views", "--url", &job.url]))?;
        say("stopping the host");
        job.stop()
    }

    /// Goes on until somebody has seen enough.
    fn keep(&self) -> anyhow::Result<()> {
        let job = self.start()?;
        let _producer = self.producer(u32::MAX, 0)?;
        say(&format!(
            "running: server {}, host {}, views in {}; press Ctrl-C to stop",
            self.server.endpoint(),
            job.url,
            self.views.display()
        ));
        self.application(0, 0)?.finish()
    }

    /// Puts events, or splits the first so many shards.
    fn producer(&self, events: u32, splits: u32) -> anyhow::Result<Running> {
        // One that goes on for ever is watched by people.
        let rate = if events == u32::MAX { 5 } else { RATE };
        let numbers = [events, rate, splits].map(|number| number.to_string());
        let streams = [STREAM, OUTPUT_STREAM].map(str::to_owned);
        let arguments = [self.server.endpoint()].into_iter().chain(streams).chain(numbers);
        Running::python(&self.kinesis.environment, "produce.py", arguments)
    }

    fn application(&self, expected: u32, shown: u32) -> anyhow::Result<Running> {
        let helper = root().join("docs/consumers").display().to_string();
        let stream = OUTPUT_STREAM.to_owned();
        let arguments = [helper, self.server.endpoint(), stream, expected.to_string(), shown.to_string()];
        Running::python(&self.kinesis.environment, "consume.py", arguments)
    }
}
