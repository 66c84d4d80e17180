//! From one plan to the next: what a running host has to do.

use std::collections::BTreeMap;

use crate::plan::{EntityPlan, Plan, ServicePlan, SourcePlan, ViewPlan};

/// The difference between two plans. Within each list: by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diff {
    /// Entities.
    pub entities: Vec<Change<EntityPlan>>,
    /// Sources.
    pub sources: Vec<Change<SourcePlan>>,
    /// Views; also those that say the same as before but read a source that does not.
    pub views: Vec<ViewChange>,
    /// Services.
    pub services: Vec<Change<ServicePlan>>,
}

/// What happened to a declaration.
#[derive(Debug, Clone, PartialEq)]
pub enum Change<T> {
    /// It is new.
    Added(T),
    /// It is gone.
    Removed(String),
    /// It says something else.
    Changed(T),
}

/// What happened to a view.
#[derive(Debug, Clone, PartialEq)]
pub enum ViewChange {
    /// It is new.
    Added(ViewPlan),
    /// It is gone.
    Removed(String),
    /// It says something else, or its source does.
    Changed {
        /// As it is now.
        view: ViewPlan,
        /// What that means for one that runs.
        effect: Effect,
        /// The keys that changed, as in the view file.
        what: Vec<&'static str>,
    },
}

/// What a change means for a view that runs, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing that flows changes: what is listed and served of it, how it is built, what is for later.
    ServingOnly,
    /// It goes on with other limits or another time to live.
    Adjust,
    /// It has to be set up anew: between two batches, its positions kept.
    Restart,
}

/// What turns `old` into `new`.
pub fn diff(old: &Plan, new: &Plan) -> Diff {
    let sources = changes(&old.sources, &new.sources);
    let mut views = Vec::new();
    for change in changes_with(&old.views, &new.views, |name| {
        let source = &new.views[name].source;
        old.sources.get(source) != new.sources.get(source)
    }) {
        views.push(match change {
            Change::Added(view) => ViewChange::Added(view),
            Change::Removed(name) => ViewChange::Removed(name),
            Change::Changed(view) => {
                let before = &old.views[view.name()];
                let mut found = view_changes(before, &view);
                if let (Some(one), Some(other)) =
                    (old.sources.get(&view.source), new.sources.get(&view.source))
                    && let Some(effect) = source_effect(one, other)
                {
                    found.push((effect, "source"));
                }
                // Sources that came or went take their views with them; the view itself is then what it was.
                let effect = found.iter().map(|(effect, _)| *effect).max().unwrap_or(Effect::Restart);
                ViewChange::Changed { view, effect, what: found.into_iter().map(|(_, key)| key).collect() }
            }
        });
    }
    Diff {
        entities: changes(&old.entities, &new.entities),
        sources,
        views,
        services: changes(&old.services, &new.services),
    }
}

/// Whether a source has to be opened anew to follow a change, its views stopped and started.
pub fn reopens(old: &SourcePlan, new: &SourcePlan) -> bool {
    source_effect(old, new) == Some(Effect::Restart)
}

impl Diff {
    /// Whether the plans are equal.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
            && self.sources.is_empty()
            && self.views.is_empty()
            && self.services.is_empty()
    }

    /// The plan that this difference makes of another one.
    #[must_use]
    pub fn apply(&self, to: &Plan) -> Plan {
        let mut plan = to.clone();
        apply(&mut plan.entities, &self.entities, |entity| &entity.name);
        apply(&mut plan.sources, &self.sources, |source| &source.name);
        apply(&mut plan.services, &self.services, |service| &service.name);
        for change in &self.views {
            match change {
                ViewChange::Added(view) | ViewChange::Changed { view, .. } => {
                    plan.views.insert(view.name().to_owned(), view.clone());
                }
                ViewChange::Removed(name) => {
                    plan.views.remove(name);
                }
            }
        }
        plan
    }
}

fn apply<T: Clone>(plan: &mut BTreeMap<String, T>, changes: &[Change<T>], name: impl Fn(&T) -> &String) {
    for change in changes {
        match change {
            Change::Added(value) | Change::Changed(value) => {
                plan.insert(name(value).clone(), value.clone());
            }
            Change::Removed(name) => {
                plan.remove(name);
            }
        }
    }
}

fn changes<T: Clone + PartialEq>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Vec<Change<T>> {
    changes_with(old, new, |_| false)
}

/// `touched`: whether something of that name counts as changed although it says the same.
fn changes_with<T: Clone + PartialEq>(
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    touched: impl Fn(&str) -> bool,
) -> Vec<Change<T>> {
    let removed =
        old.keys().filter(|name| !new.contains_key(*name)).map(|name| Change::Removed(name.clone()));
    let rest = new.iter().filter_map(|(name, value)| match old.get(name) {
        None => Some(Change::Added(value.clone())),
        Some(before) if before != value || touched(name) => Some(Change::Changed(value.clone())),
        Some(_) => None,
    });
    removed.chain(rest).collect()
}

/// The keys in which two plans of one view differ, each with what that means.
fn view_changes(old: &ViewPlan, new: &ViewPlan) -> Vec<(Effect, &'static str)> {
    // Every field is named, so that a new one cannot be forgotten here.
    let ViewPlan {
        shape,
        source,
        entities,
        component,
        params_json,
        samples,
        build,
        limits,
        failures_to_pause,
        timestamp_column,
        start,
        store,
        output,
        offline,
        feature_start,
        batch_schedule,
        description,
        owner,
        tags,
        spots: _,
    } = old;
    use Effect::{Adjust, Restart, ServingOnly};
    let all = [
        (shape.project != new.shape.project || shape.id != new.shape.id, Restart, "project"),
        (*source != new.source, Restart, "source"),
        (*entities != new.entities || shape.keys != new.shape.keys, Restart, "entities"),
        (*component != new.component, Restart, "transform.component"),
        (*params_json != new.params_json, Restart, "transform.params"),
        (shape.features != new.shape.features, Restart, "features"),
        (*timestamp_column != new.timestamp_column, Restart, "timestamp_field"),
        (shape.online != new.shape.online, Restart, "online"),
        (*store != new.store, Restart, "online_store"),
        (*output != new.output, Restart, "output_stream"),
        (shape.ttl_micros != new.shape.ttl_micros, Adjust, "ttl"),
        (*limits != new.limits || *failures_to_pause != new.failures_to_pause, Adjust, "transform.limits"),
        // A view that runs has a position, and `start` is for those that have none.
        (*start != new.start, ServingOnly, "start"),
        (*samples != new.samples, ServingOnly, "transform.samples"),
        (*build != new.build, ServingOnly, "transform.build"),
        (*offline != new.offline, ServingOnly, "offline"),
        (*feature_start != new.feature_start, ServingOnly, "feature_start_time"),
        (*batch_schedule != new.batch_schedule, ServingOnly, "batch_schedule"),
        (*description != new.description, ServingOnly, "description"),
        (*owner != new.owner, ServingOnly, "owner"),
        (*tags != new.tags, ServingOnly, "tags"),
    ];
    all.into_iter().filter(|(changed, ..)| *changed).map(|(_, effect, key)| (effect, key)).collect()
}

/// What a change of a source means for the views that read it.
fn source_effect(old: &SourcePlan, new: &SourcePlan) -> Option<Effect> {
    let SourcePlan {
        name: _,
        kind,
        format,
        columns,
        timestamp_field,
        bounds,
        start,
        watermark_delay,
        batch,
        max_row_bytes,
        description,
        spot: _,
        column_spots: _,
    } = old;
    let flows = *kind != new.kind
        || *format != new.format
        || *columns != new.columns
        || *timestamp_field != new.timestamp_field
        || *bounds != new.bounds
        || *max_row_bytes != new.max_row_bytes;
    let listed = *start != new.start
        || *watermark_delay != new.watermark_delay
        || *batch != new.batch
        || *description != new.description;
    match (flows, listed) {
        (true, _) => Some(Effect::Restart),
        (false, true) => Some(Effect::ServingOnly),
        (false, false) => None,
    }
}
