//! One broken part stops nothing else, and a running host keeps what it had of it.

use spec::check::{Report, check};
use spec::files::Files;
use spec::plan::HostPlan;

use crate::texts::{BASE, VIEW};

fn check_files(files: &[(&str, &str)]) -> Report {
    check(&Files::from_memory(files.iter().map(|(path, text)| (*path, *text))), &HostPlan::default())
}

/// Names of good views, broken views, unreadable files.
#[track_caller]
fn expect(report: &Report, good: &[&str], broken: &[&str], unreadable: &[&str]) {
    assert_eq!(report.plan.views.keys().collect::<Vec<_>>(), good, "good views");
    assert_eq!(report.broken.keys().collect::<Vec<_>>(), broken, "broken views");
    let files: Vec<_> =
        report.unreadable_files.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    assert_eq!(files, unreadable, "unreadable files");
}

fn other(name: &str) -> String {
    VIEW.replace("clicks_per_user", name)
}

#[test]
fn a_broken_view_leaves_the_others() {
    let report = check_files(&[
        ("views/a.yaml", BASE),
        ("views/b.yaml", &other("good")),
        ("views/c.yaml", &other("bad").replace("entities", "entitys")),
    ]);
    expect(&report, &["good"], &["bad"], &[]);
    assert_eq!(report.broken["bad"][0].suggestion.as_deref(), Some("entities"));
    assert!(report.has_errors());
}

#[test]
fn a_broken_source_breaks_its_views_with_its_own_reason() {
    let report = check_files(&[
        ("views/a.yaml", &BASE.replace("ad: int64", "ad: int63")),
        (
            "views/b.yaml",
            &BASE.replace("name: clicks", "name: fine").replace("name: user,", "name: someone,"),
        ),
        ("views/c.yaml", &other("bad")),
        ("views/d.yaml", &other("good").replace("source: clicks", "source: fine")),
    ]);
    expect(&report, &["good"], &["bad"], &[]);
    assert_eq!(report.diagnostics.len(), 1, "the reason is reported once: {:#?}", report.diagnostics);
    assert_eq!(report.broken["bad"][0].code.as_str(), "MR0401");
    assert!(report.broken_sources.contains("clicks"));
}

#[test]
fn a_broken_document_leaves_those_behind_it() {
    let text = format!("{BASE}view: [ never closed\n---\n{}", other("good"));
    let report = check_files(&[("views/a.yaml", &text)]);
    expect(&report, &["good"], &[], &["views/a.yaml"]);
    assert_eq!(report.diagnostics.len(), 1);
}

#[test]
fn what_may_stand_in_an_unreadable_part_is_not_called_missing() {
    let report = check_files(&[
        ("views/a.yaml", &BASE.replace("entity:", "entitty:")),
        ("views/b.yaml", &other("waits")),
    ]);
    expect(&report, &[], &["waits"], &["views/a.yaml"]);
    assert_eq!(report.diagnostics.len(), 1, "{:#?}", report.diagnostics);
}

#[test]
fn duplicates_in_two_files_are_broken_and_point_at_both() {
    let report = check_files(&[
        ("views/a.yaml", BASE),
        ("views/b.yaml", &other("twice")),
        ("views/c.yaml", &other("twice")),
        ("views/d.yaml", &other("good")),
    ]);
    expect(&report, &["good"], &["twice"], &[]);
    let text = spec::diagnostic::render_text(&report.diagnostics, false);
    assert!(text.contains("views/c.yaml:2:9") && text.contains("views/b.yaml:2:9"), "{text}");
}

#[test]
fn a_running_host_keeps_what_is_broken_now() {
    let service = "service: { name: both, features: [one, two] }\n";
    let before = check_files(&[
        ("views/a.yaml", BASE),
        ("views/b.yaml", &other("one")),
        ("views/c.yaml", &other("two")),
        ("views/d.yaml", service),
    ]);
    assert!(!before.has_errors());
    let running = before.plan;

    // One view is misspelled: everything goes on as it was.
    let now = check_files(&[
        ("views/a.yaml", BASE),
        ("views/b.yaml", &other("one").replace("source:", "sauce:")),
        ("views/c.yaml", &other("two")),
        ("views/d.yaml", service),
    ]);
    assert_eq!(now.over(&running), running);

    // The file with the source cannot be read at all, and a view is really gone.
    let now = check_files(&[("views/a.yaml", "{"), ("views/b.yaml", &other("one"))]);
    let plan = now.over(&running);
    assert_eq!(plan.views.keys().collect::<Vec<_>>(), ["one"]);
    assert_eq!(plan.sources, running.sources);
    assert!(plan.services.is_empty());

    // A good change goes through beside a broken one.
    let now = check_files(&[
        ("views/a.yaml", BASE),
        ("views/b.yaml", &format!("{}  ttl: 1d\n", other("one"))),
        ("views/c.yaml", &other("two").replace("int64", "int65")),
        ("views/d.yaml", service),
    ]);
    let plan = now.over(&running);
    assert_eq!(plan.views["one"].shape.ttl_micros, Some(86_400_000_000));
    assert_eq!(plan.views["two"], running.views["two"]);
    assert_eq!(plan.services, running.services);
}
