//! What the stream says of itself: whether it is there, how large records may be, whether it looks at partition keys.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{RecordDistributionStrategy, StreamStatus};
use model::error::Failure;

use super::options::KinesisOutputOptions;
use super::pace::ShardMap;
use crate::kinesis::lease::{ShardLister, StreamShards};
use crate::kinesis::{Class, Stream, Trouble};

/// Bytes of key and data that a record may have, where the stream does not say.
pub(super) const DEFAULT_MAX_RECORD: usize = 1 << 20;

/// What the stream says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    /// Bytes of key and data that a record may have.
    pub(super) max_record: usize,
    /// Whether it spreads records as it likes.
    pub(super) ignores_keys: bool,
}

/// Asks the stream, and refuses it where it does not fit. Tells contact and metrics.
pub(super) async fn look(options: &KinesisOutputOptions) -> Result<Summary, Failure> {
    let KinesisOutputOptions { connection, stream, shared, .. } = options;
    let doing = format!("{}: look at the stream", options.doing());
    let contact = shared.contact(connection);
    let client = shared.client(connection).await?;
    let summary = match ask(&client, stream).await {
        Ok(summary) => {
            contact.back();
            summary
        }
        Err(trouble) => {
            trouble.tell(&contact);
            shared.metrics().error(&connection.name, &trouble.code);
            match trouble.class {
                // Who may only write is not allowed to ask.
                Class::AccessDenied => {
                    tracing::warn!(
                        view = options.view,
                        stream = %stream,
                        "the stream's settings are not known ({trouble}); taking it to have records of 1 MiB at most and to look \
                         at partition keys. Allow `kinesis:DescribeStreamSummary` to have that checked"
                    );
                    Summary { max_record: DEFAULT_MAX_RECORD, ignores_keys: false }
                }
                Class::Credentials => {
                    // The next look finds others, if there are some by now.
                    let _ = shared.renewed(connection).await?;
                    return Err(trouble.failure(&connection.name, &doing));
                }
                _ => return Err(trouble.failure(&connection.name, &doing)),
            }
        }
    };
    if options.ordered && summary.ignores_keys {
        return Err(Failure::stop(format!(
            "{}: the stream distributes records by itself and ignores partition keys, so records of one entity would not \
             stay in order; set its record distribution to USER_PARTITION_KEY, or the output's `ordered` to false",
            options.doing()
        )));
    }
    Ok(summary)
}

async fn ask(client: &Client, stream: &Stream) -> Result<Summary, Trouble> {
    let request = client.describe_stream_summary();
    let request = request.set_stream_name(stream.name()).set_stream_arn(stream.arn());
    let output = request.send().await.map_err(|error| Trouble::of(&error))?;
    let Some(summary) = output.stream_description_summary() else {
        return Err(Trouble::coded("BadAnswer", "there is no summary in it", 500));
    };
    match summary.stream_status() {
        StreamStatus::Active | StreamStatus::Updating => {}
        status => {
            let message = format!("the stream is {}", status.as_str());
            return Err(Trouble::coded("ResourceInUseException", &message, 400));
        }
    }
    let kib = summary.max_record_size_in_kib().and_then(|kib| usize::try_from(kib).ok());
    Ok(Summary {
        max_record: kib.filter(|kib| *kib > 0).map_or(DEFAULT_MAX_RECORD, |kib| kib << 10),
        ignores_keys: summary.record_distribution_strategy() == Some(&RecordDistributionStrategy::Auto),
    })
}

/// Which keys go to which of the stream's open shards.
pub(super) async fn shards(options: &KinesisOutputOptions) -> Result<ShardMap, Failure> {
    let KinesisOutputOptions { connection, stream, shared, .. } = options;
    let lister = StreamShards::new(shared.clone(), connection.clone(), stream.clone());
    let mut open = Vec::new();
    let mut next = None;
    loop {
        let page = lister.page(next).await?;
        open.extend(page.shards.into_iter().filter(|shard| !shard.is_closed()));
        next = page.next;
        if next.is_none() {
            return Ok(ShardMap::new(open.iter().map(|shard| (shard.id.as_str(), shard.hash_keys.1))));
        }
    }
}
