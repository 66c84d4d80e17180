//! `host new`: a view with its transform and sample events, small enough to be read whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::{Language, NewArgs, NewSource, NewViewArgs, NewWhat};
use crate::cmd::build;
use crate::report::Stopped;

/// Runs the command.
pub(crate) fn new(args: &NewArgs) -> Result<(), Stopped> {
    let NewWhat::View(args) = &args.what;
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if args.name.is_empty()
        || args.name.len() > 64
        || !args.name.chars().all(valid)
        || !args.name.starts_with(|c: char| c.is_ascii_lowercase())
    {
        return Err(Stopped::Usage(format!(
            "`{}` cannot name a view: use 1 to 64 letters, digits and `_`, beginning with a small letter",
            args.name
        )));
    }
    let folder = args.dir.join(&args.name);
    if folder.exists() {
        return Err(Stopped::Usage(format!("{} is already there", folder.display())));
    }
    for (path, text) in files(args) {
        write(&folder.join(path), &text)?;
    }
    if args.lang == Language::Rust {
        build::vendor(&args.dir)?;
    }
    anstream::eprintln!("made {}\n\n{}", folder.display(), next_steps(args, &folder));
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().context("every file lies in the view's folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// What to type next.
fn next_steps(args: &NewViewArgs, folder: &Path) -> String {
    let (views, view, name) = (args.dir.display(), folder.display(), &args.name);
    let last = format!("host get {name} user_id=u1");
    match args.source {
        NewSource::Push => format!(
            "next:\n  host build {views}\n  host check {views}\n  host run --views {views}\n\
             and then, from another shell:\n  \
             curl -X POST localhost:6566/v1/push/{name}_events --data-binary @{view}/events.ndjson\n  {last}"
        ),
        NewSource::Kafka => format!(
            "the view reads topic {name}_events and writes topic {name}_features through the connection `main`;\n\
             if ./host.yaml does not have it yet, add\n  \
             connections:\n    main: {{ kafka: {{ bootstrap_servers: \"localhost:9092\" }} }}\n\n\
             next:\n  host build {views}\n  host check --connect {views}\n  host run --views {views}\n\
             and then, from another shell:\n  \
             kcat -P -b localhost:9092 -t {name}_events -l {view}/events.ndjson\n  {last}"
        ),
    }
}

/// The view file.
fn view(args: &NewViewArgs, build: &str) -> String {
    let text = VIEW.replace("BUILD", build);
    match args.source {
        NewSource::Push => text,
        NewSource::Kafka => KAFKA.iter().fold(text, |text, (push, kafka)| text.replace(push, kafka)),
    }
}

/// All files of a new view, by path within its folder.
fn files(args: &NewViewArgs) -> Vec<(PathBuf, String)> {
    let fill = |template: &str| template.replace("NAME", &args.name);
    let mut files = vec![("events.ndjson".into(), fill(EVENTS)), ("samples.ndjson".into(), fill(EVENTS))];
    match args.lang {
        Language::Rust => files.extend([
            ("view.yaml".into(), fill(&view(args, "rust: guest"))),
            ("guest/Cargo.toml".into(), fill(RUST_MANIFEST)),
            ("guest/src/lib.rs".into(), fill(include_str!("new/lib.rs.txt"))),
        ]),
        Language::Python => files.extend([
            ("view.yaml".into(), fill(&view(args, "python: guest.py").replace(SAMPLES, PYTHON_LIMITS))),
            ("guest.py".into(), fill(include_str!("new/guest.py.txt"))),
        ]),
    }
    files
}

const SAMPLES: &str = "    samples: samples.ndjson\n";

/// An interpreter is larger and slower to start than a compiled guest, so an instance is kept for many batches.
const PYTHON_LIMITS: &str =
    "    samples: samples.ndjson\n    limits: { memory: 128MiB, time: 1s, batches_per_instance: 500 }\n";

const VIEW: &str = include_str!("new/view.yaml.txt");

/// What is otherwise in a view from topic to topic.
const KAFKA: [(&str, &str); 3] = [
    (
        "# Where events come from: POST them to /v1/push/NAME_events, one JSON object a line.\n",
        "# Where events come from: records of a topic, one JSON object each. `main` is a connection of host.yaml.\n",
    ),
    ("  push: {}\n", "  kafka: { connection: main, topic: NAME_events, start: earliest }\n"),
    (
        "    file: { path: NAME.out.ndjson }\n",
        "    kafka: { connection: main, topic: NAME_features, create: { partitions: 4 } }\n",
    ),
];

const EVENTS: &str = r#"{"user": "u1", "page": "/home", "seconds": 12.5, "timestamp": "2026-01-02T03:04:05.000001Z"}
{"user": "u2", "page": "/cart", "seconds": 3.0, "timestamp": "2026-01-02T03:04:06.000002Z"}
{"user": "u1", "page": "/cart", "seconds": 40.25, "timestamp": "2026-01-02T03:04:07.000003Z"}
"#;

const RUST_MANIFEST: &str = r#"[package]
name = "NAME"
version = "0.1.0"
edition = "2024"
publish = false

[lib]
crate-type = ["cdylib"]

[dependencies]
millrace = { path = "../../.millrace/guest_sdk/rust" }

[profile.release]
lto = true
opt-level = 3
panic = "abort"
strip = "debuginfo"   # names of functions stay: back-traces are readable

# A guest is a workspace of its own, wherever it lies.
[workspace]
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn view_of(source: NewSource) -> String {
        let args =
            NewViewArgs { name: "clicks".to_owned(), lang: Language::Rust, source, dir: "views".into() };
        let files = files(&args);
        files.into_iter().find(|(path, _)| path == Path::new("view.yaml")).unwrap().1
    }

    #[test]
    fn a_view_from_topic_to_topic_names_no_file_and_no_push() {
        let view = view_of(NewSource::Kafka);
        assert!(!view.contains("push") && !view.contains("file:"), "{view}");
        assert!(
            view.contains("  kafka: { connection: main, topic: clicks_events, start: earliest }\n"),
            "{view}"
        );
        assert!(view.contains(
            "    kafka: { connection: main, topic: clicks_features, create: { partitions: 4 } }\n"
        ));
        assert!(view_of(NewSource::Push).contains("  push: {}\n"));
    }
}
