//! Dependency rules, read off the lock file: one TLS provider, one Arrow, only the public registry, known licenses.
//!
//! OpenSSL is there for librdkafka, which is C and brings its own TLS; nothing in Rust may use it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;
use tests::checkout;

/// Licenses that we may ship with; the same list as in `deny.toml`.
const LICENSES: [&str; 13] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
];

#[test]
fn the_lock_file_keeps_the_rules() {
    let lock = fs::read_to_string(checkout().join("Cargo.lock")).expect("the lock file is there");
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut sources: BTreeSet<&str> = BTreeSet::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            package.lines().find_map(|line| line.strip_prefix(&format!("{key} = \""))?.strip_suffix('"'))
        };
        let (name, version) =
            (value("name").expect("packages have names"), value("version").expect("and versions"));
        versions.entry(name).or_default().push(version);
        // Ours have no source; all others come from the one public registry.
        sources.extend(value("source"));
        if package.lines().any(|line| line.trim() == "\"openssl-sys\",") {
            assert_eq!(name, "rdkafka-sys", "`openssl-sys` is librdkafka's alone; see deny.toml");
        }
    }
    for forbidden in ["aws-lc-sys", "aws-lc-rs", "native-tls", "openssl", "serde_yaml", "bindgen", "cmake"] {
        assert!(!versions.contains_key(forbidden), "`{forbidden}` is in the tree; see deny.toml");
    }
    for single in ["wasmtime", "arrow-array", "arrow-schema", "tokio", "fjall", "serde_json", "rdkafka"] {
        assert_eq!(
            versions.get(single).map(Vec::len),
            Some(1),
            "one version of `{single}`: {:?}",
            versions.get(single)
        );
    }
}

#[test]
fn every_license_is_known() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(checkout())
        .output()
        .expect("cargo is there");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo speaks JSON");
    for package in metadata["packages"].as_array().expect("cargo lists packages") {
        let name = &package["name"];
        let Some(license) = package["license"].as_str() else {
            panic!("{name} names no license");
        };
        // Of alternatives one is enough; of parts all are needed. Our list has no nested expressions to fear.
        let license = license.replace('/', " OR ");
        let known = license.split(" OR ").any(|alternative| {
            let alternative = alternative.trim_matches(|c| c == '(' || c == ')' || c == ' ');
            alternative
                .split(" AND ")
                .all(|part| LICENSES.contains(&part.trim_matches(|c| c == '(' || c == ')' || c == ' ')))
        });
        assert!(known, "{name} has the license `{license}`, which is not on the list");
    }
}
