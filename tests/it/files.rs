//! File sources: read to the end or followed, through rotation, truncation and half-written lines.

use std::fs::{self, OpenOptions};
use std::io::Write;

use tests::{Host, Workspace, eventually};

use crate::support::{ad_impressions, ad_view, impression};

fn start(follow: bool) -> (Workspace, Host) {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let source = format!("file: {{ path: events.ndjson, follow: {follow} }}");
    workspace.write("views/ads.yaml", ad_view("1").replace("push: {}", &source));
    workspace.write("events.ndjson", impression("first", 1));
    let host = Host::start(&workspace);
    emitted(&workspace, 1);
    (workspace, host)
}

#[track_caller]
fn emitted(workspace: &Workspace, count: usize) -> Vec<String> {
    eventually(&format!("{count} records"), || {
        let lines = workspace.lines("out.ndjson");
        assert!(lines.len() <= count, "more than {count} records: {lines:?}");
        (lines.len() == count).then_some(lines)
    })
}

fn append(workspace: &Workspace, text: &str) {
    let mut file =
        OpenOptions::new().append(true).create(true).open(workspace.join("events.ndjson")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_followed_file_gives_lines_as_they_become_whole() {
    let (workspace, host) = start(true);
    let line = impression("second", 2);
    let (head, tail) = line.split_at(20);
    append(&workspace, head);
    append(&workspace, tail);
    append(&workspace, "\n\r\n");
    append(&workspace, &impression("third", 3));
    emitted(&workspace, 3);
    assert!(host.stop().success());
    // A restart goes on where it stopped.
    append(&workspace, &impression("fourth", 4));
    let host = Host::start(&workspace);
    emitted(&workspace, 4);
    assert!(host.stop().success());
}

#[test]
fn a_rotated_file_is_finished_before_the_new_one() {
    let (workspace, host) = start(true);
    append(&workspace, &impression("second", 2));
    fs::rename(workspace.join("events.ndjson"), workspace.join("events.ndjson.1")).unwrap();
    workspace.write("events.ndjson", impression("third", 3));
    let lines = emitted(&workspace, 3);
    for (line, user) in lines.iter().zip(["first", "second", "third"]) {
        assert!(line.contains(user), "{lines:?}");
    }
    assert!(host.stop().success());
}

#[test]
fn a_truncated_file_is_a_new_one() {
    let (workspace, host) = start(true);
    // Copied away and cut, as some rotations do; what comes then is shorter than what was there.
    fs::write(workspace.join("events.ndjson"), "").unwrap();
    eventually("the host has seen it", || host.log().contains("truncat").then_some(()));
    append(&workspace, &impression("x", 2));
    emitted(&workspace, 2);
    assert!(host.stop().success());
}

#[test]
fn a_file_that_is_not_followed_is_read_with_its_unfinished_last_line() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    workspace.write("views/ads.yaml", ad_view("1").replace("push: {}", "file: { path: events.ndjson }"));
    workspace.write("events.ndjson", format!("{}{}", impression("a", 1), impression("b", 2).trim_end()));
    let host = Host::start(&workspace);
    emitted(&workspace, 2);
    assert!(host.stop().success());
}
