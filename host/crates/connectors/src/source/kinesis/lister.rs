//! The shards of the stream for those who keep leases, and their hash keys for those who unpack records.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_core::future::BoxFuture;
use model::error::Failure;
use model::position::Partition;

use super::calls::{Calls, Refusal};
use crate::kinesis::lease::{ShardLister, ShardPage};

/// Lists a stream's shards.
pub(super) struct Lister {
    source: String,
    connection: String,
    calls: Arc<dyn Calls>,
    hash_keys: Mutex<HashKeys>,
}

/// First and last hash key of each shard.
#[derive(Default)]
struct HashKeys {
    listed: HashMap<Partition, (u128, u128)>,
    /// Of the pages that came so far.
    coming: HashMap<Partition, (u128, u128)>,
}

impl Lister {
    pub(super) fn new(source: String, connection: String, calls: Arc<dyn Calls>) -> Self {
        Self { source, connection, calls, hash_keys: Mutex::default() }
    }

    /// The first and the last hash key that are a shard's own; all, if nothing is known of it.
    pub(super) fn hash_keys(&self, shard: &Partition) -> (u128, u128) {
        let keys = self.hash_keys.lock().unwrap_or_else(PoisonError::into_inner);
        let known = keys.coming.get(shard).or_else(|| keys.listed.get(shard));
        known.copied().unwrap_or((0, u128::MAX))
    }
}

impl ShardLister for Lister {
    fn page(&self, next: Option<String>) -> BoxFuture<'_, Result<ShardPage, Failure>> {
        Box::pin(async move {
            let is_first = next.is_none();
            let (shards, next) = self.calls.list(next).await.map_err(|refusal| match refusal {
                Refusal::Trouble(trouble) => {
                    trouble.failure(&self.connection, &format!("list the shards of source `{}`", self.source))
                }
                Refusal::Settings(failure) => failure,
            })?;
            let mut keys = self.hash_keys.lock().unwrap_or_else(PoisonError::into_inner);
            if is_first {
                keys.coming.clear();
            }
            let found = shards.iter().map(|listed| (Partition::new(&listed.shard.id), listed.hash_keys));
            keys.coming.extend(found);
            if next.is_none() {
                keys.listed = std::mem::take(&mut keys.coming);
            }
            Ok(ShardPage { shards: shards.into_iter().map(|listed| listed.shard).collect(), next })
        })
    }
}
