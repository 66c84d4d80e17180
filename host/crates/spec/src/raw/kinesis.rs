//! Kinesis as it stands in files: a connection, a stream to read, a stream to write.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::declare::raw_mapping;
use super::kafka::RawOutOfRange;
use super::read::{Read, Reader, Spanned};
use super::redis::RawRedisReference;
use super::scalars::Name;
use super::source::RawEmpty;
use super::start::RawStart;
use crate::yaml::{Node, NodeValue};

raw_mapping! {
    /// Kinesis, in a region. Credentials come from AWS's usual chain: environment, profile, web identity, container,
    /// instance.
    RawKinesisConnection {
        /// The region; as the environment says unless said otherwise.
        optional region: Option<Spanned<String>>,
        /// Another endpoint than AWS's own.
        optional endpoint_url: Option<Spanned<String>>,
        /// A profile of AWS's shared configuration files.
        optional profile: Option<Spanned<String>>,
        /// A role to take on, by its Amazon resource name.
        optional role_arn: Option<Spanned<String>>,
        /// What some roles of other accounts ask for.
        optional external_id: Option<Spanned<String>>,
        /// Authorities to trust, a PEM file; those of the system unless said otherwise.
        optional ca: Option<Spanned<String>>,
    }
}

raw_mapping! {
    /// A Kinesis stream to read. It has exactly one of `stream_name`, `stream_arn`.
    RawKinesisSource {
        /// The connection in host.yaml.
        required connection: Spanned<Name>,
        /// The stream, by its name.
        optional stream_name: Option<Spanned<RawStreamName>>,
        /// The stream, by its Amazon resource name.
        optional stream_arn: Option<Spanned<RawStreamArn>>,
        /// Where a view without a position of its own begins; `latest` unless said otherwise.
        optional start: Option<Spanned<RawStart>>,
        /// What to do when the position to read from is not there any more; `stop` unless said otherwise.
        optional out_of_range: Option<RawOutOfRange>,
        /// Who knows which host reads which shard; the host's default store if that is Redis, else nobody.
        optional leases: Option<Spanned<RawLeases>>,
    }
}

raw_mapping! {
    /// Who knows which host reads which shard: one of `alone`, `redis`.
    RawLeases {
        /// This host reads all of them: `alone: {}`.
        optional alone: Option<RawEmpty>,
        /// Hosts of one project share the shards, and Redis knows whose is which.
        optional redis: Option<RawRedisReference>,
    }
}

raw_mapping! {
    /// A Kinesis stream to write. It has exactly one of `stream_name`, `stream_arn`.
    RawKinesisOutput {
        /// The connection in host.yaml.
        required connection: Spanned<Name>,
        /// The stream, by its name.
        optional stream_name: Option<Spanned<RawStreamName>>,
        /// The stream, by its Amazon resource name.
        optional stream_arn: Option<Spanned<RawStreamArn>>,
        /// Whether the records of one entity stay in their order; `true` unless said otherwise.
        optional ordered: Option<bool>,
    }
}

/// The name of a stream. A list is read too, for a report that says more than that it is one.
#[derive(Debug, Clone)]
pub(crate) struct RawStreamName(pub(crate) Vec<Spanned<String>>);

/// The Amazon resource name of a stream; a list as above.
#[derive(Debug, Clone)]
pub(crate) struct RawStreamArn(pub(crate) Vec<Spanned<String>>);

fn one_or_several(node: &Node, reader: &mut Reader<'_>, wanted: &str) -> Option<Vec<Spanned<String>>> {
    if matches!(node.value, NodeValue::List(_)) {
        return Read::read(node, reader);
    }
    let text = reader.text(node, wanted)?.to_owned();
    Some(vec![Spanned { value: text, spot: reader.spot(node.range.clone()) }])
}

impl Read for RawStreamName {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        one_or_several(node, reader, "the name of a stream").map(Self)
    }
}

impl Read for RawStreamArn {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        one_or_several(node, reader, "the Amazon resource name of a stream").map(Self)
    }
}

impl JsonSchema for RawStreamName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "StreamName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$" })
    }
}

impl JsonSchema for RawStreamArn {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "StreamArn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^arn:[^:]+:kinesis:[^:]+:[0-9]{12}:stream/[A-Za-z0-9._-]{1,128}$" })
    }
}
