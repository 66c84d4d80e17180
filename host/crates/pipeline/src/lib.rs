//! The flow: events in, features out.
//!
//! ```text
//! source ─▶ reading ─▶ intake/lane ─▶ cursor ─▶ transform ─▶ assemble ─▶ deliver ─▶ sinks
//!           a thread   shared         per unit  guest call   columns,    letters,
//!           decodes    batches                  and bisect   bounds      rows, records
//! ```
//!
//! A *unit* is one view on one source partition ([`mod@unit`]); it runs in turns on a pool of threads ([`pool`]).
//! [`flow`] starts, swaps and stops views, [`start`] finds where they begin, [`generations`] which transform makes
//! what, [`release`] what may be forgotten. Partitions come and go: [`assign`] hears of it, [`roster`] makes the units,
//! and its page has the order of locks. The crate knows the traits of `model` and nothing of files, networks,
//! formats or WebAssembly.

pub mod setup;

pub mod flow;
mod assign;
mod drain;
mod repair;
mod rewind;
mod roster;
mod start;
mod status;

mod intake;
mod lane;
mod reading;

mod cursor;
mod unit;

mod at_work;
mod breaker;
mod generations;
mod transform;

mod assemble;
mod deliver;

mod orders;
mod progress;
mod release;
mod view;
mod waiters;

mod block_on;
mod events;
mod pool;
mod retry;
mod shared;
mod timer;

pub use flow::{Flow, IntakeHold};
pub use repair::LostRows;
pub use status::Waiting;
pub use transform::input;
