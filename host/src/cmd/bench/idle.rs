//! Memory of views that have nothing to do, each with a component of its own.

use std::fs;
use std::time::Duration;

use super::Bench;
use super::figure::{Figure, count};
use super::service::{Service, ad_view};

const VIEWS: u64 = 200;

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let views = bench.scaled(VIEWS * 100).clamp(4, VIEWS);
    let (one, many) = (resident(bench, 1)?, resident(bench, views + 1)?);
    let each = (many - one) / count(views) / f64::from(1 << 20);
    Ok(vec![Figure::at_most(
        format!("memory of an idle view, {views} of them with components of their own"),
        each,
        "MiB",
        1.0,
    )])
}

/// Memory of a host with that many views, each of which has taken one event.
fn resident(bench: &Bench, views: u64) -> anyhow::Result<f64> {
    let component = bench.guests.bytes("ad_impressions")?;
    let service = Service::start(None, |folder| {
        let text = ad_view("push: {}", None);
        let (head, view) = text.rsplit_once("---\n").unwrap_or_default();
        fs::write(folder.join("source.yaml"), head.trim_end_matches("---\n"))?;
        for number in 0..views {
            let view = view
                .replace("name: user_impression_counts", &format!("name: view_{number}"))
                .replace("user_impression_counts.wasm", &format!("view_{number}.wasm"));
            fs::write(folder.join(format!("view_{number}.yaml")), view)?;
            fs::write(folder.join(format!("view_{number}.wasm")), distinct(&component, number))?;
        }
        Ok(())
    })?;
    let mut event = connectors::codec::json::sample::ad_event(1);
    event.push(b'\n');
    let mut client = super::client::Client::connect(service.address)?;
    client.send(&super::client::post(super::push::PATH, &event))?;
    loop {
        let done = service.views()?.iter().filter(|view| view["rows_in"] == 1).count();
        if u64::try_from(done)? >= views {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    service.resident_bytes()
}

/// The same component with a custom section behind it: other bytes, another digest, compiled on its own.
fn distinct(component: &[u8], number: u64) -> Vec<u8> {
    let mut bytes = component.to_vec();
    // Section 0, its length, then its name with a length of its own.
    bytes.extend_from_slice(&[0, 11, 2, b'i', b'd']);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes
}
