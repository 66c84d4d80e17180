//! Files that mean harm, or are simply broken: always a report, never a crash, never more memory than the file is worth.

use proptest::prelude::*;
use spec::check::{Report, check};
use spec::diagnostic::{SourceFile, render_text, to_json};
use spec::files::Files;
use spec::host::{self, Environment};
use spec::plan::HostPlan;

use crate::texts::{BASE, VIEW, report};

struct Everything;

impl Environment for Everything {
    fn variable(&self, _: &str) -> Option<String> {
        Some("${X}".into())
    }

    fn file(&self, _: &std::path::Path) -> Result<String, String> {
        Ok("${Y}".into())
    }
}

/// Reads a text as every kind of file, and shows what is wrong with it.
fn survive(text: &str) -> Report {
    let report = check(&Files::from_memory([("views/v.yaml", text)]), &HostPlan::default());
    let _ = render_text(&report.diagnostics, true);
    let _ = to_json(&report.diagnostics);
    if let Err(problems) = host::check(&SourceFile::new("host.yaml", text), &Everything) {
        let _ = render_text(&problems, false);
    }
    report
}

#[track_caller]
fn refused(text: &str, code: &str) {
    let report = survive(text);
    assert!(report.diagnostics.iter().any(|d| d.code.as_str() == code), "{:?}", report.diagnostics);
    assert!(report.plan.views.is_empty());
}

#[test]
fn budgets_hold() {
    let levels = |count: usize| -> String {
        let mut text = "view:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..count {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            text += &format!("  a{level}: &a{level} [{aliases}]\n");
        }
        text
    };
    refused(&levels(30), "MR0003");
    // A long text that is repeated often.
    let long =
        format!("view:\n  a: &a \"{}\"\n  b: [{}]\n", "x".repeat(500_000), vec!["*a"; 10_000].join(", "));
    refused(&long, "MR0003");
    refused(&"---\nentity: { name: e, join_keys: { k: string } }\n".repeat(2_000), "MR0003");
    refused(&format!("view: {}", "[".repeat(100_000)), "MR0003");
    refused(
        &"a:\n"
            .lines()
            .map(|line| line.to_owned())
            .cycle()
            .take(500)
            .enumerate()
            .map(|(depth, line)| format!("{}{line}\n", " ".repeat(depth)))
            .collect::<String>(),
        "MR0003",
    );
    refused("view: &a [*a]\n", "MR0002");
    refused(&format!("view: [{}]", "a,".repeat(200_000)), "MR0003");
}

#[test]
fn a_thousand_problems_are_not_all_told() {
    let keys: String = (0..5_000).map(|index| format!("  unknown_{index}: 1\n")).collect();
    let report = survive(&format!("{BASE}{VIEW}{keys}"));
    assert_eq!(report.diagnostics.len(), 101);
    assert!(report.diagnostics.iter().any(|problem| problem.message.contains("4900 further problems")));
}

#[test]
fn odd_texts_are_survived() {
    for text in [
        "",
        "\u{feff}",
        "---",
        "---\n---\n...",
        "\0",
        "view:",
        "view: ~",
        "view: 3",
        "- view",
        "? [a]\n: b",
        "? a",
        "<<: *x",
        "view: !!map {}",
        "view: !tag {}",
        "%YAML 1.1\n---\nview: {}",
        "view: {name: \"\u{202e}x\"}",
        "view: {name: 'ä'}",
        "source: { name: s, schema: { a: 'list<list<list<list<list<list<list<list<list<int8>>>>>>>>>' } }",
        "view: {transform: {params: {a: 1e400, b: -.inf, c: 0x1F, d: 0o17, e: !!str 12}}}",
        "\t",
        "view:\n\tname: x",
    ] {
        survive(text);
    }
}

fn damaged() -> impl Strategy<Value = String> {
    let whole = concat!(include_str!("../good/everything.yaml"), "---\n", include_str!("../good/kafka.yaml"));
    let whole = whole.replace("user_id", "ключ");
    let length = whole.chars().count();
    prop::collection::vec((0..length, 0..6_usize, "[\\[\\]{}:,#&*!|>'\"%@`\n\t \\-a-z0-9$é]{0,4}"), 1..8)
        .prop_map(move |edits| {
            let mut text: Vec<char> = whole.chars().collect();
            for (at, remove, insert) in edits {
                let at = at.min(text.len());
                let end = (at + remove).min(text.len());
                text.splice(at..end, insert.chars());
            }
            text.into_iter().collect()
        })
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "\\PC{0,200}") {
        survive(&text);
    }

    #[test]
    fn any_damage_is_survived(text in damaged()) {
        survive(&text);
    }
}

#[test]
fn what_was_put_in_is_not_shown() {
    struct Secret;
    impl Environment for Secret {
        fn variable(&self, _: &str) -> Option<String> {
            Some("hunter2".into())
        }

        fn file(&self, _: &std::path::Path) -> Result<String, String> {
            Ok("hunter2".into())
        }
    }
    for key in [
        "listen",
        "threads",
        "shutdown_grace",
        "project",
        "push",
        "serve_while_recovering",
        "event_time",
        "connections",
    ] {
        let text = format!("{key}: \"${{SECRET}}!\"\n");
        let problems = host::check(&SourceFile::new("host.yaml", text), &Secret).unwrap_err();
        let shown = format!("{}{}{:?}", render_text(&problems, false), to_json(&problems), problems);
        assert!(!shown.contains("hunter2"), "{key}: {shown}");
    }
    assert!(!report(&format!("{BASE}{VIEW}")).has_errors());
}
