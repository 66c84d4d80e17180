//! What stands in the files: types that mirror them key by key, with the place of every value.
//!
//! Each type says for itself which keys it has, so the reader, the suggestions for misspelled keys and the JSON Schema
//! for editors cannot disagree. Reading goes on after a problem: one report tells all. Nothing is resolved here:
//! no defaults, no references, no paths.

mod documents;
mod host;
mod connection;
mod source;
mod start;
mod view;
mod kafka;
mod kinesis;
mod redis;
mod declare;
mod read;
mod scalars;

pub(crate) use connection::{RawConnection, RawKafkaConnection, RawSaslMechanism, RawSecurity, RawTlsFiles};
pub(crate) use documents::{
    Declaration, RawDeclaration, RawDocument, RawEntity, RawService, declarations, join_key_type,
};
pub(crate) use host::{RawDeadLetter, RawHost, RawOnlineStore};
pub(crate) use kafka::{
    RawCreateTopic, RawGroupProtocol, RawKafkaOutput, RawKafkaSource, RawOptions, RawOutOfRange, RawTopic,
};
pub(crate) use kinesis::{
    RawKinesisConnection, RawKinesisOutput, RawKinesisSource, RawLeases, RawStreamArn, RawStreamName,
};
pub(crate) use read::{Anything, MAX_PROBLEMS, Ordered, Read, Reader, Spanned};
pub(crate) use redis::{RawAddresses, RawRedisConnection, RawRedisTlsFiles};
pub(crate) use scalars::{ByteSize, Instant, Micros, Name};
pub(crate) use source::{RawFormat, RawSource};
pub(crate) use start::RawStart;
pub(crate) use view::{
    RawBuild, RawEmit, RawLimits, RawOutputStream, RawProcessingMode, RawProducer, RawVersion, RawView,
};
