//! Real servers that speak Kinesis for tests, a client of another make, and a network between that fails in Kinesis' ways.
//!
//! Two servers by different hands: what one gets wrong the other may get right. Ordinary tests share one of each for the
//! whole process ([`shared`]) and keep apart by the names of their streams ([`crate::kafka::name`]). None of them ever
//! throttles, fails in part or loses an answer: that is what [`Proxy`] is for.

mod install;
mod server;
mod client;
mod http;
mod proxy;

pub use client::{Client, Record, Shard};
pub use install::there;
pub use proxy::{Call, Choice, Fault, Proxy};
pub use server::{Make, Server, shared};
