//! Every black-box test, in one binary: one link.

#![expect(clippy::unwrap_used, reason = "clippy exempts tests, but not the functions that they share")]

mod tidy;
mod dependencies;
mod cli;
mod examples;
mod push;
mod files;
mod serving;
mod reload;
mod feast;
mod delivery;
mod recovery;
mod signals;
mod isolation;
mod bad_input;
mod docs;
mod support;
