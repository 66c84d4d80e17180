//! Connections of `host.yaml`: endpoints, and what it takes to get in.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::declare::{raw_choice, raw_mapping};
use super::kafka::RawOptions;
use super::kinesis::RawKinesisConnection;
use super::read::{Read, Reader, Spanned};
use super::redis::RawRedisConnection;
use crate::diagnostic::Code;
use crate::plan::Secret;
use crate::yaml::{Node, NodeValue, Style, is_reference};

raw_mapping! {
    /// An endpoint, and what it takes to get in. It has exactly one of `kafka`, `kinesis`, `redis`.
    RawConnection {
        /// A Kafka cluster.
        optional kafka: Option<RawKafkaConnection>,
        /// Kinesis, in a region.
        optional kinesis: Option<RawKinesisConnection>,
        /// Redis: a server, a cluster, or what sentinels watch.
        optional redis: Option<Spanned<RawRedisConnection>>,
    }
}

raw_mapping! {
    /// A Kafka cluster.
    RawKafkaConnection {
        /// Addresses of some brokers, `host:port`, separated by commas.
        required bootstrap_servers: Spanned<String>,
        /// Encryption, and who we are; `plaintext` and nobody unless said otherwise.
        optional security: Option<Spanned<RawSecurity>>,
        /// Further settings of all clients, by librdkafka's names.
        optional options: Option<RawOptions>,
    }
}

/// `plaintext`, or a mapping.
#[derive(Debug, Clone)]
pub(crate) enum RawSecurity {
    /// Neither encryption nor a user.
    Plaintext,
    /// One of them, or both.
    Given(Box<RawGivenSecurity>),
}

raw_mapping! {
    /// Encryption, and who we are.
    RawGivenSecurity {
        /// Encryption; `tls: {}` trusts the authorities of the system.
        optional tls: Option<RawTls>,
        /// A user and a password.
        optional sasl: Option<RawSasl>,
    }
}

/// `tls: {…}`, or `tls:` alone: a missing value must not switch encryption off.
#[derive(Debug, Clone)]
pub(crate) struct RawTls(pub(crate) RawTlsFiles);

raw_mapping! {
    /// Encryption. The broker's name is always checked. Paths are relative to the folder of host.yaml.
    RawTlsFiles {
        /// Authorities to trust, a PEM file; those of the system unless said otherwise.
        optional ca: Option<Spanned<String>>,
        /// Our certificate, a PEM file.
        optional certificate: Option<Spanned<String>>,
        /// Its key, a PEM file.
        optional key: Option<Spanned<String>>,
        /// The password of the key, as `${NAME}` or `${file:path}`.
        optional key_password: Option<Spanned<RawSecret>>,
    }
}

raw_mapping! {
    /// A user and a password.
    RawSasl {
        /// How the password is proved.
        required mechanism: RawSaslMechanism,
        /// The user.
        required username: Spanned<String>,
        /// The password, as `${NAME}` or `${file:path}`.
        required password: RawSecret,
    }
}

raw_choice! {
    /// How a password is proved.
    RawSaslMechanism {
        /// Sent as it is.
        Plain = "PLAIN",
        /// SCRAM with SHA-256.
        ScramSha256 = "SCRAM-SHA-256",
        /// SCRAM with SHA-512.
        ScramSha512 = "SCRAM-SHA-512",
    } later { "GSSAPI", "OAUTHBEARER" }
}

/// A value that may only come from outside.
#[derive(Debug, Clone)]
pub(crate) struct RawSecret(pub(crate) Secret);

impl Read for RawSecurity {
    // `security:` alone says nothing, and nothing must not come to mean plain text.
    const NULL_IS_ABSENT: bool = false;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        const WANTED: &str = "`plaintext`, or a mapping with `tls`, `sasl` or both";
        match &node.value {
            NodeValue::Scalar(scalar) if scalar.text == "plaintext" => Some(Self::Plaintext),
            NodeValue::Map(_) => {
                RawGivenSecurity::read(node, reader).map(|given| Self::Given(Box::new(given)))
            }
            _ => {
                reader.wrong_type(node, WANTED);
                None
            }
        }
    }
}

impl Read for RawTls {
    const NULL_IS_ABSENT: bool = false;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        RawTlsFiles::read(node, reader).map(Self)
    }
}

impl Read for RawSecret {
    // A password may well be `null`.
    const NULL_IS_ABSENT: bool = false;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let product = if reader.is_below("redis") { "redis" } else { "kafka" };
        let help = format!(
            "write `${{{}_PASSWORD}}` for a variable of the environment, or `${{file:/run/secrets/{product}-password}}` \
             for a file",
            product.to_uppercase()
        );
        let NodeValue::Scalar(scalar) = &node.value else {
            reader.wrong_type(node, "a reference to a secret");
            return None;
        };
        let problem = match scalar.style {
            Style::Expanded { whole: true } if scalar.text.is_empty() => {
                reader.at(Code::BadValue, node, "is empty: what it refers to holds nothing")
            }
            Style::Expanded { whole: true } => return Some(Self(Secret::new(scalar.text.clone()))),
            // It could not be put in, which was reported.
            _ if is_reference(&scalar.text) => return None,
            Style::Plain if node.is_null() => reader.at(Code::MissingKey, node, "has no value").help(help),
            _ => reader.at(Code::LiteralSecret, node, "is a secret and stands in the file").help(help),
        };
        reader.report(problem);
        None
    }
}

impl JsonSchema for RawSecurity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Security".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let given = generator.subschema_for::<RawGivenSecurity>();
        json_schema!({ "anyOf": [{ "const": "plaintext" }, given] })
    }
}

impl JsonSchema for RawTls {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Tls".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let files = generator.subschema_for::<RawTlsFiles>();
        json_schema!({ "anyOf": [files, { "type": "null" }] })
    }
}

impl JsonSchema for RawSecret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(\\$\\{[^}]+\\})+$" })
    }
}
