//! Replacing a component: from its last byte on disk to the new version at work.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Bench;
use super::client::{Client, post};
use super::figure::{Figure, percentile};
use super::push::PATH;
use super::service::{Service, TO_FILE, ad_view};

const COMPONENT: &str = "views/user_impression_counts.wasm";

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let versions = [bench.guests.bytes("ad_impressions")?, bench.guests.bytes("ad_impressions_v2")?];
    let service = Service::start(None, |views| {
        std::fs::write(views.join("ads.yaml"), ad_view("push: {}", Some(TO_FILE)))?;
        std::fs::write(views.join("user_impression_counts.wasm"), &versions[0])?;
        Ok(())
    })?;
    let mut times = Vec::new();
    let swaps = bench.scaled(2000).clamp(3, 20);
    let mut client = Client::connect(service.address)?;
    for swap in 0..swaps {
        let version = &versions[usize::from(swap % 2 == 0)];
        // A trickle, so that there is a stream to swap under.
        let mut event = connectors::codec::json::sample::ad_event(swap);
        event.push(b'\n');
        client.send(&post(PATH, &event))?;
        let before = generation(&service)?;
        std::fs::write(service.path(COMPONENT), version)?;
        let saved = Instant::now();
        while generation(&service)? == before {
            anyhow::ensure!(saved.elapsed() < Duration::from_secs(30), "the new version did not become live");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        times.push(saved.elapsed().as_secs_f64() * 1000.0);
    }
    let mut figures = vec![Figure::at_most(
        "component saved to new version live, p50",
        percentile(&mut times, 0.5),
        "ms",
        200.0,
    )];
    if let Some(pause) = longest_pause(&service)? {
        figures.push(Figure::at_most("pause of the stream by a swap, mean", pause * 1000.0, "ms", 1.0));
    }
    Ok(figures)
}

fn generation(service: &Service) -> anyhow::Result<Value> {
    Ok(service.views()?.first().map(|view| view["generation"].clone()).unwrap_or_default())
}

/// What the host itself says of how long swaps kept a partition waiting, in seconds.
fn longest_pause(service: &Service) -> anyhow::Result<Option<f64>> {
    let (_, body) = Client::connect(service.address)?.get("/metrics")?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    Ok(value("millrace_view_swap_pause_seconds_sum")
        .zip(value("millrace_view_swap_pause_seconds_count"))
        .map(|(sum, count)| sum / count))
}
