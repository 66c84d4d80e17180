//! What all Kafka clients of a host have in common beside their connection: metrics, and one opinion of each cluster.
//!
//! Every client is made with a [`Watch`] as its context, or with a [`Watched`] that has something beside. Clients of one cluster share what they hear: librdkafka reports the same broken connection once for each
//! client and broker, every second, and says nothing at all when things are well again. So a report only raises a
//! suspicion, which one short-lived client checks by asking for metadata until somebody answers. Only its first failure is
//! "away" and its first success after that is "back": one line in the log and one call of the host's hook for each.
//!
//! Messages come from librdkafka, which names hosts and reasons and never passwords.

mod presence;
mod shared;
mod watch;

pub use shared::{BrokerHook, BrokerState, Shared};
pub use watch::Watch;
pub(crate) use watch::Watched;
