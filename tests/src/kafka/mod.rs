//! Real Kafka brokers for tests: started from jars on loopback, broken in every way, gone when the test is.
//!
//! Ordinary tests share one broker for the whole process ([`shared`]) and keep apart by the names of their topics and
//! groups ([`name`]). Tests that hurt brokers, or need three of them, start clusters of their own, one test at a time.

mod install;
mod java;
mod cluster;
mod client;
mod record;
mod tail;

pub use client::{Client, Writer};
pub use cluster::{Cluster, Leased, Settings, name, shared};
pub use install::{python, there};
pub use record::Record;
pub use tail::Tail;
