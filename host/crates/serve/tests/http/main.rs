//! The server over real HTTP, with a store, a flow and sources that are fakes.
#![expect(clippy::unwrap_used, reason = "clippy exempts tests, but not the functions that they share")]

mod connections;
mod fakes;
mod feast_push;
mod feast_read;
mod features;
mod harness;
mod ops;
mod page;
mod push;
mod rewind;
mod shared;
