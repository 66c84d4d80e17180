//! What the Kinesis source and output stream share: connections, clients, errors, positions, leases, metrics.
//!
//! The only place that names the AWS SDK, beside [`crate::source::kinesis`] and [`crate::output::kinesis`].
//! Nothing here repeats a request: whoever asks knows what is lost by asking again.

mod client;
mod connection;
mod error;
pub mod lease;
pub mod limit;
mod metrics;
pub mod position;
pub mod probe;
mod shared;
#[cfg(test)]
pub(crate) mod testing;

pub use connection::{Connection, Stream};
pub use error::{Class, Trouble};
pub use metrics::{KinesisMetrics, LeaseMetrics, OutputMetrics, SourceMetrics};
pub use shared::Shared;
