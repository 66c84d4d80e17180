//! Ad events, as fast as the broker takes them or at a steady rate.

use std::time::{Duration, Instant};

use model::error::Failure;
use rdkafka::producer::{BaseRecord, Producer as _};

use super::{Cluster, Settings, failed, send};
use crate::codec::json::sample;

/// Events to write.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many.
    pub events: u64,
    /// Users that they are spread over.
    pub users: u64,
    /// Events a second; `None` = as many as the broker takes.
    pub rate: Option<u64>,
}

/// Writes ad events, keyed by user. Returns once all are acknowledged, with the sum of their sizes in bytes.
pub fn generate(cluster: &Cluster, topic: &str, load: Load) -> Result<u64, Failure> {
    let producer = cluster.producer(&Settings::new())?;
    let (mut event, mut bytes) = (Vec::with_capacity(144), 0);
    let started = Instant::now();
    for number in 0..load.events {
        if let Some(rate) = load.rate
            && number % 100 == 0
        {
            let due = Duration::from_micros(number.saturating_mul(1_000_000) / rate.max(1));
            while let Some(early) = due.checked_sub(started.elapsed()) {
                std::thread::park_timeout(early);
            }
        }
        event.clear();
        sample::write_ad_event(&mut event, number, load.users);
        bytes += event.len() as u64;
        send(&producer, BaseRecord::to(topic).key(user(&event)).payload(&event))?;
    }
    producer.flush(Duration::from_secs(120)).map_err(failed("have the last events acknowledged"))?;
    Ok(bytes)
}

/// The user of an ad event: the text behind `"user_uuid":"`, 36 bytes.
pub(super) fn user(event: &[u8]) -> &[u8] {
    const NAME: &[u8] = br#""user_uuid":""#;
    let start = memchr::memmem::find(event, NAME).map_or(0, |place| place + NAME.len());
    event.get(start..start + 36).unwrap_or_default()
}
