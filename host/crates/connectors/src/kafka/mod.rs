//! What the Kafka source, output stream and dead letters share: connections, the consumer group, errors, metrics.
//!
//! The only place that names librdkafka. Sources read with consumers of their own ([`crate::source::kafka`]); the
//! *group* is one further consumer for each source that takes part in the consumer group and fetches nothing: it knows
//! which partitions are this host's, and it commits. So heartbeats never wait for events, and events never for a
//! rebalance.

mod commit;
mod connection;
mod context;
pub mod error;
mod group;
pub mod limit;
mod metrics;
pub mod probe;
mod topics;

pub use connection::{Connection, Sasl, SaslMechanism, Tls};
pub(crate) use context::Watched;
pub use context::{BrokerHook, BrokerState, Shared, Watch};
pub use group::{Group, GroupOptions, GroupProtocol, TransactionOffsets, partition_name, topic_and_number};
pub use metrics::{KafkaMetrics, OutputMetrics, SourceMetrics};
pub use topics::{CreateTopic, DEFAULT_MAX_MESSAGE_BYTES, TopicSettings, Topics};
