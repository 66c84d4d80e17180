//! The command line: help is a page that is read like code, results go to stdout, exit codes mean something.

use std::process::Output;

use tests::{Host, Workspace, checkout, free_address};

use crate::support::{ad_impressions, ad_view};

fn text(output: &Output) -> String {
    format!(
        "exit {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn help_is_what_it_is() {
    let workspace = Workspace::new();
    for command in [
        "",
        "run",
        "check",
        "doctor",
        "new view",
        "build",
        "get",
        "rewind",
        "migrate-store",
        "list",
        "generate",
        "schema",
        "bench",
        "completion",
    ] {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let output = Host::command(&workspace, &arguments);
        assert!(output.status.success());
        let name = format!("help-{}", if command.is_empty() { "host" } else { command }).replace(' ', "-");
        insta::with_settings!({ snapshot_path => checkout().join("tests/it/snapshots"), prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, String::from_utf8_lossy(&output.stdout));
        });
    }
}

#[test]
fn lists_say_what_can_be_plugged_in() {
    let workspace = Workspace::new();
    for (what, kinds) in
        [("sources", &["push", "file"][..]), ("formats", &["json", "raw"]), ("stores", &["embedded", "file"])]
    {
        let table = text(&Host::command(&workspace, &["list", what]));
        let json = Host::command(&workspace, &["list", what, "--format", "json"]);
        let json: Vec<serde_json::Value> = serde_json::from_slice(&json.stdout).expect("it is JSON");
        for kind in kinds {
            assert!(table.contains(kind) && json.iter().any(|plug| plug["kind"] == *kind), "{kind}: {table}");
        }
    }
}

#[test]
fn schemas_and_completions_are_printed() {
    let workspace = Workspace::new();
    for of in ["view", "host"] {
        let output = Host::command(&workspace, &["schema", of]);
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a JSON Schema");
        assert!(schema["$schema"].is_string(), "{schema}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = Host::command(&workspace, &["completion", shell]);
        assert!(String::from_utf8_lossy(&output.stdout).contains("host"), "{}", text(&output));
    }
}

#[test]
fn generated_events_fit_their_source() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let arguments = ["generate", "ad_impressions", "--rows", "20", "--from", "2026-01-01T00:00:00Z"];
    let output = Host::command(&workspace, &arguments);
    assert_eq!(output.stdout, Host::command(&workspace, &arguments).stdout, "one seed, one sequence");
    let host = Host::start(&workspace);
    host.push("ad_impressions", &output.stdout);
    let pushed = Host::command(&workspace, &["generate", "ad_impressions", "--push", "--url", &host.url]);
    assert!(pushed.status.success(), "{}", text(&pushed));
    let unknown = Host::command(&workspace, &["generate", "ad_impression"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown));
    assert!(host.stop().success());
}

/// Starts a host that must stop at once, with that exit code and a message that contains the text.
#[track_caller]
fn check_stops(workspace: &Workspace, arguments: &[&str], code: i32, contains: &str) {
    let (status, log) = Host::stopped(workspace, arguments);
    assert!(log.contains(contains), "`{contains}` is not in:\n{log}");
    assert_eq!(status.code(), Some(code), "{log}");
}

#[test]
fn a_host_that_cannot_run_says_why() {
    let workspace = Workspace::new();
    check_stops(&workspace, &[], 78, "host new view");
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    let address = host.url.trim_start_matches("http://").to_owned();
    check_stops(&workspace, &["--listen", &address, "--data-dir", "elsewhere"], 69, "--listen");
    check_stops(&workspace, &[], 69, &host.id().to_string());
    assert!(host.stop().success());
    workspace.write("host.yaml", "projekt: x\n");
    check_stops(&workspace, &[], 78, "project");
    workspace.write("host.yaml", "");
    std::fs::remove_file(workspace.views().join("user_impression_counts.wasm")).unwrap();
    check_stops(&workspace, &["--require-healthy"], 78, "user_impression_counts");
    workspace.write(".millrace/online/format", "99\n");
    check_stops(&workspace, &[], 69, "99");
}

#[test]
fn check_reports_everything_at_once() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let good = Host::command(&workspace, &["check", "views"]);
    assert!(good.status.success(), "{}", text(&good));
    workspace.write(
        "views/ads.yaml",
        ad_view("1")
            .replace("entities: [user]", "entities: [usr]")
            .replace("impression: int64", "impression: int63"),
    );
    workspace.write("views/other.yaml", "entity: { name: user, join_keys: { x: strin } }\n");
    let bad = Host::command(&workspace, &["check", "views", "--format", "json"]);
    assert_eq!(bad.status.code(), Some(1), "{}", text(&bad));
    let shown = text(&bad);
    for part in ["usr", "int63", "strin", "ads.yaml", "other.yaml"] {
        assert!(shown.contains(part), "`{part}` is not in {shown}");
    }
    let human = text(&Host::command(&workspace, &["check", "views"]));
    assert!(human.contains("did you mean") && human.contains("ads.yaml:"), "{human}");
}

/// A command that must fail, with that code and a message that contains the text.
#[track_caller]
fn check_fails(workspace: &Workspace, arguments: &[&str], code: i32, contains: &str) {
    let output = Host::command(workspace, arguments);
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(contains), "`{contains}` is not in {said}");
    assert!(output.stdout.is_empty(), "results only on stdout: {}", text(&output));
}

#[test]
fn mistakes_are_answered_with_what_to_do() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    check_fails(&workspace, &["runn"], 2, "run");
    check_fails(&workspace, &["run", "--veiws", "views"], 2, "--views");
    check_fails(&workspace, &["check", "nowhere"], 1, "host new view");
    check_fails(&workspace, &["new", "view", "Ad-Views"], 2, "small letter");
    check_fails(&workspace, &["build", "views", "--view", "user_impressions"], 2, "user_impression_counts");
    check_fails(&workspace, &["generate", "ad_impressions", "--from", "yesterday"], 2, "--from");
    let nobody = format!("http://{}", free_address());
    check_fails(&workspace, &["list", "views", "--url", &nobody], 1, "host run");
    let host = Host::start(&workspace);
    let url = host.url.as_str();
    check_fails(
        &workspace,
        &["get", "user_impression_count", "user_id=u", "--url", url],
        1,
        "user_impression_counts",
    );
    check_fails(&workspace, &["get", "user_impression_counts", "user=u", "--url", url], 1, "user_id");
    check_fails(&workspace, &["get", "user_impression_counts", "u", "--url", url], 2, "user_id=u1");
    assert!(host.stop().success());
}

#[test]
fn new_views_pass_the_check_but_for_their_component() {
    let workspace = Workspace::new();
    for (name, language) in [("clicks", "rust"), ("visits", "python")] {
        let made = Host::command(&workspace, &["new", "view", name, "--lang", language]);
        assert!(made.status.success(), "{}", text(&made));
        assert!(String::from_utf8_lossy(&made.stderr).contains("host build views"), "{}", text(&made));
        check_fails(&workspace, &["new", "view", name], 2, "already there");
    }
    let output = Host::command(&workspace, &["check", "views", "--format", "json"]);
    let problems: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(problems.len(), 2, "{problems:#?}");
    for problem in problems {
        assert!(problem.to_string().contains(".wasm"), "{problem}");
    }
}
