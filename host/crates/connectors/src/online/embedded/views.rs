//! Which rows belong to which view: row sets, schemas, TTLs.
//!
//! A *row set* is the rows of one view with one list of join keys; a view whose join keys change begins a new one, as
//! keys of one form say nothing about the other. A *schema* is one list of features that rows of a row set were written
//! with; rows of older schemas are read by feature name, a feature that is absent there or has another type is null.
//! Both get their numbers here, durable before the first row that uses them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use model::error::Failure;
use model::schema::Field;
use model::view::{ViewRef, ViewShape};

use super::disk::Disk;
use super::ledger::Ledgers;
use super::meta::Fact;
use super::row::Layout;

/// Shapes of one view that are remembered: the one that is written, the one that is read, and one of each to come.
const REMEMBERED_SHAPES: usize = 4;

/// Stands for "no TTL".
const FOREVER: i64 = i64::MAX;

#[derive(Default)]
pub(super) struct Views {
    /// By view name; found on each write and read.
    resolved: RwLock<HashMap<String, Vec<Arc<Resolved>>>>,
    /// By number, from 1.
    row_sets: RwLock<Vec<Arc<RowSet>>>,
    /// Views as their files have them, by name.
    declared: RwLock<HashMap<String, ViewRef>>,
    /// By view number and join keys. Held while numbers are given, which writes to disk.
    known: Mutex<HashMap<(u32, String), Arc<RowSet>>>,
}

/// The rows of one view with one list of join keys.
pub(super) struct RowSet {
    pub(super) number: u32,
    /// Every row on disk is in memory too, so an entity that is not there is nowhere.
    pub(super) complete: AtomicBool,
    ttl_micros: AtomicI64,
    schemas: RwLock<Vec<Arc<Layout>>>,
}

/// A view's shape, and the numbers that its rows are written with.
pub(super) struct Resolved {
    shape: ViewRef,
    pub(super) row_set: Arc<RowSet>,
    pub(super) schema: u16,
    pub(super) layout: Arc<Layout>,
}

impl RowSet {
    fn new(number: u32) -> Self {
        Self {
            number,
            complete: AtomicBool::new(true),
            ttl_micros: AtomicI64::new(FOREVER),
            schemas: RwLock::default(),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    pub(super) fn ttl_micros(&self) -> Option<i64> {
        Some(self.ttl_micros.load(Ordering::Relaxed)).filter(|ttl| *ttl != FOREVER)
    }

    fn set_ttl(&self, view: &ViewShape) {
        self.ttl_micros.store(view.ttl_micros.unwrap_or(FOREVER), Ordering::Relaxed);
    }

    /// The features that rows with this schema number have.
    pub(super) fn layout(&self, schema: u16) -> Option<Arc<Layout>> {
        self.schemas.read().expect(UNBROKEN).get(usize::from(schema)).cloned()
    }
}

const UNBROKEN: &str = "nothing panics while it changes what is known of views";

impl Views {
    /// Takes in a fact that was read when the store opened. Row sets come before their schemas, schemas in order.
    pub(super) fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::RowSet { view, keys, number } => {
                let row_sets = self.row_sets.get_mut().expect(UNBROKEN);
                while row_sets.len() < *number as usize {
                    let next = u32::try_from(row_sets.len() + 1).unwrap_or(u32::MAX);
                    row_sets.push(Arc::new(RowSet::new(next)));
                }
                let row_set = Arc::clone(&row_sets[*number as usize - 1]);
                self.known.get_mut().expect(UNBROKEN).insert((*view, keys.clone()), row_set);
            }
            Fact::Schema { row_set, features, .. } => {
                if let Some(row_set) = self.row_set(*row_set) {
                    let layout = Arc::new(Layout::new(features.clone()));
                    row_set.schemas.write().expect(UNBROKEN).push(layout);
                }
            }
            _ => {}
        }
    }

    pub(super) fn row_set(&self, number: u32) -> Option<Arc<RowSet>> {
        let index = (number as usize).checked_sub(1)?;
        self.row_sets.read().expect(UNBROKEN).get(index).cloned()
    }

    pub(super) fn row_sets(&self) -> Vec<Arc<RowSet>> {
        self.row_sets.read().expect(UNBROKEN).clone()
    }

    /// Notes that a row of this key is no longer in memory. Called under the lock of the key's shard, before it goes.
    pub(super) fn note_forgotten(&self, key: &[u8]) {
        let number = key.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        if let Some(row_set) = self.row_set(number) {
            row_set.complete.store(false, Ordering::Release);
        }
    }

    /// The numbers for writing rows of this shape, made durable if they are new.
    pub(super) fn resolve(
        &self,
        view: &ViewRef,
        ledger: &Ledgers,
        disk: &Disk,
    ) -> Result<Arc<Resolved>, Failure> {
        if let Some(resolved) = self.remembered(view) {
            return Ok(resolved);
        }
        let number = ledger.number(&view.name, disk)?;
        let mut known = self.known.lock().expect(UNBROKEN);
        let (row_set, is_new) = match known.get(&(number, join_keys(view))) {
            Some(row_set) => (Arc::clone(row_set), false),
            None => {
                let count = self.row_sets.read().expect(UNBROKEN).len();
                let next = u32::try_from(count + 1)
                    .map_err(|_| Failure::stop("give a view's rows a number: all 2^32 are taken"))?;
                (Arc::new(RowSet::new(next)), true)
            }
        };
        let schemas = row_set.schemas.read().expect(UNBROKEN).clone();
        let (schema, layout) =
            match schemas.iter().position(|layout| same_fields(&layout.features, &view.features)) {
                Some(index) => (index, Arc::clone(&schemas[index])),
                None => (schemas.len(), Arc::new(Layout::new(view.features.clone()))),
            };
        let schema = u16::try_from(schema).map_err(|_| {
            Failure::stop(format!("store rows of view `{}`: its features changed 65,536 times", view.name))
        })?;
        let mut facts = Vec::new();
        if is_new {
            facts.push(Fact::RowSet { view: number, keys: join_keys(view), number: row_set.number });
        }
        if usize::from(schema) == schemas.len() {
            let features = view.features.clone();
            facts.push(Fact::Schema { row_set: row_set.number, number: schema, features });
        }
        disk.put_facts(&facts)?;
        // From here on nothing fails: what was made durable becomes known.
        if usize::from(schema) == schemas.len() {
            row_set.schemas.write().expect(UNBROKEN).push(Arc::clone(&layout));
        }
        if is_new {
            row_set.set_ttl(self.declared.read().expect(UNBROKEN).get(&view.name).unwrap_or(view));
            self.row_sets.write().expect(UNBROKEN).push(Arc::clone(&row_set));
            known.insert((number, join_keys(view)), Arc::clone(&row_set));
        }
        drop(known);
        let resolved = Arc::new(Resolved { shape: Arc::clone(view), row_set, schema, layout });
        let mut all = self.resolved.write().expect(UNBROKEN);
        let shapes = all.entry(view.name.clone()).or_default();
        if shapes.len() >= REMEMBERED_SHAPES {
            shapes.remove(0);
        }
        shapes.push(Arc::clone(&resolved));
        Ok(resolved)
    }

    /// The row set to read this shape from; `None` if nothing was ever written to it.
    pub(super) fn find(&self, view: &ViewRef, ledger: &Ledgers) -> Option<Arc<RowSet>> {
        if let Some(resolved) = self.remembered(view) {
            return Some(Arc::clone(&resolved.row_set));
        }
        let number = ledger.known_number(&view.name)?;
        self.known.lock().expect(UNBROKEN).get(&(number, join_keys(view))).cloned()
    }

    /// Notes a view's TTL, for rows that are there and those to come.
    pub(super) fn declare(&self, view: ViewRef, ledger: &Ledgers) {
        let known = self.known.lock().expect(UNBROKEN);
        if let Some(number) = ledger.known_number(&view.name) {
            for (_, row_set) in known.iter().filter(|((of, _), _)| *of == number) {
                row_set.set_ttl(&view);
            }
        }
        self.declared.write().expect(UNBROKEN).insert(view.name.clone(), view);
    }

    fn remembered(&self, view: &ViewRef) -> Option<Arc<Resolved>> {
        let all = self.resolved.read().expect(UNBROKEN);
        let shapes = all.get(&view.name)?;
        let same = shapes.iter().find(|known| Arc::ptr_eq(&known.shape, view)).or_else(|| {
            shapes.iter().find(|known| {
                same_fields(&known.shape.keys, &view.keys)
                    && same_fields(&known.shape.features, &view.features)
            })
        });
        same.cloned()
    }
}

/// Whether rows with these fields are laid out and read alike. Whether a value may be missing makes no difference.
fn same_fields(left: &[Field], right: &[Field]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(left, right)| left.name == right.name && left.data_type == right.data_type)
}

fn join_keys(view: &ViewShape) -> String {
    let keys: Vec<String> = view.keys.iter().map(|key| format!("{}: {}", key.name, key.data_type)).collect();
    keys.join(", ")
}
