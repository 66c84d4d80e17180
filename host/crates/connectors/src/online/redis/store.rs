//! The store as others see it.

use std::sync::Arc;

use futures_core::future::BoxFuture;
use model::batch::{Applied, FeatureBatch};
use model::error::Failure;
use model::online::{Lookup, OnlineReader, OnlineStore, StoredRow};
use model::position::RowVersion;
use model::value::Value;
use model::view::{ViewRef, ViewShape};

use super::options::{Loss, RedisStoreOptions};

/// Called when rows were lost; see [`RedisStore::on_loss`].
pub type LossHook = Box<dyn Fn(Vec<Loss>) + Send + Sync>;

/// The shared online store.
pub struct RedisStore {
    _options: RedisStoreOptions,
}

impl RedisStore {
    /// Opens it. Waits for no answer: while Redis is away, writes fail and are to be repeated. Stops with words if
    /// something is wrong that stays wrong.
    pub fn open(options: RedisStoreOptions) -> Result<Arc<Self>, Failure> {
        Ok(Arc::new(Self { _options: options }))
    }

    /// Registers who hears of lost rows, before the first write. From then on writes of these views and partitions
    /// fail, until [`RedisStore::accept`]. Called on a thread of the store, which must not be blocked for long.
    pub fn on_loss(&self, _hook: LossHook) {}

    /// The source is read again from where the rows were lost: writes are taken again.
    pub fn accept(&self, _losses: &[Loss]) {}

    /// Deletes entities as of a version, as [`crate::online::embedded::EmbeddedStore::delete`] does.
    pub fn delete(
        &self,
        view: &ViewRef,
        _keys: &[Vec<Value>],
        _version: &RowVersion,
    ) -> BoxFuture<'static, Result<Vec<bool>, Failure>> {
        let failure = Failure::stop(format!("delete rows of view `{}`", view.name));
        Box::pin(std::future::ready(Err(failure)))
    }

    /// Ends its threads; writes under way are waited for.
    pub fn close(&self) -> Result<(), Failure> {
        Ok(())
    }
}

impl OnlineStore for RedisStore {
    fn write(&self, batch: Arc<FeatureBatch>) -> BoxFuture<'static, Result<Applied, Failure>> {
        let failure = Failure::stop(format!("write rows of view `{}`", batch.view.name));
        Box::pin(std::future::ready(Err(failure)))
    }

    fn checkpoint(&self) -> BoxFuture<'static, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl OnlineReader for RedisStore {
    fn get(
        &self,
        view: &Arc<ViewShape>,
        keys: Vec<Vec<Value>>,
        features: Vec<usize>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredRow>>, Failure>> {
        let all = self.get_all(vec![Lookup { view: Arc::clone(view), keys, features }]);
        Box::pin(async move { Ok(all.await?.pop().unwrap_or_default()) })
    }

    fn get_all(
        &self,
        _lookups: Vec<Lookup>,
    ) -> BoxFuture<'static, Result<Vec<Vec<Option<StoredRow>>>, Failure>> {
        Box::pin(std::future::ready(Err(Failure::stop("read rows"))))
    }
}
