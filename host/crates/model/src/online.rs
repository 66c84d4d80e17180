//! The online store: the newest row of each entity, and how far it got.
//!
//! Contract of [`OnlineStore::write`]: rows are compared by [`RowVersion`] and the greatest is kept, decided in the
//! store in one step; when the call returns, reads see them. Writing a batch again changes nothing.
//! Contract of [`Ledger`]: rows and the position that covers them become durable together.

use futures_core::future::BoxFuture;

use crate::batch::{Applied, FeatureBatch};
use crate::error::Failure;
use crate::position::{Partition, Position, RowVersion};
use crate::source::Positions;
use crate::value::Value;
use crate::view::{Digest, Generation, ViewShape};

use std::sync::Arc;

/// Takes feature rows.
pub trait OnlineStore: Send + Sync {
    /// Writes rows and notes that the view's partition is done through `batch.covers.through`.
    fn write(&self, batch: Arc<FeatureBatch>) -> BoxFuture<'static, Result<Applied, Failure>>;

    /// Makes everything written so far durable, rows and positions together; returns once it is.
    fn checkpoint(&self) -> BoxFuture<'static, Result<(), Failure>>;
}

/// One stored row.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRow {
    /// What decided that this row is the newest; `event_time` in it is the feature timestamp.
    pub version: RowVersion,
    /// One value per requested feature, in the order of the request.
    pub values: Vec<Value>,
}

/// Reads feature rows. Separate, because only serving reads.
pub trait OnlineReader: Send + Sync {
    /// The newest row of each entity, `None` where there is none; regardless of its age.
    ///
    /// `keys`: join-key values in the view's declared order, one entry per entity. `features`: indexes into
    /// [`ViewShape::features`].
    fn get(
        &self,
        view: &Arc<ViewShape>,
        keys: Vec<Vec<Value>>,
        features: Vec<usize>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredRow>>, Failure>>;

    /// Several views at a time, in one round trip where the store is elsewhere; answers in the order of `lookups`.
    fn get_all(
        &self,
        lookups: Vec<Lookup>,
    ) -> BoxFuture<'static, Result<Vec<Vec<Option<StoredRow>>>, Failure>> {
        let found: Vec<_> = lookups
            .into_iter()
            .map(|Lookup { view, keys, features }| self.get(&view, keys, features))
            .collect();
        Box::pin(async move {
            let mut rows = Vec::with_capacity(found.len());
            for found in found {
                rows.push(found.await?);
            }
            Ok(rows)
        })
    }
}

/// What is read of one view; see [`OnlineReader::get`].
#[derive(Debug, Clone)]
pub struct Lookup {
    /// The view.
    pub view: Arc<ViewShape>,
    /// Join-key values in the view's declared order, one entry per entity.
    pub keys: Vec<Vec<Value>>,
    /// Indexes into [`ViewShape::features`].
    pub features: Vec<usize>,
}

/// A generation and where it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationEntry {
    /// Number and digest.
    pub generation: Generation,
    /// For each partition the last position that an earlier generation took; absent = from the beginning.
    pub after: Positions,
}

/// Behind which position a view begins in each partition; `None` = at its beginning.
pub type Starts = std::collections::BTreeMap<Partition, Option<Position>>;

/// What is durably known of a view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViewLedger {
    /// Generations, oldest first. Older ones are dropped once no replay can reach them.
    pub generations: Vec<GenerationEntry>,
    /// Where the view began in each partition: events through this position were never its. `None` = the beginning.
    pub started: Starts,
    /// Through which position each partition is durable in the online store.
    pub online: Positions,
    /// How often the view was rewound.
    pub epoch: u32,
}

/// Durable knowledge of positions and generations, kept beside the rows.
///
/// All calls may block on the disk; none is called for each batch.
pub trait Ledger: Send + Sync {
    /// What is known of a view; empty for a view that was never seen.
    fn view(&self, view: &str) -> Result<ViewLedger, Failure>;

    /// Notes where a view begins in a partition; durable on return. A second note for the same partition is ignored.
    fn start(&self, view: &str, partition: &Partition, after: Option<Position>) -> Result<(), Failure>;

    /// Notes a new generation, or where it begins in a further partition; durable on return.
    fn begin_generation(&self, view: &str, entry: &GenerationEntry) -> Result<(), Failure>;

    /// Drops generations before `number`; nothing will be replayed with them.
    fn forget_generations_before(&self, view: &str, number: u32) -> Result<(), Failure>;

    /// Through which position a view's partition is durable in the online store.
    fn durable(&self, view: &str, partition: &Partition) -> Option<Position>;

    /// Notes progress of a view without online rows; durable with the next checkpoint.
    fn advance(&self, view: &str, partition: &Partition, through: &Position);

    /// Takes back that rows are durable: the store has lost them. In these partitions the view's online position goes
    /// back to `to` (`None` = where the view began), if it is beyond; generations and epoch stay. Durable on return.
    ///
    /// Nothing of the view may be under way in these partitions.
    fn set_back(&self, view: &str, to: &Starts) -> Result<(), Failure>;

    /// Sets a view back: in these partitions it begins behind these positions, and nothing behind them counts as
    /// online; rows stay. Its generations are replaced by `generation` from there on. Durable on return.
    ///
    /// Nothing of the view may be under way.
    fn rewind(
        &self,
        view: &str,
        to: &Starts,
        generation: &GenerationEntry,
        epoch: u32,
    ) -> Result<(), Failure>;

    /// Notes positions under a name beside a view's, such as `<view>#store`, in the place of those that it had in these
    /// partitions. Durable on return.
    fn note(&self, name: &str, to: &Starts, epoch: u32) -> Result<(), Failure> {
        // A rewind wants a generation; nothing is ever transformed under such a name.
        let generation = Generation { number: 1, digest: Digest([0; 32]) };
        self.rewind(name, to, &GenerationEntry { generation, after: Positions::new() }, epoch)
    }
}
