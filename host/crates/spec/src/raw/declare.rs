//! How raw types are declared: a mapping or a choice of words, its reader and its JSON Schema from one list of keys.

use super::read::Reader;
use crate::diagnostic::Code;
use crate::yaml::Node;

/// Declares a mapping: a struct whose fields are the keys, with its reader and its JSON Schema.
/// `required` fields have the type of their value, `optional` ones an `Option` of it.
macro_rules! raw_mapping {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $mode:ident $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[doc = $doc])* pub(crate) $field: $type,)*
        }

        impl $crate::raw::Read for $name {
            fn read(node: &$crate::yaml::Node, reader: &mut $crate::raw::Reader<'_>) -> Option<Self> {
                reader.mapping(node, &[$($crate::raw::declare::key(stringify!($field))),*])?;
                // Every field is read before the first that failed ends it.
                $(let $field = reader.$mode(node, $crate::raw::declare::key(stringify!($field)));)*
                Some(Self { $($field: $field?,)* })
            }
        }
    };
}

/// Declares a choice of words: an enum with its reader and its JSON Schema. Words behind `later` are known, but not in
/// this build.
macro_rules! raw_choice {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $word:literal,)* }
        $(later { $($later:literal),* })?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, schemars::JsonSchema)]
        pub(crate) enum $name {
            $($(#[doc = $doc])* #[schemars(rename = $word)] $variant,)*
        }

        impl $crate::raw::Read for $name {
            fn read(node: &$crate::yaml::Node, reader: &mut $crate::raw::Reader<'_>) -> Option<Self> {
                let word = $crate::raw::declare::word(node, reader, &[$($word),*], &[$($($later),*)?])?;
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

/// The key of a field: its name, which is raw where it is a word of Rust.
pub(super) fn key(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

/// The one of the known words that stands at a node.
pub(super) fn word(
    node: &Node,
    reader: &mut Reader<'_>,
    known: &[&'static str],
    later: &[&str],
) -> Option<&'static str> {
    let scalar = reader.scalar(node, &format!("one of {}", list(known)))?;
    let text = scalar.text.as_str();
    if let Some(word) = known.iter().find(|word| **word == text) {
        return Some(word);
    }
    let problem = if later.contains(&text) {
        reader
            .at(Code::NotInThisBuild, node, &format!("cannot be `{text}` in this build"))
            .help(format!("use one of {}", list(known)))
    } else {
        reader
            .at(Code::BadValue, node, &format!("takes one of {}, found {}", list(known), node.describe()))
            .suggest(text, known.iter().copied())
    };
    reader.report(problem);
    None
}

/// `a`, `b`, `c`.
pub(super) fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

pub(super) use {raw_choice, raw_mapping};
