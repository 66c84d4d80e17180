//! Texts with a form: names, durations, sizes, times.

use std::borrow::Cow;

use model::time::{EventTime, parse_rfc3339};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::read::{Read, Reader};
use crate::diagnostic::{Code, Diagnostic, Spot};
use crate::yaml::{Meaning, Node, NodeValue};

/// The name of an entity, source, view, service, column or feature.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) String);

impl Name {
    /// What a name looks like.
    pub(crate) const PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_]{0,127}$";

    const HELP: &str = "names have 1 to 128 letters, digits and underscores, and do not begin with a digit";

    /// Checks a name. Names become parts of file names, record keys and requests such as `view:feature`.
    pub(crate) fn parse(text: &str, spot: &Spot) -> Result<Self, Box<Diagnostic>> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if starts_well && text.len() <= 128 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(60).collect();
        let mut problem =
            Diagnostic::at(Code::BadName, spot, format!("`{shown}` cannot be a name")).help(Self::HELP);
        let mended: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if starts_well && text.len() <= 128 {
            problem.suggestion = Some(mended);
        }
        Err(Box::new(problem))
    }
}

impl Read for Name {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(node, "a name")?;
        let spot = reader.spot(node.range.clone());
        let name = Self::parse(text, &spot);
        if name.is_err() && node.is_expanded() {
            // What was put in may be a secret: say what it should be, not what it is.
            let problem = reader.at(Code::BadName, node, &format!("takes a name, found {}", node.describe()));
            reader.report(problem.help(Self::HELP));
            return None;
        }
        name.map_err(|problem| reader.report(*problem)).ok()
    }
}

/// A duration in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Micros(pub(crate) i64);

/// Units of durations, in microseconds.
const DURATION_UNITS: [(&str, i64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

impl Read for Micros {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        const WANTED: &str = "a duration such as `100us`, `5ms`, `2s`, `10m`, `1h` or `365d`";
        let scalar = reader.scalar(node, WANTED)?;
        let (digits, unit) = split_unit(&scalar.text);
        let factor = DURATION_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        match (digits.parse::<i128>(), factor) {
            (Ok(number), Some(factor)) => {
                in_range(number * i128::from(factor), node, reader, "a duration").map(Self)
            }
            (Ok(_), None) if unit.is_empty() => {
                let problem = reader.at(Code::BadValue, node, "has no unit");
                reader.report(problem.help("give one of us, ms, s, m, h, d"));
                None
            }
            _ => {
                bad_value(node, reader, WANTED);
                None
            }
        }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

/// Units of sizes, in bytes.
const SIZE_UNITS: [(&str, i64); 5] =
    [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

impl Read for ByteSize {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        const WANTED: &str = "a size such as `65536`, `64KiB`, `64MiB` or `1GiB`";
        let scalar = reader.scalar(node, WANTED)?;
        let (digits, unit) = split_unit(&scalar.text);
        let factor = SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let binary = SIZE_UNITS.iter().map(|(name, _)| *name).find(|name| {
            !unit.is_empty()
                && name.to_lowercase().trim_end_matches("ib") == unit.to_lowercase().trim_end_matches('b')
        });
        match (digits.parse::<i128>(), factor) {
            (Ok(number), Some(factor)) => {
                let bytes = in_range(number * i128::from(factor), node, reader, "a size")?;
                u64::try_from(bytes).ok().map(Self)
            }
            (Ok(_), None) if binary.is_some() => {
                let problem =
                    reader.at(Code::BadValue, node, &format!("takes {WANTED}, found {}", node.describe()));
                let mut problem = problem.help("sizes are counted in powers of 1024");
                problem.suggestion =
                    binary.filter(|_| !node.is_expanded()).map(|unit| format!("{digits}{unit}"));
                reader.report(problem);
                None
            }
            _ => {
                bad_value(node, reader, WANTED);
                None
            }
        }
    }
}

/// An instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant(pub(crate) EventTime);

impl Read for Instant {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        const WANTED: &str = "a time such as `2022-02-01T00:00:00Z`";
        let scalar = reader.scalar(node, WANTED)?;
        let text = scalar.text.trim();
        // A day alone is its first instant.
        let read =
            parse_rfc3339(text.as_bytes()).or_else(|_| parse_rfc3339(format!("{text}T00:00:00Z").as_bytes()));
        if read.is_err() {
            bad_value(node, reader, WANTED);
        }
        read.ok().map(|micros| Self(EventTime(micros)))
    }
}

/// Digits, and what follows them.
fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// Microseconds or bytes as they are kept: both fit into 63 bits.
fn in_range(number: i128, node: &Node, reader: &mut Reader<'_>, what: &str) -> Option<i64> {
    let read = i64::try_from(number).ok();
    if read.is_none() {
        let problem = reader.at(Code::OutOfRange, node, &format!("is too large for {what}"));
        reader.report(problem);
    }
    read
}

fn bad_value(node: &Node, reader: &mut Reader<'_>, wanted: &str) {
    let is_text =
        matches!(&node.value, NodeValue::Scalar(scalar) if matches!(scalar.meaning(), Meaning::Text(_)));
    if is_text {
        let problem = reader.at(Code::BadValue, node, &format!("takes {wanted}, found {}", node.describe()));
        reader.report(problem);
    } else {
        reader.wrong_type(node, wanted);
    }
}

macro_rules! text_schema {
    ($type:ident, $name:literal, $schema:tt) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

text_schema!(Name, "Name", { "type": "string", "pattern": Name::PATTERN });
text_schema!(Micros, "Duration", { "type": "string", "pattern": "^[0-9]+ ?(us|ms|s|m|h|d)$" });
text_schema!(ByteSize, "Size", {
    "anyOf": [
        { "type": "integer", "minimum": 0 },
        { "type": "string", "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB)?$" },
    ],
});
text_schema!(Instant, "Time", { "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}" });
