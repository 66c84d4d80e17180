//! What is wrong with a cluster before anything runs: for `host check --connect` and `host doctor`.
//!
//! Reads, writes and joins nothing; whether we *may* is asked of the brokers. Only [`Depth::Doctor`] goes further: it
//! begins a producer with a transactional id of its own, which leaves nothing behind but the id.
//! Goes from the outside in: as long as nobody lets us in, topics and rights are not looked at.

mod contact;
mod explain;
mod look;
mod rights;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{Connection, CreateTopic};

pub use crate::finding::{Depth, Finding, Severity};

/// How long to try to get in.
const PATIENCE: Duration = Duration::from_secs(6);

/// What is going to be done with a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// Topics are read by the members of a group.
    Source {
        /// The topics.
        topics: Vec<String>,
        /// The group.
        group: String,
        /// Whether reading begins where the group is, which then has to be somewhere.
        is_from_committed: bool,
    },
    /// Records are written to a topic: an output stream's or dead letters.
    Output {
        /// The topic.
        topic: String,
        /// How it is made if it is missing.
        create: Option<CreateTopic>,
        /// Bytes of the largest record that is going to be written; `None` = the client's own limit.
        record_bytes: Option<usize>,
        /// The beginning of transactional ids, if records are written in transactions.
        transactional_id: Option<String>,
    },
}

/// Looks at a cluster with the eyes of what is going to use it. Blocks, for some seconds where something is wrong.
///
/// The findings come in the order of the expectations, those about the connection first.
pub fn probe(connection: &Connection, expectations: &[Expectation], depth: Depth) -> Vec<Finding> {
    match contact::reach(connection, PATIENCE) {
        Ok(cluster) => look::around(connection, cluster, expectations, depth),
        Err(why) => vec![explain::no_contact(connection, why)],
    }
}
