//! The shards of a stream as Kinesis lists them.

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use model::error::Failure;

use super::shards::{Shard, ShardLister, ShardPage};
use crate::kinesis::{Class, Connection, Shared, Stream, Trouble};

/// Asks Kinesis for the shards of one stream.
#[derive(Debug)]
pub struct StreamShards {
    shared: Shared,
    connection: Connection,
    stream: Stream,
}

impl StreamShards {
    /// Of this stream. Asks nothing yet.
    pub fn new(shared: Shared, connection: Connection, stream: Stream) -> Self {
        Self { shared, connection, stream }
    }

    async fn ask(&self, next: Option<String>) -> Result<ShardPage, Failure> {
        // A name does not go with a token.
        let name = if next.is_none() { self.stream.name() } else { None };
        let request = self.shared.client(&self.connection).await?.list_shards();
        let request = request.set_stream_name(name).set_stream_arn(self.stream.arn()).set_next_token(next);
        let contact = self.shared.contact(&self.connection);
        match request.send().await {
            Ok(page) => {
                contact.back();
                let shards = page.shards.unwrap_or_default().into_iter().map(shard).collect();
                Ok(ShardPage { shards, next: page.next_token })
            }
            Err(error) => {
                let trouble = Trouble::of(&error);
                trouble.tell(&contact);
                self.shared.metrics().error(&self.connection.name, &trouble.code);
                if trouble.class == Class::Credentials {
                    // Used from the next list on; what is wrong with it is told then.
                    drop(self.shared.renewed(&self.connection).await);
                }
                let doing = format!("list the shards of stream `{}`", self.stream);
                Err(trouble.failure(&self.connection.name, &doing))
            }
        }
    }
}

impl ShardLister for StreamShards {
    fn page(&self, next: Option<String>) -> BoxFuture<'_, Result<ShardPage, Failure>> {
        self.ask(next).boxed()
    }
}

fn shard(shard: aws_sdk_kinesis::types::Shard) -> Shard {
    let (starting, ending) = shard
        .sequence_number_range
        .map(|range| (range.starting_sequence_number, range.ending_sequence_number))
        .unwrap_or_default();
    let parents = shard.parent_shard_id.into_iter().chain(shard.adjacent_parent_shard_id).collect();
    let hash_keys = shard
        .hash_key_range
        .and_then(|range| Some((range.starting_hash_key.parse().ok()?, range.ending_hash_key.parse().ok()?)));
    Shard {
        id: shard.shard_id,
        parents,
        starting,
        ending,
        // A shard that does not say is not known to leave out anything.
        hash_keys: hash_keys.unwrap_or((0, u128::MAX)),
    }
}
