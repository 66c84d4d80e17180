//! Folders as they are on disk.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use spec::check::{check, missing_files};
use spec::diagnostic::Code;
use spec::files::{MAX_FILE_BYTES, read_views};
use spec::host;
use spec::plan::HostPlan;

use crate::texts::{BASE, VIEW};

fn write(folder: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn view_files_are_found_wherever_they_are_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for path in [
        "b.yaml",
        "a.yml",
        "deep/er/c.yaml",
        ".hidden/x.yaml",
        ".x.yaml",
        "target/x.yaml",
        "node_modules/x.yaml",
        "x.txt",
        "host.yaml",
        "..2024/real.yaml",
        "x.yaml~",
        "deep/target/x.yaml",
    ] {
        write(root, path, "");
    }
    // How a ConfigMap is mounted, and a link in a circle.
    symlink(root.join("..2024/real.yaml"), root.join("linked.yaml")).unwrap();
    symlink(root, root.join("deep/again")).unwrap();
    let files = read_views(root);
    let found: Vec<_> = files
        .files
        .iter()
        .map(|file| file.path.strip_prefix(&files.root).unwrap().to_str().unwrap())
        .collect();
    assert_eq!(found, ["a.yml", "b.yaml", "deep/er/c.yaml", "linked.yaml"]);
    assert!(files.problems.is_empty() && files.unreadable.is_empty());
    assert_eq!(read_views(&root.join("deep/er/c.yaml")).files.len(), 1, "one file can be named");
}

#[test]
fn what_cannot_be_read_is_told_and_stops_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "good.yaml", format!("{BASE}{VIEW}"));
    write(root, "latin1.yaml", b"entity: { name: caf\xe9 }");
    write(root, "huge.yaml", vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap() + 1]);
    symlink(root.join("nowhere"), root.join("dangling.yaml")).unwrap();
    let report = check(&read_views(root), &HostPlan::default());
    assert_eq!(report.plan.views.len(), 1);
    let codes: Vec<_> = report.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, [Code::Unreadable, Code::TooLarge, Code::Unreadable]);
    let names: Vec<_> =
        report.unreadable_files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["dangling.yaml", "huge.yaml", "latin1.yaml"]);
    assert_eq!(read_views(&root.join("no such folder")).problems[0].code, Code::Unreadable);
}

#[test]
fn missing_files_are_told_with_what_makes_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let text = format!("{BASE}{VIEW}")
        .replace("push: {}", "file: { path: events.ndjson }")
        .replace("component: v.wasm", "component: v.wasm, samples: s.ndjson, build: { rust: guest }");
    write(root, "view.yaml", text);
    let host = HostPlan { files_root: root.to_owned(), ..HostPlan::default() };
    let report = check(&read_views(root), &host);
    assert!(!report.has_errors());
    let problems = missing_files(&report.plan);
    assert!(problems.iter().all(|problem| problem.code == Code::MissingFile));
    let helps: Vec<_> = problems.iter().map(|problem| problem.help.clone().unwrap()).collect();
    let expected = [
        "run `host build` to make it",
        "write a few events there, one per line, or remove `samples`",
        "correct the path in `transform.build`",
        "put the file there, or set `follow: true` to wait for it",
    ];
    assert_eq!(helps, expected);
    for path in ["v.wasm", "s.ndjson", "guest/Cargo.toml", "events.ndjson"] {
        write(root, path, "");
    }
    assert!(missing_files(&report.plan).is_empty());
    assert!(report.plan.views["clicks_per_user"].component.is_absolute());
}

#[test]
fn a_named_host_file_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.yaml");
    assert_eq!(host::load(Some(&path)).unwrap_err()[0].code, Code::NoHostFile);
    write(folder.path(), "host.yaml", "data_dir: data\n");
    let plan = host::load(Some(&path)).unwrap();
    assert_eq!(plan.data_dir, folder.path().join("data"));
    assert!(plan.files_root.is_absolute());
}
