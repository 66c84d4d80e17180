//! What a writer needs of a view, made once: key and field names as they go over the wire, the claim, what it knows of
//! entities.

use std::time::{Duration, Instant};

use model::error::Failure;
use model::view::{ViewRef, ViewShape};

use super::claim::Claim;
use super::known::Known;
use super::wire::bulk;
use crate::online::redis::expiry::Lifetime;
use crate::online::redis::layout::{Fields, KeyLayout};
use crate::online::redis::options::RedisStoreOptions;
use crate::redis::ViewMetrics;

/// A view with so many features does not fit into one call.
const MOST_FEATURES: usize = 8_000;

/// A view as a writer sees it.
pub(super) struct View {
    pub(super) shape: ViewRef,
    pub(super) keys: KeyLayout,
    pub(super) fields: Fields,
    pub(super) lifetime: Lifetime,
    /// The field names of features, each as a bulk string.
    pub(super) feature_bulks: Vec<Vec<u8>>,
    /// Field name of versions, as a bulk string.
    pub(super) version_bulk: Vec<u8>,
    /// Field name of event times, as a bulk string.
    pub(super) time_bulk: Vec<u8>,
    /// Key of the claim.
    pub(super) claim_key: String,
    /// Key of those who write without it.
    pub(super) writers_key: String,
    /// Key of what rows of the view may hold from earlier: `deletions`, `deadlines`.
    pub(super) history_key: String,
    pub(super) claim: Claim,
    pub(super) known: Known,
    pub(super) metrics: ViewMetrics,
}

impl View {
    pub(super) fn new(
        shape: &ViewRef,
        options: &RedisStoreOptions,
        known_bytes: usize,
    ) -> Result<Self, Failure> {
        if shape.features.len() > MOST_FEATURES {
            return Err(Failure::stop(format!(
                "keep view `{}` in Redis: it has {} features, and {MOST_FEATURES} are the most",
                shape.name,
                shape.features.len()
            )));
        }
        let fields = Fields::new(shape)?;
        let feature_bulks = fields.features.iter().map(|field| bulk(field)).collect();
        Ok(Self {
            keys: KeyLayout::new(shape),
            lifetime: Lifetime::of(shape),
            feature_bulks,
            version_bulk: bulk(&fields.version),
            time_bulk: bulk(&fields.time),
            fields,
            claim_key: key(shape, "claim"),
            writers_key: key(shape, "writers"),
            history_key: key(shape, "history"),
            claim: Claim::new(&options.instance),
            known: Known::new(known_bytes),
            metrics: options.shared.metrics.view(&shape.name),
            shape: ViewRef::clone(shape),
        })
    }

    /// Looks its series up again: those of a view that was removed are gone, and it may be back by now.
    pub(super) fn count_anew(&mut self, options: &RedisStoreOptions) {
        self.metrics = options.shared.metrics.view(&self.shape.name);
    }

    /// Drops the claim and what was known under it; it is taken again after a pause.
    pub(super) fn lose_claim(&mut self, now: Instant, pause: Duration) {
        self.claim.lose(now, pause);
        self.known.clear();
    }

    /// Name, for messages.
    pub(super) fn name(&self) -> &str {
        &self.shape.name
    }
}

fn key(view: &ViewShape, what: &str) -> String {
    format!("millrace:{}:{what}:{}", view.project, view.name)
}
