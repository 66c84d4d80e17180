//! Contract suites: what every connector of a kind promises, as clauses that its own tests run.

pub mod online;
pub mod source;
