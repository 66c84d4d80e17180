//! Reading one entity over HTTP: the host on one core, eight connections from the other.

use std::time::Duration;

use serde_json::json;

use super::Bench;
use super::client::{Client, load, post};
use super::figure::{Figure, count, percentile};
use super::push::PATH;
use super::service::{Service, ad_view};

/// Feast 0.67 with Redis, one worker, 8 connections, on a machine of this kind.
pub(super) const FEAST: f64 = 2278.0;

/// Entities that are read at random.
const ENTITIES: u64 = 100_000;

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let Reads { rate, busy, worst } = reads(bench, "")?;
    Ok(vec![
        Figure::at_least("read of one entity, host on one core, 8 connections", rate, "/s", 20_000.0)
            .against(format!("Feast {FEAST}/s; the core was {:.0} % busy", busy * 100.0), FEAST),
        Figure::at_most("read of one entity, p99", worst, "ms", 1.0).against("Feast 71 ms", 71.0),
    ])
}

/// What reading came to.
pub(super) struct Reads {
    /// Requests a second.
    pub(super) rate: f64,
    /// Part of the host's core that was busy.
    pub(super) busy: f64,
    /// The 99th percentile, milliseconds.
    pub(super) worst: f64,
}

/// Reads from a host with these settings.
pub(super) fn reads(bench: &Bench, settings: &str) -> anyhow::Result<Reads> {
    let service = Service::start(Some(0), |views| {
        std::fs::write(views.with_file_name("host.yaml"), settings)?;
        std::fs::write(views.join("ads.yaml"), ad_view("push: {}", None))?;
        std::fs::write(views.join("user_impression_counts.wasm"), bench.guests.bytes("ad_impressions")?)?;
        Ok(())
    })?;
    fill(&service)?;
    pin_to(1);
    let time = Duration::from_millis(bench.scaled(6000).max(200));
    let before = service.processor_seconds()?;
    let mut read = load(service.address, 8, time, |connection, number| {
        let entity = (number * 8 + connection as u64).wrapping_mul(2_654_435_761) % ENTITIES;
        let body = json!({
            "features": ["user_impression_counts:impression"],
            "entities": {"user_id": [format!("u{entity}")]},
        });
        post("/get-online-features", body.to_string().as_bytes())
    })?;
    let busy = (service.processor_seconds()? - before) / read.elapsed.as_secs_f64();
    let rate = count(read.requests) / read.elapsed.as_secs_f64();
    Ok(Reads { rate, busy, worst: percentile(&mut read.latencies, 0.99) * 1000.0 })
}

/// One row for each entity.
fn fill(service: &Service) -> anyhow::Result<()> {
    let mut client = Client::connect(service.address)?;
    for chunk in 0..ENTITIES / 1000 {
        let mut body = Vec::new();
        for entity in chunk * 1000..(chunk + 1) * 1000 {
            let event = json!({
                "user_uuid": format!("u{entity}"), "ad_id": 1, "clicked": true, "bid": 0.5,
                "timestamp": "2026-01-01T00:00:00Z",
            });
            body.extend_from_slice(event.to_string().as_bytes());
            body.push(b'\n');
        }
        let (status, answer) = client.send(&post(PATH, &body))?;
        anyhow::ensure!(status == 200, "{}", String::from_utf8_lossy(&answer));
    }
    // The last one is there when all are.
    let request = json!({
        "features": ["user_impression_counts:impression"],
        "entities": {"user_id": [format!("u{}", ENTITIES - 1)]},
    });
    let request = post("/get-online-features", request.to_string().as_bytes());
    loop {
        let (_, body) = client.send(&request)?;
        if !String::from_utf8_lossy(&body).contains("NOT_FOUND") {
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Keeps this process, and what it starts from now on, on one core.
fn pin_to(core: usize) {
    // Only a hint: on a machine with one core both share it, and the figure says so.
    drop(
        std::process::Command::new("taskset")
            .args(["-a", "-cp", &core.to_string(), &std::process::id().to_string()])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status(),
    );
}
