//! The runs: each side over the same events, in turns, the middle of its rounds.

use std::process::Command;

use anyhow::Context;
use connectors::kafka::limit::{Load, generate};

use super::watch::{Measured, Running, watch};
use super::{PARTITIONS, Stage, views};
use crate::cmd::bench::Bench;
use crate::cmd::bench::child::own_binary;
use crate::cmd::bench::redis_server::RedisServer;

/// Users in the first topic.
const FEW_USERS: u64 = 50_000;
/// Users in the second.
const MANY_USERS: u64 = 1_000_000;
/// How many times longer the topic of peers is: the second half counts, when a virtual machine is warm.
const WARM: u64 = 3;

/// A side of the measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Side {
    /// A ready-made record for each event, with or without a header.
    L1 { header: bool },
    /// The work by hand.
    L2,
    /// This host without rows.
    Null,
    /// This host, with so many users.
    Embedded { users: u64 },
    /// The work by hand, rows in Redis.
    L2Redis,
    /// This host with Redis as its store.
    Redis,
    /// Another engine on a virtual machine.
    JvmPeer { name: String, command: String },
    /// Another engine in Python.
    PythonPeer { name: String, command: String },
}

impl Side {
    /// For people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::L1 { header: true } => "L1, ready-made record".to_owned(),
            Self::L1 { header: false } => "L1 without a header".to_owned(),
            Self::L2 => "L2, by hand".to_owned(),
            Self::Null => "null store".to_owned(),
            Self::Embedded { users: FEW_USERS } => "embedded store, 50 k users".to_owned(),
            Self::Embedded { .. } => "embedded store, 1 M users".to_owned(),
            Self::L2Redis => "L2 + Redis, by hand".to_owned(),
            Self::Redis => "Redis store".to_owned(),
            Self::JvmPeer { name, .. } | Self::PythonPeer { name, .. } => name.clone(),
        }
    }

    /// For the command line.
    fn short(&self) -> &'static str {
        match self {
            Self::L1 { header: true } => "l1",
            Self::L1 { header: false } => "l1-bare",
            Self::L2 => "l2",
            Self::Null => "null",
            Self::Embedded { users: FEW_USERS } => "embedded",
            Self::Embedded { .. } => "embedded-many",
            Self::L2Redis => "l2-redis",
            Self::Redis => "redis",
            Self::JvmPeer { .. } | Self::PythonPeer { .. } => "peers",
        }
    }

    fn is_peer(&self) -> bool {
        matches!(self, Self::JvmPeer { .. } | Self::PythonPeer { .. })
    }
}

/// What each side came to.
pub(super) type Results = Vec<(Side, Measured)>;

struct Topics {
    few: String,
    many: String,
    warm: String,
    events: u64,
}

pub(super) fn measure(bench: &Bench, stage: &mut Stage) -> anyhow::Result<Results> {
    let sides = sides(bench)?;
    let events = bench.scaled(2_000_000);
    let mut topics = Topics { few: String::new(), many: String::new(), warm: String::new(), events };
    let is_used = |wanted: fn(&Side) -> bool| sides.iter().any(wanted);
    topics.few = fill(stage, "few", events, FEW_USERS)?;
    if is_used(|side| matches!(side, Side::Embedded { users: MANY_USERS })) {
        topics.many = fill(stage, "many", events, MANY_USERS)?;
    }
    if is_used(Side::is_peer) {
        topics.warm = fill(stage, "warm", events * WARM, FEW_USERS)?;
    }
    let rounds = if bench.quick { 1 } else { bench.kafka.rounds };
    // The broker is a virtual machine too: it is warm after two runs whose figures nobody keeps.
    for side in [Side::L1 { header: true }, Side::L2] {
        run(stage, &topics, &side, "warm")?;
    }
    let mut all: Vec<Vec<Measured>> = vec![Vec::new(); sides.len()];
    for round in 0..rounds {
        for (number, side) in sides.iter().enumerate() {
            // A peer takes long, and its second half is steady.
            if side.is_peer() && round > 1 {
                continue;
            }
            let measured = run(stage, &topics, side, &format!("{number}-{round}"))?;
            anstream::eprintln!(
                "  {:<28} {:>9.0} events/s  {:.2} s/M  with what is put off {:.2}  broker {:.2}  redis {:.2}  peak {:.0} MiB  others {:.2} cores",
                side.name(),
                measured.rate,
                measured.cpu,
                measured.settled_cpu,
                measured.broker_cpu,
                measured.store_cpu,
                measured.peak,
                measured.others
            );
            if let Some(list) = all.get_mut(number) {
                list.push(measured);
            }
        }
    }
    Ok(sides.into_iter().zip(all).map(|(side, rounds)| (side, middle(&rounds))).collect())
}

fn sides(bench: &Bench) -> anyhow::Result<Vec<Side>> {
    let mut sides = vec![
        Side::L1 { header: true },
        Side::L2,
        Side::Null,
        Side::Embedded { users: FEW_USERS },
        Side::Embedded { users: MANY_USERS },
        Side::L1 { header: false },
        Side::L2Redis,
        Side::Redis,
    ];
    let parse = |text: &String| {
        let (name, command) = text.split_once('=').context("a peer is given as NAME=COMMAND")?;
        anyhow::Ok((name.to_owned(), command.to_owned()))
    };
    for peer in &bench.kafka.jvm_peer {
        let (name, command) = parse(peer)?;
        sides.push(Side::JvmPeer { name, command });
    }
    for peer in &bench.kafka.python_peer {
        let (name, command) = parse(peer)?;
        sides.push(Side::PythonPeer { name, command });
    }
    let wanted = &bench.kafka.sides;
    sides.retain(|side| wanted.is_empty() || wanted.iter().any(|name| name == side.short()));
    Ok(sides)
}

fn fill(stage: &mut Stage, name: &str, events: u64, users: u64) -> anyhow::Result<String> {
    let topic = stage.make_input(name)?;
    generate(&stage.cluster, &topic, Load { events, users, rate: None })?;
    Ok(topic)
}

fn run(stage: &Stage, topics: &Topics, side: &Side, number: &str) -> anyhow::Result<Measured> {
    let output = format!("out-{}-{number}", std::process::id());
    stage.cluster.create(&output, PARTITIONS)?;
    let ends = stage.cluster.ends(&output, PARTITIONS)?;
    let (events, from) =
        if side.is_peer() { (topics.events * WARM, topics.events * WARM / 2) } else { (topics.events, 0) };
    // A new one for each turn: the other side's rows would be newer.
    let mut redis = None;
    let start_redis =
        || RedisServer::start(stage.redis_server.as_ref(), &stage.empty(&format!("r-{output}"))?, None);
    let mut running = match side {
        Side::L1 { header } => relay(stage, &output, topics, &relay_args(true, *header))?,
        Side::L2 => relay(stage, &output, topics, &[])?,
        Side::L2Redis => {
            let server = redis.insert(start_redis()?);
            relay(stage, &output, topics, &["--redis", &server.address])?
        }
        Side::Redis => {
            let server = redis.insert(start_redis()?);
            let store = views::Store::Redis { address: &server.address };
            views::start(stage, &output, store, &topics.few, &output)?.0
        }
        Side::Null => views::start(stage, &output, views::Store::Null, &topics.few, &output)?.0,
        Side::Embedded { users } => {
            let input = if *users == FEW_USERS { &topics.few } else { &topics.many };
            views::start(stage, &output, views::Store::Embedded, input, &output)?.0
        }
        Side::JvmPeer { name, command } | Side::PythonPeer { name, command } => {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", command])
                .env("KAFKA_BOOTSTRAP", &stage.cluster.bootstrap)
                .env("KAFKA_INPUT", &topics.warm)
                .env("KAFKA_OUTPUT", &output);
            Running::start(name, shell, &stage.empty(&output)?)?
        }
    };
    let store = redis.as_ref().map(RedisServer::process);
    let measured = watch(&mut running, &ends, stage.broker.process, store, events, from)?;
    drop(running);
    drop(redis);
    stage.cluster.delete(&[&output])?;
    // The broker deletes for a while.
    std::thread::park_timeout(std::time::Duration::from_secs(2));
    Ok(measured)
}

fn relay_args(ready: bool, header: bool) -> Vec<&'static str> {
    let args = [ready.then_some("--ready-made"), (!header).then_some("--no-header")];
    args.into_iter().flatten().collect()
}

fn relay(stage: &Stage, output: &str, topics: &Topics, args: &[&str]) -> anyhow::Result<Running> {
    let mut command = Command::new(own_binary()?);
    command.args(["bench-part", "relay", "--bootstrap", &stage.cluster.bootstrap]);
    command.args(["--input", &topics.few, "--output", output]).args(args);
    Running::start("the loop", command, &stage.empty(output)?)
}

/// The middle of the rounds, value by value; of an even number of them the mean of the two in the middle.
fn middle(rounds: &[Measured]) -> Measured {
    let of = |value: fn(&Measured) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        match (values.get(values.len().saturating_sub(1) / 2), values.get(values.len() / 2)) {
            (Some(low), Some(high)) => f64::midpoint(*low, *high),
            _ => f64::NAN,
        }
    };
    Measured {
        rate: of(|round| round.rate),
        cpu: of(|round| round.cpu),
        settled_cpu: of(|round| round.settled_cpu),
        broker_cpu: of(|round| round.broker_cpu),
        store_cpu: of(|round| round.store_cpu),
        peak: of(|round| round.peak),
        others: of(|round| round.others),
    }
}
