//! An idle stream: how long an event takes from `send` until a consumer sees its record.

use std::process::Command;
use std::time::Duration;

use connectors::kafka::limit::{Probe, probe};

use super::watch::Running;
use super::{PARTITIONS, Stage, views};
use crate::cmd::bench::Bench;
use crate::cmd::bench::child::own_binary;
use crate::cmd::bench::figure::{Figure, percentile};

/// Time between two events: the stream is idle in between.
const GAP: Duration = Duration::from_millis(10);

pub(super) fn measure(bench: &Bench, stage: &mut Stage) -> anyhow::Result<Vec<Figure>> {
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    let rounds = if bench.quick { 1 } else { bench.kafka.rounds };
    for round in 0..rounds {
        theirs.extend(by_hand(bench, stage, round)?);
        ours.extend(host(bench, stage, round)?);
    }
    let mut at = |part: f64| (percentile(&mut ours, part) * 1e3, percentile(&mut theirs, part) * 1e3);
    let ((our_half, their_half), (our_worst, their_worst)) = (at(0.5), at(0.99));
    let figure = |name, ours, theirs: f64, times| {
        Figure::times_at_most(name, ours, "ms", format!("L2, linger 0: {theirs:.2} ms"), theirs, times)
    };
    Ok(vec![
        figure("idle stream, produced → seen, embedded store, p50", our_half, their_half, 1.5),
        figure("idle stream, produced → seen, embedded store, p99", our_worst, their_worst, 2.0),
    ])
}

fn by_hand(bench: &Bench, stage: &mut Stage, round: u32) -> anyhow::Result<Vec<f64>> {
    let (input, output) = topics(stage, "by-hand", round)?;
    let mut command = Command::new(own_binary()?);
    command.args(["bench-part", "relay", "--bootstrap", &stage.cluster.bootstrap]);
    command.args(["--input", &input, "--output", &output, "--producer", "linger.ms=0"]);
    let mut running = Running::start("the loop", command, &stage.empty(&output)?)?;
    let seconds = measure_one(bench, stage, &input, &output, round)?;
    running.check()?;
    Ok(seconds)
}

fn host(bench: &Bench, stage: &mut Stage, round: u32) -> anyhow::Result<Vec<f64>> {
    let (input, output) = topics(stage, "host", round)?;
    let (mut running, port) = views::start(stage, &output, views::Store::Embedded, &input, &output)?;
    views::wait_until_ready(&mut running, port)?;
    let seconds = measure_one(bench, stage, &input, &output, round)?;
    running.check()?;
    Ok(seconds)
}

fn topics(stage: &mut Stage, name: &str, round: u32) -> anyhow::Result<(String, String)> {
    Ok((
        stage.make_input(&format!("idle-in-{name}-{round}"))?,
        stage.make_input(&format!("idle-out-{name}-{round}"))?,
    ))
}

fn measure_one(
    bench: &Bench,
    stage: &Stage,
    input: &str,
    output: &str,
    round: u32,
) -> anyhow::Result<Vec<f64>> {
    let mut seconds = probe(
        &stage.cluster,
        &Probe {
            input: input.to_owned(),
            output: output.to_owned(),
            partitions: PARTITIONS,
            first: u64::from(round) * 1_000_000,
            warm: 500,
            events: bench.scaled(1000).max(100),
            gap: GAP,
        },
    )?;
    anstream::eprintln!(
        "  {output:<28} p50 {:.2} ms  p99 {:.2} ms",
        percentile(&mut seconds, 0.5) * 1e3,
        percentile(&mut seconds, 0.99) * 1e3
    );
    Ok(seconds)
}
