//! The documents are right: the README's five minutes are lived through, and every command that a page shows is one.
//!
//! What is said of view files, settings and HTTP is executed where it is made: by the tests of `spec` and `serve`; the
//! guide for authors by those of the SDKs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tests::{Host, Workspace, checkout, eventually, free_address, host_binary, require};

/// Folders with pages for users.
const PAGES: [&str; 5] = [".", "docs", "guest_examples", "wit", "guest_sdk"];

/// Runs both shell blocks as they stand, then changes the transform as the text says.
#[test]
fn the_five_minutes_of_the_readme() {
    let curl = Command::new("curl").arg("--version").output().is_ok_and(|output| output.status.success());
    if !require("curl", curl) || !require("a Rust that can build for wasm", wasm()) {
        return;
    }
    let readme = fs::read_to_string(checkout().join("README.md")).unwrap();
    let section = readme.split("## Five minutes").nth(1).unwrap().split("\n## ").next().unwrap();
    let blocks: Vec<&str> =
        section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [first, second] = blocks[..] else { panic!("two shells: {blocks:?}") };
    let workspace = Workspace::new();
    let address = free_address();
    let (prepare, run) = first.split_at(first.find("host run").expect("the first block ends with the host"));
    assert_eq!(run.trim_end().lines().count(), 1, "{run}");
    shell(&workspace, &address, prepare);
    let running = shell_command(&workspace, &address, &format!("exec {run}")).spawn().unwrap();
    let host = Host::adopt(running, &workspace, &address);
    // A user is slower than the stream: what was pushed is there before the next line is typed.
    let (push, read) = second.split_at(second.find("host get").expect("the second block reads"));
    let pushed = shell(&workspace, &address, &push.replace("localhost:6566", &address));
    assert!(pushed.contains("\"accepted\":3"), "{pushed}");
    eventually("the pushed events are emitted", || {
        (workspace.lines("clicks.out.ndjson").len() == 3).then_some(())
    });
    let read = shell(&workspace, &address, read);
    for part in ["PRESENT", "/cart", "40.25", "\"feature_view_name\":\"clicks\""] {
        assert!(read.contains(part), "`{part}` is not in {read}");
    }

    let transform = workspace.join("views/clicks/guest/src/lib.rs");
    let source = fs::read_to_string(&transform).unwrap();
    let changed = source
        .replace("last_seconds: click.seconds,", "last_seconds: click.seconds.map(|seconds| seconds * 2.0),");
    assert_ne!(source, changed, "the template has changed");
    fs::write(&transform, &changed).unwrap();
    shell(&workspace, &address, "host build views");
    host.view_when("clicks", "the new version is live", |view| view["generation"] == 2);
    shell(&workspace, &address, &push.replace("localhost:6566", &address));
    eventually("the new version emits", || (workspace.lines("clicks.out.ndjson").len() == 6).then_some(()));
    assert!(
        workspace.lines("clicks.out.ndjson")[5].contains("\"80.5\""),
        "{:?}",
        workspace.lines("clicks.out.ndjson")
    );

    // What does not compile leaves the running version alone.
    fs::write(&transform, changed.replace("click.page", "click.pages")).unwrap();
    let broken = shell_command(&workspace, &address, "host build views").output().unwrap();
    assert_eq!(broken.status.code(), Some(1), "{}", String::from_utf8_lossy(&broken.stderr));
    let views = shell(&workspace, &address, "host list views");
    assert!(views.contains("running"), "{views}");
    assert!(host.stop().success());
}

#[test]
fn the_transform_in_the_readme_is_the_example() {
    let readme = fs::read_to_string(checkout().join("README.md")).unwrap();
    let shown = readme.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    let example = checkout().join("guest_examples/01_ad_impressions/ad_impressions/src/lib.rs");
    let example = fs::read_to_string(example).unwrap();
    let code = example.lines().filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join("\n");
    // Fields stand on lines of their own there, and end in a comma.
    let bare = |text: &str| text.split_whitespace().collect::<String>().replace(",}", "}");
    assert_eq!(bare(shown), bare(&code));
}

#[test]
fn every_command_in_the_documents_is_accepted() {
    let workspace = Workspace::new();
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for command in commands(&text) {
            count += 1;
            let mut arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
            // Parsed like the command itself, but nothing is done.
            arguments.push("--help");
            let output =
                Command::new(host_binary()).args(&arguments).current_dir(workspace.path()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: `{command}`: {said}", page.display());
        }
    }
    assert!(count > 20, "the documents lost their commands: {count}");
}

/// Commands of the host in a page: lines of code blocks, as they are typed.
fn commands(page: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            let code = line.split(" #").next().unwrap_or_default();
            for part in code.split("&&").flat_map(|part| part.split('|')) {
                let part = part.split('>').next().unwrap_or_default().trim().trim_end_matches('&').trim();
                let typed = part.strip_prefix("$ ").unwrap_or(part);
                if typed.starts_with("host ") && !typed.contains(['…', '[', '(']) {
                    found.push(typed.to_owned());
                }
            }
        }
    }
    found
}

fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in PAGES {
        collect(&checkout().join(folder), folder != ".", &mut found);
    }
    found.sort();
    found
}

fn collect(folder: &Path, deep: bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && deep && !path.ends_with("target") {
            collect(&path, deep, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// A shell in the workspace that finds the built host, which finds its address.
fn shell_command(workspace: &Workspace, address: &str, script: &str) -> Command {
    let folder = host_binary().parent().unwrap().to_owned();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(workspace.path())
        .env("PATH", path)
        .env("HOST_LISTEN", address)
        .env("HOST_URL", format!("http://{address}"))
        .env("HOST_COLOR", "never")
        .stdin(Stdio::null());
    command
}

/// Runs a script, which must succeed; gives what it printed.
#[track_caller]
fn shell(workspace: &Workspace, address: &str, script: &str) -> String {
    let output = shell_command(workspace, address, script).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether something here can build guests: what `cargo xtask setup` provides.
fn wasm() -> bool {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", "wasm32-unknown-unknown"])
        .output();
    let installed =
        output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir());
    installed || Path::new("/usr/lib/rustlib/src/rust/library/std").is_dir()
}
