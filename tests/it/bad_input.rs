//! Bad input gets a clear error, loses nothing and stops nothing else.

use std::fs;
use std::process::Command;

use serde_json::json;
use tests::{Host, Workspace, eventually, require};

use crate::support::{ad_impressions, ad_view, dead_letters, impression};

/// Payloads that cannot be used, each refused with its own reason, between two that can.
#[test]
fn bad_events_are_refused_one_by_one() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    let event = |timestamp: &str| format!("{{\"user_uuid\":\"u\",\"ad_id\":1,\"timestamp\":{timestamp}}}\n");
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (event("\"1970-01-02T00:00:00Z\"").into(), "1970"),
        (event("\"2099-01-02T00:00:00Z\"").into(), "2099"),
        (event("1767225600000").into(), "timestamp_ms"),
        (event("\"yesterday\"").into(), "timestamp"),
        (event("null").into(), "timestamp"),
        (b"{\"user_uuid\":\"\xff\",\"ad_id\":1,\"timestamp\":\"2026-01-01T00:00:00Z\"}\n".to_vec(), "UTF-8"),
        (event("\"2026-01-01T00:00:00Z\"").replace(":1,", ":1e999,").into(), "ad_id"),
        (event("\"2026-01-01T00:00:00Z\"").replace(":1,", ":NaN,").into(), "byte"),
        (b"[1,2]\n".to_vec(), "object"),
        (b"{\n".to_vec(), "byte"),
    ];
    for (body, contains) in &cases {
        let answer = host.post("/v1/push/ad_impressions", body);
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.text.contains(contains), "`{contains}` is not in {}", answer.text);
    }
    host.push("ad_impressions", impression("good", 1));
    eventually("the good event is emitted", || (workspace.lines("out.ndjson").len() == 1).then_some(()));
    assert!(host.stop().success());
}

#[test]
fn large_components_are_refused_by_size() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let file = fs::File::create(workspace.views().join("user_impression_counts.wasm")).unwrap();
    file.set_len(100 << 20).unwrap();
    let host = Host::start(&workspace);
    let view = host.view("user_impression_counts");
    assert!(view["reason"].as_str().unwrap().contains("100 MiB"), "{view}");
    assert!(host.stop().success());
}

#[test]
fn views_that_do_not_fit_name_the_column() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    for (from, to, contains) in [
        ("user_uuid: { type: string, nullable: false }", "user: string", "user_uuid"),
        (
            "user_uuid: { type: string, nullable: false }",
            "user_uuid: { type: int64, nullable: false }",
            "user_uuid",
        ),
        ("user_uuid: { type: string, nullable: false }", "user_uuid: string", "nullable: false"),
        ("{ impression: int64 }", "{ impressions: int64 }", "impressions"),
        ("{ impression: int64 }", "{ impression: float64 }", "float64"),
    ] {
        workspace.write("views/ads.yaml", ad_view("1").replace(from, to));
        let output = Host::command(&workspace, &["check", "views"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(contains) && text.contains("ads.yaml:"), "`{contains}` is not in {text}");
    }
}

#[test]
fn events_that_are_too_large_are_refused_and_put_aside() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let host = Host::start(&workspace);
    let large = impression(&"x".repeat(10 << 20), 1);
    let answer = host.post("/v1/push/ad_impressions", &large);
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("too_large") && answer.text.contains("max_row_bytes"), "{}", answer.text);
    host.push("ad_impressions", impression("still works", 2));
    assert!(host.stop().success());
    // In a file there is nobody to refuse it: it is put aside, and the lines around it go on.
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    workspace.write("views/ads.yaml", ad_view("1").replace("push: {}", "file: { path: events.ndjson }"));
    workspace.write("events.ndjson", [impression("a", 1), large, impression("b", 2)].concat());
    let host = Host::start(&workspace);
    eventually("the lines around it are emitted", || {
        (workspace.lines("out.ndjson").len() == 2).then_some(())
    });
    let letters = dead_letters(&workspace);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["code"], "decode", "{}", letters[0]["reason"]);
    assert!(letters[0]["reason"].as_str().unwrap().contains("max_row_bytes"), "{}", letters[0]["reason"]);
    assert!(host.stop().success());
}

#[test]
fn times_in_another_unit_are_refused_with_a_hint() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let micros = ad_view("1").replace("    timestamp: timestamp\n", "    timestamp: timestamp_us\n");
    workspace.write("views/ads.yaml", micros);
    let host = Host::start(&workspace);
    let event = |time: u64| format!("{{\"user_uuid\":\"u\",\"ad_id\":1,\"timestamp\":{time}}}\n");
    // Milliseconds where microseconds are declared: January 1970.
    let answer = host.post("/v1/push/ad_impressions", event(1_767_225_600_000));
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("1970") && answer.text.contains("timestamp_ms"), "{}", answer.text);
    host.push("ad_impressions", event(1_767_225_600_000_000));
    assert!(host.stop().success());
}

#[test]
fn missing_files_are_named_and_waited_for() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let file = |follow: bool| {
        ad_view("1").replace("push: {}", &format!("file: {{ path: later.ndjson, follow: {follow} }}"))
    };
    workspace.write("views/ads.yaml", file(false));
    let output = Host::command(&workspace, &["check", "views"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("later.ndjson") && text.contains("follow: true"), "{text}");
    workspace.write("views/ads.yaml", file(true));
    let host = Host::start(&workspace);
    workspace.write("later.ndjson", impression("u", 1));
    eventually("the file is found", || (workspace.lines("out.ndjson").len() == 1).then_some(()));
    assert!(host.stop().success());
    // Components as well.
    fs::remove_file(workspace.views().join("user_impression_counts.wasm")).unwrap();
    let host = Host::start(&workspace);
    let view = host.view("user_impression_counts");
    assert_eq!(view["state"], "failed", "{view}");
    assert!(view["reason"].as_str().unwrap().contains("host build"), "{view}");
    workspace.component("user_impression_counts.wasm", "ad_impressions");
    host.view_when("user_impression_counts", "it has come", |view| view["state"] == "running");
    assert!(host.stop().success());
}

#[test]
fn unreadable_components_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let component = workspace.views().join("user_impression_counts.wasm");
    fs::set_permissions(&component, fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything, so there is nothing to see; that is no lack of the machine.
    if fs::read(&component).is_ok() {
        return;
    }
    let host = Host::start(&workspace);
    let view = host.view("user_impression_counts");
    assert!(view["reason"].as_str().unwrap().contains("ermission"), "{view}");
    fs::set_permissions(&component, fs::Permissions::from_mode(0o644)).unwrap();
    host.view_when("user_impression_counts", "it can be read", |view| view["state"] == "running");
    assert!(host.stop().success());
}

/// A disk that is full: the host says so and serves on, pushes fail in words, nothing acknowledged is lost, and all goes
/// on when there is room; so does a view that could not start for want of it.
#[test]
fn a_full_disk_loses_nothing() {
    let workspace = Workspace::new();
    ad_impressions(&workspace, "1");
    let disk = workspace.join("small");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=192m", "tmpfs"])
        .arg(&disk)
        .output()
        .is_ok_and(|output| output.status.success());
    if !require("permission to mount a small disk", mounted) {
        return;
    }
    let _unmount = Unmount(disk.clone());
    workspace.write("host.yaml", "push: { segment_bytes: 1MiB }\n");
    let filler = disk.join("filler");
    fs::write(&filler, vec![1; 150 << 20]).unwrap();
    let host = Host::start_with(&workspace, &["--data-dir", "small/data"]);
    host.unready("");
    assert!(host.get("/readyz").text.contains("disk_full"), "{}", host.get("/readyz").text);
    fs::remove_file(&filler).unwrap();
    host.view_when("user_impression_counts", "there is room, so it runs", |view| view["state"] == "running");
    host.ready();

    let body: String = (0..200).map(|row| impression(&format!("u{row}"), row)).collect();
    host.push("ad_impressions", &body);
    fs::write(&filler, vec![1; 256 << 20]).expect_err("the disk is small");
    let mut accepted = 200_usize;
    let refusal = loop {
        let answer = host.post("/v1/push/ad_impressions", &body);
        if answer.status != 200 {
            break answer;
        }
        accepted += 200;
        assert!(accepted < 1_000_000, "a full disk takes everything");
    };
    assert!([429, 503].contains(&refusal.status) && refusal.header("retry-after").is_some(), "{refusal:?}");
    assert!(refusal.text.contains("disk") || refusal.text.contains("space"), "{refusal:?}");
    let request = json!({"features": ["user_impression_counts:impression"], "entities": {"user_id": ["u7"]}});
    let read =
        || host.post("/get-online-features", request.to_string()).json()["results"][1]["statuses"][0].clone();
    assert_eq!(read(), "PRESENT", "reads go on");
    fs::remove_file(&filler).unwrap();
    eventually("pushes are taken again", || {
        (host.post("/v1/push/ad_impressions", &body).status == 200).then_some(())
    });
    accepted += 200;
    eventually("everything accepted is emitted", || {
        (workspace.lines("out.ndjson").len() >= accepted).then_some(())
    });
    assert_eq!(workspace.lines("out.ndjson").len(), accepted);
    assert_eq!(read(), "PRESENT");
    assert!(host.stop().success());
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
