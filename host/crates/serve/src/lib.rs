//! HTTP: feature vectors out, pushed events in, and how the host is doing.
//!
//! A request meets the modules in this order: [`server`] accepts its connection, [`router`] finds its endpoint,
//! [`body`] reads what it carries within limits, then one of three families answers: [`feast`] (what stock Feast
//! clients speak), [`v1`] (our own, with status, time and version of each row) and [`ops`] (probes and metrics).
//! Reads of both families share [`lookup`]; everything they say is written by [`json`].
//!
//! The crate knows stores, sources and the flow only by the traits of `model`, and what exists only by the
//! [`Directory`] that the host builds from its plan at each reload. It starts no runtime and reads no clock.
//! Request and answer bodies are never a tree of values: requests are parsed into borrowed parts, answers are bytes
//! from the start. `docs/http.md` describes every endpoint; the tests execute that page.

mod body;
mod directory;
mod feast;
mod health;
mod json;
mod keys;
mod lookup;
mod metrics;
mod ops;
mod problem;
mod query;
mod request;
mod router;
mod server;
mod share;
mod state;
mod suggest;
mod v1;

pub use directory::{Directory, PushEntry, Service};
pub use health::{Health, Phase, Trouble};
pub use server::{BindError, ServeError, Server};
pub use share::{Share, SharedStream};
pub use state::{ServeSettings, ServeState};
