//! What Kafka itself demands of names, and which of its client's settings are the host's to decide.
//!
//! Used for `host.yaml` and for view files alike. Nothing here talks to a broker or knows a client.

mod declared;
mod names;
mod options;

pub(crate) use declared::{create_topic, one_topic};
pub(crate) use names::{group, servers, topic};
pub(crate) use options::{Place, options};
