//! A Kinesis stream as a source: each shard is a partition.
