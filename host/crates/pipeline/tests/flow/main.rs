//! The flow against fakes: every promise that does not need a sandbox, a disk or a network.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod world;
mod steps;
mod rows;
mod sharing;
mod faults;
mod generations;
mod restarts;
mod troubles;
mod waiting;
mod lifecycle;
mod crashes;
mod hosts;
mod handover;
mod assignments;
mod rewinds;
mod repairs;
mod shared_rows;
