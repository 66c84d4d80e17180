//! Real Redis servers for tests: single, with replicas, watched by sentinels, as a cluster; broken in every way, gone
//! when the test is.
//!
//! A server starts within a tenth of a second and has a few megabytes, so each test starts its own and shares nothing.

mod install;
mod server;
mod cluster;
mod sentinels;

pub use cluster::Cluster;
pub use install::{there, with_tls};
pub use sentinels::Sentinels;
pub use server::{Server, Settings};
