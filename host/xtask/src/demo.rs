//! `cargo xtask demo`: the main job on embedded parts, watched from outside, as a user would.

#![expect(clippy::print_stdout, reason = "the demo shows its results to whoever started it")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::demo_drivers;
use crate::demo_host::{DemoHost, wait};
use crate::demo_kafka;
use crate::guests;
use crate::setup;
use crate::step::{cargo, root, run, say, target};

pub(crate) const EXAMPLE: &str = "guest_examples/01_ad_impressions";
pub(crate) const VIEW: &str = "user_impression_counts";
const SOURCE: &str = "ad_impressions";
/// Events a request, as a client that batches would send them.
const ROWS_A_REQUEST: u64 = 500;
/// Requests in each half of the stream: before and after the swap.
const REQUESTS: u64 = 200;

/// Builds the host. Says where it is.
pub(crate) fn build_host() -> anyhow::Result<PathBuf> {
    run(
        "building the host (release)",
        cargo().args(["build", "--release", "--package", "host", "--bin", "host"]),
    )?;
    Ok(target().join("release/host"))
}

/// Builds the host and the example's transforms. Says where the host is.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let host = build_host()?;
    run(
        "building the transforms of the ad-impression example",
        Command::new(&host).arg("build").arg(root().join(EXAMPLE)),
    )?;
    Ok(host)
}

/// Runs the demo.
pub(crate) fn demo(arguments: &[String]) -> anyhow::Result<()> {
    let with = |parts: &str| arguments.iter().any(|argument| argument == parts);
    if with("--kafka") {
        return demo_kafka::demo(arguments);
    }
    if with("--kinesis") {
        return demo_drivers::kinesis(arguments);
    }
    if with("--redis") {
        return demo_drivers::redis(arguments);
    }
    let started = Instant::now();
    let keep = arguments.iter().any(|argument| argument == "--keep");
    setup::compiler()?;
    setup::wasm()?;
    let host = build()?;
    guests::build_changed(&host)?;
    let folder = fresh_folder("demo")?;
    let views = folder.join("views");
    copy_views(&root().join(EXAMPLE), &views)?;
    let mut job = Job::start(&host, &folder, &views)?;
    let mut figures = Vec::new();

    say("pushing a generated stream of ad impressions over HTTP");
    let first_push = Instant::now();
    job.push_events(1)?;
    let first = job.wait_for_records(ROWS_A_REQUEST)?;
    figures.push(("start of the demo to the first output record", seconds(started.elapsed())));
    figures.push(("first request to its last output record", millis(first_push.elapsed())));
    say(&format!("the first output records, from {}", job.output.display()));
    for record in first.iter().take(3) {
        println!("{record}");
    }
    let entity = user_of(&first[0])?;

    say("reading that user's feature vector back");
    let before = job.read(&entity)?;
    println!("{before}");

    say("swapping the component for a changed one while events keep flowing");
    let swap = swap_under_load(&mut job, &views)?;
    figures.push(("events a second over HTTP, durable, transformed, stored, emitted", swap.rate));
    figures.push(("component saved to new version live", swap.latency));
    // One more event for the user whose value is shown.
    job.push_for(&entity)?;
    let after = job.wait_for_change(&entity, &before)?;
    println!("before  {before}\nafter   {after}");

    say("counting: every event must have given exactly one record");
    let expected = job.pushed;
    let records = job.wait_for_records(expected)?;
    let count = u64::try_from(records.len())?;
    if count != expected {
        bail!("{expected} events were acknowledged, but there are {count} output records");
    }
    println!(
        "{expected} events acknowledged, {count} records in the output stream: nothing lost, nothing repeated"
    );

    figures.push(("read of one entity over HTTP, p50", job.time_reads(&entity)?));
    say("measured in this run, on this machine");
    for (figure, value) in &figures {
        println!("  {figure:<68} {value:>12}");
    }
    if keep {
        say(&format!("still running at {}; views in {}; press Ctrl-C to stop", job.url(), views.display()));
        return job.running.wait();
    }
    say("stopping the host");
    job.stop()
}

/// What was seen of the swap.
struct Swap {
    rate: String,
    latency: String,
}

/// Pushes from a second thread while the component is replaced.
fn swap_under_load(job: &mut Job, views: &Path) -> anyhow::Result<Swap> {
    let done = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    let mut events = requests(&job.host, views, 2 * REQUESTS, "-1h")?.into_iter();
    let bar = indicatif::ProgressBar::new(2 * REQUESTS * ROWS_A_REQUEST);
    let started = Instant::now();
    let (result, latency) = thread::scope(|scope| -> anyhow::Result<_> {
        let pusher = scope.spawn(|| {
            let result = (0..2 * REQUESTS).try_for_each(|_| {
                let body = events.next().context("enough events were generated")?;
                push(job.url(), &body, ROWS_A_REQUEST)?;
                let total = sent.fetch_add(ROWS_A_REQUEST, Ordering::Relaxed) + ROWS_A_REQUEST;
                bar.set_position(total);
                anyhow::Ok(())
            });
            done.store(true, Ordering::Release);
            result
        });
        wait(Duration::from_secs(120), || {
            Ok((done.load(Ordering::Acquire)
                || sent.load(Ordering::Relaxed) >= REQUESTS * ROWS_A_REQUEST / 2)
                .then_some(()))
        })?;
        let old = view_state(job.url())?;
        fs::copy(
            root().join(EXAMPLE).join("user_impression_counts_v2.wasm"),
            views.join("user_impression_counts.wasm"),
        )
        .context("cannot replace the component")?;
        let saved = Instant::now();
        wait(Duration::from_secs(30), || {
            let now = view_state(job.url())?;
            Ok((now["generation"] != old["generation"]).then_some(()))
        })
        .context("the new component did not become live")?;
        let latency = saved.elapsed();
        let result = pusher.join().unwrap_or_else(|_| bail!("the pushing thread panicked"));
        Ok((result, latency))
    })?;
    bar.finish_and_clear();
    result?;
    job.pushed += 2 * REQUESTS * ROWS_A_REQUEST;
    job.wait_for_records(job.pushed)?;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = (2 * REQUESTS * ROWS_A_REQUEST) as f64 / started.elapsed().as_secs_f64();
    Ok(Swap { rate: format!("{rate:.0}/s"), latency: millis(latency) })
}

/// A running host and what was done to it.
struct Job {
    running: DemoHost,
    host: PathBuf,
    views: PathBuf,
    output: PathBuf,
    pushed: u64,
}

impl Job {
    fn start(host: &Path, folder: &Path, views: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            running: DemoHost::start(host, folder, views, None)?,
            host: host.to_owned(),
            views: views.to_owned(),
            output: folder.join("out/user_impression_counts.ndjson"),
            pushed: 0,
        })
    }

    fn url(&self) -> &str {
        &self.running.url
    }

    fn push_events(&mut self, count: u64) -> anyhow::Result<()> {
        for body in requests(&self.host, &self.views, count, "-2h")? {
            push(self.url(), &body, ROWS_A_REQUEST)?;
            self.pushed += ROWS_A_REQUEST;
        }
        Ok(())
    }

    fn push_for(&mut self, user: &str) -> anyhow::Result<()> {
        push(self.url(), &events_for(&self.host, &self.views, user)?, 1)?;
        self.pushed += 1;
        Ok(())
    }

    /// Waits until the output stream holds that many records.
    fn wait_for_records(&self, count: u64) -> anyhow::Result<Vec<String>> {
        wait(Duration::from_secs(120), || {
            let Ok(file) = fs::File::open(&self.output) else { return Ok(None) };
            let lines: Vec<String> = BufReader::new(file).lines().collect::<Result<_, _>>()?;
            Ok((u64::try_from(lines.len())? >= count).then_some(lines))
        })
        .with_context(|| format!("{} did not get {count} records", self.output.display()))
    }

    fn read(&self, user: &str) -> anyhow::Result<Value> {
        let request = json!({"features": [format!("{VIEW}:impression")], "entities": {"user_id": [user]}});
        let mut response =
            ureq::post(format!("{}/get-online-features", self.url())).send(request.to_string())?;
        Ok(serde_json::from_str(&response.body_mut().read_to_string()?)?)
    }

    fn wait_for_change(&self, user: &str, before: &Value) -> anyhow::Result<Value> {
        let value = |vector: &Value| vector["results"][1]["values"][0].clone();
        wait(Duration::from_secs(30), || {
            let now = self.read(user)?;
            Ok((value(&now) != value(before)).then_some(now))
        })
        .context("the feature did not change after the swap")
    }

    fn time_reads(&self, user: &str) -> anyhow::Result<String> {
        let agent = ureq::agent();
        let request =
            json!({"features": [format!("{VIEW}:impression")], "entities": {"user_id": [user]}}).to_string();
        let mut times = Vec::new();
        for _ in 0..2000 {
            let started = Instant::now();
            let mut response =
                agent.post(format!("{}/get-online-features", self.url())).send(request.as_bytes())?;
            response.body_mut().as_reader().read_to_end(&mut Vec::new())?;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        Ok(millis(times[times.len() / 2]))
    }

    fn stop(self) -> anyhow::Result<()> {
        self.running.stop()?;
        println!("stopped cleanly");
        Ok(())
    }
}

/// Pushes a body of so many events, all of which must be taken.
fn push(url: &str, body: &[u8], rows: u64) -> anyhow::Result<()> {
    let mut response = ureq::post(format!("{url}/v1/push/{SOURCE}")).send(body).context("cannot push")?;
    let answer: Value = serde_json::from_str(&response.body_mut().read_to_string()?)?;
    if answer["accepted"] != rows {
        bail!("not all events were taken: {answer}");
    }
    Ok(())
}

/// Bodies of generated events whose times begin at `from`.
fn requests(host: &Path, views: &Path, count: u64, from: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let events = generated(host, views, count * ROWS_A_REQUEST, from)?;
    let lines: Vec<&[u8]> = events.split_inclusive(|byte| *byte == b'\n').collect();
    Ok(lines.chunks(usize::try_from(ROWS_A_REQUEST)?).map(<[&[u8]]>::concat).collect())
}

/// Events made by `host generate`.
fn generated(host: &Path, views: &Path, rows: u64, from: &str) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(host)
        .args([
            "generate",
            SOURCE,
            "--rows",
            &rows.to_string(),
            "--entities",
            "1000",
            "--from",
            from,
            "--views",
        ])
        .arg(views)
        .stdin(Stdio::null())
        .output()
        .context("cannot start `host generate`")?;
    if !output.status.success() {
        bail!("`host generate` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// One generated event, made that user's.
fn events_for(host: &Path, views: &Path, user: &str) -> anyhow::Result<Vec<u8>> {
    let mut event: Value = serde_json::from_slice(&generated(host, views, 1, "-1s")?)?;
    event["user_uuid"] = json!(user);
    Ok(event.to_string().into_bytes())
}

fn user_of(record: &str) -> anyhow::Result<String> {
    let record: Value = serde_json::from_str(record)?;
    Ok(record["entity_keys"]["user_id"].as_str().context("a record names its entity")?.to_owned())
}

fn view_state(url: &str) -> anyhow::Result<Value> {
    let mut response = ureq::get(format!("{url}/readyz")).call()?;
    let body: Value = serde_json::from_str(&response.body_mut().read_to_string()?)?;
    let views = body["views"].as_array().context("the host lists its views")?;
    views.iter().find(|view| view["view"] == VIEW).cloned().context("the view is listed")
}

/// An empty folder for this run.
pub(crate) fn fresh_folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = root().join("target").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// What a running host needs of an example: its view file, component and samples.
pub(crate) fn copy_views(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.is_file() {
            let name = path.file_name().context("a file has a name")?;
            fs::copy(&path, to.join(name)).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}
