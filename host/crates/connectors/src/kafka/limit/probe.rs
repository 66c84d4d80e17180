//! How long an event takes on an idle stream: from `send` until a consumer of the output sees the record of its user.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::error::Failure;
use rdkafka::consumer::Consumer;
use rdkafka::producer::BaseRecord;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::generate::user;
use super::{Cluster, Settings, failed, send};
use crate::codec::json::sample;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The topic that events are sent to.
    pub input: String,
    /// The topic where their records come out.
    pub output: String,
    /// Partitions of the output topic.
    pub partitions: u16,
    /// Number of the first event; a number that was used is not seen again.
    pub first: u64,
    /// Events before the first that counts.
    pub warm: u64,
    /// Events that count.
    pub events: u64,
    /// Time between two events.
    pub gap: Duration,
}

/// When each event that is on its way was sent, by its user, and whether it counts.
type Sent = Mutex<HashMap<Vec<u8>, (bool, Instant)>>;

/// Sends events one at a time and answers how many seconds each took, in no particular order.
pub fn probe(cluster: &Cluster, probe: &Probe) -> Result<Vec<f64>, Failure> {
    let sent = Sent::default();
    let consumer = cluster.consumer(&format!("probe-{}", std::process::id()), &Settings::new())?;
    let ends = cluster.ends(&probe.output, probe.partitions)?.each()?;
    let mut places = TopicPartitionList::new();
    for (partition, end) in (0..).zip(ends) {
        let end = Offset::Offset(i64::try_from(end).unwrap_or(i64::MAX));
        places.add_partition_offset(&probe.output, partition, end).map_err(failed("name a place"))?;
    }
    consumer.assign(&places).map_err(failed("read the output"))?;
    std::thread::scope(|scope| {
        let seen = scope.spawn(|| receive(&consumer, &sent, probe));
        send_all(cluster, &sent, probe)?;
        seen.join().unwrap_or_else(|_| Err(Failure::stop("receive: the thread panicked")))
    })
}

fn receive(
    consumer: &rdkafka::consumer::BaseConsumer,
    sent: &Sent,
    probe: &Probe,
) -> Result<Vec<f64>, Failure> {
    let (mut seconds, mut seen, mut last) = (Vec::new(), 0, Instant::now());
    while seen < probe.warm + probe.events {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            if last.elapsed() > Duration::from_secs(60) {
                return Err(Failure::stop(format!("see the records of all events: {seen} came out")));
            }
            continue;
        };
        let (now, message) = (Instant::now(), message.map_err(failed("consume"))?);
        let known =
            sent.lock().unwrap_or_else(PoisonError::into_inner).remove(message.key().unwrap_or_default());
        if let Some((counts, sent)) = known {
            (seen, last) = (seen + 1, now);
            if counts {
                seconds.push((now - sent).as_secs_f64());
            }
        }
    }
    Ok(seconds)
}

fn send_all(cluster: &Cluster, sent: &Sent, probe: &Probe) -> Result<(), Failure> {
    let producer = cluster.producer(&Settings::from([("linger.ms".to_owned(), "0".to_owned())]))?;
    let (mut event, start) = (Vec::new(), Instant::now() + Duration::from_secs(1));
    for number in 0..probe.warm + probe.events {
        let due = start + probe.gap * u32::try_from(number).unwrap_or(u32::MAX);
        while let Some(early) = due.checked_duration_since(Instant::now()).filter(|early| !early.is_zero()) {
            std::thread::park_timeout(early);
        }
        event.clear();
        // So many users that no two events have the same.
        sample::write_ad_event(&mut event, probe.first + number, u64::MAX);
        let key = user(&event);
        let entry = (number >= probe.warm, Instant::now());
        sent.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_vec(), entry);
        send(&producer, BaseRecord::to(&probe.input).key(key).payload(event.as_slice()))?;
    }
    Ok(())
}
