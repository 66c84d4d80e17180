//! `host bench-part`: one side of the measurement, in a process of its own. Not for people.

use std::sync::Arc;

use anyhow::Context;
use connectors::kafka::limit::{Cluster, Load, Relay, Settings, Work, generate, relay};

use super::null_store::NullStore;
use crate::cli::{BenchPart, GenerateTopicArgs, RelayArgs};
use crate::cmd::run;
use crate::report::Stopped;

/// Runs the command.
pub(in crate::cmd) fn run_part(part: &BenchPart) -> Result<(), Stopped> {
    match part {
        BenchPart::Relay(args) => Ok(by_hand(args)?),
        BenchPart::Generate(args) => Ok(fill(args)?),
        BenchPart::NullStore(args) => run::run_with(args, |store| Arc::new(NullStore(Arc::clone(store)))),
    }
}

fn fill(args: &GenerateTopicArgs) -> anyhow::Result<()> {
    let cluster = Cluster::new(&args.bootstrap);
    cluster.create(&args.topic, super::PARTITIONS)?;
    let load = Load { events: args.events, users: args.users, rate: None };
    generate(&cluster, &args.topic, load).context("cannot fill the topic").map(drop)
}

fn by_hand(args: &RelayArgs) -> anyhow::Result<()> {
    relay(
        &Cluster::new(&args.bootstrap),
        &Relay {
            work: match &args.redis {
                _ if args.ready_made => Work::ReadyMade,
                Some(address) => Work::ByHandWithRedis { address: address.clone() },
                None => Work::ByHand,
            },
            input: args.input.clone(),
            output: args.output.clone(),
            producer: settings(&args.producer)?,
            consumer: settings(&args.consumer)?,
            header: !args.no_header,
        },
    )
    .context("the loop ended")
}

fn settings(texts: &[String]) -> anyhow::Result<Settings> {
    let setting = |text: &String| {
        let (name, value) = text.split_once('=').context("a setting is given as NAME=VALUE")?;
        Ok((name.to_owned(), value.to_owned()))
    };
    texts.iter().map(setting).collect()
}
