//! The independent checkers in Python: how they are asked, and that they find what is wrong.

use std::path::Path;
use std::process::{Command, Stdio};

use tests::{Workspace, checkout};

/// Runs a checker on files of a workspace; gives whether it found nothing, and what it said.
pub(crate) fn ask(workspace: &Workspace, script: &str, arguments: &[&str]) -> (bool, String) {
    let output = command(Path::new("python3"), script)
        .args(arguments)
        .current_dir(workspace.path())
        .output()
        .expect("python3 was found");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The same; it must find nothing, and must have come to its end.
#[track_caller]
pub(crate) fn check(workspace: &Workspace, script: &str, arguments: &[&str]) {
    let (good, said) = ask(workspace, script, arguments);
    assert!(good && said.contains(" 0 faults"), "{script}: {said}");
}

/// A checker's command, for a Python of its own.
pub(crate) fn command(python: &Path, script: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(checkout().join("tests/checker").join(script)).stdin(Stdio::null());
    command
}

/// A checker that finds nothing in whatever it is given would make every test pass. `judge` has it look at five events,
/// numbered from 0, of which records were seen in this order.
#[track_caller]
pub(crate) fn finds_disorder(judge: impl Fn(&str, &[u64]) -> (bool, String)) {
    for (expected, mode, seen) in [
        (true, "once", &[0, 1, 2, 3, 4][..]),
        (false, "once", &[0, 1, 2, 3]),
        (false, "once", &[]),
        (false, "once", &[0, 1, 1, 2, 3, 4]),
        (false, "once", &[0, 2, 1, 3, 4]),
        (true, "again", &[0, 1, 2, 1, 2, 3, 4, 4]),
        (false, "again", &[0, 1, 2, 0, 2, 3, 4]),
        (false, "again", &[0, 1, 3, 2, 3, 4]),
        (false, "again", &[0, 1, 2, 1, 2, 3]),
        (true, "shared", &[0, 1, 2, 0, 2, 1, 3, 4]),
        (false, "shared", &[0, 1, 3, 2, 3, 4]),
        (false, "shared", &[0, 1, 2, 3, 2]),
    ] {
        let (good, said) = judge(mode, seen);
        assert_eq!(good, expected, "{mode} {seen:?}: {said}");
        // It has come to its end, and not over something that the test gave it.
        assert!(said.contains(" users, "), "{mode} {seen:?}: {said}");
    }
}

/// The same of rows: `judge` has it look at five good records of the user `u`, the newest of `time 4`, and this file.
#[track_caller]
pub(crate) fn finds_wrong_rows(judge: impl Fn(&str) -> (bool, String)) {
    for (vectors, fault) in [
        ("null", None),
        (r#"{"u": {"status": "PRESENT", "feature_timestamp": "time 4"}}"#, None),
        (r#"{"u": {"status": "PRESENT", "feature_timestamp": "time 3"}}"#, Some("u: stored")),
        (r#"{"u": {"status": "NOT_FOUND", "feature_timestamp": null}}"#, Some("u: status NOT_FOUND")),
        ("{}", Some("u: status not asked")),
    ] {
        let (good, said) = judge(vectors);
        assert_eq!(good, fault.is_none(), "{vectors}: {said}");
        assert!(said.contains(" users, ") && said.contains(fault.unwrap_or_default()), "{vectors}: {said}");
    }
}
