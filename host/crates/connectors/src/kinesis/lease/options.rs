//! What a source's leases are opened with.

use std::path::PathBuf;
use std::time::Duration;

use crate::kinesis::Shared;
use crate::redis;

/// Where leases are kept.
#[expect(clippy::large_enum_variant, reason = "a source has one; a box would only make it harder to write")]
#[derive(Debug, Clone)]
pub enum LeasePlace {
    /// In a file of this host, which reads the whole stream.
    Alone {
        /// The folder of the file, which nobody else writes to.
        directory: PathBuf,
    },
    /// In Redis: hosts with the same project and source share the shards.
    Redis {
        /// Where.
        connection: redis::Connection,
        /// Runtime and hook.
        shared: redis::Shared,
    },
}

/// What [`super::Leases`] are opened with.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// The project.
    pub project: String,
    /// The source.
    pub source: String,
    /// This host's name among hosts.
    pub instance: String,
    /// Where leases are kept.
    pub place: LeasePlace,
    /// How long a lease holds that is not renewed. Shorter, and a host that pauses loses its shards; longer, and those
    /// of a host that died wait longer.
    pub duration: Duration,
    /// Runtime and metrics.
    pub shared: Shared,
}
