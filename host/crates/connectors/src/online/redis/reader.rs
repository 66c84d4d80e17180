//! Reads rows: one command for each entity, whatever the number of views, and all commands in one round trip.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use futures_core::future::BoxFuture;
use model::error::Failure;
use model::online::{Lookup, StoredRow};
use model::value::Value;
use redis::{Cmd, Value as Answer};

use super::layout::{EntityKeys, Malformed, ViewLayout, ViewLayouts, decode, version};
use crate::redis::{Keyed, Nodes};

/// Fields that are asked for beside the features: event time and version.
const EXTRA_FIELDS: usize = 2;

/// The rows of each lookup, in the order of its keys.
type Found = Vec<Vec<Option<StoredRow>>>;

/// Reads rows that anybody has written, this host, another, or Feast.
pub(super) struct Reader {
    nodes: Arc<Nodes>,
    layouts: ViewLayouts,
}

impl Reader {
    /// A reader of these nodes.
    pub(super) fn new(nodes: Arc<Nodes>) -> Self {
        Self { nodes, layouts: ViewLayouts::default() }
    }

    /// What [`model::online::OnlineReader::get_all`] promises. A feature that is missing, or of another type than the view
    /// says, is null; one whose bytes are damaged fails the whole call.
    pub(super) fn get_all(&self, lookups: Vec<Lookup>) -> BoxFuture<'static, Result<Found, Failure>> {
        let request = match Request::new(&self.layouts, lookups) {
            Ok(request) if !request.commands.is_empty() => request,
            Ok(request) => return Box::pin(std::future::ready(Ok(request.nothing()))),
            Err(failure) => return Box::pin(std::future::ready(Err(failure))),
        };
        let nodes = Arc::clone(&self.nodes);
        Box::pin(async move { request.run(&nodes).await })
    }
}

/// Which row an answer is for.
#[derive(Debug, Clone, Copy)]
struct Target {
    lookup: usize,
    row: usize,
}

struct Request {
    lookups: Vec<Lookup>,
    layouts: Vec<Arc<ViewLayout>>,
    commands: Vec<Keyed>,
    /// The rows that each command asks for, in the order of its fields.
    targets: Vec<Target>,
    /// Where the targets of each command end.
    ends: Vec<usize>,
}

impl Request {
    fn new(layouts: &ViewLayouts, lookups: Vec<Lookup>) -> Result<Self, Failure> {
        let layouts = lookups
            .iter()
            .map(|lookup| {
                check_features(lookup)?;
                layouts.of(&lookup.view)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut request =
            Self { lookups, layouts, commands: Vec::new(), targets: Vec::new(), ends: Vec::new() };
        let mut keys = EntityKeys::default();
        // The entity of each key.
        let mut rows = Vec::new();
        for (index, (lookup, layout)) in request.lookups.iter().zip(&request.layouts).enumerate() {
            for (row, values) in lookup.keys.iter().enumerate() {
                if keys.push(&layout.keys, values)? {
                    rows.push(Target { lookup: index, row });
                }
            }
        }
        if request.lookups.len() == 1 {
            for (index, target) in rows.iter().enumerate() {
                request.add(keys.get(index), &[*target]);
            }
        } else {
            request.add_shared(&keys, &rows);
        }
        Ok(request)
    }

    /// Entities that several lookups ask for become one command.
    fn add_shared(&mut self, keys: &EntityKeys, rows: &[Target]) {
        let mut places: HashMap<&[u8], usize> = HashMap::with_capacity(rows.len());
        let mut shared: Vec<(usize, Vec<Target>)> = Vec::with_capacity(rows.len());
        for (index, target) in rows.iter().enumerate() {
            match places.entry(keys.get(index)) {
                Entry::Occupied(place) => shared[*place.get()].1.push(*target),
                Entry::Vacant(place) => {
                    place.insert(shared.len());
                    shared.push((index, vec![*target]));
                }
            }
        }
        for (index, targets) in shared {
            self.add(keys.get(index), &targets);
        }
    }

    fn add(&mut self, key: &[u8], targets: &[Target]) {
        let fields = |target: &Target| EXTRA_FIELDS + self.lookups[target.lookup].features.len();
        let count: usize = targets.iter().map(fields).sum();
        let names: usize =
            targets.iter().map(|target| 2 * self.layouts[target.lookup].fields.time.len()).sum();
        let mut command = Cmd::with_capacity(2 + count, 5 + key.len() + names + 4 * count);
        command.arg("HMGET").arg(key);
        for target in targets {
            let fields = &self.layouts[target.lookup].fields;
            command.arg(&fields.time[..]).arg(&fields.version[..]);
            for feature in &self.lookups[target.lookup].features {
                command.arg(&fields.features[*feature][..]);
            }
        }
        self.commands.push(Keyed::new(key, command));
        self.targets.extend_from_slice(targets);
        self.ends.push(self.targets.len());
    }

    fn nothing(&self) -> Found {
        self.lookups.iter().map(|lookup| vec![None; lookup.keys.len()]).collect()
    }

    async fn run(mut self, nodes: &Nodes) -> Result<Found, Failure> {
        let since = Instant::now();
        let answers = nodes.run(std::mem::take(&mut self.commands)).await?;
        nodes.metrics().reads.inc();
        nodes.metrics().read_seconds.observe(since.elapsed().as_secs_f64());
        let mut found = self.nothing();
        let mut start = 0;
        for (answer, end) in answers.into_iter().zip(&self.ends) {
            let Answer::Array(values) = answer? else { return Err(self.not_understood(start)) };
            let mut values = &values[..];
            for target in &self.targets[start..*end] {
                let count = EXTRA_FIELDS + self.lookups[target.lookup].features.len();
                let Some((row, rest)) = values.split_at_checked(count) else {
                    return Err(self.not_understood(start));
                };
                found[target.lookup][target.row] = self.row(*target, row)?;
                values = rest;
            }
            start = *end;
        }
        Ok(found)
    }

    /// The row of an entity; `None` if there is none, or it was deleted.
    fn row(&self, target: Target, values: &[Answer]) -> Result<Option<StoredRow>, Failure> {
        let [time, version, features @ ..] = values else { return Ok(None) };
        let held = version::held(bytes(version), bytes(time))
            .map_err(|malformed| self.damaged(target, "its version", malformed))?;
        let Some(held) = held.filter(|held| !held.deleted) else { return Ok(None) };
        let lookup = &self.lookups[target.lookup];
        let values = lookup.features.iter().zip(features).map(|(feature, value)| {
            let feature = &lookup.view.features[*feature];
            decode(bytes(value).unwrap_or_default(), &feature.data_type).map_err(|malformed| {
                self.damaged(target, &format!("its feature `{}`", feature.name), malformed)
            })
        });
        Ok(Some(StoredRow { version: held.version, values: values.collect::<Result<_, _>>()? }))
    }

    fn damaged(&self, target: Target, what: &str, malformed: Malformed) -> Failure {
        Failure::stop(format!(
            "read a row of view `{}` from Redis: {what} is damaged for the entity {}; remove its key there, and rewind the view if the row is to come back",
            self.lookups[target.lookup].view.name,
            self.entity(target)
        ))
        .caused_by(malformed)
    }

    fn not_understood(&self, target: usize) -> Failure {
        let view = self.targets.get(target).map_or("", |target| &self.lookups[target.lookup].view.name);
        Failure::stop(format!(
            "read rows of view `{view}` from Redis: the answer to HMGET is of another form than Redis gives it; check what is between this host and Redis"
        ))
    }

    /// An entity for people.
    fn entity(&self, target: Target) -> String {
        let lookup = &self.lookups[target.lookup];
        let pairs = lookup.view.keys.iter().zip(&lookup.keys[target.row]);
        let pairs = pairs.map(|(field, value)| match value {
            Value::String(text) => format!("{} = {text:?}", field.name),
            Value::Int(number) | Value::Timestamp(number) => format!("{} = {number}", field.name),
            other => format!("{} = {other:?}", field.name),
        });
        format!("`{}`", pairs.collect::<Vec<_>>().join(", "))
    }
}

fn check_features(lookup: &Lookup) -> Result<(), Failure> {
    match lookup.features.iter().find(|feature| **feature >= lookup.view.features.len()) {
        None => Ok(()),
        Some(feature) => Err(Failure::stop(format!(
            "read feature {feature} of view `{}`: it has no such",
            lookup.view.name
        ))),
    }
}

/// What a field holds; `None` if there is no such.
fn bytes(answer: &Answer) -> Option<&[u8]> {
    match answer {
        Answer::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
