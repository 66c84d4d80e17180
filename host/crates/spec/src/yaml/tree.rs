//! The tree: scalars, lists and mappings with their places. Knows nothing of how it came to be.

use std::ops::Range;

/// A piece of YAML.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// What it is.
    pub(crate) value: NodeValue,
    /// Where it stands.
    pub(crate) range: Range<usize>,
    /// Where it is introduced: its key, or its first character.
    pub(crate) head: Range<usize>,
    /// Number of nodes in it, itself included.
    pub(super) nodes: usize,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum NodeValue {
    /// A text, number, boolean or null.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in written order, keys unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// Its text.
    pub(crate) name: String,
    /// Where it stands.
    pub(crate) range: Range<usize>,
}

/// A scalar as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    /// The text, without quotes and escapes.
    pub(crate) text: String,
    /// How it is written.
    pub(crate) style: Style,
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes: may be a number, a boolean or null.
    Plain,
    /// In quotes or as a block: a text.
    Quoted,
    /// A `${…}` was put in: whatever is wanted there.
    Expanded {
        /// Whether all of it was put in: nothing of it stands in the file.
        whole: bool,
    },
}

/// What a scalar means by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Meaning<'a> {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// Anything else.
    Text(&'a str),
}

impl Scalar {
    /// What it means by itself: YAML's core schema, so `yes` and `on` are texts.
    pub(crate) fn meaning(&self) -> Meaning<'_> {
        let text = self.text.as_str();
        if self.style == Style::Quoted {
            return Meaning::Text(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
            "true" | "True" | "TRUE" => return Meaning::Bool(true),
            "false" | "False" | "FALSE" => return Meaning::Bool(false),
            ".nan" | ".NaN" | ".NAN" => return Meaning::Float(f64::NAN),
            ".inf" | ".Inf" | ".INF" | "+.inf" => return Meaning::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => return Meaning::Float(f64::NEG_INFINITY),
            _ => {}
        }
        let radix = |digits: &str, radix| i128::from_str_radix(digits, radix).ok();
        if let Some(digits) = text.strip_prefix("0x") {
            return radix(digits, 16).map_or(Meaning::Text(text), Meaning::Integer);
        }
        if let Some(digits) = text.strip_prefix("0o") {
            return radix(digits, 8).map_or(Meaning::Text(text), Meaning::Integer);
        }
        if let Ok(number) = text.parse() {
            return Meaning::Integer(number);
        }
        // Rust also reads `inf`, `nan` and `infinity` as floats; YAML takes them for texts.
        let looks_like_a_number = text.bytes().any(|byte| byte.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        match text.parse() {
            Ok(number) if looks_like_a_number => Meaning::Float(number),
            _ => Meaning::Text(text),
        }
    }
}

impl Node {
    /// The value of a key of a mapping.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            NodeValue::Map(entries) => entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Whether there is no value.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, NodeValue::Scalar(scalar) if scalar.meaning() == Meaning::Null)
    }

    /// Whether its text was put in from outside.
    pub(crate) fn is_expanded(&self) -> bool {
        matches!(&self.value, NodeValue::Scalar(scalar) if matches!(scalar.style, Style::Expanded { .. }))
    }

    /// What it is, for messages: "the text `abc`", "a list".
    pub(crate) fn describe(&self) -> String {
        let scalar = match &self.value {
            NodeValue::List(_) => return "a list".to_owned(),
            NodeValue::Map(_) => return "a mapping".to_owned(),
            NodeValue::Scalar(scalar) => scalar,
        };
        // What was put in may be a secret.
        if self.is_expanded() {
            return "the value that was put in".to_owned();
        }
        let text: String = scalar.text.chars().take(60).collect();
        match scalar.meaning() {
            Meaning::Null => "nothing".to_owned(),
            Meaning::Bool(_) => format!("the boolean `{text}`"),
            Meaning::Integer(_) | Meaning::Float(_) => format!("the number `{text}`"),
            Meaning::Text(_) => format!("the text `{text}`"),
        }
    }
}
