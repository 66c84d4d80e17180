//! Stream feature views.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::codec::metadata;
use model::schema::Field;
use model::transform::Limits;
use model::view::ViewShape;
use sha2::{Digest, Sha256};

use super::index::Known;
use super::source::duration;
use super::{Context, Outcome, not_reserved, output, start, store};
use crate::diagnostic::{Code, Diagnostic, Spot};
use crate::plan::{BuildPlan, EntityPlan, SourcePlan, ViewPlan, ViewSpots};
use crate::raw::{ByteSize, Instant, Micros, Name, RawBuild, RawLimits, RawView, Spanned};

/// Rows that fail in a row before a view is paused, unless its file says otherwise.
const DEFAULT_FAILURES_TO_PAUSE: u32 = 1_000;

pub(super) fn view(
    context: &Context<'_>,
    known: &Known,
    raw: &RawView,
    outcome: &mut Outcome,
) -> Option<ViewPlan> {
    let source = known.source(&raw.source, outcome);
    let entities = entities(known, raw, outcome);
    let timestamp = timestamp_column(raw, source, outcome);
    let columns = columns(raw, &entities, timestamp.as_ref(), outcome);
    let component = outcome.note(context.beside(&raw.transform.component));
    let samples = raw.transform.samples.as_ref().map(|path| outcome.note(context.beside(path)));
    let build = raw.transform.build.as_ref().map(|raw| build(context, raw, component.as_deref(), outcome));
    let (limits, failures_to_pause) = limits(raw.transform.limits.as_ref(), outcome);
    let ttl_micros = raw.ttl.as_ref().and_then(|ttl| positive("view.ttl", ttl, outcome));
    let batch_schedule =
        raw.batch_schedule.as_ref().and_then(|every| positive("view.batch_schedule", every, outcome));
    if let Some(Spanned { value: true, spot }) = &raw.offline {
        outcome.report(
            Diagnostic::at(
                Code::OfflineStoresNothing,
                spot,
                "`offline: true` stores nothing yet in this version",
            )
            .help("the view runs, its rows go online and to its output stream only"),
        );
    }
    output::aggregations(raw, outcome);
    let sink = output::output(context, known, source, raw, outcome);
    let store = store::store(context, raw, outcome);
    let start = raw.start.as_ref().zip(source);
    let start = start.map(|(given, source)| start::plan(given, &source.name, &source.kind, outcome));

    let project = &context.host.project;
    let name = raw.name.value.0.clone();
    let (timestamp_column, timestamp_spot) = timestamp?;
    let source = source?;
    let params = raw.transform.params.as_ref();
    let spots = ViewSpots {
        name: raw.name.spot.clone(),
        source: raw.source.spot.clone(),
        component: raw.transform.component.spot.clone(),
        samples: raw.transform.samples.as_ref().map(|path| path.spot.clone()),
        params: params.map_or(&raw.transform.component.spot, |params| &params.spot).clone(),
        param: params.map(|params| params.value.spots.clone()).unwrap_or_default(),
        keys: columns.key_spots,
        features: columns.feature_spots,
        timestamp: timestamp_spot,
    };
    let shape = ViewShape {
        project: project.clone(),
        id: view_id(project, &name),
        name,
        source: source.name.clone(),
        keys: columns.keys,
        features: columns.features,
        ttl_micros,
        online: raw.online.as_ref().is_none_or(|online| online.value),
    };
    Some(ViewPlan {
        shape: Arc::new(shape),
        source: source.name.clone(),
        entities: entities.iter().map(|(entity, _)| entity.name.clone()).collect(),
        component: component?,
        params_json: params.map_or_else(|| "{}".to_owned(), |params| params.value.json.clone()),
        samples: flatten(samples)?,
        build: flatten(build)?,
        limits,
        failures_to_pause,
        timestamp_column,
        start: start.unwrap_or_else(|| source.start.clone()),
        store: store?,
        output: sink,
        offline: raw.offline.as_ref().is_some_and(|offline| offline.value),
        feature_start: raw.feature_start_time.map(|Instant(time)| time),
        batch_schedule: batch_schedule.map(|micros| duration(Micros(micros))),
        description: raw.description.clone().unwrap_or_default(),
        owner: raw.owner.clone().unwrap_or_default(),
        tags: raw.tags.clone().unwrap_or_default(),
        spots,
    })
}

/// First 32 hex digits of SHA-256 of `project/view`.
pub(crate) fn view_id(project: &str, view: &str) -> String {
    let digest = Sha256::digest(format!("{project}/{view}"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// `None` = there was one and it was wrong.
fn flatten<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        Some(None) => None,
        Some(some) => Some(some),
        None => Some(None),
    }
}

fn entities<'a>(
    known: &'a Known,
    raw: &'a RawView,
    outcome: &mut Outcome,
) -> Vec<(&'a EntityPlan, &'a Spot)> {
    let names = &raw.entities.value;
    if names.is_empty() {
        outcome.report_absent(
            Diagnostic::at(Code::Empty, &raw.entities.spot, "a view needs at least one entity")
                .help("name what the features are about: `entities: [user]`"),
        );
    }
    let mut found: Vec<(&EntityPlan, &Spot)> = Vec::new();
    for name in names {
        let Some(entity) = known.entity(name, outcome) else { continue };
        match found.iter().find(|(other, _)| other.name == entity.name) {
            Some((_, first)) => outcome.report(
                Diagnostic::at(Code::NameClash, &name.spot, format!("entity `{}` stands twice", entity.name))
                    .related(first, "first here")
                    .help("remove one of them"),
            ),
            None => found.push((entity, &name.spot)),
        }
    }
    found
}

/// The output column that holds the event time, and where that is said.
fn timestamp_column(
    raw: &RawView,
    source: Option<&SourcePlan>,
    outcome: &mut Outcome,
) -> Option<(String, Spot)> {
    if let Some(Spanned { value: Name(name), spot }) = &raw.timestamp_field {
        not_reserved(&Spanned { value: Name(name.clone()), spot: spot.clone() }, outcome);
        return Some((name.clone(), spot.clone()));
    }
    let source = source?;
    if source.timestamp_field == metadata::INGEST_TIME {
        let message = "the view needs a `timestamp_field`: its source has none of its own";
        outcome.report(
            Diagnostic::at(Code::BadTimestampField, &raw.name.spot, message)
                .help("name the output column of the component that holds the event time"),
        );
        return None;
    }
    Some((source.timestamp_field.clone(), raw.name.spot.clone()))
}

/// The columns of a view's rows.
struct Columns {
    keys: Vec<Field>,
    features: Vec<Field>,
    key_spots: BTreeMap<String, Spot>,
    feature_spots: BTreeMap<String, Spot>,
}

fn columns(
    raw: &RawView,
    entities: &[(&EntityPlan, &Spot)],
    timestamp: Option<&(String, Spot)>,
    outcome: &mut Outcome,
) -> Columns {
    let mut columns = Columns {
        keys: Vec::new(),
        features: Vec::new(),
        key_spots: BTreeMap::new(),
        feature_spots: BTreeMap::new(),
    };
    let mut taken: HashMap<&str, (String, &Spot)> = HashMap::new();
    let mut clash = |name: &str, what: &str, spot: &Spot, taken: &HashMap<&str, (String, &Spot)>| {
        let Some((other, first)) = taken.get(name) else { return false };
        outcome.report(
            Diagnostic::at(Code::NameClash, spot, format!("{what} `{name}` is also the name of {other}"))
                .related(first, "the other one")
                .help("a view's rows have one column of each name: rename one of them"),
        );
        true
    };
    for (entity, spot) in entities {
        for (key, data_type) in &entity.join_keys {
            if !clash(key, "join key", spot, &taken) {
                taken.insert(key, (format!("a join key of entity `{}`", entity.name), spot));
                columns.keys.push(Field::required(key, data_type.clone()));
                columns.key_spots.insert(key.clone(), (*spot).clone());
            }
        }
    }
    if let Some((name, spot)) = timestamp
        && !clash(name, "timestamp field", spot, &taken)
    {
        taken.insert(name, ("the timestamp field".to_owned(), spot));
    }
    let features = &raw.features.value.0;
    for (name, data_type) in features {
        if !clash(&name.value.0, "feature", &name.spot, &taken) {
            columns.features.push(Field::nullable(&name.value.0, data_type.value.0.clone()));
            columns.feature_spots.insert(name.value.0.clone(), name.spot.clone());
        }
    }
    for (name, _) in features {
        not_reserved(name, outcome);
    }
    if features.is_empty() {
        outcome.report_absent(
            Diagnostic::at(Code::Empty, &raw.features.spot, "a view needs at least one feature")
                .help("name the output columns of the component that are features: `features: { impression: int64 }`"),
        );
    }
    columns
}

fn build(
    context: &Context<'_>,
    raw: &Spanned<RawBuild>,
    component: Option<&Path>,
    outcome: &mut Outcome,
) -> Option<BuildPlan> {
    let Spanned { value: build, spot } = raw;
    let given = usize::from(build.rust.is_some())
        + usize::from(build.python.is_some())
        + usize::from(build.command.is_some());
    if given != 1 {
        outcome.report_absent(
            Diagnostic::at(
                Code::ChooseOne,
                spot,
                "`view.transform.build` takes one of `rust`, `python`, `command`",
            )
            .help(
                "`rust: guest` names a Cargo package, `python: app.py` a module, `command: […]` any program",
            ),
        );
    }
    if let (Some(output), None) = (&build.output, &build.command) {
        outcome.report(
            Diagnostic::at(Code::ChooseOne, &output.spot, "`output` goes with `command` only")
                .help("remove it: the component is put where `transform.component` says"),
        );
    }
    let watch: Vec<Option<_>> =
        build.watch.iter().flatten().map(|path| outcome.note(context.beside(path))).collect();
    let watch = watch.into_iter().collect::<Option<Vec<_>>>();
    if given != 1 {
        return None;
    }
    if let Some(rust) = &build.rust {
        return Some(BuildPlan::Rust { directory: outcome.note(context.beside(rust))?, watch: watch? });
    }
    if let Some(python) = &build.python {
        return Some(BuildPlan::Python { module: outcome.note(context.beside(python))?, watch: watch? });
    }
    let output = match &build.output {
        Some(output) => outcome.note(context.beside(output))?,
        None => component?.to_owned(),
    };
    Some(BuildPlan::Command {
        command: build.command.as_ref()?.value.0.clone(),
        directory: spot.path().parent().unwrap_or(Path::new(".")).to_owned(),
        output,
        watch: watch?,
    })
}

fn limits(raw: Option<&RawLimits>, outcome: &mut Outcome) -> (Limits, u32) {
    let mut limits = Limits::default();
    let mut failures_to_pause = DEFAULT_FAILURES_TO_PAUSE;
    let Some(raw) = raw else { return (limits, failures_to_pause) };
    let mut check = |key: &str, value: Option<(u64, &Spot)>, range: (u64, u64), shown: &str| {
        let (value, spot) = value?;
        if (range.0..=range.1).contains(&value) {
            return Some(value);
        }
        let message = format!("`view.transform.limits.{key}` must be between {shown}");
        outcome.report(Diagnostic::at(Code::OutOfRange, spot, message));
        None
    };
    let size = |raw: &'_ Option<Spanned<ByteSize>>| raw.clone().map(|size| (size.value.0, size.spot));
    let time =
        |raw: &'_ Option<Spanned<Micros>>| raw.clone().map(|time| (time.value.0.unsigned_abs(), time.spot));
    let count = |raw: &'_ Option<Spanned<u64>>| raw.clone().map(|count| (count.value, count.spot));
    let mut set =
        |key: &str, value: Option<(u64, Spot)>, range: (u64, u64), shown: &str, to: &mut dyn FnMut(u64)| {
            let value = check(key, value.as_ref().map(|(value, spot)| (*value, spot)), range, shown);
            value.map(to);
        };
    let as_size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let as_count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    const KIB: u64 = 1 << 10;
    const GIB: u64 = 1 << 30;
    const HOUR: u64 = 3_600_000_000;
    // Below 64 KiB there is not one page of linear memory; above 4 GiB there is no address for it.
    set("memory", size(&raw.memory), (64 * KIB, 4 * GIB), "64KiB and 4GiB", &mut |v| {
        limits.memory = as_size(v)
    });
    set("time", time(&raw.time), (1_000, HOUR), "1ms and 1h", &mut |v| {
        limits.time = Duration::from_micros(v)
    });
    set("time_per_row", time(&raw.time_per_row), (0, HOUR), "0us and 1h", &mut |v| {
        limits.time_per_row = Duration::from_micros(v);
    });
    set("rows_per_row", count(&raw.rows_per_row), (1, 1 << 20), "1 and 1048576", &mut |v| {
        limits.rows_per_row = as_size(v);
    });
    set("output", size(&raw.output), (KIB, GIB), "1KiB and 1GiB", &mut |v| limits.output = as_size(v));
    set("log", size(&raw.log), (0, GIB), "0 and 1GiB", &mut |v| limits.log = as_size(v));
    let all = u64::from(u32::MAX);
    set("batches_per_instance", count(&raw.batches_per_instance), (1, all), "1 and 4294967295", &mut |v| {
        limits.batches_per_instance = as_count(v);
    });
    set("failures_to_pause", count(&raw.failures_to_pause), (1, all), "1 and 4294967295", &mut |v| {
        failures_to_pause = as_count(v);
    });
    (limits, failures_to_pause)
}

fn positive(path: &str, raw: &Spanned<Micros>, outcome: &mut Outcome) -> Option<i64> {
    if raw.value.0 > 0 {
        return Some(raw.value.0);
    }
    outcome.report(
        Diagnostic::at(Code::OutOfRange, &raw.spot, format!("`{path}` must be longer than nothing"))
            .help("leave the key out if there is no limit"),
    );
    None
}
