//! The shards of a stream, and who is asked for them.

use futures_core::future::BoxFuture;
use model::error::Failure;

/// A shard as the stream names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its name, which is that of the partition.
    pub id: String,
    /// What it was split or merged from: none, one or two. The stream may name them no more.
    pub parents: Vec<String>,
    /// Sequence number at which it begins.
    pub starting: String,
    /// Sequence number at which it ends; `None` = it is open.
    pub ending: Option<String>,
    /// The first and the last hash key of its records.
    pub hash_keys: (u128, u128),
}

impl Shard {
    /// Whether no record can come any more.
    pub fn is_closed(&self) -> bool {
        self.ending.is_some()
    }
}

/// Some of the shards of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShardPage {
    /// These.
    pub shards: Vec<Shard>,
    /// What to ask with for the next page; `None` = this was the last.
    pub next: Option<String>,
}

/// Knows the shards of one stream.
pub trait ShardLister: Send + Sync {
    /// The first page, or the one behind `next`, of the shards that the stream still has records of, open or closed.
    /// A [`model::error::Disposition::Stop`] is a reason that mends itself as little as a stream that does not exist;
    /// it is asked again all the same.
    fn page(&self, next: Option<String>) -> BoxFuture<'_, Result<ShardPage, Failure>>;
}
