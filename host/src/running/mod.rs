//! A running host: what it is made of, how files become running views, and how it follows their changes.
//!
//! A first start is a change from nothing: starting and reloading are one path.

mod admission;
mod apply;
mod hold;
mod instance;
mod kafka;
mod outputs;
mod parts;
mod reload;
mod sources;
mod told;
mod watch;

pub(crate) use apply::Running;
pub(crate) use kafka::connections as kafka_connections;
pub(crate) use outputs::create as create_topic;
pub(crate) use parts::{Online, Parts};
pub(crate) use reload::{Reload, spawn};
pub(crate) use sources::format as format_of;
pub(crate) use watch::{Waker, Watch};
