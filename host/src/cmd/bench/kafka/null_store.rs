//! An online store that forgets rows and keeps positions: what is left of the host's cost is the way to and from Kafka.

use std::sync::Arc;

use connectors::online::embedded::EmbeddedStore;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use model::batch::{Applied, FeatureBatch};
use model::error::Failure;
use model::online::{Ledger, OnlineStore};

/// Positions go to the embedded store's ledger, rows nowhere.
pub(super) struct NullStore(pub(super) Arc<EmbeddedStore>);

impl OnlineStore for NullStore {
    fn write(&self, batch: Arc<FeatureBatch>) -> BoxFuture<'static, Result<Applied, Failure>> {
        self.0.advance(&batch.view.name, &batch.partition, &batch.covers.through);
        ready(Ok(Applied::default())).boxed()
    }

    fn checkpoint(&self) -> BoxFuture<'static, Result<(), Failure>> {
        self.0.checkpoint()
    }
}
