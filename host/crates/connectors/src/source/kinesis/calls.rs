//! The questions that readers ask Kinesis, and the client that asks them.
//!
//! Each is asked once; whoever asks knows when to ask again, and from where. What comes of a question is told to those
//! who watch the connection.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{Record, ShardIteratorType};
use futures_core::future::BoxFuture;
use model::error::Failure;

use crate::contact::Contact;
use crate::kinesis::{Class, Connection, Shared, Stream, Trouble};

/// Records in one answer at most: as many as Kinesis gives.
pub(super) const MOST_RECORDS: usize = 10_000;

const HOUR: Duration = Duration::from_secs(3600);

/// Where an iterator begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// At the first record that there is.
    Beginning,
    /// At the first record that arrived at or after this time, microseconds since the epoch.
    Time(i64),
    /// At the record with this sequence number; if it is gone, at the first one behind it.
    At(String),
    /// Behind the last record that there is.
    Latest,
}

/// Records of a shard.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    /// In order.
    pub(super) records: Vec<Record>,
    /// What to ask with next; `None` = the shard is closed, and this was its end.
    pub(super) next: Option<String>,
    /// Milliseconds that the shard had records behind the answer for.
    pub(super) behind: i64,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Kinesis said so, or nothing.
    Trouble(Trouble),
    /// The connection's settings are wrong.
    Settings(Failure),
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Asks Kinesis about one stream.
pub(super) trait Calls: Send + Sync {
    /// An iterator over a shard.
    fn iterator<'a>(&'a self, shard: &'a str, start: &'a Start) -> BoxFuture<'a, Result<String, Refusal>>;

    /// The records that an iterator stands before, [`MOST_RECORDS`] at most.
    fn records<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<Answer, Refusal>>;

    /// How long the stream keeps records.
    fn retention(&self) -> BoxFuture<'_, Result<Duration, Refusal>>;
}

/// A stream behind a connection.
pub(super) struct Kinesis {
    connection: Connection,
    stream: Stream,
    contact: Contact,
    shared: Shared,
}

impl Kinesis {
    pub(super) fn new(connection: Connection, stream: Stream, shared: Shared) -> Self {
        let contact = shared.contact(&connection);
        Self { connection, stream, contact, shared }
    }

    async fn client(&self) -> Result<Client, Refusal> {
        self.shared.client(&self.connection).await.map_err(Refusal::Settings)
    }

    /// Notes what came of a question.
    async fn heard<T, E>(&self, answer: Result<T, SdkError<E, HttpResponse>>) -> Result<T, Refusal>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let error = match answer {
            Ok(answer) => {
                self.contact.back();
                return Ok(answer);
            }
            Err(error) => error,
        };
        let trouble = Trouble::of(&error);
        trouble.tell(&self.contact);
        self.shared.metrics().error(&self.connection.name, &trouble.code);
        if trouble.class == Class::Credentials {
            // They may have been changed in a file since; the next question goes with what is there by then.
            self.shared.renewed(&self.connection).await.map_err(Refusal::Settings)?;
        }
        Err(Refusal::Trouble(trouble))
    }
}

impl Calls for Kinesis {
    fn iterator<'a>(&'a self, shard: &'a str, start: &'a Start) -> BoxFuture<'a, Result<String, Refusal>> {
        Box::pin(async move {
            let question = self.client().await?.get_shard_iterator();
            let question = match start {
                Start::Beginning => question.shard_iterator_type(ShardIteratorType::TrimHorizon),
                Start::Latest => question.shard_iterator_type(ShardIteratorType::Latest),
                Start::At(sequence) => question
                    .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                    .starting_sequence_number(sequence),
                Start::Time(micros) => question
                    .shard_iterator_type(ShardIteratorType::AtTimestamp)
                    .timestamp(milliseconds(*micros)),
            };
            let question = question
                .shard_id(shard)
                .set_stream_name(self.stream.name())
                .set_stream_arn(self.stream.arn());
            let answer = self.heard(question.send().await).await?;
            answer.shard_iterator.ok_or_else(|| unexpected("an answer has no iterator"))
        })
    }

    fn records<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<Answer, Refusal>> {
        Box::pin(async move {
            let question = self
                .client()
                .await?
                .get_records()
                .shard_iterator(iterator)
                .limit(i32::try_from(MOST_RECORDS).expect("it is a small number"))
                .set_stream_arn(self.stream.arn());
            let answer = self.heard(question.send().await).await?;
            Ok(Answer {
                records: answer.records,
                next: answer.next_shard_iterator.filter(|iterator| !iterator.is_empty()),
                behind: answer.millis_behind_latest.unwrap_or(0),
            })
        })
    }

    fn retention(&self) -> BoxFuture<'_, Result<Duration, Refusal>> {
        Box::pin(async move {
            let question = self
                .client()
                .await?
                .describe_stream_summary()
                .set_stream_name(self.stream.name())
                .set_stream_arn(self.stream.arn());
            let answer = self.heard(question.send().await).await?;
            let hours = answer.stream_description_summary.map(|summary| summary.retention_period_hours);
            let hours = hours.and_then(|hours| u32::try_from(hours).ok());
            Ok(HOUR * hours.ok_or_else(|| unexpected("an answer has no retention"))?)
        })
    }
}

/// A time as Kinesis takes it: the first millisecond that is not before it.
fn milliseconds(micros: i64) -> DateTime {
    let milliseconds = micros.div_euclid(1000) + i64::from(micros.rem_euclid(1000) != 0);
    DateTime::from_millis(milliseconds.max(0))
}

fn unexpected(text: &str) -> Refusal {
    Trouble { class: Class::Other, code: "BadAnswer".to_owned(), text: text.to_owned() }.into()
}
