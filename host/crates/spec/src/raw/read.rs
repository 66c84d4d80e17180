//! From YAML trees to raw types: reads everything, reports every problem, stops at none.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::scalars::Name;
use crate::diagnostic::{Code, Diagnostic, SourceFile, Spot};
use crate::yaml::{Key, Meaning, Node, NodeValue, Scalar, Style};

/// Problems of one declaration at most: whoever reads a report mends the first ones first.
pub(crate) const MAX_PROBLEMS: usize = 100;

/// Something that can be read from a node. `None` = it could not, and why was reported.
pub(crate) trait Read: Sized {
    /// Whether a key without a value counts as absent.
    const NULL_IS_ABSENT: bool = true;

    /// Reads it.
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self>;
}

/// Collects problems, and knows where it is.
pub(crate) struct Reader<'a> {
    file: &'a Arc<SourceFile>,
    /// Keys from the document down to the value that is being read.
    path: Vec<String>,
    problems: Vec<Diagnostic>,
    /// Problems beyond [`MAX_PROBLEMS`].
    further: usize,
    /// Paths of keys that are there, but misspelled: they are not missing as well.
    misspelled: HashSet<String>,
}

impl<'a> Reader<'a> {
    /// A reader that stands under a key of a document, or at its root.
    pub(crate) fn new(file: &'a Arc<SourceFile>, key: Option<&str>) -> Self {
        Self {
            file,
            path: key.map(str::to_owned).into_iter().collect(),
            problems: Vec::new(),
            further: 0,
            misspelled: HashSet::new(),
        }
    }

    /// What was found wrong.
    pub(crate) fn into_problems(mut self) -> Vec<Diagnostic> {
        if let Some(spot) =
            self.problems.last().and_then(|last| last.spot.as_ref()).filter(|_| self.further > 0)
        {
            let message = format!("{} further problems are not shown", self.further);
            self.problems
                .push(Diagnostic::at(Code::TooLarge, spot, message).help("mend the first ones first"));
        }
        self.problems
    }

    /// Reports a problem.
    pub(crate) fn report(&mut self, problem: Diagnostic) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.further += 1;
        }
    }

    /// The place of a piece of this file.
    pub(crate) fn spot(&self, range: Range<usize>) -> Spot {
        Spot::new(self.file, range)
    }

    /// Whether the value that is being read stands below a key.
    pub(crate) fn is_below(&self, key: &str) -> bool {
        self.path.iter().any(|above| above == key)
    }

    /// Where the reader is: "`view.transform.limits`"; at the root of a document "the file".
    fn path(&self) -> String {
        if self.path.is_empty() { "the file".to_owned() } else { format!("`{}`", self.path.join(".")) }
    }

    fn path_of(&self, key: &str) -> String {
        format!("{}.{key}", self.path.join("."))
    }

    /// A problem at a node: its message begins with the path.
    pub(crate) fn at(&self, code: Code, node: &Node, message: &str) -> Diagnostic {
        Diagnostic::at(code, &self.spot(node.range.clone()), format!("{} {message}", self.path()))
    }

    /// Reports that a node is not what its key takes.
    pub(crate) fn wrong_type(&mut self, node: &Node, wanted: &str) {
        let problem = self.at(Code::WrongType, node, &format!("takes {wanted}, found {}", node.describe()));
        self.report(problem);
    }

    /// Reads the value of a key that must be there.
    pub(crate) fn required<T: Read>(&mut self, node: &Node, key: &str) -> Option<T> {
        match node.get(key) {
            Some(value) if !(T::NULL_IS_ABSENT && value.is_null()) => self.under(key, value),
            Some(value) => {
                let message = format!("key `{key}` of {} has no value", self.path());
                let problem = Diagnostic::at(Code::MissingKey, &self.spot(value.head.clone()), message);
                self.report(problem.label("give it a value"));
                None
            }
            None if self.misspelled.contains(&self.path_of(key)) => None,
            None => {
                let message = format!("{} needs the key `{key}`", self.path());
                let problem = Diagnostic::at(Code::MissingKey, &self.spot(node.head.clone()), message);
                self.report(problem.label(format!("`{key}` is missing")));
                None
            }
        }
    }

    /// Reads the value of a key that may be absent. One that is wrong is reported, and counts as absent, so that the
    /// rest can be checked. Always `Some`, as the other half of [`Reader::required`].
    pub(crate) fn optional<T: Read>(&mut self, node: &Node, key: &str) -> Option<Option<T>> {
        match node.get(key) {
            Some(value) if !(T::NULL_IS_ABSENT && value.is_null()) => Some(self.under(key, value)),
            _ => Some(None),
        }
    }

    /// Reads the value of a key, so that problems name it.
    pub(super) fn under<T: Read>(&mut self, key: &str, value: &Node) -> Option<T> {
        self.path.push(key.to_owned());
        let read = T::read(value, self);
        self.path.pop();
        read
    }

    /// The entries of a mapping whose keys are all known.
    pub(crate) fn mapping(&mut self, node: &Node, known: &[&str]) -> Option<()> {
        let entries = self.entries(node)?;
        for (key, _) in entries {
            if !known.contains(&key.name.as_str()) {
                let message = format!("unknown key `{}` in {}", key.name, self.path());
                let mut problem = Diagnostic::at(Code::UnknownKey, &self.spot(key.range.clone()), message)
                    .suggest(&key.name, known.iter().copied());
                match &problem.suggestion {
                    Some(meant) => {
                        self.misspelled.insert(self.path_of(meant));
                    }
                    None => problem = problem.help(format!("known keys: {}", known.join(", "))),
                }
                self.report(problem);
            }
        }
        Some(())
    }

    /// The entries of a mapping.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node) -> Option<&'n [(Key, Node)]> {
        match &node.value {
            NodeValue::Map(entries) => Some(entries),
            _ if node.is_null() => Some(&[]),
            _ => {
                self.wrong_type(node, "a mapping");
                None
            }
        }
    }

    /// The scalar, or a report that `wanted` was wanted.
    pub(crate) fn scalar<'n>(&mut self, node: &'n Node, wanted: &str) -> Option<&'n Scalar> {
        match &node.value {
            NodeValue::Scalar(scalar) if !node.is_null() => Some(scalar),
            _ => {
                self.wrong_type(node, wanted);
                None
            }
        }
    }

    /// A text; numbers and booleans must be quoted to be one.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, wanted: &str) -> Option<&'n str> {
        let scalar = self.scalar(node, wanted)?;
        match scalar.meaning() {
            Meaning::Text(text) => Some(text),
            _ if matches!(scalar.style, Style::Expanded { .. }) => Some(&scalar.text),
            _ => {
                let message = format!("takes {wanted}, found {}", node.describe());
                let problem = self.at(Code::WrongType, node, &message);
                self.report(problem.help(format!("put it in quotes: `\"{}\"`", scalar.text)));
                None
            }
        }
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Spanned<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it stands.
    pub(crate) spot: Spot,
}

impl<T: Read> Read for Spanned<T> {
    const NULL_IS_ABSENT: bool = T::NULL_IS_ABSENT;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let spot = reader.spot(node.range.clone());
        T::read(node, reader).map(|value| Self { value, spot })
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl Read for String {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(node, "a text").map(str::to_owned)
    }
}

impl Read for bool {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let NodeValue::Scalar(scalar) = &node.value
            && let Meaning::Bool(value) = scalar.meaning()
        {
            return Some(value);
        }
        reader.wrong_type(node, "`true` or `false`");
        None
    }
}

impl Read for u64 {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let NodeValue::Scalar(scalar) = &node.value
            && let Meaning::Integer(number) = scalar.meaning()
        {
            let read = Self::try_from(number).ok();
            if read.is_none() {
                let problem =
                    reader.at(Code::OutOfRange, node, &format!("is out of range, found {}", node.describe()));
                reader.report(problem.help("give a number that is not negative"));
            }
            return read;
        }
        reader.wrong_type(node, "a whole number");
        None
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let NodeValue::List(items) = &node.value else {
            reader.wrong_type(node, "a list");
            return None;
        };
        // Items that are wrong are reported and left out.
        Some(items.iter().filter_map(|item| T::read(item, reader)).collect())
    }
}

impl Read for BTreeMap<String, String> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let entries = reader.entries(node)?;
        Some(
            entries
                .iter()
                .filter_map(|(key, value)| Some((key.name.clone(), reader.under(&key.name, value)?)))
                .collect(),
        )
    }
}

/// Named values in written order.
#[derive(Debug, Clone)]
pub(crate) struct Ordered<T>(pub(crate) Vec<(Spanned<Name>, T)>);

impl<T: Read> Read for Ordered<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let entries = reader.entries(node)?;
        // Entries that are wrong are reported and left out.
        let read = entries
            .iter()
            .filter_map(|(key, value)| {
                let spot = reader.spot(key.range.clone());
                let name = Name::parse(&key.name, &spot).map_err(|problem| reader.report(*problem)).ok();
                let value = reader.under(&key.name, value);
                Some((Spanned { value: name?, spot }, value?))
            })
            .collect();
        Some(Self(read))
    }
}

impl<T: JsonSchema> JsonSchema for Ordered<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Ordered_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": Name::PATTERN },
            "additionalProperties": value,
        })
    }
}

/// What this build does not look into.
#[derive(Debug, Clone)]
pub(crate) struct Anything(pub(crate) Node);

impl Read for Anything {
    const NULL_IS_ABSENT: bool = false;

    fn read(node: &Node, _: &mut Reader<'_>) -> Option<Self> {
        Some(Self(node.clone()))
    }
}

impl JsonSchema for Anything {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Anything".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}
