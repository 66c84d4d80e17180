//! `host new`: a view with its transform and sample events, small enough to be read whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::{Language, NewArgs, NewViewArgs, NewWhat};
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
    let (views, view) = (args.dir.display(), folder.display());
    anstream::eprintln!(
        "made {view}\n\nnext:\n  host build {views}\n  host check {views}\n  host run --views {views}\n\
         and then, from another shell:\n  \
         curl -X POST localhost:6566/v1/push/{name}_events --data-binary @{view}/events.ndjson\n  \
         host get {name} user_id=u1",
        name = args.name
    );
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().context("every file lies in the view's folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// All files of a new view, by path within its folder.
fn files(args: &NewViewArgs) -> Vec<(PathBuf, String)> {
    let fill = |template: &str| template.replace("NAME", &args.name);
    let mut files = vec![("events.ndjson".into(), fill(EVENTS)), ("samples.ndjson".into(), fill(EVENTS))];
    match args.lang {
        Language::Rust => files.extend([
            ("view.yaml".into(), fill(&VIEW.replace("BUILD", "rust: guest"))),
            ("guest/Cargo.toml".into(), fill(RUST_MANIFEST)),
            ("guest/src/lib.rs".into(), fill(include_str!("new/lib.rs.txt"))),
        ]),
        Language::Python => files.extend([
            (
                "view.yaml".into(),
                fill(&VIEW.replace("BUILD", "python: guest.py").replace(SAMPLES, PYTHON_LIMITS)),
            ),
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
