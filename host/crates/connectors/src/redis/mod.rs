//! What everything that talks to Redis shares: connections, which node holds what, errors, metrics.
//!
//! The only place that names the client, beside [`crate::online::redis`] and the lease table of
//! [`crate::kinesis::lease`].

mod connection;

pub use connection::{Connection, Mode, Shared, Tls};
