//! Every black-box test, in one binary: one link.

#![expect(clippy::unwrap_used, reason = "clippy exempts tests, but not the functions that they share")]

mod tidy;
mod dependencies;
mod cli;
mod examples;
mod push;
mod files;
mod serving;
mod reload;
mod feast;
mod delivery;
mod recovery;
mod signals;
mod isolation;
mod bad_input;
mod docs;
mod kafka_harness;
mod kafka_stream;
mod kafka_start;
mod kafka_kill;
mod kafka_group;
mod kafka_faults;
mod kafka_security;
mod kafka_consumers;
mod kafka_job;
mod kinesis_harness;
mod kinesis_stream;
mod kinesis_shards;
mod kinesis_faults;
mod kinesis_kill;
mod kinesis_group;
mod kinesis_job;
mod migrate_store;
mod redis_harness;
mod redis_job;
mod redis_hosts;
mod redis_losses;
mod redis_kill;
mod redis_faults;
mod redis_security;
mod redis_cluster;
mod redis_feast;
mod support;
mod load;
mod checker;
