//! Embeds the guest SDKs and the contract, so that `host new` and `host build` work without a checkout.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let root = fs::canonicalize(root).expect("the checkout is there");
    let mut files = Vec::new();
    for folder in ["wit", "guest_sdk"] {
        collect(&root.join(folder), &mut files);
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
    }
    println!("cargo::rerun-if-changed={}", root.join("Cargo.toml").display());
    files.sort();
    let mut code = String::from("pub(super) const FILES: &[(&str, &[u8])] = &[\n");
    for file in &files {
        let name = file.strip_prefix(&root).expect("collected below the root").display().to_string();
        writeln!(code, "    ({name:?}, include_bytes!({:?})),", file.display().to_string())
            .expect("strings grow");
    }
    code.push_str("];\n");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the workspace has a manifest");
    writeln!(code, "pub(super) const MANIFEST: &str = {:?};", sdk_manifest(&manifest)).expect("strings grow");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("sdk.rs");
    fs::write(out, code).expect("the output folder is writable");
}

/// Sources that a guest needs; tests and built things stay behind.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder is readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "tests" | "target" | "benches" | "__pycache__") {
                collect(&path, files);
            }
        } else if [".rs", ".toml", ".wit", ".py", ".md"].iter().any(|ending| name.ends_with(ending)) {
            files.push(path);
        }
    }
}

/// The workspace manifest with only what the SDK inherits: one version table serves both.
fn sdk_manifest(manifest: &str) -> String {
    let mut kept = String::from(
        "[workspace]\nresolver = \"3\"\nmembers = [\"guest_sdk/rust\", \"guest_sdk/rust/derive\"]\n\n",
    );
    let mut keep = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            keep = ["[workspace.package]", "[workspace.dependencies]", "[workspace.lints"]
                .iter()
                .any(|section| line.starts_with(section));
        }
        if keep && !line.contains("path = \"host/") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}
