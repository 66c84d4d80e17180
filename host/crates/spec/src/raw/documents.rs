//! Documents of view files: each declares one thing under one key. Entities and services are small enough to live here.

use std::sync::Arc;

use model::schema::DataType;
use schemars::JsonSchema;

use super::declare::raw_mapping;
use super::read::{Ordered, Read, Reader, Spanned};
use super::scalars::Name;
use super::source::{RawSource, RawType};
use super::view::RawView;
use crate::diagnostic::{Code, Diagnostic, SourceFile, Spot};
use crate::yaml::{Document, NodeValue};

raw_mapping! {
    /// What features are about: a user, a driver, a shop.
    RawEntity {
        /// Unique among entities.
        required name: Spanned<Name>,
        /// The columns that identify one entity, each with its type: `string`, `bytes`, `int32`, `int64`, `timestamp`.
        required join_keys: Spanned<Ordered<Spanned<RawType>>>,
        /// One line for people.
        optional description: Option<String>,
    }
}

raw_mapping! {
    /// Features that are read together.
    RawService {
        /// Unique among services.
        required name: Spanned<Name>,
        /// Views (`view`) and single features (`view:feature`).
        required features: Spanned<Vec<Spanned<String>>>,
        /// One line for people.
        optional description: Option<String>,
    }
}

/// One document of a view file. It has exactly one of these keys.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1, "maxProperties" = 1))]
#[expect(dead_code, reason = "only its schema is used: the reader goes through `declarations`")]
pub(crate) struct RawDocument {
    /// What features are about.
    entity: Option<RawEntity>,
    /// A stream of events.
    source: Option<RawSource>,
    /// A stream feature view.
    view: Option<RawView>,
    /// Features that are read together.
    service: Option<RawService>,
}

/// The keys of [`RawDocument`].
const KINDS: [&str; 4] = ["entity", "source", "view", "service"];

/// A declaration as it stands in its file.
#[derive(Debug)]
pub(crate) struct Declaration {
    /// `entity`, `source`, `view` or `service`.
    pub(crate) kind: &'static str,
    /// Its name, if it has one, whatever else is wrong with it.
    pub(crate) name: Option<Spanned<String>>,
    /// Its key.
    pub(crate) spot: Spot,
    /// Its content; `None` = it could not be read.
    pub(crate) raw: Option<RawDeclaration>,
    /// What is wrong with it.
    pub(crate) problems: Vec<Diagnostic>,
}

/// The content of a declaration.
#[derive(Debug)]
pub(crate) enum RawDeclaration {
    /// `entity`.
    Entity(RawEntity),
    /// `source`.
    Source(Box<RawSource>),
    /// `view`.
    View(Box<RawView>),
    /// `service`.
    Service(RawService),
}

/// The declarations of a document: one, unless something is wrong. Second: problems that belong to none of them.
pub(crate) fn declarations(
    file: &Arc<SourceFile>,
    document: Document,
) -> (Vec<Declaration>, Vec<Diagnostic>) {
    let Document { root, mut problems } = document;
    let spot = Spot::new(file, root.head.clone());
    let NodeValue::Map(entries) = &root.value else {
        let message = format!("a document declares one thing under its key, found {}", root.describe());
        problems.push(Diagnostic::at(Code::NotOneThing, &spot, message).help(KINDS_HELP));
        return (Vec::new(), problems);
    };
    let mut found: Vec<Declaration> = Vec::new();
    for (key, value) in entries {
        let key_spot = Spot::new(file, key.range.clone());
        let Some(kind) = KINDS.into_iter().find(|kind| *kind == key.name) else {
            let problem = Diagnostic::at(Code::UnknownKey, &key_spot, format!("unknown key `{}`", key.name))
                .suggest(&key.name, KINDS);
            problems.push(if problem.suggestion.is_none() { problem.help(KINDS_HELP) } else { problem });
            continue;
        };
        let mut reader = Reader::new(file, Some(kind));
        let raw = match kind {
            "entity" => RawEntity::read(value, &mut reader).map(RawDeclaration::Entity),
            "source" => RawSource::read(value, &mut reader).map(|raw| RawDeclaration::Source(Box::new(raw))),
            "view" => RawView::read(value, &mut reader).map(|raw| RawDeclaration::View(Box::new(raw))),
            _ => RawService::read(value, &mut reader).map(RawDeclaration::Service),
        };
        let name = value.get("name").and_then(|name| match &name.value {
            NodeValue::Scalar(scalar) => {
                Some(Spanned { value: scalar.text.clone(), spot: Spot::new(file, name.range.clone()) })
            }
            _ => None,
        });
        found.push(Declaration { kind, name, spot: key_spot, raw, problems: reader.into_problems() });
    }
    match found.as_mut_slice() {
        [] => {}
        // What is wrong with the document is wrong with the one thing that it declares.
        [only] => only.problems.append(&mut problems),
        [first, others @ ..] => {
            for other in others {
                let message = format!("a document declares one thing: `{}` stands above", first.kind);
                problems.push(
                    Diagnostic::at(Code::NotOneThing, &other.spot, message)
                        .related(&first.spot, "the first one")
                        .help("write `---` on a line of its own between them"),
                );
            }
            for declaration in &mut found {
                declaration.problems.extend(problems.iter().cloned());
            }
            problems.clear();
        }
    }
    (found, problems)
}

const KINDS_HELP: &str = "a document begins with `entity:`, `source:`, `view:` or `service:`";

/// A type that a join key may have, or why not.
pub(crate) fn join_key_type(raw: &Spanned<RawType>) -> Result<DataType, Box<Diagnostic>> {
    if raw.value.0.is_join_key() {
        return Ok(raw.value.0.clone());
    }
    let message = format!("a join key cannot be of type `{}`", raw.value.0);
    Err(Box::new(
        Diagnostic::at(Code::BadJoinKeyType, &raw.spot, message)
            .help("join keys are string, bytes, int32, int64 or timestamp"),
    ))
}
