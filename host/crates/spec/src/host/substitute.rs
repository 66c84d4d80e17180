//! `${NAME}`, `${NAME:-default}` and `${file:path}` in the texts of `host.yaml`.
//!
//! Values are put in after the file was taken apart, so that nothing in them can become a key or a list. `$${` is a
//! literal `${`. Keys, and every file but `host.yaml`, stay as they are.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic, SourceFile, Spot};
use crate::yaml::{Node, NodeValue, Style, is_reference, looks_secret};

/// Bytes of a file named by `${file:…}` at most.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Where values come from.
pub trait Environment {
    /// The variable of that name, if it is set.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of a file, or why there is none.
    fn file(&self, path: &Path) -> Result<String, String>;
}

/// The environment of this process, and the disk.
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &Path) -> Result<String, String> {
        let mut bytes = Vec::new();
        fs::File::open(path)
            .and_then(|file| file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| error.to_string())?;
        if bytes.len() as u64 > MAX_SECRET_BYTES {
            return Err(format!("larger than {} KiB", MAX_SECRET_BYTES >> 10));
        }
        String::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned())
    }
}

/// Puts values into all texts of a tree. Those that are not there are reported.
pub(super) fn substitute(
    node: &mut Node,
    key: &str,
    file: &Arc<SourceFile>,
    environment: &dyn Environment,
    problems: &mut Vec<Diagnostic>,
) {
    match &mut node.value {
        NodeValue::List(items) => {
            items.iter_mut().for_each(|item| substitute(item, key, file, environment, problems));
        }
        NodeValue::Map(entries) => {
            for (name, value) in entries {
                let path = if key.is_empty() { name.name.clone() } else { format!("{key}.{}", name.name) };
                substitute(value, &path, file, environment, problems);
            }
        }
        // A secret of which a part stands in the file: what looks like a name may be that part. It is refused later.
        NodeValue::Scalar(scalar) if is_password(key) && !is_reference(&scalar.text) => {}
        NodeValue::Scalar(scalar) if scalar.text.contains("${") => {
            let spot = Spot::new(file, node.range.clone());
            let text = Text { key, spot: &spot, environment };
            match text.expand(&scalar.text) {
                Ok(expanded) => {
                    scalar.style = Style::Expanded { whole: is_reference(&scalar.text) };
                    scalar.text = expanded;
                }
                Err(problem) => problems.push(*problem),
            }
        }
        NodeValue::Scalar(_) => {}
    }
}

/// Whether a key takes nothing but references.
fn is_password(path: &str) -> bool {
    matches!(path.rsplit('.').next(), Some("password" | "key_password"))
}

/// A text at work.
struct Text<'a> {
    key: &'a str,
    spot: &'a Spot,
    environment: &'a dyn Environment,
}

impl Text<'_> {
    fn expand(&self, text: &str) -> Result<String, Box<Diagnostic>> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, found) = rest.split_at(start);
            if let Some(before) = before.strip_suffix('$') {
                expanded.push_str(before);
                expanded.push_str("${");
                rest = &found[2..];
                continue;
            }
            let Some(end) = found.find('}') else {
                return Err(self.problem(
                    Code::BadSubstitution,
                    "has a `${` without its `}`",
                    "write `$${` for a literal `${`",
                ));
            };
            expanded.push_str(before);
            expanded.push_str(&self.value(&found[2..end])?);
            rest = &found[end + 1..];
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn value(&self, inside: &str) -> Result<String, Box<Diagnostic>> {
        if let Some(path) = inside.strip_prefix("file:") {
            let folder = self.spot.path().parent().unwrap_or(Path::new("."));
            let path = folder.join(path);
            return match self.environment.file(&path) {
                // Editors and `echo` end a file with a line break that is no part of a secret.
                Ok(text) => Ok(text
                    .strip_suffix('\n')
                    .map_or(text.as_str(), |text| text.trim_end_matches('\r'))
                    .to_owned()),
                Err(reason) => Err(self.problem(
                    Code::UnreadableSecret,
                    &format!("names {}, which cannot be read: {reason}", path.display()),
                    "the path is relative to the folder of host.yaml",
                )),
            };
        }
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            let shown = if looks_secret(self.key) { "…" } else { inside };
            return Err(self.problem(
                Code::BadSubstitution,
                &format!(
                    "has `${{{shown}}}`, which is none of `${{NAME}}`, `${{NAME:-default}}`, `${{file:path}}`"
                ),
                "write `$${` for a literal `${`",
            ));
        }
        match (self.environment.variable(name), default) {
            // As in a shell, `:-` also stands in for a variable that is empty.
            (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
            (Some(value), _) => Ok(value),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(self.problem(
                Code::UnsetVariable,
                &format!("needs the environment variable `{name}`, which is not set"),
                // A default would be a secret in the file.
                &if is_password(self.key) {
                    "set it".to_owned()
                } else {
                    format!("set it, or write `${{{name}:-default}}`")
                },
            )),
        }
    }

    fn problem(&self, code: Code, message: &str, help: &str) -> Box<Diagnostic> {
        Box::new(Diagnostic::at(code, self.spot, format!("`{}` {message}", self.key)).help(help))
    }
}
