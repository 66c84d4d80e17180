//! A running host: what it is made of, how files become running views, and how it follows their changes.
//!
//! A first start is a change from nothing: starting and reloading are one path.

mod admission;
mod apply;
mod contact;
mod hold;
mod instance;
mod kafka;
mod kinesis;
mod outputs;
mod parts;
mod place;
mod redis;
mod reload;
mod repair;
mod router;
mod shares;
mod sources;
mod stores;
mod told;
mod watch;

pub(crate) use apply::Running;
pub(crate) use instance::instance;
pub(crate) use kafka::connections as kafka_connections;
pub(crate) use kinesis::{connections as kinesis_connections, stream as stream_of};
pub(crate) use outputs::create as create_topic;
pub(crate) use parts::{Online, Parts, unavailable};
pub(crate) use place::{in_words as store_in_words, note as note_store, noted as noted_store};
pub(crate) use redis::connections as redis_connections;
pub(crate) use reload::{Reload, spawn};
pub(crate) use sources::format as format_of;
pub(crate) use watch::{Waker, Watch};
