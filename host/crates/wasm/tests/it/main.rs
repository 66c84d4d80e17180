//! The sandbox against real guests: what it admits, how it calls, and how it stands up to guests that misbehave.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admission;
mod calls;
mod description;
mod hostile;
mod logs;
mod support;
mod wasi;
