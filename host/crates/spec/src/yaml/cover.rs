//! Secrets that stand in a file, covered with `*`: a report quotes lines of files, and must not quote those.
//!
//! What counts as a secret is told by its key, generously. `${…}` stays readable: it only says where a secret comes from.

use std::ops::Range;
use std::sync::Arc;

use super::{Node, NodeValue};
use crate::diagnostic::SourceFile;
use crate::suggest::nearest;

/// Where a value counts as a secret by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cover {
    /// Anywhere: `host.yaml` has no keys of its own that sound like secrets and are none.
    Everywhere,
    /// Among settings of clients: a column of a view may well be called `token`.
    ClientSettings,
}

/// Parts of keys whose values nobody should see.
const SECRET_WORDS: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "access_key",
    "jaas",
    "pem",
    "private",
];

/// Keys below which settings of clients stand.
const CLIENT_SETTINGS: [&str; 8] =
    ["options", "kafka", "kinesis", "redis", "security", "sasl", "tls", "connections"];

/// What a private key in PEM has on its first line.
const PRIVATE_KEY: &str = "PRIVATE KEY-----";

/// Whether a key sounds like that of a secret.
pub(crate) fn looks_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word)) || nearest(&key, ["password"]).is_some()
}

/// Whether a text consists of references alone, `${NAME}` or `${file:path}`, so that nothing of the value stands in the
/// file. A default, as in `${NAME:-default}`, does stand there.
pub(crate) fn is_reference(text: &str) -> bool {
    let mut rest = text;
    while let Some(inside) = rest.strip_prefix("${") {
        let Some((reference, behind)) = inside.split_once('}') else { return false };
        let reference = reference.strip_suffix(":-").unwrap_or(reference);
        let is_name =
            !reference.is_empty() && reference.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name && !reference.starts_with("file:") {
            return false;
        }
        rest = behind;
    }
    rest.is_empty() && !text.is_empty()
}

/// Whether the value at the end of a path of keys is a secret that stands in the file.
pub(super) fn is_secret(path: &[String], value: &Node, cover: Cover) -> bool {
    let key = path.last().map_or("", String::as_str);
    if let NodeValue::List(items) = &value.value
        && items.iter().any(
            |item| matches!(&item.value, NodeValue::Scalar(scalar) if has_user(key, &scalar.text, cover)),
        )
    {
        return true;
    }
    if let NodeValue::Scalar(scalar) = &value.value {
        let text = scalar.text.as_str();
        if text.contains(PRIVATE_KEY) || has_user(key, text, cover) {
            return true;
        }
        if text.is_empty() || is_reference(text) {
            return false;
        }
    }
    let among_settings = || path.iter().any(|key| CLIENT_SETTINGS.contains(&key.as_str()));
    // A name with a dot is no column.
    looks_secret(key) && (cover == Cover::Everywhere || key.contains('.') || among_settings())
}

/// Whether a text is an address or URL that somebody put a user into, and a password with it.
fn has_user(key: &str, text: &str, cover: Cover) -> bool {
    let is_place = || text.contains("://") || key.contains("address");
    text.contains('@') && (key == "bootstrap_servers" || (cover == Cover::Everywhere && is_place()))
}

/// The file with these ranges covered; every byte stays where it was.
pub(super) fn covered(file: &SourceFile, ranges: &[Range<usize>]) -> Arc<SourceFile> {
    let mut bytes = file.text.clone().into_bytes();
    for range in ranges {
        let end = file.text.ceil_char_boundary(range.end.min(bytes.len()));
        let start = file.text.floor_char_boundary(range.start.min(end));
        bytes[start..end].iter_mut().filter(|byte| !byte.is_ascii_whitespace()).for_each(|byte| *byte = b'*');
    }
    let text = String::from_utf8(bytes).expect("whole characters were replaced by ASCII");
    Arc::new(SourceFile { path: file.path.clone(), shown: file.shown.clone(), text })
}

/// Where secrets may stand in a text that is no YAML: behind a key that sounds like one, to the end of the line and over
/// the lines below that belong to it; and private keys from their first line to their last.
pub(super) fn in_text(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut key_indent: Option<usize> = None;
    let (mut in_private_key, mut value_is_below) = (false, false);
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        let belongs_to_key = key_indent.is_some_and(|key| indent > key || line.trim().is_empty());
        in_private_key |= line.contains(PRIVATE_KEY) && !line.contains("-----END");
        if in_private_key || belongs_to_key || value_is_below {
            ranges.push(start..start + line.len());
            in_private_key &= !line.contains("-----END");
            value_is_below = false;
        } else {
            let value = secret_value(line);
            ranges.extend(value.map(|value| start + value..start + line.len()));
            key_indent = value.map(|_| indent);
            // Lines that are not indented as they should be are the likeliest to be pointed at.
            value_is_below = value.is_some_and(|value| {
                let value = line[value..].trim();
                value.is_empty() || value.starts_with(['|', '>'])
            });
        }
        start += line.len();
    }
    ranges
}

/// Where the value of a key begins that sounds like that of a secret and is no reference.
fn secret_value(line: &str) -> Option<usize> {
    let quotes = ['"', '\''];
    line.match_indices(':').map(|(colon, _)| colon).find_map(|colon| {
        let before = line[..colon].trim_end().trim_end_matches(quotes);
        let key = before.rsplit(|c: char| c.is_whitespace() || "{,[\"'".contains(c)).next()?;
        let value = line[colon + 1..].trim().trim_start_matches(quotes);
        let end = value.find('}').map_or(0, |end| end + 1);
        let is_reference = is_reference(&value[..end]) && value[end..].chars().all(|c| " \"',}]".contains(c));
        (looks_secret(key) && !is_reference).then_some(colon + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let file = SourceFile { path: "a".into(), shown: "a".into(), text: text.to_owned() };
        assert_eq!(covered(&file, &in_text(text)).text, expected);
    }

    #[test]
    fn references_are_nothing_but_references() {
        for text in ["${A}", "${A:-}", "${file:/run/x y}", "${A}${file:b}"] {
            assert!(is_reference(text), "{text}");
        }
        for text in ["", "a", "$A", "${A", "${A}b", "b${A}", "${A:-b}", "$${A}", "${a b}", "${}"] {
            assert!(!is_reference(text), "{text}");
        }
    }

    #[test]
    fn keys_of_secrets_are_recognized_and_others_are_not() {
        for key in
            ["password", "key_password", "PassWord", "passwrod", "ssl.key.pem", "client.secret", "token"]
        {
            assert!(looks_secret(key), "{key}");
        }
        for key in
            ["key", "certificate", "ca", "username", "mechanism", "security", "sasl", "path", "partitions"]
        {
            assert!(!looks_secret(key), "{key}");
        }
    }

    #[test]
    fn secrets_are_covered_in_texts_that_are_no_yaml() {
        check("a: b\npassword: x y\nc: d\n", "a: b\npassword: * *\nc: d\n");
        check("{ a: b, \"password\": x, c: d }", "{ a: b, \"password\": ** ** * *");
        check("{ password: \"${A}\" }", "{ password: \"${A}\" }");
        check("  password: |\n    x\n\n    y\n  z: 1\n", "  password: *\n    *\n\n    *\n  z: 1\n");
        check("  password: |\n x\n  z: 1\n", "  password: *\n *\n  z: 1\n");
        check(
            "key: |\n  -----BEGIN PRIVATE KEY-----\n x\n  -----END PRIVATE KEY-----\nb: c",
            "key: |\n  ********** ******* ********\n *\n  ******** ******* ********\nb: c",
        );
        check("password: \u{e4}\u{f6}", "password: ****");
    }
}
