//! Kafka in view files: topics to read, a topic to write, settings of the client.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::declare::{raw_choice, raw_mapping};
use super::read::{Read, Reader, Spanned};
use super::scalars::Name;
use super::start::RawStart;
use crate::yaml::{Node, NodeValue};

/// What a topic looks like.
const TOPIC_PATTERN: &str = "^[A-Za-z0-9._-]{1,249}$";

/// What the name of a setting looks like.
const OPTION_PATTERN: &str = "^[a-z][a-z0-9_]*(\\.[a-z0-9_]+)*$";

raw_mapping! {
    /// Kafka topics to read.
    RawKafkaSource {
        /// The connection in host.yaml.
        required connection: Spanned<Name>,
        /// The topic, or a list of topics.
        required topic: Spanned<RawTopics>,
        /// Where a view without a position of its own begins; `latest` unless said otherwise.
        optional start: Option<Spanned<RawStart>>,
        /// The consumer group: hosts with the same group share the partitions. `millrace-PROJECT-SOURCE` unless said
        /// otherwise.
        optional group: Option<Spanned<String>>,
        /// What to do when the position to read from is not there any more; `stop` unless said otherwise.
        optional out_of_range: Option<RawOutOfRange>,
        /// How the group agrees on who reads what; `classic` unless said otherwise.
        optional group_protocol: Option<RawGroupProtocol>,
        /// Further settings of the consumer, by librdkafka's names.
        optional options: Option<RawOptions>,
    }
}

raw_choice! {
    /// What to do when the position to read from is not there any more.
    RawOutOfRange {
        /// Stop the view and say so.
        Stop = "stop",
        /// Go on at the first record that is there, and count the gap.
        Earliest = "earliest",
        /// Go on behind the last record, and count the gap.
        Latest = "latest",
    }
}

raw_choice! {
    /// How a consumer group agrees on who reads what.
    RawGroupProtocol {
        /// Members agree among themselves, cooperatively.
        Classic = "classic",
        /// The broker assigns; brokers from 4.0 on.
        Consumer = "consumer",
    }
}

raw_mapping! {
    /// A Kafka topic to write.
    RawKafkaOutput {
        /// The connection in host.yaml.
        required connection: Spanned<Name>,
        /// The topic.
        required topic: RawTopic,
        /// Whether records and progress are written in transactions; `false` unless said otherwise.
        optional exactly_once: Option<bool>,
        /// How to make the topic if it is missing; an error unless said.
        optional create: Option<RawCreateTopic>,
        /// Further settings of the producer, by librdkafka's names.
        optional options: Option<RawOptions>,
    }
}

raw_mapping! {
    /// How a missing topic is made.
    RawCreateTopic {
        /// Number of partitions.
        required partitions: Spanned<u64>,
        /// Copies of each partition; as the broker is set up unless said otherwise.
        optional replication: Option<Spanned<u64>>,
    }
}

/// A topic, or a list of topics.
#[derive(Debug, Clone)]
pub(crate) struct RawTopics(pub(crate) Vec<Spanned<String>>);

impl Read for RawTopics {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            NodeValue::List(_) => Read::read(node, reader).map(Self),
            _ => Some(Self(vec![Spanned {
                value: reader.text(node, "a topic, or a list of topics")?.to_owned(),
                spot: reader.spot(node.range.clone()),
            }])),
        }
    }
}

/// One topic. A list is read too, for a report that says more than that it is one.
#[derive(Debug, Clone)]
pub(crate) struct RawTopic(pub(crate) Spanned<RawTopics>);

impl Read for RawTopic {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        Read::read(node, reader).map(Self)
    }
}

/// Settings of a client in written order.
#[derive(Debug, Clone, Default)]
pub(crate) struct RawOptions(pub(crate) Vec<(Spanned<String>, RawOption)>);

/// The value of a setting: a text, number or boolean, as it is written.
#[derive(Debug, Clone)]
pub(crate) struct RawOption(pub(crate) String);

impl Read for RawOptions {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let entries = reader.entries(node)?;
        // Entries that are wrong are reported and left out.
        let read = entries.iter().filter_map(|(key, value)| {
            let name = Spanned { value: key.name.clone(), spot: reader.spot(key.range.clone()) };
            Some((name, reader.under(&key.name, value)?))
        });
        Some(Self(read.collect()))
    }
}

impl Read for RawOption {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.scalar(node, "a text, number or boolean").map(|scalar| Self(scalar.text.clone()))
    }
}

impl JsonSchema for RawTopics {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Topics".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": TOPIC_PATTERN },
                { "type": "array", "items": { "type": "string", "pattern": TOPIC_PATTERN }, "minItems": 1 },
            ],
        })
    }
}

impl JsonSchema for RawTopic {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Topic".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": TOPIC_PATTERN })
    }
}

impl JsonSchema for RawOptions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Options".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": OPTION_PATTERN },
            "additionalProperties": { "type": ["string", "number", "boolean"] },
        })
    }
}
