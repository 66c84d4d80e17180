//! A reader of committed records beside the test: it sees what a consumer sees while things break.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{Client, Record};

/// Reads a topic from its beginning until it is dropped.
pub struct Tail {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Record>>>,
    reader: Option<JoinHandle<()>>,
}

impl Tail {
    pub(super) fn start(client: &Client, topic: &str) -> Self {
        let consumer: BaseConsumer = client.consumer(&[("isolation.level", "read_committed")]);
        consumer.assign(&client.beginning(topic)).expect("partitions can be assigned");
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reader = thread::spawn({
            let (stop, seen) = (stop.clone(), seen.clone());
            move || {
                while !stop.load(Ordering::Acquire) {
                    // Errors are what the tests make on purpose; the client goes on by itself.
                    if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
                        seen.lock().unwrap_or_else(PoisonError::into_inner).push(Record::read(&message));
                    }
                }
            }
        });
        Self { stop, seen, reader: Some(reader) }
    }

    /// How many records it has seen.
    pub fn count(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What it has seen, in the order of arrival.
    pub fn records(&self) -> Vec<Record> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}
