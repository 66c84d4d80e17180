//! Redis as it stands in files: a connection, and stores that go through one.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::connection::RawSecret;
use super::declare::raw_mapping;
use super::read::{Read, Reader, Spanned};
use super::scalars::{ByteSize, Micros, Name};
use super::source::RawEmpty;
use crate::yaml::{Node, NodeValue};

raw_mapping! {
    /// Redis: a server, a cluster, or what sentinels watch. It has exactly one of `address`, `addresses`.
    RawRedisConnection {
        /// Where it is, `host:port`.
        optional address: Option<Spanned<String>>,
        /// Addresses of some nodes, `host:port`, separated by commas or as a list: of a cluster's nodes, of sentinels, or
        /// of a server and its replicas.
        optional addresses: Option<Spanned<RawAddresses>>,
        /// Whether the nodes are a cluster; `false` unless said otherwise.
        optional cluster: Option<Spanned<bool>>,
        /// The name under which sentinels know the server; the addresses are theirs then.
        optional sentinel: Option<Spanned<String>>,
        /// Number of the database; 0 unless said otherwise.
        optional database: Option<Spanned<u64>>,
        /// The user; the default user unless said otherwise.
        optional username: Option<Spanned<String>>,
        /// The password, as `${NAME}` or `${file:path}`.
        optional password: Option<Spanned<RawSecret>>,
        /// Encryption; `tls: {}` trusts the authorities of the system.
        optional tls: Option<RawRedisTls>,
        /// How long connecting may take; `5s` unless said otherwise.
        optional connect_timeout: Option<Spanned<Micros>>,
        /// How long an answer may take; `2s` unless said otherwise.
        optional response_timeout: Option<Spanned<Micros>>,
    }
}

/// `tls: {…}`, or `tls:` alone: a missing value must not switch encryption off.
#[derive(Debug, Clone)]
pub(crate) struct RawRedisTls(pub(crate) RawRedisTlsFiles);

raw_mapping! {
    /// Encryption. The server's name is always checked. Paths are relative to the folder of host.yaml.
    RawRedisTlsFiles {
        /// Authorities to trust, a PEM file; those of the system unless said otherwise.
        optional ca: Option<Spanned<String>>,
        /// Our certificate, a PEM file.
        optional certificate: Option<Spanned<String>>,
        /// Its key, a PEM file without a password.
        optional key: Option<Spanned<String>>,
    }
}

raw_mapping! {
    /// Redis as the store of all views that do not say otherwise.
    RawRedisStores {
        /// The connection.
        required connection: Spanned<Name>,
        /// Bytes for what is known of entities that this host wrote last; `256MiB` unless said otherwise.
        optional memory: Option<Spanned<ByteSize>>,
        /// Connections that write; 2 unless said otherwise.
        optional writers: Option<Spanned<u64>>,
    }
}

raw_mapping! {
    /// Redis, through a connection.
    RawRedisReference {
        /// The connection in host.yaml.
        required connection: Spanned<Name>,
    }
}

raw_mapping! {
    /// Where the rows of a view go: one of `embedded`, `redis`.
    RawViewStore {
        /// Into the embedded store of each host: `embedded: {}`.
        optional embedded: Option<RawEmpty>,
        /// Into Redis, which several hosts share.
        optional redis: Option<RawRedisReference>,
    }
}

/// One or several addresses.
#[derive(Debug, Clone)]
pub(crate) struct RawAddresses(pub(crate) Vec<Spanned<String>>);

impl Read for RawAddresses {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.value, NodeValue::List(_)) {
            return Read::read(node, reader).map(Self);
        }
        let text = reader.text(node, "addresses, `host:port`, separated by commas or as a list")?;
        let spot = reader.spot(node.range.clone());
        let one = |text: &str| Spanned { value: text.trim().to_owned(), spot: spot.clone() };
        Some(Self(text.split(',').map(one).collect()))
    }
}

impl Read for RawRedisTls {
    const NULL_IS_ABSENT: bool = false;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        RawRedisTlsFiles::read(node, reader).map(Self)
    }
}

impl JsonSchema for RawAddresses {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Addresses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            ],
        })
    }
}

impl JsonSchema for RawRedisTls {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RedisTls".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let files = generator.subschema_for::<RawRedisTlsFiles>();
        json_schema!({ "anyOf": [files, { "type": "null" }] })
    }
}
