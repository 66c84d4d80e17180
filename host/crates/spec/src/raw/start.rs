//! Where a view begins that has no position of its own, in all its forms.

use std::borrow::Cow;
use std::collections::BTreeMap;

use model::time::EventTime;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::declare::raw_mapping;
use super::read::{Read, Reader};
use super::scalars::Instant;
use crate::diagnostic::{Code, Diagnostic};
use crate::yaml::{Node, NodeValue};

/// The number of a Kafka partition is a signed 32-bit integer.
const MAX_PARTITION: u32 = i32::MAX as u32;

/// An offset is a signed 64-bit integer.
const MAX_OFFSET: u64 = i64::MAX as u64;

/// Where a view without a position of its own begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RawStart {
    /// At what comes from now on.
    Latest,
    /// At the oldest event that the source still has.
    Earliest,
    /// The same in Kinesis' own words.
    TrimHorizon,
    /// Where the consumer group is, or the leases.
    Committed,
    /// At the first record from a time on.
    Time(EventTime),
    /// The same in Kinesis' own words.
    AtTimestamp(EventTime),
    /// At offsets, by number of partition.
    Offsets(BTreeMap<u32, u64>),
}

const WORDS: [&str; 4] = ["latest", "earliest", "committed", "trim_horizon"];

/// The key of a time in Kinesis' own words.
const AT_TIMESTAMP: &str = "at_timestamp";

raw_mapping! {
    /// A time in Kinesis' own words.
    RawMoment {
        /// The first record that arrived then or later.
        required at_timestamp: Instant,
    }
}

impl Read for RawStart {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if node.get(AT_TIMESTAMP).is_some() {
            return RawMoment::read(node, reader).map(|moment| Self::AtTimestamp(moment.at_timestamp.0));
        }
        if matches!(node.value, NodeValue::Map(_)) {
            return offsets(node, reader).map(Self::Offsets);
        }
        const WANTED: &str =
            "one of `latest`, `earliest`, `committed`, a time, or offsets as `{ partition: offset }`";
        const OF_KINESIS: &str = "one of `latest`, `trim_horizon`, `committed`, or a time as `{ at_timestamp: 2026-01-01T00:00:00Z }`";
        let wanted = if reader.is_below("kinesis") { OF_KINESIS } else { WANTED };
        let text = reader.scalar(node, wanted)?.text.as_str();
        match text {
            "latest" => return Some(Self::Latest),
            "earliest" => return Some(Self::Earliest),
            "committed" => return Some(Self::Committed),
            "trim_horizon" => return Some(Self::TrimHorizon),
            _ => {}
        }
        // A year has four digits: a number alone would be an offset of which partition?
        if text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('-') {
            return Instant::read(node, reader).map(|Instant(time)| Self::Time(time));
        }
        let problem = reader
            .at(Code::BadValue, node, &format!("takes {wanted}, found {}", node.describe()))
            .suggest(text, WORDS);
        reader.report(problem);
        None
    }
}

fn offsets(node: &Node, reader: &mut Reader<'_>) -> Option<BTreeMap<u32, u64>> {
    let entries = reader.entries(node)?;
    if entries.is_empty() {
        let problem = reader.at(Code::Empty, node, "names no partition");
        reader.report(problem.help("write `{ 0: 12 }`: partition 0 from offset 12 on"));
        return None;
    }
    let mut offsets = BTreeMap::new();
    let mut all_right = true;
    for (key, value) in entries {
        let partition = key.name.parse::<u32>().ok().filter(|number| *number <= MAX_PARTITION);
        if partition.is_none() {
            let spot = reader.spot(key.range.clone());
            let shown: String = key.name.chars().take(60).collect();
            let message = format!("`{shown}` is not the number of a partition");
            let problem = Diagnostic::at(Code::BadValue, &spot, message).suggest(&key.name, [AT_TIMESTAMP]);
            // What it should have been says more than what is wrong with its value.
            if problem.suggestion.is_some() {
                reader.report(problem);
                all_right = false;
                continue;
            }
            reader.report(problem.help("write `{ 0: 12 }`: partition 0 from offset 12 on"));
        }
        let offset: Option<u64> = reader.under(&key.name, value);
        if offset.is_some_and(|offset| offset > MAX_OFFSET) {
            let problem = reader.at(Code::OutOfRange, value, "has an offset beyond 2^63 - 1");
            reader.report(problem);
        }
        let offset = offset.filter(|offset| *offset <= MAX_OFFSET);
        match (partition, offset) {
            (Some(partition), Some(offset)) => {
                offsets.insert(partition, offset);
            }
            _ => all_right = false,
        }
    }
    all_right.then_some(offsets)
}

impl JsonSchema for RawStart {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Start".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let moment = generator.subschema_for::<RawMoment>();
        json_schema!({
            "anyOf": [
                moment,
                { "enum": WORDS },
                { "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}" },
                {
                    "type": "object",
                    "propertyNames": { "pattern": "^[0-9]+$" },
                    "additionalProperties": { "type": "integer", "minimum": 0 },
                    "minProperties": 1,
                },
            ],
        })
    }
}
