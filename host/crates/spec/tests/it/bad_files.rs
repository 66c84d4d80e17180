//! Each file in `bad/` has one thing wrong; its report stands beside it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use spec::check::check;
use spec::diagnostic::{Code, Diagnostic, SourceFile, render_text, to_json};
use spec::files::Files;
use spec::host::{self, Environment};

use crate::texts::with_connections;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Compares a report with the one beside the file, and the codes in it with the file's name.
#[track_caller]
fn compare(file: &Path, diagnostics: &[Diagnostic]) {
    let actual = render_text(diagnostics, false);
    let shown = format!("{actual}{:?}{}", diagnostics, to_json(diagnostics));
    assert!(!shown.contains("hunter2"), "{} shows a secret:\n{actual}", file.display());
    let expected_path = file.with_extension("txt");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&expected_path, &actual).unwrap();
    }
    let expected = fs::read_to_string(&expected_path).unwrap_or_default();
    assert_eq!(actual, expected, "the report of {} changed", file.display());
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let code = &name[..6];
    assert!(diagnostics.iter().any(|d| d.code.as_str() == code), "{name} does not report {code}:\n{actual}");
}

struct NoEnvironment;

impl Environment for NoEnvironment {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &Path) -> Result<String, String> {
        Err("no such file".to_owned())
    }
}

#[test]
fn every_problem_of_view_files_is_reported_as_expected() {
    let host = with_connections();
    for file in yaml_files(&folder()) {
        let text = fs::read_to_string(&file).unwrap();
        let files = Files::from_memory([("views/shop/view.yaml", text)]);
        compare(&file, &check(&files, &host).diagnostics);
    }
}

#[test]
fn every_problem_of_host_files_is_reported_as_expected() {
    for file in yaml_files(&folder().join("host")) {
        let text = fs::read_to_string(&file).unwrap();
        let diagnostics = host::check(&SourceFile::new("conf/host.yaml", text), &NoEnvironment).unwrap_err();
        compare(&file, &diagnostics);
    }
}

#[test]
fn every_code_is_tested() {
    let names = [folder(), folder().join("host")].iter().flat_map(|f| yaml_files(f)).collect::<Vec<_>>();
    let mut tested: BTreeSet<String> =
        names.iter().map(|path| path.file_name().unwrap().to_string_lossy()[..6].to_owned()).collect();
    // These need a disk, a component or a broker: `reading.rs` and `contract.rs` have the former.
    for code in ["MR0001", "MR0005", "MR0302", "MR0808", "MR0809"] {
        tested.insert(code.to_owned());
    }
    let missing: Vec<&Code> = Code::ALL
        .iter()
        .filter(|code| !tested.contains(code.as_str()) && !code.as_str().starts_with("MR06"))
        .collect();
    assert!(missing.is_empty(), "codes without a file in tests/bad: {missing:?}");
}
