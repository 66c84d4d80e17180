//! An output stream that is a Kafka topic.
mod delivery;
mod encoded;
mod keeper;
mod lane;
mod native;
mod options;
mod output;
mod progress_topic;
mod session;
mod stream;
mod ticket;
mod topic;
mod transaction;
mod transactions;
mod truth;
mod watchdog;

#[cfg(test)]
mod tests;

pub use options::{KafkaOutputOptions, Progress};
pub use output::KafkaOutput;
