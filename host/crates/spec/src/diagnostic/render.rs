//! Diagnostics as text with carets, and as JSON.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

use super::{Diagnostic, Severity, Spot};

/// Every problem with its place underlined, a blank line between them, and a count at the end. `color`: with terminal
/// styles. Empty if there is no problem.
pub fn render_text(diagnostics: &[Diagnostic], color: bool) -> String {
    if diagnostics.is_empty() {
        return String::new();
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&render_one(&renderer, diagnostic));
        text.push_str("\n\n");
    }
    text.push_str(&count(diagnostics));
    text.push('\n');
    text
}

/// `2 errors and 1 warning`.
fn count(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let warnings = diagnostics.len() - errors;
    let plural = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    match (errors, warnings) {
        (_, 0) => plural(errors, "error"),
        (0, _) => plural(warnings, "warning"),
        _ => format!("{} and {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}

fn render_one(renderer: &Renderer, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.as_str());
    let mut group = Group::with_title(title);
    match &diagnostic.spot {
        None => group = group.element(annotate_snippets::Origin::path(diagnostic.file.to_string_lossy())),
        Some(spot) => {
            group = group.element(
                snippet(spot)
                    .annotation(
                        AnnotationKind::Primary.span(visible(spot)).label(non_empty(&diagnostic.label)),
                    )
                    .annotations(contexts(diagnostic, spot, true)),
            );
            // Places in other files stand beneath, each in a snippet of its own.
            for (place, label) in &diagnostic.related {
                if !same_file(place, spot) {
                    group = group.element(
                        snippet(place)
                            .annotation(AnnotationKind::Context.span(visible(place)).label(label.as_str())),
                    );
                }
            }
        }
    }
    if let Some(suggestion) = &diagnostic.suggestion {
        group = group.element(Level::HELP.message(format!("did you mean `{suggestion}`?")));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

fn contexts<'a>(
    diagnostic: &'a Diagnostic,
    spot: &'a Spot,
    in_file: bool,
) -> impl Iterator<Item = Annotation<'a>> {
    diagnostic
        .related
        .iter()
        .filter(move |(place, _)| same_file(place, spot) == in_file)
        .map(|(place, label)| AnnotationKind::Context.span(visible(place)).label(label.as_str()))
}

fn snippet(spot: &Spot) -> Snippet<'_, Annotation<'_>> {
    Snippet::source(spot.file().text.as_str()).path(spot.shown_path().to_string_lossy())
}

fn same_file(one: &Spot, other: &Spot) -> bool {
    std::sync::Arc::ptr_eq(one.file(), other.file())
}

/// The part of a spot that is on its first line: nobody wants to see half a file underlined.
fn visible(spot: &Spot) -> std::ops::Range<usize> {
    let range = spot.range();
    let first_line = spot.text().lines().next().unwrap_or("").trim_end();
    range.start..range.start + first_line.len()
}

fn non_empty(label: &str) -> Option<&str> {
    (!label.is_empty()).then_some(label)
}

/// An array of objects: `code`, `severity`, `message`, `file`, `line`, `column`, `end_line`, `end_column` (from 1; null
/// for a whole file), `label`, `help`, `suggestion`, `related`.
pub fn to_json(diagnostics: &[Diagnostic]) -> Value {
    diagnostics.iter().map(one_to_json).collect()
}

fn one_to_json(diagnostic: &Diagnostic) -> Value {
    let start = diagnostic.spot.as_ref().map(Spot::line_and_column);
    let end = diagnostic.spot.as_ref().map(Spot::end_line_and_column);
    let related: Vec<Value> = diagnostic
        .related
        .iter()
        .map(|(place, label)| {
            let (line, column) = place.line_and_column();
            json!({ "file": place.shown_path().to_string_lossy(), "line": line, "column": column, "label": label })
        })
        .collect();
    json!({
        "code": diagnostic.code.as_str(),
        "severity": diagnostic.severity.name(),
        "message": diagnostic.message,
        "file": diagnostic.file.to_string_lossy(),
        "line": start.map(|(line, _)| line),
        "column": start.map(|(_, column)| column),
        "end_line": end.map(|(line, _)| line),
        "end_column": end.map(|(_, column)| column),
        "label": non_empty(&diagnostic.label),
        "help": diagnostic.help,
        "suggestion": diagnostic.suggestion,
        "related": related,
    })
}
