//! What a machine and a broker allow: the loops that `host bench kafka` holds the host against, and its tools.
//!
//! The loops are what one would write by hand on the same client library: one consuming thread, one producer, no
//! sandbox, no positions, no store. Not used by the flow.

mod cluster;
mod generate;
mod probe;
mod redis;
mod relay;

use model::error::Failure;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};

pub use cluster::{Cluster, Ends, Settings};
pub use generate::{Load, generate};
pub use probe::{Probe, probe};
pub use relay::{Relay, Work, relay};

type Producer = ThreadedProducer<DefaultProducerContext>;

/// Hands a record to the producer, and waits while its queue is full.
fn send(producer: &Producer, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Failure> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                record = refused;
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
            Err((error, _)) => return Err(failed("produce a record")(error)),
        }
    }
}

fn failed(what: &str) -> impl Fn(KafkaError) -> Failure {
    move |error| Failure::stop(what).caused_by(error)
}
