//! Entities → their newest rows: from memory, or from one look-up on disk that leaves the row in memory.

use std::sync::Arc;

use model::error::Failure;
use model::online::StoredRow;
use model::value::Value;
use model::view::ViewRef;

use super::core::Core;
use super::key::append_key;
use super::record::{Stored, TOMBSTONE, damaged};
use super::row::{Layout, schema_number};
use super::version::Version;
use super::views::RowSet;

impl Core {
    /// The newest row of each entity, with the requested features; tombstones and unknown entities are `None`.
    pub(super) fn read(
        &self,
        view: &ViewRef,
        keys: &[Vec<Value>],
        features: &[usize],
    ) -> Result<Vec<Option<StoredRow>>, Failure> {
        if let Some(feature) = features.iter().find(|feature| **feature >= view.features.len()) {
            return Err(Failure::stop(format!(
                "read feature {feature} of view `{}`: it has no such",
                view.name
            )));
        }
        let Some(row_set) = self.views.find(view, &self.ledger) else { return Ok(vec![None; keys.len()]) };
        let mut projection = Projection::new(view, features, &row_set);
        let mut key = Vec::new();
        keys.iter()
            .map(|values| {
                key.clear();
                if append_key(row_set.number, &view.keys, values, &mut key)? {
                    self.read_one(&key, &mut projection)
                } else {
                    Ok(None)
                }
            })
            .collect()
    }

    fn read_one(&self, key: &[u8], projection: &mut Projection<'_>) -> Result<Option<StoredRow>, Failure> {
        let hash = self.table.hash(key);
        let mut shard = self.table.lock(hash.shard());
        if let Some(record) = shard.read(hash.tag(), key) {
            return self.project(&record.version(), record.flags, record.row(), projection);
        }
        if projection.row_set.is_complete() {
            return Ok(None);
        }
        let evictions = shard.evictions;
        drop(shard);
        let Some(value) = self.look_up(key)? else { return Ok(None) };
        let stored = Stored::parse(value.as_ref(), &self.names)?;
        let mut shard = self.table.lock(hash.shard());
        // Whoever put the entity into memory meanwhile may have put a newer row there.
        if let Some(record) = shard.read(hash.tag(), key) {
            return self.project(&record.version(), record.flags, record.row(), projection);
        }
        if shard.evictions == evictions && (self.table.has_room() || shard.has_clean()) {
            shard.insert(&stored.to_row(hash.tag(), key), false);
            // A wish for a checkpoint is left to writers: reading makes nothing dirty.
            self.table.settle(&mut shard, |key| self.views.note_forgotten(key));
        }
        drop(shard);
        self.project(&stored.version, stored.flags, stored.row, projection)
    }

    fn project(
        &self,
        version: &Version<'_>,
        flags: u8,
        row: &[u8],
        projection: &mut Projection<'_>,
    ) -> Result<Option<StoredRow>, Failure> {
        if flags & TOMBSTONE != 0 {
            return Ok(None);
        }
        let values = projection.values(row).ok_or_else(damaged)?;
        let version = version.to_row_version(&self.names).ok_or_else(damaged)?;
        Ok(Some(StoredRow { version, values }))
    }
}

/// Requested features, found by name in rows of whatever schema.
pub(super) struct Projection<'a> {
    view: &'a ViewRef,
    features: &'a [usize],
    row_set: &'a RowSet,
    of_schema: Vec<(u16, Mapping)>,
}

/// A layout, and for each requested feature its place in it; `None` where rows of that schema do not have it.
struct Mapping {
    layout: Arc<Layout>,
    features: Vec<Option<usize>>,
}

impl<'a> Projection<'a> {
    pub(super) fn new(view: &'a ViewRef, features: &'a [usize], row_set: &'a RowSet) -> Self {
        Self { view, features, row_set, of_schema: Vec::new() }
    }

    /// `None` if the row is damaged.
    pub(super) fn values(&mut self, row: &[u8]) -> Option<Vec<Value>> {
        let schema = schema_number(row)?;
        let known = self.of_schema.iter().position(|(number, _)| *number == schema);
        let known = match known {
            Some(known) => known,
            None => {
                let mapping = self.mapping(schema)?;
                self.of_schema.push((schema, mapping));
                self.of_schema.len() - 1
            }
        };
        let mapping = &self.of_schema[known].1;
        mapping
            .features
            .iter()
            .map(|feature| feature.map_or(Some(Value::Null), |feature| mapping.layout.value(row, feature)))
            .collect()
    }

    fn mapping(&self, schema: u16) -> Option<Mapping> {
        let layout = self.row_set.layout(schema)?;
        let features = self
            .features
            .iter()
            .map(|wanted| {
                let wanted = &self.view.features[*wanted];
                let same = |stored: &model::schema::Field| {
                    stored.name == wanted.name && stored.data_type == wanted.data_type
                };
                layout.features.iter().position(same)
            })
            .collect();
        Some(Mapping { layout, features })
    }
}
