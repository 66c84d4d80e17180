//! The manual: every code has its page, every example is right, every key is described.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use spec::check::check;
use spec::diagnostic::{Code, SourceFile, render_text};
use spec::files::Files;
use spec::host::{self, Environment};
use spec::schema::{host_schema, view_schema};

use crate::texts::with_connections;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs")
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let pages: BTreeSet<String> = fs::read_dir(docs().join("errors"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_stem().is_some_and(|stem| stem.to_string_lossy().starts_with("MR")))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let codes: BTreeSet<String> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(pages, codes);
    assert_eq!(codes.len(), Code::ALL.len(), "codes are distinct");
    for code in Code::ALL {
        let page = fs::read_to_string(docs().join(format!("errors/{code}.md"))).unwrap();
        assert!(page.starts_with(&format!("# {code}: ")), "{code} opens with its title");
        let second = page.lines().nth(2).unwrap_or_default();
        assert!(!second.is_empty() && !second.starts_with('#'), "{code} goes on with what to do");
        assert!(page.lines().count() < 40, "{code} is short");
    }
    let index = fs::read_to_string(docs().join("errors/README.md")).unwrap();
    for code in Code::ALL {
        assert!(index.contains(&format!("[{code}]({code}.md)")), "{code} is in the index");
    }
}

/// Fenced blocks of a language in a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let mut blocks = Vec::new();
    let mut current: Option<String> = None;
    for line in page.lines() {
        match &mut current {
            None if line.trim_end() == fence => current = Some(String::new()),
            None => {}
            Some(_) if line.starts_with("```") => blocks.extend(current.take()),
            Some(text) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    blocks
}

struct AllSet;

impl Environment for AllSet {
    fn variable(&self, _: &str) -> Option<String> {
        Some("8080".into())
    }

    fn file(&self, _: &Path) -> Result<String, String> {
        Ok("value".into())
    }
}

#[test]
fn examples_of_view_files_are_right() {
    let page = fs::read_to_string(docs().join("views.md")).unwrap();
    let blocks = blocks(&page, "yaml");
    assert!(!blocks.is_empty());
    // Together they are one folder of views.
    let files =
        blocks.iter().enumerate().map(|(index, text)| (format!("views/{index:02}.yaml"), text.clone()));
    let report = check(&Files::from_memory(files), &with_connections());
    assert!(!report.has_errors(), "{}", render_text(&report.diagnostics, false));
}

#[test]
fn examples_of_host_files_are_right() {
    let page = fs::read_to_string(docs().join("host-yaml.md")).unwrap();
    let blocks = blocks(&page, "yaml");
    assert!(!blocks.is_empty());
    for text in blocks {
        if let Err(problems) = host::check(&SourceFile::new("host.yaml", text), &AllSet) {
            panic!("{}", render_text(&problems, false));
        }
    }
}

/// Every key of a schema, with its description.
fn keys(schema: &Value, found: &mut Vec<(String, Option<String>)>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (key, value) in properties {
            found.push((key.clone(), value.get("description").and_then(Value::as_str).map(str::to_owned)));
        }
    }
    match schema {
        Value::Object(object) => object.values().for_each(|value| keys(value, found)),
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

#[test]
fn schemas_describe_every_key_and_the_manual_names_it() {
    for (schema, page) in [(view_schema(), "views.md"), (host_schema(), "host-yaml.md")] {
        let page_text = fs::read_to_string(docs().join(page)).unwrap();
        let mut found = Vec::new();
        keys(&schema, &mut found);
        assert!(found.len() > 20);
        for (key, description) in found {
            assert!(description.is_some_and(|text| text.ends_with('.')), "`{key}` has no description");
            assert!(page_text.contains(&format!("`{key}`")), "`{key}` is not in docs/{page}");
        }
        let text = schema.to_string();
        assert!(!text.contains("Raw"), "names of our types are no business of an editor: {text}");
    }
}
