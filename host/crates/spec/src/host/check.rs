//! From `host.yaml` to settings with every default filled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::connections::{connections, dead_letter, is_told};
use super::substitute::{Environment, ProcessEnvironment, substitute};
use crate::check::in_order;
use crate::connection::reference;
use crate::diagnostic::{Code, Diagnostic, SourceFile, Spot};
use crate::files::read_file;
use crate::plan::{ConnectionPlan, DeadLetterPlan, EventTimeBounds, HostPlan, StorePlan};
use crate::raw::{
    ByteSize, Instant, Micros, Name, RawDeadLetter, RawHost, RawOnlineStore, Read, Reader, Spanned,
};
use crate::yaml::{self, Cover};

/// Where settings are looked for when no file is named.
const DEFAULT_PATH: &str = "host.yaml";

/// Threads at most: more than any machine has processors is a slip of the finger.
const MAX_THREADS: u64 = 1_024;

/// Connections at most that write to one store in Redis, which does one thing at a time in any case.
const MAX_WRITERS: u64 = 64;

/// Reads settings from a file; without one, from `./host.yaml` if that is there. Paths of the plan are absolute.
pub fn load(path: Option<&Path>) -> Result<HostPlan, Vec<Diagnostic>> {
    let plan = match path {
        None if !Path::new(DEFAULT_PATH).exists() => HostPlan::default(),
        Some(path) if !path.exists() => {
            return Err(vec![
                Diagnostic::in_file(Code::NoHostFile, path, "there is no such file")
                    .help("correct the path, or leave `--config` out to run on defaults"),
            ]);
        }
        path => {
            let file =
                read_file(path.unwrap_or(Path::new(DEFAULT_PATH))).map_err(|problem| vec![*problem])?;
            check(&file, &ProcessEnvironment)?
        }
    };
    Ok(absolute(plan))
}

fn absolute(mut plan: HostPlan) -> HostPlan {
    // Paths of files that do not exist yet can be made absolute too; only an empty one cannot.
    let made = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    plan.data_dir = made(&plan.data_dir);
    plan.files_root = made(&plan.files_root);
    if let DeadLetterPlan::File(path) = &plan.dead_letter {
        plan.dead_letter = DeadLetterPlan::File(made(path));
    }
    for path in plan.connections.values_mut().flat_map(ConnectionPlan::paths) {
        *path = made(path);
    }
    plan
}

/// Checks settings. Reads nothing but what `environment` gives.
pub fn check(file: &Arc<SourceFile>, environment: &dyn Environment) -> Result<HostPlan, Vec<Diagnostic>> {
    let read = yaml::read(file, Cover::Everywhere);
    let file = &read.file;
    let mut problems = read.problems;
    let mut documents = read.documents.into_iter();
    let first = documents.next();
    if let Some(second) = documents.next() {
        let spot = Spot::new(file, second.root.head);
        problems.push(
            Diagnostic::at(Code::NotOneThing, &spot, "host.yaml is one document, here a second one begins")
                .help("put all settings into one document"),
        );
    }
    let mut plan = HostPlan::default();
    if let Some(mut document) = first {
        problems.append(&mut document.problems);
        substitute(&mut document.root, "", file, environment, &mut problems);
        let mut reader = Reader::new(file, None);
        let raw = RawHost::read(&document.root, &mut reader);
        problems.extend(reader.into_problems());
        if let Some(raw) = raw {
            let folder = file.path.parent().unwrap_or(Path::new(""));
            fill_in(&mut plan, &raw, folder, &mut problems);
        }
    }
    if problems.is_empty() { Ok(plan) } else { Err(in_order(problems)) }
}

fn fill_in(plan: &mut HostPlan, raw: &RawHost, folder: &Path, problems: &mut Vec<Diagnostic>) {
    if let Some(Name(project)) = &raw.project {
        plan.project.clone_from(project);
    }
    if let Some(listen) = &raw.listen {
        let port = listen.value.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        if port.is_some_and(|port| port.parse::<u16>().is_ok()) {
            plan.listen.clone_from(&listen.value);
        } else {
            problems.push(
                Diagnostic::at(Code::BadValue, &listen.spot, "`listen` takes an address and a port")
                    .help("for example `127.0.0.1:6566`, or `0.0.0.0:6566` for all interfaces"),
            );
        }
    }
    let mut path = |raw: Option<&Spanned<String>>| {
        let raw = raw?;
        if raw.value.is_empty() {
            problems.push(Diagnostic::at(Code::BadValue, &raw.spot, "a path cannot be empty"));
        }
        Some(folder.join(&raw.value))
    };
    plan.data_dir = path(raw.data_dir.as_ref()).unwrap_or_else(|| plan.data_dir.clone());
    plan.files_root = path(raw.files_root.as_ref()).unwrap_or_else(|| plan.files_root.clone());
    let letters = raw.dead_letter.as_ref().map(|letters| (letters, path(dead_letter_path(&letters.value))));
    // A connection of which something is wrong is not among those that are known.
    let are_all_known = problems.is_empty();
    if let Some(raw) = &raw.connections {
        plan.connections = connections(raw, folder, problems);
    }
    let are_all_known = are_all_known && problems.is_empty();
    if let Some(raw) = &raw.online_store {
        plan.default_store = default_store(raw, Some(&plan.connections).filter(|_| are_all_known), problems);
    }
    if let Some((raw, file)) = letters {
        let known = Some(&plan.connections).filter(|_| are_all_known);
        plan.dead_letter = dead_letter(raw, file, known, problems).unwrap_or(DeadLetterPlan::Default);
    }
    if let Some(event_time) = &raw.event_time {
        plan.event_time = EventTimeBounds {
            earliest: event_time.earliest.map_or(plan.event_time.earliest, |Instant(time)| time.0),
            max_future: event_time.max_future.map_or(plan.event_time.max_future, |Micros(micros)| micros),
        };
    }
    plan.serve_while_recovering = raw.serve_while_recovering.unwrap_or(plan.serve_while_recovering);
    plan.shutdown_grace = raw.shutdown_grace.map_or(plan.shutdown_grace, duration);
    if let Some(Spanned { value: threads, spot }) = &raw.threads {
        if (1..=MAX_THREADS).contains(threads) {
            plan.threads = usize::try_from(*threads).ok();
        } else {
            let message = format!("`threads` must be between 1 and {MAX_THREADS}");
            problems.push(
                Diagnostic::at(Code::OutOfRange, spot, message)
                    .help("leave it out for one thread per processor"),
            );
        }
    }
    sizes(plan, raw, problems);
}

/// Where the rows of views go that do not say otherwise. `known`: the connections, if all of them could be read.
fn default_store(
    Spanned { value: raw, spot }: &Spanned<RawOnlineStore>,
    known: Option<&BTreeMap<String, ConnectionPlan>>,
    problems: &mut Vec<Diagnostic>,
) -> StorePlan {
    let Some(redis) = &raw.redis else {
        if raw.embedded.is_none() && !is_told(problems, spot) {
            problems.push(
                Diagnostic::at(Code::ChooseOne, spot, "`online_store` takes `embedded`, `redis` or both")
                    .help("write `redis: { connection: NAME }`, or leave `online_store` out for the embedded one"),
            );
        }
        return StorePlan::Embedded;
    };
    if let Some(known) = known {
        problems.extend(reference(&redis.connection, "redis", known).err().map(|problem| *problem));
    }
    StorePlan::Redis { connection: redis.connection.value.0.clone() }
}

fn dead_letter_path(raw: &RawDeadLetter) -> Option<&Spanned<String>> {
    raw.file.as_ref().map(|file| &file.path)
}

fn sizes(plan: &mut HostPlan, raw: &RawHost, problems: &mut Vec<Diagnostic>) {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    const TIB: u64 = 1 << 40;
    let mut size = |key: &str, raw: Option<&Spanned<ByteSize>>, least: u64, most: u64, default: u64| {
        let Some(Spanned { value: ByteSize(bytes), spot }) = raw else { return default };
        if (least..=most).contains(bytes) {
            return *bytes;
        }
        let message = format!("`{key}` must be between {} and {}", in_words(least), in_words(most));
        problems.push(Diagnostic::at(Code::OutOfRange, spot, message));
        default
    };
    let as_usize = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let online_store = raw.online_store.as_ref().map(|store| &store.value);
    let embedded = online_store.and_then(|store| store.embedded.as_ref());
    let redis = online_store.and_then(|store| store.redis.as_ref());
    if let Some(embedded) = embedded {
        let store = &mut plan.online_store;
        let memory = embedded.memory.as_ref();
        store.memory = as_usize(size("online_store.embedded.memory", memory, MIB, TIB, store.memory as u64));
        let bytes = embedded.checkpoint_bytes.as_ref();
        let key = "online_store.embedded.checkpoint_bytes";
        store.checkpoint_bytes = as_usize(size(key, bytes, MIB, TIB, store.checkpoint_bytes as u64));
    }
    if let Some(redis) = redis {
        let (key, stores) = ("online_store.redis.memory", &mut plan.redis_stores);
        stores.memory = as_usize(size(key, redis.memory.as_ref(), MIB, TIB, stores.memory as u64));
    }
    if let Some(push) = &raw.push {
        let to = &mut plan.push;
        to.max_log_bytes =
            size("push.max_log_bytes", push.max_log_bytes.as_ref(), MIB, 1024 * TIB, to.max_log_bytes);
        to.segment_bytes =
            size("push.segment_bytes", push.segment_bytes.as_ref(), 64 * KIB, GIB, to.segment_bytes);
        let body = push.max_body_bytes.as_ref();
        to.max_body_bytes = as_usize(size("push.max_body_bytes", body, KIB, GIB, to.max_body_bytes as u64));
        let row = push.max_row_bytes.as_ref();
        to.max_row_bytes = as_usize(size("push.max_row_bytes", row, 1, GIB, to.max_row_bytes as u64));
    }
    if let Some(Spanned { value: writers, spot }) = redis.and_then(|redis| redis.writers.as_ref()) {
        if (1..=MAX_WRITERS).contains(writers) {
            plan.redis_stores.writers = usize::try_from(*writers).unwrap_or(1);
        } else {
            let message = format!("`online_store.redis.writers` must be between 1 and {MAX_WRITERS}");
            problems.push(Diagnostic::at(Code::OutOfRange, spot, message));
        }
    }
    if let Some(interval) = embedded.and_then(|embedded| embedded.checkpoint_interval.as_ref()) {
        if (10_000..=3_600_000_000).contains(&interval.value.0) {
            plan.online_store.checkpoint_interval = duration(interval.value);
        } else {
            let message = "`online_store.embedded.checkpoint_interval` must be between 10ms and 1h";
            problems.push(Diagnostic::at(Code::OutOfRange, &interval.spot, message));
        }
    }
}

/// A size as files write it; all that come here are powers of two.
fn in_words(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    units
        .into_iter()
        .find(|(_, shift)| bytes >> shift > 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(|| format!("{bytes}"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

/// A duration that was read is not negative.
fn duration(Micros(micros): Micros) -> std::time::Duration {
    std::time::Duration::from_micros(micros.unsigned_abs())
}
