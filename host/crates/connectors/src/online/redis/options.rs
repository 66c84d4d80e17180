//! What the store is opened with, and what it tells.

use std::path::PathBuf;
use std::sync::Arc;

use model::online::Ledger;
use model::position::{Partition, Position};
use model::time::Clock;

use crate::redis::{Connection, Shared};

/// What a [`super::RedisStore`] is opened with.
#[derive(Clone)]
pub struct RedisStoreOptions {
    /// The project, part of every key.
    pub project: String,
    /// Where Redis is.
    pub connection: Connection,
    /// Remembers positions: those that Redis has acknowledged are noted here.
    pub ledger: Arc<dyn Ledger>,
    /// Where the host notes what it needs to find lost writes again after a restart.
    pub directory: PathBuf,
    /// This host's name among hosts.
    pub instance: String,
    /// Bytes of memory for what is known of entities that this host wrote last.
    pub memory_bytes: usize,
    /// Connections that write.
    pub writers: usize,
    /// Decides when entities expire.
    pub clock: Arc<dyn Clock>,
    /// Runtime and hook.
    pub shared: Shared,
}

/// Rows of one view and partition that Redis had acknowledged and has lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The view.
    pub view: String,
    /// The partition of its source.
    pub partition: Partition,
    /// Through where Redis still has the rows; `None` = nothing is certain.
    pub to: Option<Position>,
}
