//! Pushing over HTTP: latency of one event against one sync of the disk, throughput against Feast's measured rates.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use connectors::codec::json::sample;
use serde_json::json;

use super::Bench;
use super::client::{load, post};
use super::figure::{Figure, count, percentile};
use super::service::{Service, TO_FILE, ad_view, folder};

/// Feast 0.67 with Redis and one worker on a machine of this kind: pushes of one row a second, one connection.
const FEAST_SINGLE: f64 = 482.0;
/// Its rows a second in requests of 100 rows, 8 connections.
const FEAST_100: f64 = 15_200.0;
/// The same with 1,000 rows.
const FEAST_1000: f64 = 18_600.0;

pub(super) const PATH: &str = "/v1/push/ad_impressions";

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let service = start(bench, true)?;
    let time = Duration::from_millis(bench.scaled(4000).max(200));
    let sync = sync_seconds(bench)?;
    let mut single = load(service.address, 1, time, |_, number| post(PATH, &body(number, 1)))?;
    let median = percentile(&mut single.latencies, 0.5);
    let mut figures = vec![Figure::times_at_most(
        "push of one event, answered after sync, p50",
        median * 1000.0,
        "ms",
        format!("one fdatasync, p50 {:.3} ms", sync * 1000.0),
        sync * 1000.0,
        3.0,
    )];
    // Feast has no output stream, so here the view has none either: its syncs would compete for the same disk.
    let without_output = start(bench, false)?;
    let feast =
        load(without_output.address, 1, time, |_, number| post("/push", feast_frame(number).as_bytes()))?;
    drop(without_output);
    figures.push(Figure::times_at_least(
        "Feast's /push of one row, answered after sync and online write, no output stream",
        count(feast.requests) / feast.elapsed.as_secs_f64(),
        "/s",
        format!("Feast {FEAST_SINGLE}/s"),
        FEAST_SINGLE,
        5.0,
    ));
    for (rows, peer) in [(100, FEAST_100), (1000, FEAST_1000)] {
        // Made before the clock starts, so that the client's work is sending.
        let bodies: Vec<Vec<u8>> = (0..16).map(|number| post(PATH, &body(number * rows, rows))).collect();
        let pushed = load(service.address, 8, time, |connection, number| {
            let index = (connection as u64 + number) % 16;
            bodies[usize::try_from(index).unwrap_or(0)].clone()
        })?;
        figures.push(Figure::times_at_least(
            format!("push of {rows} rows a request, 8 connections"),
            count(pushed.requests * rows) / pushed.elapsed.as_secs_f64(),
            "rows/s",
            format!("Feast {peer} rows/s"),
            peer,
            10.0,
        ));
    }
    Ok(figures)
}

/// A host with the ad-impression view on a push source.
fn start(bench: &Bench, output: bool) -> anyhow::Result<Service> {
    Service::start(None, |views| {
        std::fs::write(views.join("ads.yaml"), ad_view("push: {}", output.then_some(TO_FILE)))?;
        std::fs::write(views.join("user_impression_counts.wasm"), bench.guests.bytes("ad_impressions")?)?;
        Ok(())
    })
}

fn body(first: u64, rows: u64) -> Vec<u8> {
    let mut body = Vec::new();
    for number in first..first + rows {
        sample::write_ad_event(&mut body, number, sample::USERS);
        body.push(b'\n');
    }
    body
}

fn feast_frame(number: u64) -> String {
    let event: serde_json::Value = serde_json::from_slice(&sample::ad_event(number)).unwrap_or_default();
    let columns: serde_json::Map<String, serde_json::Value> =
        event.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), json!([value]))).collect();
    json!({"push_source_name": "ad_impressions", "df": columns, "to": "online"}).to_string()
}

/// Half of the syncs of this disk are faster than this: 200 bytes appended, then `fdatasync`.
fn sync_seconds(bench: &Bench) -> anyhow::Result<f64> {
    let folder = folder()?;
    let mut file = File::create(folder.path().join("file"))?;
    let mut times = Vec::new();
    for _ in 0..bench.scaled(1000).max(50) {
        let started = Instant::now();
        file.write_all(&[7; 200])?;
        file.sync_data()?;
        times.push(started.elapsed().as_secs_f64());
    }
    Ok(percentile(&mut times, 0.5))
}
