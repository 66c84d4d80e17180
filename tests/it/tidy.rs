//! Structure as tests: who may import whom, what every file begins with, what no file may say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::checkout;

/// Ours that a crate of ours may use, outside of its tests.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("model", &[]),
    ("spec", &["model"]),
    ("wasm", &["model"]),
    ("connectors", &["model"]),
    ("pipeline", &["model"]),
    ("serve", &["model"]),
    ("testkit", &["model"]),
    ("host", &["model", "spec", "wasm", "connectors", "pipeline", "serve"]),
    ("tests", &[]),
    ("xtask", &[]),
];

/// Crates that only these may name: products, formats and engines stay behind one door each.
const ONLY: [(&str, &[&str]); 12] = [
    ("wasmtime", &["wasm"]),
    ("wasmtime-wasi", &["wasm"]),
    ("wit-component", &["wasm"]),
    // The benchmark writes the store underneath by itself: it is the peer.
    ("fjall", &["connectors", "host"]),
    // The tests write and read topics as anybody else would.
    ("rdkafka", &["connectors", "tests"]),
    // They look into a Redis, and break it, as anybody else would.
    ("redis", &["connectors", "tests"]),
    ("aws-sdk-kinesis", &["connectors"]),
    ("hyper", &["serve"]),
    ("clap", &["host"]),
    ("notify", &["host"]),
    ("tracing-subscriber", &["host"]),
    ("anyhow", &["host", "xtask", "tests"]),
];

/// Lines of code, tests aside, that a file may have.
const MAX_LINES: usize = 600;

#[test]
fn crates_use_only_what_the_table_allows() {
    let uses = dependencies();
    let table: BTreeMap<&str, BTreeSet<&str>> =
        MAY_USE.iter().map(|(name, used)| (*name, used.iter().copied().collect())).collect();
    for (name, allowed) in &table {
        let used: BTreeSet<&str> =
            uses[*name].iter().map(String::as_str).filter(|used| table.contains_key(used)).collect();
        let surplus: Vec<&&str> = used.difference(allowed).collect();
        assert!(
            surplus.is_empty(),
            "`{name}` uses {surplus:?}; a new edge is a decision: see CONTRIBUTING.md"
        );
    }
    for (product, allowed) in ONLY {
        for (name, used) in &uses {
            assert!(
                !used.contains(product) || allowed.contains(&name.as_str()),
                "`{name}` names `{product}`, which only {allowed:?} may"
            );
        }
    }
}

/// The dependencies that each workspace member ships with.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(checkout())
        .output()
        .expect("cargo is there");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo speaks JSON");
    let packages = metadata["packages"].as_array().expect("cargo lists packages");
    packages
        .iter()
        .map(|package| {
            let used = package["dependencies"].as_array().expect("cargo lists dependencies").iter();
            let used = used
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned));
            (package["name"].as_str().expect("packages have names").to_owned(), used.collect())
        })
        .collect()
}

#[test]
fn files_open_with_what_they_are_for_and_stay_small() {
    let mut faults = Vec::new();
    for path in sources("rs") {
        let text = fs::read_to_string(&path).expect("sources are text");
        let name = path.strip_prefix(checkout()).expect("below the checkout").display().to_string();
        if !text.starts_with("//!") {
            faults.push(format!("{name} does not open with `//!`"));
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//")).count();
        if lines > MAX_LINES && !name.contains("/tests") {
            faults.push(format!("{name} has {lines} lines of code, more than {MAX_LINES}"));
        }
        if name.ends_with("utils.rs") {
            faults.push(format!("{name}: name it after what it does"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn suppressions_say_why_and_nothing_is_left_to_do() {
    let mut faults = Vec::new();
    for path in sources("rs") {
        let name = path.strip_prefix(checkout()).expect("below the checkout").display().to_string();
        if name == "tests/it/tidy.rs" {
            continue;
        }
        for (number, line) in fs::read_to_string(&path).expect("sources are text").lines().enumerate() {
            for forbidden in ["#[allow(", "todo!(", "unimplemented!(", "FIXME", "XXX:", "TODO"] {
                if line.contains(forbidden) {
                    faults.push(format!("{name}:{}: `{forbidden}`", number + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_contract_is_read_and_never_copied() {
    let copies: Vec<PathBuf> = sources("wit")
        .into_iter()
        .filter(|path| !path.starts_with(checkout().join("wit")))
        .filter(|path| fs::read_to_string(path).expect("contracts are text").contains("package millrace:"))
        .collect();
    assert!(copies.is_empty(), "copies of the contract: {copies:?}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut faults = Vec::new();
    for path in sources("md") {
        let text = fs::read_to_string(&path).expect("documents are text");
        let folder = path.parent().expect("files lie in folders");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.contains(' ') {
                continue;
            }
            if !folder.join(target).exists() {
                faults.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "dead links:\n{}", faults.join("\n"));
}

#[test]
fn every_invariant_names_a_guard_that_exists() {
    let text = fs::read_to_string(checkout().join("ARCHITECTURE.md")).expect("the map is there");
    let code: String =
        sources("rs").iter().map(|path| fs::read_to_string(path).expect("sources are text")).collect();
    let invariants: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("## Invariants"))
        .filter(|line| line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok()))
        .collect();
    assert!(invariants.len() >= 10, "the invariants are numbered lines under `## Invariants`");
    for invariant in invariants {
        let guard = invariant.rsplit_once("(guard: ").and_then(|(_, rest)| rest.strip_suffix(")"));
        let guard = guard.unwrap_or_else(|| panic!("no `(guard: …)` at the end of: {invariant}"));
        for name in guard.split(", ") {
            let name = name.trim_matches('`');
            let there = code.contains(&format!("fn {name}(")) || checkout().join(name).exists();
            assert!(there, "the guard `{name}` does not exist: {invariant}");
        }
    }
}

/// Our files with this ending.
fn sources(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&checkout(), ending, &mut found);
    found
}

fn collect(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("our folders are readable") {
        let path = entry.expect("our folders are readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || ["target", "node_modules", "__pycache__"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}
