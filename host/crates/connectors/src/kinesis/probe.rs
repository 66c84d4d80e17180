//! What is wrong with Kinesis before anything runs: for `host check --connect` and `host doctor`.
//!
//! Reads what streams say of themselves, and with [`Depth::Doctor`] asks for a record; writes nothing, so whether a stream
//! may be written shows with the first record.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{
    RecordDistributionStrategy, ShardIteratorType, StreamDescriptionSummary, StreamStatus,
};
use model::error::Failure;
use tokio::runtime::Handle;

use super::{Class, Connection, KinesisMetrics, Shared, Stream, Trouble};
use crate::finding::{Depth, Finding, Severity};

/// What is going to be done with a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// It is read.
    Source {
        /// Which.
        stream: Stream,
    },
    /// Records are written to it.
    Output {
        /// Which.
        stream: Stream,
        /// Whether the records of one entity have to stay in their order.
        ordered: bool,
    },
}

impl Expectation {
    fn stream(&self) -> &Stream {
        match self {
            Self::Source { stream } | Self::Output { stream, .. } => stream,
        }
    }
}

/// Looks at Kinesis with the eyes of what is going to use it. Blocks, for some seconds where something is wrong; not to be
/// called on a thread of the runtime.
pub fn probe(
    connection: &Connection,
    expectations: &[Expectation],
    runtime: &Handle,
    depth: Depth,
) -> Vec<Finding> {
    let shared = Shared::new(runtime.clone(), KinesisMetrics::detached(), std::sync::Arc::new(|_, _| {}));
    runtime.block_on(async {
        let client = match shared.client(connection).await {
            Ok(client) => client,
            Err(failure) => return vec![no_client(connection, &failure)],
        };
        if expectations.is_empty() {
            return vec![contact(connection, &client).await];
        }
        let mut findings = Vec::new();
        for expectation in expectations {
            let look = Look { connection, client: &client, stream: expectation.stream() };
            findings.extend(look.at(expectation, depth).await);
        }
        findings
    })
}

fn no_client(connection: &Connection, failure: &Failure) -> Finding {
    Finding {
        severity: Severity::Problem,
        what: format!("connection `{}`", connection.name),
        message: format!("failed to {failure}"),
        help: "correct the connection's settings".to_owned(),
    }
}

/// Whether anybody answers. Who may not list streams has been let in all the same.
async fn contact(connection: &Connection, client: &Client) -> Finding {
    let what = format!("connection `{}`", connection.name);
    let trouble = match client.list_streams().limit(1).send().await {
        Ok(_) => None,
        Err(error) => Some(Trouble::of(&error)).filter(|trouble| trouble.class != Class::AccessDenied),
    };
    match trouble {
        None => {
            let region =
                client.config().region().map_or_else(String::new, |region| format!(" in `{region}`"));
            let message = format!("Kinesis{region} answers");
            Finding { severity: Severity::Note, what, message, help: String::new() }
        }
        Some(trouble) => {
            let failure = trouble.failure(&connection.name, "list streams");
            let message = format!("failed to {failure}");
            Finding { severity: Severity::Problem, what, message, help: String::new() }
        }
    }
}

/// A stream that is looked at.
struct Look<'a> {
    connection: &'a Connection,
    client: &'a Client,
    stream: &'a Stream,
}

impl Look<'_> {
    async fn at(&self, expectation: &Expectation, depth: Depth) -> Vec<Finding> {
        let summary = match self.summary().await {
            Ok(summary) => summary,
            // Who may only write works, and takes the stream to be as most are.
            Err(trouble) if is_output(expectation) && trouble.class == Class::AccessDenied => {
                let message =
                    format!("its settings may not be looked at ({trouble}), so they are not checked");
                let help = "allow `kinesis:DescribeStreamSummary` to have that checked";
                return vec![self.found(Severity::Warning, message, help)];
            }
            Err(trouble) => return vec![self.problem("look at the stream", &trouble)],
        };
        let mut findings = vec![self.found(Severity::Note, about(&summary), "")];
        if !matches!(summary.stream_status(), StreamStatus::Active | StreamStatus::Updating) {
            let message = format!("it is {}", summary.stream_status().as_str());
            findings.push(self.found(Severity::Problem, message, "wait until it is ACTIVE"));
            return findings;
        }
        match expectation {
            Expectation::Source { .. } => {
                if let Err(trouble) = self.read(depth).await {
                    findings.push(self.problem("read the stream", &trouble));
                }
            }
            Expectation::Output { ordered, .. } => {
                let spreads =
                    summary.record_distribution_strategy() == Some(&RecordDistributionStrategy::Auto);
                if *ordered && spreads {
                    findings.push(self.found(
                        Severity::Problem,
                        "it distributes records by itself and ignores partition keys, so records of one entity would not \
                         stay in order"
                            .to_owned(),
                        "set its record distribution to USER_PARTITION_KEY, or the output's `ordered` to false",
                    ));
                }
            }
        }
        findings
    }

    async fn summary(&self) -> Result<StreamDescriptionSummary, Trouble> {
        let request = self.client.describe_stream_summary();
        let request = request.set_stream_name(self.stream.name()).set_stream_arn(self.stream.arn());
        let output = request.send().await.map_err(|error| Trouble::of(&error))?;
        let summary = output.stream_description_summary().cloned();
        summary.ok_or_else(|| Trouble::coded("BadAnswer", "there is no summary in it", 500))
    }

    /// Tries what a reader does with the first shard.
    async fn read(&self, depth: Depth) -> Result<(), Trouble> {
        let shards = self.client.list_shards().max_results(1);
        let shards = shards.set_stream_name(self.stream.name()).set_stream_arn(self.stream.arn());
        let listed = shards.send().await.map_err(|error| Trouble::of(&error))?;
        let Some(shard) = listed.shards().first() else { return Ok(()) };
        let iterator = self
            .client
            .get_shard_iterator()
            .shard_id(shard.shard_id())
            .shard_iterator_type(ShardIteratorType::TrimHorizon);
        let iterator = iterator.set_stream_name(self.stream.name()).set_stream_arn(self.stream.arn());
        let iterator = iterator.send().await.map_err(|error| Trouble::of(&error))?;
        let (Depth::Doctor, Some(iterator)) = (depth, iterator.shard_iterator()) else { return Ok(()) };
        match self.client.get_records().shard_iterator(iterator).limit(1).send().await {
            Ok(_) => Ok(()),
            // Others read the stream as well.
            Err(error) => match Trouble::of(&error) {
                trouble if trouble.class == Class::Throttled => Ok(()),
                trouble => Err(trouble),
            },
        }
    }

    fn problem(&self, doing: &str, trouble: &Trouble) -> Finding {
        let failure = trouble.failure(&self.connection.name, doing);
        self.found(Severity::Problem, format!("failed to {failure}"), "")
    }

    fn found(&self, severity: Severity, message: String, help: &str) -> Finding {
        Finding { severity, what: format!("stream `{}`", self.stream), message, help: help.to_owned() }
    }
}

fn is_output(expectation: &Expectation) -> bool {
    matches!(expectation, Expectation::Output { .. })
}

fn about(summary: &StreamDescriptionSummary) -> String {
    format!(
        "it has {} open shards and keeps records for {} h",
        summary.open_shard_count(),
        summary.retention_period_hours()
    )
}
