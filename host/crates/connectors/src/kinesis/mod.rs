//! What the Kinesis source and output stream share: connections, errors, positions, leases, metrics.
//!
//! The only place that names the AWS SDK, beside [`crate::source::kinesis`] and [`crate::output::kinesis`].

mod connection;
pub mod lease;
pub mod position;

pub use connection::{Connection, Shared, Stream};
