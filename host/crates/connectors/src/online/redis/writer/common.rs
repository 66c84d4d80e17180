//! What all writers of a store share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::super::notes::Notes;
use super::super::options::RedisStoreOptions;
use crate::redis::Nodes;

/// What all writers of a store share.
pub(in crate::online::redis) struct Common {
    pub(in crate::online::redis) options: RedisStoreOptions,
    pub(in crate::online::redis) nodes: Arc<Nodes>,
    pub(in crate::online::redis) notes: Arc<Notes>,
    /// Whether the eviction policy was complained about.
    pub(in crate::online::redis) warned: AtomicBool,
}

impl Common {
    /// Key of the store's name.
    pub(super) fn store_key(&self) -> String {
        format!("millrace:{}:store", self.options.project)
    }

    /// Key of a writer's mark.
    pub(super) fn mark_key(&self, writer: usize) -> String {
        format!("millrace:{}:mark:{}:{writer}", self.options.project, self.options.instance)
    }
}
