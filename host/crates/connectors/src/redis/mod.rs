//! What everything that talks to Redis shares: connections, which node holds what, errors, metrics.
//!
//! The only place that names the client, beside [`crate::online::redis`] and the lease table of
//! [`crate::kinesis::lease`].
//!
//! [`Nodes`] are the servers behind one connection of a host. Commands with a key go through [`Nodes::run`], which finds
//! the node that has it, follows redirects and waits out what passes, all within the time that an answer may take; what
//! lasts longer is the caller's to repeat. Who writes a lot to a single server takes a connection of its own from
//! [`Nodes::master`].

mod access;
mod connection;
pub mod error;
mod find;
mod identity;
mod keyed;
mod layout;
pub mod limit;
mod link;
mod master;
mod metrics;
mod nodes;
mod presence;
pub mod probe;
mod run;
mod script;
mod shared;
mod slot;
#[cfg(test)]
pub(crate) mod testing;
mod topology;
#[cfg(test)]
mod tests;

pub use connection::{Connection, DEFAULT_CONNECT_TIMEOUT, DEFAULT_RESPONSE_TIMEOUT, Mode, Tls};
pub use identity::{Identity, Version};
pub use keyed::Keyed;
pub use master::{Master, check_leads, is_lost};
pub use metrics::{ConnectionMetrics, RedisMetrics, ViewMetrics};
pub use nodes::{Nodes, Shard};
pub use script::Script;
pub use shared::Shared;
pub use slot::{SLOTS, slot};
